"""Datagrams: order of the layers, what is understood where, and every limit."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.gossip.wire.checksum import add_checksum, strip_checksum_untrusted
from rookery.gossip.wire.codec import pack
from rookery.gossip.wire.compound import join_parts, split_parts_untrusted
from rookery.gossip.wire.compression import unwrap_untrusted, wrap, wrap_if_shorter
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.label import make_header
from rookery.gossip.wire.limits import (
    COMPOUND_PART_SIZE_MAX,
    COMPOUND_PARTS_RECEIVED_MAX,
    COMPOUND_PARTS_SENT_MAX,
    LABEL_SIZE_MAX,
    NESTING_MAX,
    PACKET_DECOMPRESSED_SIZE_MAX,
    PACKET_MESSAGES_MAX,
    UDP_PACKET_SIZE_MAX,
    UDP_PAYLOAD_SIZE_MAX,
)
from rookery.gossip.wire.lzw import compress, compressed_size_min
from rookery.gossip.wire.messages import Alive, Nack, Ping, encode_message
from rookery.gossip.wire.packets import PacketCodec

from .lzw_codes import zeros

RING = Keyring([bytes(range(32)), bytes(16)])
PING = encode_message(Ping(77, "tgt"))
NACK = encode_message(Nack(78))
ALIVES = [
    encode_message(
        Alive(i, f"node-{i}", bytes((10, 0, 0, i)), 7946, b"", bytes((1, 5, 2, 2, 5, 5)))
    )
    for i in range(1, 6)
]


def codec(**changes: Any) -> PacketCodec:
    """Return a codec; plain and without compression unless told otherwise."""
    return PacketCodec(**{"compression": False, "nonce": bytes} | changes)


def wrapper(compressed: bytes, algorithm: int = 0) -> bytes:
    """Return a compression wrapper around bytes that may be anything."""
    return b"\x09" + pack({"Algo": algorithm, "Buf": compressed})


def raw_compound(*parts: bytes, lost: int = 0) -> bytes:
    """Return a compound that may break the rules; the last `lost` parts are announced only."""
    lengths = b"".join(len(part).to_bytes(2, "big") for part in parts)
    kept = parts[: len(parts) - lost]
    return bytes((7, len(parts))) + lengths + b"".join(kept)


def reason_of(opening: PacketCodec, data: bytes) -> str:
    """Return why a datagram is malformed as a whole."""
    with pytest.raises(MalformedInput) as caught:
        opening.open_untrusted(data)
    return caught.value.reason


# --- sealing ---


def test_one_message_is_sent_bare_and_several_as_a_compound() -> None:
    """Without any setting, nothing is added to one message."""
    assert codec().seal([PING], crc=False) == PING
    assert codec().seal([PING, NACK], crc=False) == join_parts([PING, NACK])


def test_layers_are_put_on_in_order() -> None:
    """Compound, compression, CRC, encryption, label: from the inside out."""
    everything = codec(label=b"pool", keyring=RING, compression=True)
    packet = everything.seal(ALIVES, crc=True)
    assert packet.startswith(make_header(b"pool") + b"\x01")
    without_label = packet[len(make_header(b"pool")) :]
    # Open the encryption alone; its associated data is the label.
    opened = RING.ciphers[0].decrypt(without_label[1:13], without_label[13:], b"pool")
    assert opened[:5] == b"\x0c" + crc32(opened[5:]).to_bytes(4, "big")
    assert opened[5] == 9
    assert unwrap_untrusted(opened[5:], 10_000) == join_parts(ALIVES)
    assert everything.open_untrusted(packet).parts == ALIVES


def test_compression_is_used_only_where_it_is_shorter() -> None:
    """What would not get shorter is sent as it is, to the byte."""
    compressing = codec(compression=True)
    assert compressing.seal(ALIVES, crc=False)[0] == 9
    noise = b"\x08" + bytes(range(256))
    assert compressing.seal([noise], crc=False) == noise
    sizes = range(1, 60)
    for size in sizes:
        message = b"\x08" * size
        smaller = min(message, wrap(message), key=len)
        assert compressing.seal([message], crc=False) == smaller
    assert len(wrap(b"\x08" * max(sizes))) < max(sizes)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text("abc", min_size=1, max_size=400).map(str.encode) | st.binary(min_size=1, max_size=99)
)
def test_short_look_never_misses_a_gain(message: bytes) -> None:
    """The look that saves compressing in vain gives what compressing would have given."""
    assert compressed_size_min(message) <= len(compress(message))
    assert wrap_if_shorter(message) == min(message, wrap(message), key=len)


@pytest.mark.parametrize(
    ("pool", "overhead"),
    [
        ({}, 0),
        ({"label": b"pool"}, 6),
        ({"keyring": RING}, 29),
        ({"keyring": RING, "label": b"pool"}, 35),
        ({"keyring": RING, "encryption_version": 0}, 45),
        ({"keyring": RING, "verify_outgoing": False}, 0),
    ],
)
def test_overhead_is_what_sealing_adds_at_most(pool: dict[str, Any], overhead: int) -> None:
    """Gossip is packed to a budget, so the codec says what label and encryption will add."""
    assert codec(**pool).overhead == overhead
    added = [
        len(codec(**pool).seal([bytes((8,)) * size], crc=False)) - size for size in range(1, 33)
    ]
    assert max(added) == overhead


def test_nonce_is_asked_for_with_every_packet() -> None:
    """Twelve fresh bytes each time, from the function given at construction."""
    asked: list[int] = []

    def nonce(size: int) -> bytes:
        asked.append(size)
        return bytes((len(asked),)) * size

    sealing = codec(keyring=RING, nonce=nonce)
    packets = [sealing.seal([PING], crc=False) for _ in range(3)]
    assert asked == [12, 12, 12]
    assert [packet[1:13] for packet in packets] == [bytes((i,)) * 12 for i in (1, 2, 3)]


HARMFUL = {
    "no part": [],
    "an empty message": [b""],
    "an empty part": [PING, b""],
    "an empty first part": [b"", PING],
}


@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.parametrize("crc", [False, True])
@pytest.mark.parametrize("compression", [False, True])
def test_what_kills_go_agents_is_not_sealed(name: str, crc: bool, compression: bool) -> None:
    """Empty parts, and wrappers around nothing, are the caller's error."""
    with pytest.raises(ValueError, match=r"empty|compound of 0 parts"):
        codec(compression=compression).seal(HARMFUL[name], crc=crc)


def test_wrappers_around_nothing_are_not_made() -> None:
    """The layers refuse it too, each on its own."""
    for make in (wrap, add_checksum):
        with pytest.raises(ValueError, match="nothing"):
            make(b"")


def test_compound_parts_end_at_what_old_peers_read() -> None:
    """127 parts are sent, 128 are not: memberlist up to 0.2.3 misreads them."""
    parts = [NACK] * COMPOUND_PARTS_SENT_MAX
    assert codec().open_untrusted(codec().seal(parts, crc=False)).parts == parts
    with pytest.raises(ValueError, match="128 parts"):
        codec().seal([*parts, NACK], crc=False)


def test_compound_part_ends_at_its_length_field() -> None:
    """65535 bytes fit the 16 bit length, one more does not."""
    part = bytes((8,)) * COMPOUND_PART_SIZE_MAX
    assert split_parts_untrusted(join_parts([part])) == ([part], 0)
    with pytest.raises(ValueError, match="65536 bytes"):
        join_parts([part + b"x"])


def test_datagram_ends_at_what_ip_carries() -> None:
    """A datagram of just the limit is sealed, one byte more is not."""
    for pool in ({}, {"keyring": RING}):
        sealing = codec(**pool)
        largest = bytes((8,)) * (UDP_PAYLOAD_SIZE_MAX - sealing.overhead)
        assert len(sealing.seal([largest], crc=False)) == UDP_PAYLOAD_SIZE_MAX
        with pytest.raises(ValueError, match="65508 bytes"):
            sealing.seal([largest + b"x"], crc=False)


def test_label_ends_at_its_length_byte() -> None:
    """255 bytes are a label, 256 are not."""
    label = b"x" * LABEL_SIZE_MAX
    assert codec(label=label).open_untrusted(codec(label=label).seal([PING], crc=False)).parts
    with pytest.raises(ValueError, match="256 bytes"):
        codec(label=label + b"x")


# --- opening ---


def test_compound_and_compression_may_contain_each_other() -> None:
    """Compression in compound in compression in compound, as Go peers take it."""
    nested = join_parts([PING, wrap(join_parts([NACK, wrap(PING), NACK])), NACK])
    assert codec().open_untrusted(wrap(nested)).parts == [PING, NACK, PING, NACK, NACK]


def test_crc_is_read_only_where_it_belongs() -> None:
    """Inside the encryption and outside everything else; elsewhere it is an unknown message."""
    inside = add_checksum(PING)
    assert codec().open_untrusted(inside).parts == [PING]
    assert codec().open_untrusted(add_checksum(inside)).parts == [inside]  # once only
    assert codec().open_untrusted(wrap(inside)).parts == [inside]
    sealed = codec(keyring=RING).seal([PING], crc=False)
    assert reason_of(codec(keyring=RING), add_checksum(sealed)) == Reason.UNDECRYPTABLE


def test_fewer_than_five_bytes_are_no_checksum() -> None:
    """Type 12 with up to three bytes behind it goes on as a message (of a type nobody handles)."""
    for size in range(1, 5):
        data = b"\x0c" + bytes(size - 1)
        assert strip_checksum_untrusted(data) == data
        assert codec().open_untrusted(data).parts == [data]


def test_wrong_checksum_drops_the_datagram() -> None:
    """One bit anywhere in sum or message is enough."""
    good = add_checksum(PING)
    for position in range(1, len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x10
        assert reason_of(codec(), bytes(bad)) == Reason.BAD_CHECKSUM


EMPTY = {
    "no bytes": b"",
    "checksum of nothing": add_checksum(b"x")[:1] + bytes(4),
    "compression of nothing": wrapper(bytes.fromhex("000302")),
}


@pytest.mark.parametrize("name", EMPTY)
def test_datagram_with_nothing_in_it_is_malformed(name: str) -> None:
    """Empty inner messages kill Go agents; here they are counted."""
    assert reason_of(codec(), EMPTY[name]) == Reason.EMPTY


LABELS = {
    "none where one is wanted": (b"pool", PING, Reason.WRONG_LABEL),
    "another": (b"pool", make_header(b"loop") + PING, Reason.WRONG_LABEL),
    "a longer one": (b"pool", make_header(b"pools") + PING, Reason.WRONG_LABEL),
    "one where none is wanted": (b"", make_header(b"pool") + PING, Reason.WRONG_LABEL),
    "the empty one": (b"", b"\xf4\x00" + PING, Reason.WRONG_LABEL),
    "the empty one for another": (b"pool", b"\xf4\x00" + PING, Reason.WRONG_LABEL),
    "cut off in the text": (b"pool", b"\xf4\x04poo", Reason.TRUNCATED),
    "cut off before the length": (b"pool", b"\xf4", Reason.TRUNCATED),
    "nothing at all": (b"pool", b"", Reason.WRONG_LABEL),
    "nothing behind it": (b"pool", make_header(b"pool"), Reason.EMPTY),
}


@pytest.mark.parametrize("name", LABELS)
def test_wrong_label_drops_the_datagram(name: str) -> None:
    """The label must be just the configured one, and be there just if one is configured."""
    label, data, reason = LABELS[name]
    assert reason_of(codec(label=label), data) == reason


def test_label_is_part_of_the_associated_data() -> None:
    """A payload sealed under another label does not open, whatever the header says."""
    sealed = codec(keyring=RING, label=b"pool").seal([PING], crc=False)
    forged = make_header(b"loop") + sealed[len(make_header(b"pool")) :]
    assert reason_of(codec(keyring=RING, label=b"loop"), forged) == Reason.UNDECRYPTABLE


SEALED = codec(keyring=RING).seal([PING], crc=False)
OTHER_KEY = codec(keyring=Keyring([bytes(24)])).seal([PING], crc=False)


def test_datagram_is_opened_by_the_receivers_own_settings() -> None:
    """Nothing in a datagram says that it is encrypted; the table of the protocol's section 4.3."""
    assert codec(keyring=RING).open_untrusted(SEALED).parts == [PING]
    assert reason_of(codec(keyring=RING), PING) == Reason.UNDECRYPTABLE
    assert reason_of(codec(keyring=RING), OTHER_KEY) == Reason.UNDECRYPTABLE
    lenient = codec(keyring=RING, verify_incoming=False)
    assert lenient.open_untrusted(SEALED).parts == [PING]
    assert lenient.open_untrusted(PING).parts == [PING]
    assert codec().open_untrusted(SEALED).parts == [SEALED]  # taken for an indirect ping


def test_plaintext_is_sent_while_outgoing_encryption_is_off() -> None:
    """The switch with which encryption is introduced to a running pool."""
    assert codec(keyring=RING, verify_outgoing=False).seal([PING], crc=False) == PING


def test_codec_follows_the_keyring() -> None:
    """A rotation on the shared ring takes effect with the next packet, both ways."""
    ours, theirs = Keyring([bytes(16)]), Keyring([bytes(16)])
    sending, receiving = codec(keyring=ours), codec(keyring=theirs)
    ours.install(bytes(32))
    ours.use(bytes(32))
    packet = sending.seal([PING], crc=False)
    assert reason_of(receiving, packet) == Reason.UNDECRYPTABLE
    theirs.install(bytes(32))
    assert receiving.open_untrusted(packet).parts == [PING]


REJECTED = {
    "an empty part": (raw_compound(b"", PING), [PING], [Reason.EMPTY]),
    "only empty parts": (raw_compound(b"", b""), [], [Reason.EMPTY] * 2),
    "parts cut off": (raw_compound(PING, NACK, PING, lost=2), [PING], [Reason.BAD_COMPOUND]),
    "no parts": (b"\x07\x00", [], []),
    "bad compression": (
        raw_compound(PING, wrapper(b"\xff" * 9), NACK),
        [PING, NACK],
        [Reason.BAD_COMPRESSION],
    ),
    "unknown algorithm": (raw_compound(wrapper(b"", 9), NACK), [NACK], [Reason.BAD_COMPRESSION]),
    "a compound without a count": (raw_compound(b"\x07", NACK), [NACK], [Reason.BAD_COMPOUND]),
    "a compound without lengths": (
        raw_compound(b"\x07\x05\x00\x01", NACK),
        [NACK],
        [Reason.BAD_COMPOUND],
    ),
    "compression of nothing": (
        raw_compound(PING, wrapper(bytes.fromhex("000302"))),
        [PING],
        [Reason.EMPTY],
    ),
    "bytes behind the last part": (raw_compound(PING) + b"behind", [PING], []),
}


@pytest.mark.parametrize("name", REJECTED)
def test_bad_part_leaves_the_others_alone(name: str) -> None:
    """Inside a compound each part stands for itself."""
    data, parts, reasons = REJECTED[name]
    opened = codec().open_untrusted(data)
    assert opened.parts == parts
    assert [rejection.reason for rejection in opened.rejections] == reasons


OUTER = {
    "compound without a count": (b"\x07", Reason.BAD_COMPOUND),
    "compound without lengths": (b"\x07\xc8\x00\x01", Reason.BAD_COMPOUND),
    "compression that is no msgpack": (b"\x09\xc1", Reason.BAD_MSGPACK),
    "compression without a body": (b"\x09", Reason.BAD_MSGPACK),
    "unknown algorithm": (wrapper(b"", 9), Reason.BAD_COMPRESSION),
    "bad LZW": (wrapper(b"\xff" * 9), Reason.BAD_COMPRESSION),
    "no LZW": (wrapper(b""), Reason.BAD_COMPRESSION),
    "a compound without lengths, compressed": (wrap(b"\x07\xc8\x00\x01"), Reason.BAD_COMPOUND),
}


@pytest.mark.parametrize("name", OUTER)
def test_bad_outer_layer_drops_the_datagram(name: str) -> None:
    """Where nothing of a datagram can be read, it is malformed as a whole."""
    data, reason = OUTER[name]
    assert reason_of(codec(), data) == reason


def test_compression_wrapper_is_read_in_every_encoding() -> None:
    """As an array, with bin instead of str, with unknown keys: as everything in msgpack."""
    compressed = bytes.fromhex("00c30404")  # "a"
    for body in (
        b"\x92\x00\xa4" + compressed,
        b"\x82\xa4Algo\xc0\xa3Buf\xc4\x04" + compressed,
        b"\x82\xa3Buf\xd9\x04" + compressed + b"\xa1x\x91\xc0",
        b"\x81\xa3Buf\x94\x00\xcc\xc3\x04\x04",
    ):
        assert codec().open_untrusted(b"\x09" + body).parts == [b"a"]


# --- limits on receipt ---


def test_datagram_ends_at_the_receive_buffer() -> None:
    """65536 bytes are opened, one more is refused."""
    data = bytes((8,)) * UDP_PACKET_SIZE_MAX
    assert codec().open_untrusted(data).parts == [data]
    assert reason_of(codec(), data + b"x") == Reason.TOO_LARGE


def test_received_compound_may_use_its_whole_count() -> None:
    """255 parts are read, although we never send as many."""
    parts = [NACK] * COMPOUND_PARTS_RECEIVED_MAX
    assert codec().open_untrusted(raw_compound(*parts)).parts == parts


@pytest.mark.parametrize("wrapping", [wrap, raw_compound])
def test_nesting_ends_at_its_limit(wrapping: Any) -> None:
    """Just the limit of wrappers in each other is taken apart, one more is refused."""
    data = PING
    for _ in range(NESTING_MAX):
        data = wrapping(data)
    assert codec().open_untrusted(data).parts == [PING]
    data = wrapping(data)
    if wrapping is wrap:
        assert reason_of(codec(), data) == Reason.TOO_DEEP
    else:
        opened = codec().open_untrusted(data)
        assert (opened.parts, [error.reason for error in opened.rejections]) == (
            [],
            [Reason.TOO_DEEP],
        )


@pytest.mark.parametrize("part", [NACK, b""])
def test_messages_of_a_datagram_end_at_their_limit(part: bytes) -> None:
    """Just the limit of messages, good or bad, is looked at; with one more it stops."""
    full = raw_compound(*[part] * 255)
    rest = PACKET_MESSAGES_MAX - 4 * 255
    fitting = codec().open_untrusted(raw_compound(full, full, full, full, *[part] * rest))
    assert len(fitting.parts) + len(fitting.rejections) == PACKET_MESSAGES_MAX
    assert Reason.TOO_MANY not in [error.reason for error in fitting.rejections]
    beyond = codec().open_untrusted(raw_compound(full, full, full, full, full, full, NACK))
    assert len(beyond.parts) + len(beyond.rejections) == PACKET_MESSAGES_MAX + 1
    assert beyond.rejections[-1].reason == Reason.TOO_MANY


def test_decompressed_size_of_a_datagram_ends_at_its_limit() -> None:
    """One compression may yield just the limit, one byte more is refused."""
    fitting = wrapper(zeros(PACKET_DECOMPRESSED_SIZE_MAX))
    assert codec().open_untrusted(fitting).parts == [bytes(PACKET_DECOMPRESSED_SIZE_MAX)]
    beyond = wrapper(zeros(PACKET_DECOMPRESSED_SIZE_MAX + 1))
    assert reason_of(codec(), beyond) == Reason.DECOMPRESSED_TOO_LARGE


def test_decompressed_size_counts_all_compressions_of_a_datagram() -> None:
    """The limit is for them together; what is over it is rejected, and so is all after it."""
    half = wrapper(zeros(PACKET_DECOMPRESSED_SIZE_MAX // 2))
    one = wrapper(zeros(1))
    opened = codec().open_untrusted(raw_compound(half, half))
    assert [len(part) for part in opened.parts] == [PACKET_DECOMPRESSED_SIZE_MAX // 2] * 2
    assert opened.rejections == []
    opened = codec().open_untrusted(raw_compound(half, half, one, NACK, one))
    assert [len(part) for part in opened.parts[:2]] == [PACKET_DECOMPRESSED_SIZE_MAX // 2] * 2
    assert opened.parts[2:] == [NACK]
    reasons = [rejection.reason for rejection in opened.rejections]
    assert reasons == [Reason.DECOMPRESSED_TOO_LARGE] * 2
