"""Text that must not be shown: keys and tokens from the settings.

A plain string reaches logs, error messages and API answers by accident: through an f-string, a
traceback, a dump of the settings. A `Secret` does not: however it is printed, it says `<redacted>`,
as Nomad's API does. `reveal` is the only way in, so every use can be found by name.
"""

from __future__ import annotations

import hmac

REDACTED = "<redacted>"


class Secret:
    """A text that cannot be printed. An empty one is falsy and prints as nothing."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return REDACTED if self._text else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        # Equal secrets must hash equally, and a hash of the text could be searched for.
        return hash(Secret)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
