r"""Bodies: JSON as Nomad writes it, and gzip.

JSON is compact with its keys in byte order, or with `pretty` indented by four spaces and ended by
one newline. Text goes out as UTF-8 with `<`, `>` and `&` bare; U+2028 and U+2029 are escaped, and
what is no Unicode (bytes a peer sent that are no UTF-8, held as surrogates) becomes `\ufffd`.

A `Body` knows its gzip form too and computes it once, so an answer that is kept for many requests
is compressed for the first of them only.

Where it comes from (public API): the `codec` library's JsonHandle as Nomad sets it up
(`Canonical`, pretty by `codec.JsonHandle{Indent: 4}`), and the `gziphandler` library's reading of
Accept-Encoding.
"""

from __future__ import annotations

import json
import re
import zlib
from functools import lru_cache
from typing import Any

import msgspec

_GZIP_LEVEL = 1
"""For a members list, level 1 comes to the same size as the usual 6 in less than half the time,
and the event loop waits for it."""

_GZIP_WINDOW = 31
"""15 bits of window, and 16 to have zlib write gzip's frame."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Body:
    """The bytes of an answer, as they are and compressed."""

    __slots__ = ("_compressed", "plain")

    def __init__(self, plain: bytes) -> None:
        self.plain = plain
        self._compressed: bytes | None = None

    @property
    def compressed(self) -> bytes:
        """The gzip form, the same bytes at every call (its header holds no time)."""
        if self._compressed is None:
            packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
            self._compressed = packer.compress(self.plain) + packer.flush()
        return self._compressed


EMPTY = Body(b"")


def encode_json(document: Any, *, is_pretty: bool = False, is_sorted: bool = True) -> bytes:
    """Encode a document of dicts, lists, texts, numbers, booleans and None.

    `is_sorted` off keeps the order of the dicts, for the one answer that wants it.
    """
    try:
        encoded = msgspec.json.encode(document, order="sorted" if is_sorted else None)
    except UnicodeEncodeError:
        # Rare: a peer's name or tag that is no UTF-8. msgspec refuses such text, the slower
        # standard library passes it through, and a surrogate can only stand inside a string.
        text = json.dumps(document, ensure_ascii=False, sort_keys=is_sorted, separators=(",", ":"))
        encoded = _SURROGATE.sub(r"\\ufffd", text).encode()
    # Neither sequence can occur outside a string: all else in JSON is ASCII.
    encoded = encoded.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    if is_pretty:
        encoded = msgspec.json.format(encoded, indent=4) + b"\n"
    return encoded


@lru_cache(maxsize=64)
def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether an Accept-Encoding header lists `gzip` with a weight above 0.

    `*` does not count, a weight that is no number drops its entry, and the last entry for gzip
    wins.
    """
    accepted = False
    for entry in accept_encoding.decode("latin-1").split(","):
        coding, *options = (part.strip() for part in entry.split(";"))
        if coding.lower() != "gzip":
            continue
        weight = 1.0
        try:
            for option in options:
                if option.startswith("q="):
                    weight = float(option[2:])
        except ValueError:
            continue
        accepted = weight > 0
    return accepted
