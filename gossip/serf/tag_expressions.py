"""Regular expressions over tags, in the syntax and with the costs of Go's: RE2.

RE2 runs in linear time and bounded memory whatever the expression, so one from a stranger can
neither stall nor fill us; Python's own engine can be stalled for hours by thirty characters.
"""

from __future__ import annotations

import functools

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


@functools.lru_cache(maxsize=256)
def tag_matches(expression: str, value: str) -> bool:
    """Return whether an RE2 expression is found anywhere in a tag's value.

    An invalid one, such as one that is not UTF-8, matches nothing.
    """
    # As bytes, because text from a peer may hold some that are not UTF-8.
    pattern, text = (part.encode("utf-8", "surrogateescape") for part in (expression, value))
    try:
        return re2.search(pattern, text, _OPTIONS) is not None
    except re2.error:
        return False


def expression_defect(expression: str) -> str | None:
    """Return what is wrong with an RE2 expression, None when it can be used."""
    try:
        re2.compile(expression.encode("utf-8", "surrogateescape"), _OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return None
