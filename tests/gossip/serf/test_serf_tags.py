"""Tags in node meta: recorded ones, the old form, and the size limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.gossip.serf import tags as tags_module
from rookery.gossip.serf.tags import TagsTooLarge, decode_tags_untrusted, encode_tags
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.limits import META_SIZE_MAX

from ..vector_files import MESSAGES, STREAMS

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)

RECORDED = [
    (case.vector["body"]["Meta"], case.vector["tags"]) for case in MESSAGES if "tags" in case.vector
] + [
    (node["Meta"], node["tags"])
    for case in STREAMS
    for node in case.vector[case.side].get("nodes", [])
]


def test_recorded_meta_decodes_to_its_tags() -> None:
    """The tags of every recorded node; written again they mean the same (Go's order is random)."""
    assert len(RECORDED) > 50
    for meta, wanted in RECORDED:
        tags = decode_tags_untrusted(bytes.fromhex(meta))
        assert tags == wanted
        assert decode_tags_untrusted(encode_tags(tags)) == wanted
        assert len(encode_tags(tags)) == len(bytes.fromhex(meta))


@PROPERTY
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=6))
def test_decoding_undoes_encoding(tags: dict[str, str]) -> None:
    """Any tags that fit come back, and always as the same bytes."""
    try:
        meta = encode_tags(tags)
    except TagsTooLarge:
        return
    assert decode_tags_untrusted(meta) == tags
    assert encode_tags(dict(reversed(list(tags.items())))) == meta


@PROPERTY
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"\xff" + data))
def test_arbitrary_meta_is_tags_or_malformed(meta: bytes) -> None:
    """No bytes raise anything else; keys and values are never longer than the meta."""
    try:
        tags = decode_tags_untrusted(meta)
    except MalformedInput:
        assert meta.startswith(b"\xff")  # anything else is the role
        return
    total = sum(len(key) + len(value) for key, value in tags.items())
    assert total <= len(meta) + len("role")


@pytest.mark.parametrize(
    ("meta", "tags"),
    [
        (b"", {"role": ""}),
        (b"web", {"role": "web"}),
        (b"\x81\xa4role\xa3web", {"role": "\udc81\udca4role\udca3web"}),
        (b"\xff\x80", {}),
        (b"\xff\xc0", {}),
        (b"\xff\x81\xc4\x01a\xd9\x01b", {"a": "b"}),
        (b"\xff\x81\xc0\xc0", {"": ""}),
        (b"\xff\x82\xa1a\xa1b\xa1a\xa1c", {"a": "c"}),
        (b"\xff\x81\xa1a\xa1bbehind", {"a": "b"}),
    ],
)
def test_meta_is_read_as_by_serf(meta: bytes, tags: dict[str, str]) -> None:
    """Without the magic byte it is the role of protocol 2; nil, bin and repeats as in Go."""
    assert decode_tags_untrusted(meta) == tags


@pytest.mark.parametrize(
    "meta",
    [b"\xff", b"\xff\x81", b"\xff\x07", b"\xff\x90", b"\xff\x81\xa1a\x05", b"\xff\x81\x05\xa1a"],
)
def test_meta_that_does_not_decode_is_malformed(meta: bytes) -> None:
    """The node is a member all the same; that is for the engine."""
    with pytest.raises(MalformedInput) as caught:
        decode_tags_untrusted(meta)
    assert caught.value.reason == Reason.BAD_TAGS


def test_no_tags_are_two_bytes() -> None:
    """The magic byte and an empty map."""
    assert encode_tags({}) == b"\xff\x80"


def test_tags_end_at_the_size_of_meta() -> None:
    """Tags of just the limit are written, one byte more names the size and the excess."""
    fitting = {"k": "v" * (META_SIZE_MAX - len(encode_tags({"k": "v" * 300})) + 300)}
    assert len(encode_tags(fitting)) == META_SIZE_MAX
    with pytest.raises(TagsTooLarge, match="513 bytes, 1 more than the 512") as caught:
        encode_tags({"k": fitting["k"] + "v"})
    assert caught.value.size == META_SIZE_MAX + 1
    assert isinstance(caught.value, ValueError)


def test_decoded_tags_are_shared_and_read_only() -> None:
    """Equal meta gives one mapping, which nobody can change; larger meta is not remembered."""
    meta = encode_tags({"role": "web"})
    tags: Any = decode_tags_untrusted(meta)
    assert decode_tags_untrusted(bytes(bytearray(meta))) is tags
    with pytest.raises(TypeError):
        tags["role"] = "db"
    large = b"x" * (META_SIZE_MAX + 1)
    assert decode_tags_untrusted(large) == {"role": large.decode()}
    assert decode_tags_untrusted(large) is not decode_tags_untrusted(large)
    assert tags_module._decode_remembered.cache_info().maxsize == 4096
