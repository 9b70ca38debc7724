"""LZW streams code by code: what encoders other than ours may write, and what nobody may."""

from __future__ import annotations

from collections.abc import Iterable

CLEAR, END, FIRST = 256, 257, 258


def pack_codes(codes: Iterable[int]) -> bytes:
    """Write codes one by one, by the rules of the format and nothing else."""
    bits, count, output = 0, 0, bytearray()
    highest, width = 257, 9
    for code in codes:
        bits |= code << count
        count += width
        while count >= 8:
            output.append(bits & 0xFF)
            bits >>= 8
            count -= 8
        if code == CLEAR:
            highest, width = 257, 9
        elif code != END:
            highest += 1
            if highest == 1 << width:
                if width == 12:
                    highest -= 1
                else:
                    width += 1
    if count:
        output.append(bits)
    return bytes(output)


def encode_slowly(data: bytes) -> bytes:
    """Compress as the specification of Go's encoder says, without any of our shortcuts."""
    codes = [CLEAR]
    table: dict[tuple[int, int], int] = {}
    highest = 257
    current = -1
    for byte in data:
        if current < 0:
            current = byte
        elif (current, byte) in table:
            current = table[current, byte]
        else:
            codes.append(current)
            highest += 1
            if highest == 4095:
                codes.append(CLEAR)
                highest, table = 257, {}
            else:
                table[current, byte] = highest
            current = byte
    if current >= 0:
        codes.append(current)
        if highest + 1 == 4095:
            codes.append(CLEAR)
    return pack_codes([*codes, END])


def zeros(size: int) -> bytes:
    """Return the shortest stream for that many zero bytes: a bomb."""
    codes: list[int] = []
    longest = 0  # of the strings that there are since the clear
    while size:
        if longest == 3838:
            codes.append(CLEAR)
            longest = 0
        length = min(longest + 1, size)
        codes.append(0 if length == 1 else 256 + length)
        longest += 1
        size -= length
    return pack_codes([CLEAR, *codes, END])
