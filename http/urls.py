"""Request targets taken apart, and paths put back together, by the rules of Go's `net/url`.

A target is `/path?query`; a proxy may send `http://host/path?query`, of which only path and query
count. Escapes are checked, not repaired: in a path a bad one (`%zz`) makes the whole request bad,
in a query it drops one pair (see parameters.py). Bytes that are no UTF-8 are kept as surrogates
(`surrogateescape`), so nothing is lost before JSON writing replaces them.

Where it comes from (public API): Go's `url.ParseRequestURI`, `url.PathUnescape`,
`url.QueryUnescape`, `URL.EscapedPath`, `path.Clean` and the `cleanPath` of `net/http`'s ServeMux.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote, unquote_to_bytes

_BAD_ESCAPE = re.compile("%(?![0-9a-fA-F]{2})")
_PATH_SAFE = "$&+,/:;=@"
"""What Go leaves bare in a path besides letters, digits and `-_.~`."""


class BadEscape(ValueError):
    """A `%` is not followed by two hexadecimal digits."""


class BadTarget(ValueError):
    """A request target that has no path, or whose path cannot be decoded."""


def unescape(text: str) -> str:
    """Decode percent escapes.

    Raises:
        BadEscape: One of them is no escape.
    """
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise BadEscape(text)
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def split_target(target: str) -> tuple[str, str]:
    """Split a request target into the decoded path and the raw query string.

    Raises:
        BadTarget: It is neither a path nor an absolute URL (`*`, `host:port`), or has a bad
        escape.
    """
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        scheme, separator, rest = path.partition("://")
        if not separator or not scheme.isalpha():
            raise BadTarget(target)
        _, _, rest = rest.partition("/")
        path = "/" + rest
    try:
        return unescape(path), query
    except BadEscape as error:
        raise BadTarget(target) from error


def clean_path(path: str) -> str:
    """Return `path` without `//`, `.` and `..`, its trailing slash kept."""
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    if path.endswith("/") and cleaned != "/":
        cleaned += "/"
    return cleaned


def escape_path(path: str) -> str:
    """Encode a decoded path for a Location header."""
    return quote(path.encode("utf-8", "surrogateescape"), safe=_PATH_SAFE)
