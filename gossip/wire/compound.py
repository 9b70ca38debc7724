"""Several messages in one datagram: type 7, count, that many 16 bit lengths, the parts.

From: memberlist `util.go` (`makeCompoundMessages`, `decodeCompoundMessage`). We differ in what we
write: never an empty part, which makes memberlist 0.2.2 panic, and at most 127 parts, because up to
0.2.3 it computes the size of the length table in eight bits.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from .errors import MalformedInput, Reason
from .limits import COMPOUND_PART_SIZE_MAX, COMPOUND_PARTS_SENT_MAX

HEADER_SIZE: Final = 2
"""Type and count."""
LENGTH_SIZE: Final = 2
"""What each part adds besides itself."""


def join_parts(parts: Sequence[bytes]) -> bytes:
    """Make a compound.

    Raises:
        ValueError: No part, too many, an empty or a too long one.
    """
    count = len(parts)
    if not 1 <= count <= COMPOUND_PARTS_SENT_MAX:
        raise ValueError(
            f"a compound of {count} parts, from 1 to {COMPOUND_PARTS_SENT_MAX} allowed"
        )
    lengths = [len(part) for part in parts]
    if min(lengths) == 0:
        raise ValueError("a compound with an empty part crashes Go agents")
    if max(lengths) > COMPOUND_PART_SIZE_MAX:
        raise ValueError(f"a part of {max(lengths)} bytes, at most {COMPOUND_PART_SIZE_MAX}")
    return struct.pack(f">BB{count}H", 7, count, *lengths) + b"".join(parts)


def split_parts_untrusted(data: bytes) -> tuple[list[bytes], int]:
    """Take a compound apart.

    Returns:
        The complete leading parts (some perhaps empty), and the number of parts cut off.

    Raises:
        MalformedInput: The count or the table of lengths is incomplete.
    """
    if len(data) < HEADER_SIZE:
        raise MalformedInput(Reason.BAD_COMPOUND, "no count")
    count = data[1]
    start = HEADER_SIZE + LENGTH_SIZE * count
    if len(data) < start:
        raise MalformedInput(Reason.BAD_COMPOUND, f"the lengths of {count} parts are incomplete")
    parts = []
    for length in struct.unpack_from(f">{count}H", data, HEADER_SIZE):
        end = start + length
        if end > len(data):
            break
        parts.append(data[start:end])
        start = end
    return parts, count - len(parts)
