"""The CRC header of datagrams: type 12, CRC-32 of the rest (big endian), the rest.

It stands inside the encryption and outside compression and compound, once. Peers add it for
receivers that announce protocol 5 or later.

From: memberlist `net.go` (`handleCommand`, `rawSendMsgPacket`). We differ in refusing a header with
nothing behind it, which makes memberlist 0.2.2 panic.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from .errors import MalformedInput, Reason

HEADER_SIZE: Final = 5
_TYPE: Final = 12


def add_checksum(message: bytes) -> bytes:
    """Put the header in front.

    Raises:
        ValueError: Nothing to put it in front of.
    """
    if not message:
        raise ValueError("a CRC header with nothing behind it crashes Go agents")
    return b"\x0c" + crc32(message).to_bytes(4, "big") + message


def strip_checksum_untrusted(data: bytes) -> bytes:
    """Return what is behind the header, or all of it if there is no header.

    Fewer than five bytes are no header, whatever their type.

    Raises:
        MalformedInput: The sum is wrong.
    """
    if len(data) < HEADER_SIZE or data[0] != _TYPE:
        return data
    rest = data[HEADER_SIZE:]
    if crc32(rest) != int.from_bytes(data[1:HEADER_SIZE], "big"):
        raise MalformedInput(Reason.BAD_CHECKSUM, f"{crc32(rest):08x}, not {data[1:5].hex()}")
    return rest
