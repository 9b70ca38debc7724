"""Base64 as Go's standard decoder takes it, with its error text.

Nomad hands keys on undecoded and passes the decoder's error to the client, so the text names the
position Go's decoder stops at, which Python's does not tell. Line breaks are skipped, padding is
required (public API: the package `encoding/base64`, `StdEncoding`, `CorruptInputError`).
"""

from __future__ import annotations

import binascii

_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_PADDING = ord("=")
_LINE_BREAKS = frozenset(b"\r\n")


class IllegalBase64(ValueError):
    """The text is not base64; `str()` is Go's text."""

    def __init__(self, position: int) -> None:
        super().__init__(f"illegal base64 data at input byte {position}")


def decode_base64(text: str) -> bytes:
    """Return the bytes that `text` stands for.

    Raises:
        IllegalBase64: At the first byte that cannot be.
    """
    data = text.encode("utf-8", "surrogateescape")
    position = _find_fault(data)
    if position is not None:
        raise IllegalBase64(position)
    return binascii.a2b_base64(bytes(byte for byte in data if byte not in _LINE_BREAKS))


def _find_fault(data: bytes) -> int | None:
    """Return where Go's decoder would stop, None when it would not."""
    in_group = 0
    for position, byte in enumerate(data):
        if byte in _LINE_BREAKS:
            continue
        if byte == _PADDING:
            return _find_padding_fault(data, position, in_group)
        if byte not in _ALPHABET:
            return position
        in_group = (in_group + 1) % 4
    # An unfinished group is told as at its first byte.
    return len(data) - in_group if in_group else None


def _find_padding_fault(data: bytes, position: int, in_group: int) -> int | None:
    """Return the fault from the first padding character on."""
    if in_group < 2:
        return position
    after = _skip_line_breaks(data, position + 1)
    if in_group == 2:
        if after == len(data):
            return after
        if data[after] != _PADDING:
            return after - 1
        after = _skip_line_breaks(data, after + 1)
    return after if after < len(data) else None


def _skip_line_breaks(data: bytes, position: int) -> int:
    while position < len(data) and data[position] in _LINE_BREAKS:
        position += 1
    return position
