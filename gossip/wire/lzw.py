"""LZW as in Go's `compress/lzw`: least significant bit first, 8 bit literals.

Codes 0 to 255 are literals, 256 clears the table, 257 ends the data, 258 to 4095 are strings seen
before. Codes are 9 bits wide after a clear and one bit wider each time the table outgrows the
width. So the width follows from the code's number since the clear; see `_width_end`. (GIF has the
same form; TIFF and PDF change the width one code earlier.)

The encoder is deterministic and gives Go's very bytes: a clear in front, and another each time the
table is full. The decoder also takes what other encoders may write: clears at any time, none at the
start, and a full table used on without a clear.

Pure Python pays for every byte it touches, so the work is arranged to touch few:

* The bits of up to 1024 codes are moved by a dozen operations on large integers. Codes are laid out
  in lanes of 16 bits; then pairs of lanes are drawn together, pairs of pairs, and so on, until no
  gaps are left (`_join_codes`). `_split_codes` does the same backwards.
* The decoder's loop has no tests in it: clear, end and undefined codes raise, and are told apart in
  the handler. Its table holds finished strings.
* The encoder's table is one dict, from (code << 16 | next byte) to (longer code << 16).

From: Go `compress/lzw` (`reader.go`, `writer.go`), as used by memberlist's `util.go`
(`compressPayload`, `decompressBuffer`).
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from functools import cache
from operator import length_hint
from typing import Any, Final

from .errors import MalformedInput, Reason

_CLEAR: Final = 256
_END: Final = 257
_FIRST: Final = 258
_TABLE_END: Final = 4096
_FULL: Final = 3839
"""Codes after which the decoder's table is full. Go's encoder clears one code earlier."""
_GROUP: Final = 1024
"""Codes whose bits are moved together."""


def _width_end(number: int) -> tuple[int, int]:
    """Return the width of a code by its number since the clear, and the first number beyond."""
    if number < 255:
        return 9, 255
    if number < 767:
        return 10, 767
    if number < 1791:
        return 11, 1791
    return 12, _FULL if number < _FULL else sys.maxsize


@cache  # four widths times ten levels
def _low_lanes(width: int, level: int) -> int:
    """Return a mask of the lower one of each pair of lanes that hold 2**level codes each."""
    half = 1 << level
    period = 2 * half * 16
    ones = (1 << half * width) - 1
    repetitions = _GROUP // (2 * half)
    return ones * (((1 << period * repetitions) - 1) // ((1 << period) - 1))


def _join_codes(codes: list[int], width: int) -> int:
    """Put at most `_GROUP` codes, given as `code << 16`, behind each other, `width` bits each."""
    lanes = array("I", codes)
    if sys.byteorder == "big":
        lanes.byteswap()
    value = int.from_bytes(memoryview(lanes.tobytes()).cast("H")[1::2].tobytes(), "little")
    for level in range((len(codes) - 1).bit_length()):
        low = value & _low_lanes(width, level)
        value = low | (value ^ low) >> ((16 - width) << level)
    return value


def _split_codes(value: int, number: int, width: int) -> list[int]:
    """Take `number` codes (at most `_GROUP`) of `width` bits each off the low end of `value`."""
    value &= (1 << number * width) - 1
    for level in reversed(range((number - 1).bit_length())):
        low = value & _low_lanes(width, level)
        value = low | (value ^ low) << ((16 - width) << level)
    codes = array("H", value.to_bytes(2 * number, "little"))
    if sys.byteorder == "big":
        codes.byteswap()
    return codes.tolist()


# --- compression ---


def compress(data: bytes) -> bytes:
    """Compress as Go does, byte for byte."""
    bits = _BitWriter()
    codes: list[int] = []  # since the clear
    table: dict[int, int] = {}
    # All codes in here are shifted, so that `current | byte` is a key.
    append, get, literals = codes.append, table.get, _SHIFTED_LITERALS
    free, full = _FIRST << 16, (_TABLE_END - 1) << 16
    following = iter(data)
    for first in following:
        current = literals[first]
        for byte in following:
            key = current | byte
            longer = get(key)
            if longer is not None:
                current = longer
                continue
            append(current)
            current = literals[byte]
            if free != full:
                table[key] = free
                free += 1 << 16
            else:
                append(_CLEAR << 16)
                bits.write(codes)
                codes.clear()
                table.clear()
                free = _FIRST << 16
        append(current)
    if len(codes) == _FULL - 1:
        append(_CLEAR << 16)
        bits.write(codes)
        codes.clear()
    append(_END << 16)
    bits.write(codes)
    return bits.finish()


def compressed_size_min(data: bytes) -> int:
    """Return a size below which compressing `data` cannot get, for a tenth of the work.

    Two bytes that follow each other for the first time are never inside one code, since the table
    only has what was there before. So there is a code for every different pair, and one more.
    """
    if not data:
        return 3
    at_even = memoryview(data)[: len(data) & ~1].cast("H")
    at_odd = memoryview(data)[1 : len(data) - 1 | 1].cast("H")
    codes = len({*at_even, *at_odd}) + 1
    return (_WIDTH_MIN * (codes + 2) + 7) // 8  # a clear in front, an end behind


_SHIFTED_LITERALS: Final = tuple(value << 16 for value in range(256))


class _BitWriter:
    """Collects codes as bits; begins with the clear that Go writes first."""

    __slots__ = ("_bit_count", "_bits", "_bytes")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._bits = _CLEAR  # fewer than 16 that make no whole byte yet, or are about to
        self._bit_count = 9

    def write(self, codes: list[int]) -> None:
        """Add codes, given as `code << 16`, of which the first is the first after a clear."""
        number = 0
        while number < len(codes):
            width, width_end = _width_end(number)
            group = codes[number : min(width_end, number + _GROUP)]
            number += len(group)
            bits = self._bits | _join_codes(group, width) << self._bit_count
            whole, self._bit_count = divmod(self._bit_count + len(group) * width, 8)
            self._bytes += (bits & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
            self._bits = bits >> 8 * whole

    def finish(self) -> bytes:
        """Return everything; the last byte is filled up with zeros."""
        if self._bit_count:
            self._bytes.append(self._bits)
        return bytes(self._bytes)


# --- decompression ---


def decompress(data: bytes, size_max: int) -> bytes:
    """Decompress up to the end code; what follows it is ignored.

    Memory stays within `size_max`, a small constant, and what the codes of the input need.

    Raises:
        MalformedInput: An unknown code, no end code, or more than `size_max` bytes.
    """
    strings: list[Any] = list(_STRINGS)  # bytes of each code; None for clear and end
    last: Any = None  # the string of the code before; None after a clear
    output: list[bytes] = []
    room = size_max
    bits_total = len(data) * 8
    position = 0  # of the next bit
    number = 0  # of the next code since the clear
    while True:
        # A group has one width, and is small enough not to overshoot the limit by much: no string
        # in it can be longer than there have been codes since the clear.
        width, width_end = _width_end(number)
        step = max(_STEP_MIN, room // (min(number, _FULL) + _GROUP))
        size = min(step, _GROUP, width_end - number, (bits_total - position) // width)
        if size <= 0:
            raise MalformedInput(Reason.BAD_COMPRESSION, "LZW data without an end code")
        piece = data[position >> 3 : (position + size * width + 7) >> 3]
        codes = _split_codes(int.from_bytes(piece, "little") >> (position & 7), size, width)

        following = iter(codes)
        group: list[bytes] = []
        emit = group.append
        define = strings.append if number < _FULL else deque[bytes](maxlen=0).append
        code = -1
        while code != _END:
            # Whatever is not the common case raises: testing for it would cost each code more.
            try:
                for code in following:
                    string = strings[code]
                    define(last + string[:1])
                    emit(string)
                    last = string
                break
            except IndexError:
                # An unknown code; lawful if it is the one that it defines itself.
                if last is None or code != len(strings):
                    raise MalformedInput(Reason.BAD_COMPRESSION, f"LZW code {code}") from None
                last += last[:1]
                define(last)
                emit(last)
            except TypeError:
                if code == _CLEAR:
                    # Go on with code number 0, behind this one. What was split off as 9 bits wide
                    # can still be used, what was split off wider cannot.
                    if width != _WIDTH_MIN:
                        size -= length_hint(following)
                        following = iter(())
                    number = length_hint(following) - size
                    del strings[_FIRST:]
                    last = None
                elif code != _END:  # the first code after a clear defines nothing
                    last = strings[code]
                    emit(last)
        position += size * width
        number += size
        room -= sum(map(len, group))
        if room < 0:
            raise MalformedInput(
                Reason.DECOMPRESSED_TOO_LARGE, "decompression stopped at its limit"
            )
        output += group
        if code == _END:
            return b"".join(output)


_WIDTH_MIN: Final = 9
_STEP_MIN: Final = 64
"""Codes looked at before the size is checked again, near the limit; at most 240 KiB over it."""
_STRINGS: Final = (*(bytes((value,)) for value in range(256)), None, None)
