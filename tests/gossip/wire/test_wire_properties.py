"""Properties of the whole wire: what is written is read, and no bytes do more than be malformed."""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no type information
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.gossip.serf.messages import (
    ConflictMember,
    ConflictResponse,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    NodeFilter,
    PushPullState,
    Query,
    QueryResponse,
    RecentEvents,
    Relay,
    TagFilter,
    UserEvent,
    decode_filter_untrusted,
    decode_serf_message_untrusted,
    encode_filter,
    encode_serf_message,
)
from rookery.gossip.serf.tags import decode_tags_untrusted
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.limits import (
    PACKET_DECOMPRESSED_SIZE_MAX,
    PACKET_MESSAGES_MAX,
    UDP_PACKET_SIZE_MAX,
)
from rookery.gossip.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    PushPull,
    Suspect,
    User,
    decode_message_untrusted,
    encode_message,
    encode_user_stream,
)
from rookery.gossip.wire.packets import PacketCodec
from rookery.gossip.wire.streams import StreamCodec

from ..vector_files import DATAGRAMS, MESSAGES, REACTIONS, STREAMS, packet_codec, stream_codec

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)
MANY = settings(max_examples=400, deadline=None, derandomize=True)

# --- any message ---

# Text may hold bytes that are no UTF-8. Decoding real text never yields surrogates that together
# would be UTF-8, so raw bytes stand alone here.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.binary(max_size=20).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
octets = st.binary(max_size=60)
payloads = st.none() | octets
u8, u16 = st.integers(0, 2**8 - 1), st.integers(0, 2**16 - 1)
u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
versions = st.binary(min_size=6, max_size=6)
tags = st.dictionaries(texts, texts, max_size=5)

packet_messages = st.one_of(
    st.builds(Ping, u32, texts, octets, u16, texts),
    st.builds(IndirectPing, u32, octets, u16, texts, st.booleans(), octets, u16, texts),
    st.builds(Ack, u32, payloads),
    st.builds(Nack, u32),
    st.builds(Suspect, u32, texts, texts),
    st.builds(Dead, u32, texts, texts),
    st.builds(Alive, st.integers(1, 2**32 - 1), texts, addresses, u16, octets, versions),
    st.builds(User, octets),
)
node_states = st.builds(
    NodeState, texts, addresses, u16, octets, u32, st.integers(-(2**63), 2**63 - 1), versions
)
push_pulls = st.builds(
    PushPull, st.lists(node_states, max_size=4).map(tuple), octets, st.booleans()
)
events = st.builds(RecentEvents, u64, st.lists(st.tuples(texts, payloads), max_size=3).map(tuple))
members = st.builds(
    ConflictMember, texts, octets, u16, tags, st.integers(0, 4), u8, u8, u8, u8, u8, u8
)
serf_messages = st.one_of(
    st.builds(LeaveIntent, u64, texts, st.booleans()),
    st.builds(JoinIntent, u64, texts),
    st.builds(
        PushPullState,
        u64,
        st.dictionaries(texts, u64, max_size=5),
        st.lists(texts, max_size=5).map(tuple),
        u64,
        st.lists(events, max_size=3).map(tuple),
        u64,
    ),
    st.builds(UserEvent, u64, texts, payloads, st.booleans()),
    st.builds(
        Query,
        u64,
        u32,
        octets,
        u16,
        texts,
        st.lists(st.binary(min_size=1, max_size=20), max_size=3).map(tuple),
        u32,
        u8,
        st.integers(-(2**63), 2**63 - 1),
        texts,
        payloads,
    ),
    st.builds(QueryResponse, u64, u32, texts, u32, payloads),
    st.builds(ConflictResponse, st.none() | members),
    st.builds(KeyRequest, octets),
    st.builds(KeyResponse, st.booleans(), texts, st.none() | st.lists(texts).map(tuple), texts),
    st.builds(Relay, octets, u16, texts, texts, st.binary(min_size=1, max_size=60)),
)
filters = st.builds(NodeFilter, st.lists(texts).map(tuple)) | st.builds(TagFilter, texts, texts)


@pytest.mark.slow
@MANY
@given(packet_messages)
def test_decoding_undoes_encoding(message: Any) -> None:
    """Any message of a datagram comes back as it was."""
    data = encode_message(message)
    assert decode_message_untrusted(data) == message
    assert decode_message_untrusted(data + b"\xc1" * (not isinstance(message, User))) == message


@pytest.mark.slow
@MANY
@given(serf_messages)
def test_decoding_undoes_encoding_of_serf_messages(message: Any) -> None:
    """Any Serf message comes back as it was."""
    assert decode_serf_message_untrusted(encode_serf_message(message)) == message


@PROPERTY
@given(filters)
def test_decoding_undoes_encoding_of_filters(wanted: Any) -> None:
    """Any filter comes back as it was."""
    assert decode_filter_untrusted(encode_filter(wanted)) == wanted


# --- any settings ---

pool_settings = st.fixed_dictionaries(
    {
        "label": st.sampled_from((b"", b"pool", b"x" * 255)),
        "keyring": st.sampled_from((None, *(Keyring([bytes(size)]) for size in (16, 24, 32)))),
        "compression": st.booleans(),
        "encryption_version": st.integers(0, 1),
        "nonce": st.just(bytes),
    }
)


@PROPERTY
@given(pool_settings, st.lists(packet_messages, min_size=1, max_size=6), st.booleans())
def test_sealed_packets_open_to_their_messages(
    settings: dict[str, Any], messages: list[Any], crc: bool
) -> None:
    """Any messages survive any layers; the overhead announced is never passed."""
    codec = PacketCodec(**settings)
    parts = [encode_message(message) for message in messages]
    packet = codec.seal(parts, crc=crc)
    opened = codec.open_untrusted(packet)
    assert (opened.parts, opened.rejections) == (parts, [])
    compound_size = 2 + 2 * len(parts) if len(parts) > 1 else 0
    assert len(packet) <= sum(map(len, parts)) + compound_size + 5 * crc + codec.overhead


def as_request(message: Any) -> bytes:
    """Encode a message as it is on a stream."""
    return (
        encode_user_stream(message.payload)
        if isinstance(message, User)
        else encode_message(message)
    )


def feed_in_pieces(reader: Any, data: bytes, cuts: list[int]) -> Any:
    """Feed data cut at these places; return the last thing that came out."""
    message = None
    ends = [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    start = 0
    for end in ends:
        message = reader.feed(data[start:end]) or message
        start = end
    reader.feed_eof()
    return message


cut_lists = st.lists(st.integers(0, 2000), max_size=5)


@PROPERTY
@given(
    pool_settings,
    push_pulls | st.builds(Ping, u32, texts, octets, u16, texts) | st.builds(User, octets),
    cut_lists,
)
def test_sealed_requests_are_read(settings: dict[str, Any], message: Any, cuts: list[int]) -> None:
    """Any request survives any layers, in any pieces."""
    codec = StreamCodec(**settings)
    data = codec.seal_request(as_request(message))
    assert feed_in_pieces(codec.request_reader(), data, cuts) == message


@PROPERTY
@given(
    pool_settings,
    push_pulls | st.builds(Ack, u32, payloads) | st.builds(ErrorReply, texts),
    cut_lists,
)
def test_sealed_replies_are_read(settings: dict[str, Any], message: Any, cuts: list[int]) -> None:
    """Any reply survives any layers, in any pieces."""
    codec = StreamCodec(**settings)
    data = codec.seal_reply(encode_message(message))
    assert feed_in_pieces(codec.reply_reader(), data, cuts) == message


# --- any bytes ---


def read_part(part: bytes) -> None:
    """Read everything there is to read in a bare message."""
    message = decode_message_untrusted(part)
    match message:
        case User(payload):
            read_serf(payload, 0)
        case Alive():
            decode_tags_untrusted(message.meta)


def read_serf(data: bytes, depth: int) -> None:
    """Read a Serf message, and those inside it."""
    message = decode_serf_message_untrusted(data)
    if isinstance(message, Query):
        for wanted in message.filters:
            decode_filter_untrusted(wanted)
    inner = (
        message.inner
        if isinstance(message, Relay)
        else message.payload
        if isinstance(message, Query | QueryResponse)
        else None
    )
    if inner and depth < 3:
        read_serf(inner, depth + 1)


def read_packet(codec: PacketCodec, data: bytes) -> None:
    """Open a datagram and read all that is in it; nothing but malformed input may come of it."""
    with contextlib.suppress(MalformedInput):
        opened = codec.open_untrusted(data)
        assert len(opened.parts) + len(opened.rejections) <= PACKET_MESSAGES_MAX + 10
        assert sum(map(len, opened.parts)) <= UDP_PACKET_SIZE_MAX + PACKET_DECOMPRESSED_SIZE_MAX
        for part in opened.parts:
            assert part
            with contextlib.suppress(MalformedInput):
                read_part(part)


def read_stream(reader: Any, data: bytes) -> None:
    """Read a stream and all that is in it; nothing but malformed input may come of it."""
    with contextlib.suppress(MalformedInput):
        middle = len(data) // 2
        message = reader.feed(data[:middle]) or reader.feed(data[middle:])
        reader.feed_eof()
        if isinstance(message, PushPull):
            read_serf(message.user_state, 0)


bodies = st.binary(max_size=120)
types = st.sampled_from([*range(15), 244])


@pytest.mark.slow
@MANY
@given(bodies | st.builds(lambda number, body: bytes((number,)) + body, types, bodies))
def test_arbitrary_bytes_are_malformed_at_worst(data: bytes) -> None:
    """No bytes make anything raise but malformed input, whatever they are taken for."""
    for pool in ({}, {"label": b"pool"}, {"keyring": Keyring([bytes(16)])}):
        read_packet(PacketCodec(**pool, nonce=bytes), data)
        codec = StreamCodec(**pool, nonce=bytes)
        read_stream(codec.request_reader(), data)
        read_stream(codec.reply_reader(), data)
    for read in (decode_message_untrusted, decode_serf_message_untrusted, decode_filter_untrusted):
        with contextlib.suppress(MalformedInput):
            read(data)


@MANY
@given(st.integers(0, 10), bodies)
def test_arbitrary_serf_bodies_are_malformed_at_worst(number: int, body: bytes) -> None:
    """The same for the body of each Serf message."""
    with contextlib.suppress(MalformedInput):
        read_serf(bytes((number,)) + body, 0)


# Msgpack that is well formed, but not what is wanted: it gets past the first check.
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=9)
    | st.sampled_from(["SeqNo", "Node", "Addr", "Meta", "Vsn", "Events", "StatusLTimes", "Buf"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(scalars.filter(lambda key: not isinstance(key, float)), inner, max_size=4)
    ),
    max_leaves=12,
)
recorded_names = {name for recorded in MESSAGES for name in recorded.vector.get("body", ())}
field_names = st.sampled_from(
    sorted(
        recorded_names | {"Algo", "Buf", "StatusLTimes", "LeftMembers", "Events", "Tags", "Nodes"}
    )
)


@pytest.mark.slow
@MANY
@given(types, st.dictionaries(field_names, values, max_size=5) | st.lists(values, max_size=8))
def test_wrong_msgpack_is_malformed_at_worst(number: int, value: Any) -> None:
    """Any values in any fields: read, or malformed."""
    body = msgpack.packb(value, use_bin_type=number % 2 == 1)
    data = bytes((number,)) + body
    read_packet(PacketCodec(nonce=bytes), data)
    read_packet(PacketCodec(nonce=bytes), b"\x08" + data)
    codec = StreamCodec(nonce=bytes)
    read_stream(codec.request_reader(), data)
    read_stream(codec.reply_reader(), data)


# --- damaged recordings ---

damage = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 255)), max_size=4)
lengths = st.none() | st.integers(0, 5000)


def damaged(data: bytes, changes: list[tuple[int, int]], length: int | None) -> bytes:
    """Flip bits at these places, and cut at that length."""
    changed = bytearray(data)
    for place, bits in changes:
        changed[place % len(changed)] ^= bits
    return bytes(changed if length is None else changed[: length % (len(changed) + 1)])


@pytest.mark.slow
@MANY
@given(st.sampled_from(DATAGRAMS), damage, lengths)
def test_damaged_datagrams_are_malformed_at_worst(
    recorded: Any, changes: list[tuple[int, int]], length: int | None
) -> None:
    """Recorded datagrams with flipped bits or cut short raise nothing but malformed input."""
    data = damaged(bytes.fromhex(recorded.vector["packet"]), changes, length)
    read_packet(packet_codec(recorded), data)
    # The same below the outer layers, which would catch most of the damage.
    for message in recorded.vector["messages"]:
        read_packet(
            PacketCodec(nonce=bytes), damaged(bytes.fromhex(message["hex"]), changes, length)
        )


@pytest.mark.slow
@MANY
@given(st.sampled_from(STREAMS), damage, lengths)
def test_damaged_streams_are_malformed_at_worst(
    recorded: Any, changes: list[tuple[int, int]], length: int | None
) -> None:
    """Recorded streams with flipped bits or cut short raise nothing but malformed input."""
    side = recorded.vector[recorded.side]
    data = damaged(bytes.fromhex(side["stream"]), changes, length)
    codec = stream_codec(recorded)
    read_stream(codec.request_reader(), data)
    read_stream(codec.reply_reader(), data)
    if side.get("user_state_hex"):
        with contextlib.suppress(MalformedInput):
            read_serf(damaged(bytes.fromhex(side["user_state_hex"]), changes, length), 0)


@PROPERTY
@given(st.sampled_from(REACTIONS), damage, lengths)
def test_damaged_crafted_packets_are_malformed_at_worst(
    packet: dict[str, Any], changes: list[tuple[int, int]], length: int | None
) -> None:
    """What was crafted to hurt, hurt some more."""
    data = damaged(bytes.fromhex(packet["bytes"]), changes, length)
    read_packet(PacketCodec(nonce=bytes), data)
    read_stream(StreamCodec(nonce=bytes).request_reader(), data)


def test_every_truncated_stream_waits_or_is_malformed() -> None:
    """A recorded stream cut at any place never yields a message."""
    for recorded in STREAMS:
        data = bytes.fromhex(recorded.vector[recorded.side]["stream"])
        codec = stream_codec(recorded)
        is_request = recorded.side == "client_to_server"
        for length in range(0, len(data), 13):
            reader = codec.request_reader() if is_request else codec.reply_reader()
            assert reader.feed(data[:length]) is None
            with pytest.raises(MalformedInput) as caught:
                reader.feed_eof()
            assert caught.value.reason == Reason.TRUNCATED
