"""A member's tags: a small map of text, carried in memberlist's node meta.

Meta is the byte 0xff followed by a msgpack map of text to text. Meta that starts with another byte,
or is empty, comes from Serf protocol 2, which had a single tag: the whole meta is its `role`.

Keys are written in sorted order, so that the same tags are always the same bytes: other members
compare meta byte by byte to notice an update. (Go writes them in random order.)

From: serf `serf/serf.go` (`encodeTags`, `decodeTags`) and `delegate.go` (`NodeMeta`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from ..wire.codec import pack, to_map, to_text, unpack_untrusted
from ..wire.errors import MalformedInput, Reason
from ..wire.limits import MEMO_ENTRIES_MAX, META_SIZE_MAX

TAGS_MAGIC: Final = 0xFF
"""First byte of meta that holds a map of tags; no text of protocol 2 starts with it."""


class TagsTooLarge(ValueError):
    """The encoded tags are larger than a node's meta may be."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"encoded tags have {size} bytes, {size - META_SIZE_MAX} more than the {META_SIZE_MAX}"
            " that node meta may have"
        )
        self.size = size


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """Write tags as node meta.

    Raises:
        TagsTooLarge: They need more than `META_SIZE_MAX` bytes.
    """
    meta = b"\xff" + pack(dict(sorted(tags.items())))
    if len(meta) > META_SIZE_MAX:
        raise TagsTooLarge(len(meta))
    return meta


def decode_tags_untrusted(meta: bytes) -> Mapping[str, str]:
    """Read tags from node meta.

    Returns:
        A read-only mapping; keys and values together are never longer than the meta.

    Raises:
        MalformedInput: The map does not decode. The node is a member all the same, without tags.
    """
    # Decoding is remembered for meta of a lawful size only, so that the memory is bounded.
    return (_decode_remembered if len(meta) <= META_SIZE_MAX else _decode)(meta)


def _decode(meta: bytes) -> Mapping[str, str]:
    if not meta or meta[0] != TAGS_MAGIC:
        return MappingProxyType({"role": to_text(meta)})
    try:
        return MappingProxyType(to_map(unpack_untrusted(meta[1:]), to_text))
    except MalformedInput as error:
        raise MalformedInput(Reason.BAD_TAGS, f"{error.reason}: {error.detail}") from None


_decode_remembered = lru_cache(maxsize=MEMO_ENTRIES_MAX)(_decode)
