"""The compression wrapper: type 9, then msgpack `{Algo, Buf}`; algorithm 0 is LZW.

Datagrams are compressed when that makes them shorter, streams always. Readers take both from
everyone, whatever they send themselves.

From: memberlist `util.go` (`compressPayload`, `decompressPayload`, `decompressBuffer`). We differ
in stopping at a limit, and in never wrapping nothing, which makes memberlist 0.2.2 panic.
"""

from __future__ import annotations

from typing import Final

from .codec import Shape, pack, to_octets, to_u64, unpack_struct_untrusted
from .errors import MalformedInput, Reason
from .lzw import compress, compressed_size_min, decompress

LZW: Final = 0
COMPRESSED: Final[Shape] = ((b"Algo", to_u64), (b"Buf", to_octets))


def wrap(message: bytes) -> bytes:
    """Compress a message, also if that makes it longer.

    Raises:
        ValueError: An empty message.
    """
    if not message:
        raise ValueError("a compressed message of nothing crashes Go agents")
    return b"\x09" + pack({"Algo": LZW, "Buf": compress(message)})


def wrap_if_shorter(message: bytes) -> bytes:
    """Compress a message unless that makes it no shorter, as datagrams are.

    Raises:
        ValueError: An empty message.
    """
    if len(message) <= _SHORT and _WRAPPER_SIZE_MIN + compressed_size_min(message) >= len(message):
        return message
    wrapped = wrap(message)
    return wrapped if len(wrapped) < len(message) else message


_WRAPPER_SIZE_MIN: Final = len(b"\x09" + pack({"Algo": LZW, "Buf": b""}))
_SHORT: Final = 256
"""Messages of up to this size are looked at before they are compressed: most of them, pings, acks
and accusations, cannot get shorter, and trying costs more than all else about sending them."""


def unwrap_untrusted(data: bytes, size_max: int) -> bytes:
    """Return the message inside a wrapper (type byte included) that is wholly there.

    Raises:
        MalformedInput: Not a wrapper, another algorithm, bad LZW, more than `size_max` bytes.
    """
    algorithm, compressed = unpack_struct_untrusted(data[1:], COMPRESSED)
    return expand_untrusted(algorithm, compressed, size_max)


def expand_untrusted(algorithm: int, compressed: bytes, size_max: int) -> bytes:
    """Return the message inside, given the wrapper's fields.

    Raises:
        MalformedInput: Another algorithm, bad LZW, more than `size_max` bytes, or no bytes at all.
    """
    if algorithm != LZW:
        raise MalformedInput(
            Reason.BAD_COMPRESSION, f"Cannot decompress unknown algorithm {algorithm}"
        )
    message = decompress(compressed, size_max)
    if not message:
        raise MalformedInput(Reason.EMPTY, "a compressed message of no bytes")
    return message
