"""Query strings, read as Go and Nomad read them.

Decoding never fails as a whole: `+` is a space, a bare `key` is `key=`, and a pair that holds a
`;` or a bad percent escape is dropped while its neighbours survive. The first value of a repeated
key counts unless an endpoint wants them all, and an empty value is the same as an absent key for
everything but `has`, which asks for presence alone (`stale`, `type`).

Each reading has its own tolerance, copied because clients rely on it: a boolean that is none is an
error with Go's text, an integer that is none is 0, `pretty` is on for everything but `0`.

Where it comes from (public API): Go's `url.ParseQuery`, `strconv.ParseBool`, `strconv.ParseUint`;
Nomad's `parseWait`, `parseBool`, `prettyPrint` in `command/agent/http.go`.
"""

from __future__ import annotations

from ..agent.durations import parse_duration
from ..agent.quoting import quote
from .faults import InvalidIndex, InvalidWait
from .urls import BadEscape, unescape

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})

INDEX_MAX = 2**64 - 1
"""`index` is an unsigned 64-bit number."""

INTEGER_MAX = 2**63 - 1
"""Integers are signed 64-bit numbers, as Go's `int` is."""

_NUMBER_SIZE_MAX = 64
"""Digits looked at, leading zeros included. Nobody pads further, and turning digits into a number
takes time that grows with the square of their count."""


class Parameters:
    """The parameters of one request."""

    __slots__ = ("_values",)

    def __init__(self, query: str) -> None:
        self._values = _parse(query) if query else {}

    def has(self, key: str) -> bool:
        """Whether the key was given at all, even with an empty value."""
        return key in self._values

    def first(self, key: str) -> str:
        """Return the first value, `""` if there is none."""
        values = self._values.get(key)
        return values[0] if values else ""

    def all(self, key: str) -> list[str]:
        """Return every value in the order sent, empty ones included."""
        return list(self._values.get(key, ()))

    @property
    def is_pretty(self) -> bool:
        """Whether the answer is to be indented: any `pretty` but `pretty=0`."""
        return "pretty" in self._values and self._values["pretty"][0] != "0"

    def boolean(self, key: str) -> bool | None:
        """Return a boolean, None when it is absent or empty.

        Raises:
            ValueError: It is neither true nor false; the text is Go's, for the answer.
        """
        text = self.first(key)
        if not text:
            return None
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")

    def integer(self, key: str) -> int:
        """Return a signed integer, 0 for anything that is none."""
        text = self.first(key)
        digits = text[1:] if text[:1] in ("+", "-") else text
        if not _is_number(digits):
            return 0
        value = int(text)
        return value if -INTEGER_MAX - 1 <= value <= INTEGER_MAX else 0

    def check_blocking(self) -> None:
        """Check `wait` and then `index`, as every endpoint does that could block in Nomad.

        Agent endpoints never block, so the values have no effect, but bad ones are refused.

        Raises:
            InvalidWait: `wait` is no duration with a unit.
            InvalidIndex: `index` is no unsigned 64-bit decimal.
        """
        if wait := self.first("wait"):
            try:
                parse_duration(wait)
            except ValueError:
                raise InvalidWait from None
        if (index := self.first("index")) and not (_is_number(index) and int(index) <= INDEX_MAX):
            raise InvalidIndex


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _NUMBER_SIZE_MAX


def _parse(query: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for pair in query.split("&"):
        if not pair or ";" in pair:
            continue
        key, _, value = pair.replace("+", " ").partition("=")
        try:
            key, value = unescape(key), unescape(value)
        except BadEscape:
            continue
        values.setdefault(key, []).append(value)
    return values
