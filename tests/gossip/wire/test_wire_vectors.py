"""Recorded datagrams and streams of real agents, layer by layer and as a whole, both ways."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest
from rookery.gossip.wire import checksum, compound, compression, label, lzw, sealing
from rookery.gossip.wire.errors import MalformedInput
from rookery.gossip.wire.keyring import Keyring
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
)
from rookery.gossip.wire.streams import StreamCodec

from ..vector_files import (
    DATAGRAMS,
    MESSAGES,
    REACTIONS,
    STREAMS,
    VECTORS,
    Recorded,
    layer,
    load,
    packet_codec,
    stream_codec,
)


def by_name(cases: list[Recorded]) -> Any:
    """Parametrize over recorded things."""
    return pytest.mark.parametrize("recorded", cases, ids=[case.name for case in cases])


def source_fields(message: Ping | IndirectPing) -> dict[str, Any]:
    """Return the omitempty fields as the vectors show them."""
    fields: dict[str, Any] = {
        "SourceAddr": message.source_address.hex(),
        "SourcePort": message.source_port,
        "SourceNode": message.source_node,
    }
    return {name: value for name, value in fields.items() if value}


def body(message: object) -> dict[str, Any]:
    """Return a decoded message as the vectors write it."""
    match message:
        case Ping():
            return {"SeqNo": message.sequence_number, "Node": message.node} | source_fields(message)
        case IndirectPing():
            return {
                "SeqNo": message.sequence_number,
                "Target": message.target.hex(),
                "Port": message.port,
                "Node": message.node,
                "Nack": message.wants_nack,
            } | source_fields(message)
        case Ack(sequence_number, payload):
            return {
                "SeqNo": sequence_number,
                "Payload": None if payload is None else payload.hex(),
            }
        case Nack(sequence_number):
            return {"SeqNo": sequence_number}
        case Suspect(incarnation, node, accuser) | Dead(incarnation, node, accuser):
            return {"Incarnation": incarnation, "Node": node, "From": accuser}
        case Alive():
            return {
                "Incarnation": message.incarnation,
                "Node": message.node,
                "Addr": message.address.hex(),
                "Port": message.port,
                "Meta": message.meta.hex(),
                "Vsn": list(message.versions),
            }
        case NodeState():
            return {
                "Name": message.name,
                "Addr": message.address.hex(),
                "Port": message.port,
                "Meta": message.meta.hex(),
                "Incarnation": message.incarnation,
                "State": message.state,
                "Vsn": list(message.versions),
            }
        case ErrorReply(text):
            return {"Error": text}
    raise AssertionError(message)


NAMES = {
    "ping": Ping,
    "indirect_ping": IndirectPing,
    "ack": Ack,
    "nack": Nack,
    "suspect": Suspect,
    "dead": Dead,
    "alive": Alive,
    "user": User,
    "push_pull": PushPull,
    "err": ErrorReply,
}


@by_name(DATAGRAMS)
def test_datagram_decodes_to_its_messages(recorded: Recorded) -> None:
    """Each recorded datagram opens to the stated messages, and nothing in it is rejected."""
    packet = bytes.fromhex(recorded.vector["packet"])
    opened = packet_codec(recorded).open_untrusted(packet)
    assert opened.rejections == []
    assert [part.hex() for part in opened.parts] == [m["hex"] for m in recorded.vector["messages"]]


@by_name([case for case in DATAGRAMS if case.is_from_agent])
def test_datagram_is_sealed_to_the_same_bytes(recorded: Recorded) -> None:
    """From the messages, the nonce and the settings we build the agent's very datagram."""
    parts = [bytes.fromhex(message["hex"]) for message in recorded.vector["messages"]]
    has_crc = layer(recorded.vector["layers"], "crc") is not None
    sealed = packet_codec(recorded).seal(parts, crc=has_crc)
    assert sealed.hex() == recorded.vector["packet"]


@by_name(DATAGRAMS)
def test_datagram_has_the_stated_layers(recorded: Recorded) -> None:
    """Each layer, taken off on its own, is as stated, and can be put on again byte for byte."""
    data = bytes.fromhex(recorded.vector["packet"])
    pool_label = recorded.document.get("label", "").encode()
    for stated in recorded.vector["layers"]:
        before = data
        match stated["layer"]:
            case "label":
                assert stated["label"].encode() == pool_label
                data = label.strip_label_untrusted(data, pool_label)
                assert label.make_header(pool_label) + data == before
            case "encryption":
                data = check_encryption(data, stated)
            case "crc":
                assert before[1:5].hex() == stated["crc32"]
                assert (crc32(before[5:]) == int(stated["crc32"], 16)) == stated["ok"]
                data = checksum.strip_checksum_untrusted(data)
                assert checksum.add_checksum(data) == before
            case "compression":
                data = check_compression(data, stated)
            case "compound":
                parts, lost = compound.split_parts_untrusted(data)
                assert (len(parts), lost) == (stated["parts"], 0)
                assert [len(part) for part in parts] == stated["lengths"]
                assert compound.join_parts(parts) == before
            case unknown:
                raise AssertionError(unknown)


def check_encryption(data: bytes, stated: dict[str, Any]) -> bytes:
    """Open a sealed payload with the stated key and associated data, and seal it again."""
    assert data[0] == stated["version"]
    assert data[1:13].hex() == stated["nonce"]
    assert data[-16:].hex() == stated["tag"]
    ring = Keyring([bytes.fromhex(stated["key"])])
    associated = bytes.fromhex(stated["aad"])
    plain = sealing.decrypt_untrusted(ring, data, associated)
    assert len(plain) == stated["plain_len"]
    nonce = bytes.fromhex(stated["nonce"])
    again = sealing.encrypt(ring, plain, associated, version=stated["version"], nonce=nonce)
    assert again == data
    assert sealing.encrypted_size(len(plain), stated["version"]) == len(data)
    return plain


def check_compression(data: bytes, stated: dict[str, Any]) -> bytes:
    """Unwrap the stated LZW bytes to the stated plain ones, and wrap them again."""
    plain = bytes.fromhex(stated["plain"])
    compressed = bytes.fromhex(stated["lzw"])
    assert stated["algo"] == 0
    assert compressed in data
    assert compression.unwrap_untrusted(data, len(plain)) == plain
    assert lzw.decompress(compressed, len(plain)) == plain
    assert lzw.compress(plain) == compressed
    assert compression.wrap(plain) == data
    return plain


@by_name(MESSAGES)
def test_message_decodes_to_its_body(recorded: Recorded) -> None:
    """Each recorded message decodes to the stated fields and encodes to the same bytes again."""
    data = bytes.fromhex(recorded.vector["hex"])
    message = decode_message_untrusted(data)
    assert type(message) is NAMES[recorded.vector["name"]]
    if isinstance(message, User):
        assert message.payload == data[1:]
    else:
        assert body(message) == recorded.vector["body"]
    assert encode_message(message) == data


def read_all(codec: StreamCodec, recorded: Recorded, stream: bytes, size: int) -> object:
    """Feed a stream in pieces of `size` bytes; the message must come with the last byte."""
    is_request = recorded.side == "client_to_server"
    reader = codec.request_reader() if is_request else codec.reply_reader()
    message = None
    for start in range(0, len(stream), size):
        assert message is None
        message = reader.feed(stream[start : start + size])
    reader.feed_eof()
    assert message is not None
    return message


@by_name(STREAMS)
def test_stream_decodes_to_its_message(recorded: Recorded) -> None:
    """Each direction of a conversation reads as stated, at once and byte by byte."""
    side = recorded.vector[recorded.side]
    stream = bytes.fromhex(side["stream"])
    codec = stream_codec(recorded)
    message = read_all(codec, recorded, stream, len(stream))
    assert read_all(codec, recorded, stream, 1) == message
    assert read_all(codec, recorded, stream, 7) == message
    assert type(message) is NAMES[side["name"]]
    if isinstance(message, PushPull):
        header = side["header"]
        assert len(message.nodes) == header["Nodes"]
        assert message.join == header["Join"]
        assert len(message.user_state) == header["UserStateLen"]
        assert message.user_state.hex() == side["user_state_hex"]
        stated = [{k: v for k, v in node.items() if k != "tags"} for node in side["nodes"]]
        assert [body(node) for node in message.nodes] == stated
    else:
        assert body(message) == side["body"]


@by_name([case for case in STREAMS if case.is_from_agent])
def test_stream_is_sealed_to_the_same_bytes(recorded: Recorded) -> None:
    """From the decoded message, the nonce and the settings we build the agent's very stream."""
    stream = bytes.fromhex(recorded.vector[recorded.side]["stream"])
    codec = stream_codec(recorded)
    message = read_all(codec, recorded, stream, len(stream))
    assert isinstance(message, PushPull | Ping | Ack | ErrorReply)
    is_request = recorded.side == "client_to_server"
    seal = codec.seal_request if is_request else codec.seal_reply
    assert seal(encode_message(message)) == stream


@by_name([case for case in STREAMS if layer(case.vector[case.side]["layers"], "encryption")])
def test_stream_has_the_stated_encryption(recorded: Recorded) -> None:
    """The frame's length, key and associated data (framing bytes and label) are as stated."""
    side = recorded.vector[recorded.side]
    stated = layer(side["layers"], "encryption")
    assert stated is not None
    data = bytes.fromhex(side["stream"])
    data = data[label.header_size_untrusted(data) :]
    assert data[:5].hex() == stated["aad"][:10]
    assert int.from_bytes(data[1:5], "big") == stated["length"] == len(data) - 5
    check_encryption(data[5:], stated)


def test_large_compressed_reply_reads_and_writes_as_recorded() -> None:
    """A push-pull reply of 421 nodes, whose LZW table is cleared six times, goes both ways."""
    stream = (VECTORS / "lzw/lambda-pushpull.stream.bin").read_bytes()
    plain = (VECTORS / "lzw/lambda-pushpull.plain.bin").read_bytes()
    codec = StreamCodec(nonce=lambda size: bytes(size))
    message = codec.reply_reader().feed(stream)
    assert isinstance(message, PushPull)
    assert len(message.nodes) == load("lzw/lambda-pushpull.json")["nodes"] == 421
    assert encode_message(message) == plain
    assert codec.seal_reply(plain) == stream


@pytest.mark.parametrize("packet", REACTIONS, ids=[packet["kind"] for packet in REACTIONS])
def test_reaction_packet_is_survived(packet: dict[str, Any]) -> None:
    """What some Go agents die of either decodes or is malformed here, and nothing else."""
    data = bytes.fromhex(packet["bytes"])
    if packet["transport"] == "tcp":
        reader = StreamCodec(nonce=lambda size: bytes(size)).request_reader()
        try:
            reader.feed(data)
            reader.feed_eof()
        except MalformedInput:
            assert not packet["agent_survived"] or packet["reply_tcp"] is None
        return
    codec = packet_codec(Recorded("", {}, {"layers": []}))
    try:
        opened = codec.open_untrusted(data)
        for part in opened.parts:
            decode_message_untrusted(part)
    except MalformedInput:
        assert not packet["agent_survived"] or "ack" not in packet["replies_udp"]
