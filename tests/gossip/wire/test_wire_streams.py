"""Streams: the layers, the answers to what cannot be read, pieces of any size, and every limit."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from rookery.gossip.wire import streams
from rookery.gossip.wire.codec import pack
from rookery.gossip.wire.compression import wrap
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.label import make_header
from rookery.gossip.wire.limits import (
    DECOMPRESSED_SIZE_MAX,
    PUSH_PULL_NODES_MAX,
    STREAM_SIZE_MAX,
    USER_MESSAGE_SIZE_MAX,
    USER_STATE_SIZE_MAX,
    WRAPPER_FIELDS_MAX,
)
from rookery.gossip.wire.lzw import compress
from rookery.gossip.wire.messages import (
    Ack,
    ErrorReply,
    NodeState,
    Ping,
    PushPull,
    User,
    encode_message,
    encode_user_stream,
)
from rookery.gossip.wire.sealing import encrypt
from rookery.gossip.wire.streams import StreamCodec, StreamReader

from .lzw_codes import zeros

RING = Keyring([bytes(range(32)), bytes(16)])
VERSIONS = bytes((1, 5, 2, 2, 5, 5))
NODES = tuple(
    NodeState(f"node-{i}", bytes((10, 0, 0, i)), 7946, b"\xff\x80", 3, i % 4, VERSIONS)
    for i in range(5)
)
STATE = PushPull(NODES, b"\x02user state", join=True)
EMPTY = PushPull((), b"", join=False)


def codec(**settings: Any) -> StreamCodec:
    """Return a codec; plain and without compression unless told otherwise."""
    return StreamCodec(**{"compression": False, "nonce": bytes} | settings)


def error_of(reader: StreamReader, data: bytes) -> MalformedInput:
    """Return the error that feeding raises."""
    with pytest.raises(MalformedInput) as caught:
        reader.feed(data)
    return caught.value


SETTINGS = {
    "plain": {},
    "compressed": {"compression": True},
    "label": {"label": b"pool"},
    "encrypted": {"keyring": RING},
    "version 0": {"keyring": RING, "encryption_version": 0},
    "everything": {"keyring": RING, "compression": True, "label": b"pool"},
    "outgoing off": {"keyring": RING, "verify_outgoing": False, "verify_incoming": False},
}
REQUESTS = {
    "push-pull": (STATE, encode_message(STATE)),
    "empty push-pull": (EMPTY, encode_message(EMPTY)),
    "ping": (Ping(7, "n"), encode_message(Ping(7, "n"))),
    "user": (User(b"serf"), encode_user_stream(b"serf")),
    "empty user": (User(b""), encode_user_stream(b"")),
}
REPLIES = {
    "push-pull": (STATE, encode_message(STATE)),
    "ack": (Ack(7, None), encode_message(Ack(7, None))),
    "error": (ErrorReply("why"), encode_message(ErrorReply("why"))),
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("piece", [1, 3, 10**6])
def test_request_is_read_as_written(settings: str, name: str, piece: int) -> None:
    """Each request survives each set of layers, in pieces of any size, and comes exactly once."""
    message, encoded = REQUESTS[name]
    data = codec(**SETTINGS[settings]).seal_request(encoded)
    reader = codec(**SETTINGS[settings]).request_reader()
    seen = [reader.feed(data[i : i + piece]) for i in range(0, len(data), piece)]
    assert seen == [None] * (len(seen) - 1) + [message]
    reader.feed_eof()


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", REPLIES)
def test_reply_is_read_as_written(settings: str, name: str) -> None:
    """Each reply survives each set of layers; it has no label header of its own."""
    message, encoded = REPLIES[name]
    data = codec(**SETTINGS[settings]).seal_reply(encoded)
    assert data[0] != 244
    assert codec(**SETTINGS[settings]).reply_reader().feed(data) == message


def test_layers_are_put_on_in_order() -> None:
    """Compression always, a frame that authenticates its header and the label, then the label."""
    ping = encode_message(Ping(7, "n"))
    data = codec(keyring=RING, compression=True, label=b"pool").seal_request(ping)
    header = make_header(b"pool")
    assert data.startswith(header)
    frame = data[len(header) :][:5]
    sealed = data[len(header) + 5 :]
    assert frame == b"\x0a" + len(sealed).to_bytes(4, "big")
    plain = RING.ciphers[0].decrypt(sealed[1:13], sealed[13:], frame + b"pool")
    assert plain == wrap(ping)
    assert len(plain) > len(ping)  # compressed although it grew


def test_what_follows_the_message_is_ignored() -> None:
    """One message a connection: later bytes, together or apart, change nothing."""
    reader = codec().request_reader()
    assert reader.feed(encode_message(STATE) + b"\x00behind") == STATE
    assert reader.feed(encode_message(EMPTY)) is None
    reader.feed_eof()


def test_end_before_the_message_is_complete_is_truncated() -> None:
    """Every proper beginning of every request waits for more, and is malformed if none comes."""
    for settings in SETTINGS.values():
        data = codec(**settings).seal_request(encode_message(STATE))
        for size in range(len(data)):
            reader = codec(**settings).request_reader()
            assert reader.feed(data[:size]) is None
            with pytest.raises(MalformedInput) as caught:
                reader.feed_eof()
            assert caught.value.reason == Reason.TRUNCATED
            assert caught.value.reply_text is None


def test_reader_is_done_after_an_error() -> None:
    """After an error nothing is read any more, and the end is no second error."""
    reader = codec().request_reader()
    error_of(reader, b"\x63")
    assert reader.feed(encode_message(STATE)) is None
    reader.feed_eof()


# --- refusals, and what the accepting side answers ---

SEALED = codec(keyring=RING).seal_request(encode_message(EMPTY))
OTHER_KEY = codec(keyring=Keyring([bytes(24)])).seal_request(encode_message(EMPTY))
PLAIN = encode_message(EMPTY)
ENCRYPTED: dict[str, Any] = {"keyring": RING}

ANSWERED = {
    "encrypted, and we have no key": (
        {},
        SEALED,
        Reason.NO_KEY,
        "Remote state is encrypted and encryption is not configured",
    ),
    "plaintext where encryption is demanded": (
        ENCRYPTED,
        PLAIN,
        Reason.NOT_ENCRYPTED,
        "Encryption is configured but remote state is not encrypted",
    ),
    "compressed plaintext": (
        ENCRYPTED,
        wrap(PLAIN),
        Reason.NOT_ENCRYPTED,
        "Encryption is configured but remote state is not encrypted",
    ),
    "sealed with another key": (
        ENCRYPTED,
        OTHER_KEY,
        Reason.UNDECRYPTABLE,
        "No installed keys could decrypt the message",
    ),
    "sealed without the framing bytes": (
        ENCRYPTED,
        b"\x0a\x00\x00\x00\x22" + encrypt(RING, b"plain", b"", version=1, nonce=bytes(12)),
        Reason.UNDECRYPTABLE,
        "No installed keys could decrypt the message",
    ),
    "another encryption version": (
        ENCRYPTED,
        b"\x0a\x00\x00\x00\x03\x02ab",
        Reason.UNDECRYPTABLE,
        "Unsupported encryption version 2",
    ),
    "frame of nothing": (
        ENCRYPTED,
        b"\x0a\x00\x00\x00\x00",
        Reason.UNDECRYPTABLE,
        "Cannot decrypt empty payload",
    ),
    "unknown algorithm": (
        {},
        b"\x09" + pack({"Algo": 9, "Buf": b""}),
        Reason.BAD_COMPRESSION,
        "Cannot decompress unknown algorithm 9",
    ),
    "wrapper that is no struct": ({}, b"\x09\x07", Reason.BAD_FIELD, "0x07 starts no list"),
    "wrapper that is no msgpack": ({}, b"\x09\x81\xc1", Reason.BAD_MSGPACK, ""),
    "wrapper with a number for a key": ({}, b"\x09\x81\x07\x07", Reason.BAD_FIELD, "a field name"),
    "wrapper with bytes for a number": (
        {},
        b"\x09\x81\xa4Algo\xa0",
        Reason.BAD_FIELD,
        "bytes is not a number",
    ),
    "bad LZW": (
        {},
        b"\x09" + pack({"Algo": 0, "Buf": b"\xff" * 9}),
        Reason.BAD_COMPRESSION,
        "LZW code",
    ),
    "compression of nothing": (
        {},
        b"\x09" + pack({"Algo": 0, "Buf": bytes.fromhex("000302")}),
        Reason.EMPTY,
        "a compressed message of no bytes",
    ),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_unreadable_wrapping_is_answered(name: str) -> None:
    """Where the layers cannot be read, the error carries the text for an `err` message."""
    settings, data, reason, text = ANSWERED[name]
    error = error_of(codec(**settings).request_reader(), data)
    assert error.reason == reason
    assert error.reply_text is not None
    assert error.reply_text.startswith(text)
    # The answer itself can be sent: it is an ordinary message.
    reply = encode_message(ErrorReply(error.reply_text))
    assert codec(**settings).reply_reader().feed(codec(**settings).seal_reply(reply)) == (
        ErrorReply(error.reply_text)
    )


LABELLED: dict[str, Any] = {"label": b"pool"}

NOT_ANSWERED = {
    "no label": (LABELLED, PLAIN, Reason.WRONG_LABEL),
    "another label": (LABELLED, make_header(b"loop") + PLAIN, Reason.WRONG_LABEL),
    "a label and none is configured": ({}, make_header(b"pool") + PLAIN, Reason.WRONG_LABEL),
    "an empty label": (LABELLED, b"\xf4\x00", Reason.WRONG_LABEL),
    "two labels": (LABELLED, make_header(b"pool") * 2 + PLAIN, Reason.UNEXPECTED_TYPE),
    "unknown type": ({}, b"\x63abc", Reason.UNKNOWN_TYPE),
    "suspect": ({}, b"\x03\x80", Reason.UNEXPECTED_TYPE),
    "compound": ({}, b"\x07\x01\x00\x01\x00", Reason.UNEXPECTED_TYPE),
    "an answer as a request": ({}, encode_message(Ack(1, None)), Reason.UNEXPECTED_TYPE),
    "compression twice": ({}, wrap(wrap(PLAIN)), Reason.UNEXPECTED_TYPE),
    "encryption in compression": ({}, wrap(SEALED), Reason.UNEXPECTED_TYPE),
    "cut off inside compression": ({}, wrap(encode_message(STATE)[:-1]), Reason.TRUNCATED),
    "cut off inside encryption": (
        ENCRYPTED,
        codec(keyring=RING).seal_request(encode_message(STATE)[:-1]),
        Reason.TRUNCATED,
    ),
    "cut off wrapper inside encryption": (
        ENCRYPTED,
        codec(keyring=RING).seal_request(wrap(PLAIN)[:-1]),
        Reason.TRUNCATED,
    ),
    "header that is no struct": ({}, b"\x06\x07", Reason.BAD_FIELD),
    "negative number of nodes": (
        {},
        b"\x06" + pack({"Nodes": -1, "UserStateLen": 0, "Join": False}),
        Reason.BAD_FIELD,
    ),
    "negative size of the user state": (
        {},
        b"\x06" + pack({"Nodes": 0, "UserStateLen": -1, "Join": False}),
        Reason.BAD_FIELD,
    ),
    "negative size of a user message": ({}, b"\x08" + pack({"UserMsgLen": -1}), Reason.BAD_FIELD),
    "bad node state": ({}, b"\x06" + pack({"Nodes": 1}) + b"\x07", Reason.BAD_FIELD),
    "node state that is no msgpack": (
        {},
        b"\x06" + pack({"Nodes": 1}) + b"\xc1",
        Reason.BAD_MSGPACK,
    ),
    "bad ping": ({}, b"\x00" + pack({"SeqNo": -1}), Reason.BAD_FIELD),
}


@pytest.mark.parametrize("name", NOT_ANSWERED)
def test_unreadable_message_is_not_answered(name: str) -> None:
    """Wrong labels and unreadable messages end the connection without an answer, as in Go."""
    settings, data, reason = NOT_ANSWERED[name]
    error = error_of(codec(**settings).request_reader(), data)
    assert (error.reason, error.reply_text) == (reason, None)


@pytest.mark.parametrize(
    ("settings", "data", "reason"),
    [
        (LABELLED, make_header(b"pool") + encode_message(Ack(1, None)), Reason.WRONG_LABEL),
        ({}, make_header(b"pool") + encode_message(Ack(1, None)), Reason.WRONG_LABEL),
        ({}, encode_message(Ping(1, "n")), Reason.UNEXPECTED_TYPE),
        ({}, encode_user_stream(b"x"), Reason.UNEXPECTED_TYPE),
        (ENCRYPTED, encode_message(ErrorReply("x")), Reason.NOT_ENCRYPTED),
    ],
)
def test_wrong_reply_is_refused(settings: dict[str, Any], data: bytes, reason: str) -> None:
    """An answer has no label header, is of an answer's type, and is encrypted like all else."""
    assert error_of(codec(**settings).reply_reader(), data).reason == reason


def test_associated_data_of_a_reply_has_the_label_too() -> None:
    """Although it carries no header; so pools with other labels cannot read each other."""
    reply = codec(keyring=RING, label=b"pool").seal_reply(PLAIN)
    assert codec(keyring=RING, label=b"pool").reply_reader().feed(reply) == EMPTY
    error = error_of(codec(keyring=RING, label=b"loop").reply_reader(), reply)
    assert error.reason == Reason.UNDECRYPTABLE


def test_both_forms_are_accepted_while_encryption_is_introduced() -> None:
    """With a key and incoming verification off, plain and encrypted streams are read."""
    lenient = codec(keyring=RING, verify_incoming=False)
    assert lenient.request_reader().feed(SEALED) == EMPTY
    assert lenient.request_reader().feed(PLAIN) == EMPTY


def test_wrapper_is_read_in_every_encoding() -> None:
    """As an array, with bin, str8, a list of numbers, unknown keys, nil: as everything else."""
    compressed = compress(PLAIN)
    size = bytes((len(compressed),))
    numbers = b"".join(b"\xcc" + bytes((value,)) for value in compressed)
    for body in (
        b"\x92\x00\xd9" + size + compressed,
        b"\x93\xc0\xc4" + size + compressed + b"\x91\xc0",
        b"\xde\x00\x02\xa4Algo\x00\xa3Buf\xc5\x00" + size + compressed,
        b"\x84\xa1x\xc0\xa3Buf\xd9" + size + compressed + b"\xc0\x00\xa1y\x93\x01\x02\x03",
        b"\x81\xa3Buf\xdc\x00" + size + numbers,
    ):
        for piece in (1, 10**6):
            reader = codec().request_reader()
            data = b"\x09" + body
            seen = [reader.feed(data[i : i + piece]) for i in range(0, len(data), piece)]
            assert seen[-1] == EMPTY


# --- sealing refuses ---


def test_nothing_is_not_sealed() -> None:
    """An empty message inside wrappers kills Go agents."""
    for settings in SETTINGS.values():
        for seal in (codec(**settings).seal_request, codec(**settings).seal_reply):
            with pytest.raises(ValueError, match="empty"):
                seal(b"")


def test_sealed_frame_ends_at_its_limit() -> None:
    """A frame of just the limit is sealed and read, one byte more is the caller's error."""
    sealing = codec(keyring=RING)
    size = STREAM_SIZE_MAX - 29
    header = b"\x06" + pack({"Nodes": 0, "UserStateLen": size - 39, "Join": False})
    message = header + bytes(size - len(header))
    data = sealing.seal_request(message)
    assert len(data) == STREAM_SIZE_MAX + 5
    seen = sealing.request_reader().feed(data)
    assert isinstance(seen, PushPull)
    assert len(seen.user_state) == size - 39
    with pytest.raises(ValueError, match="20971521 bytes"):
        sealing.seal_request(message + b"x")


def test_plain_message_ends_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of just the limit is sealed and read; one byte more is refused on both sides."""
    message = encode_message(STATE)
    monkeypatch.setattr(streams, "MESSAGE_SIZE_MAX", len(message))
    assert codec().request_reader().feed(codec().seal_request(message)) == STATE
    monkeypatch.setattr(streams, "MESSAGE_SIZE_MAX", len(message) - 1)
    with pytest.raises(ValueError, match="at most"):
        codec().seal_request(message)
    reader = codec().request_reader()
    assert reader.feed(message[:-1]) is None
    assert error_of(reader, message[-1:]).reason == Reason.TOO_LARGE


# --- declared sizes ---


def header(nodes: int = 0, user_state: int = 0) -> bytes:
    """Return the beginning of a push-pull that announces this much."""
    return b"\x06" + pack({"Nodes": nodes, "UserStateLen": user_state, "Join": False})


DECLARED = {
    "frame": (ENCRYPTED, lambda n: b"\x0a" + n.to_bytes(4, "big"), STREAM_SIZE_MAX, "too_large"),
    "nodes": ({}, lambda n: header(nodes=n), PUSH_PULL_NODES_MAX, "too_many"),
    "user state": ({}, lambda n: header(user_state=n), USER_STATE_SIZE_MAX, "too_large"),
    "user message": (
        {},
        lambda n: b"\x08" + pack({"UserMsgLen": n}),
        USER_MESSAGE_SIZE_MAX,
        "too_large",
    ),
    "compressed bytes": (
        {},
        lambda n: b"\x09\x81\xa3Buf\xdb" + n.to_bytes(4, "big"),
        STREAM_SIZE_MAX,
        "too_large",
    ),
    "fields of the wrapper": (
        {},
        lambda n: b"\x09\xde" + n.to_bytes(2, "big"),
        WRAPPER_FIELDS_MAX,
        "too_many",
    ),
}


@pytest.mark.parametrize("name", DECLARED)
def test_declared_size_ends_at_its_limit(name: str) -> None:
    """A declaration of just the limit is awaited, one more is refused before any byte comes."""
    settings, make, maximum, reason = DECLARED[name]
    assert codec(**settings).request_reader().feed(make(maximum)) is None
    assert error_of(codec(**settings).request_reader(), make(maximum + 1)).reason == reason


@pytest.mark.parametrize("name", DECLARED)
def test_declared_size_reserves_nothing(name: str) -> None:
    """Announcing as much as is allowed, or 2**31 and more, costs no memory."""
    settings, make, maximum, _ = DECLARED[name]
    codec(**settings).request_reader().feed(make(maximum))  # imports, caches
    tracemalloc.start()
    try:
        assert codec(**settings).request_reader().feed(make(maximum)) is None
        if maximum > 2**16:
            error_of(codec(**settings).request_reader(), make(2**31))
            error_of(codec(**settings).request_reader(), make(2**32 - 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000  # the decoders themselves


def test_decompressed_stream_ends_at_its_limit() -> None:
    """40 MiB come out of a compressed stream (and are no message), one byte more does not."""
    fitting = b"\x09" + pack({"Algo": 0, "Buf": zeros(DECOMPRESSED_SIZE_MAX)})
    assert error_of(codec().request_reader(), fitting).reason == Reason.BAD_FIELD
    beyond = b"\x09" + pack({"Algo": 0, "Buf": zeros(DECOMPRESSED_SIZE_MAX + 1)})
    assert error_of(codec().request_reader(), beyond).reason == Reason.DECOMPRESSED_TOO_LARGE


@pytest.mark.slow
def test_every_announced_node_is_read() -> None:
    """A push-pull of as many nodes as are allowed goes through, in pieces as from a socket."""
    nodes = (NODES * (PUSH_PULL_NODES_MAX // len(NODES) + 1))[:PUSH_PULL_NODES_MAX]
    data = encode_message(PushPull(nodes, b"state", join=False))
    with pytest.raises(ValueError, match="65537 nodes"):
        encode_message(PushPull((*nodes, NODES[0]), b"", join=False))
    reader = codec().request_reader()
    seen = None
    for start in range(0, len(data), 65536):
        seen = reader.feed(data[start : start + 65536])
    assert seen == PushPull(nodes, b"state", join=False)


def test_user_message_and_state_end_at_what_peers_accept() -> None:
    """20 MiB are written, one byte more is the caller's error."""
    largest = bytes(USER_MESSAGE_SIZE_MAX)
    assert len(encode_user_stream(largest)) > USER_MESSAGE_SIZE_MAX
    assert len(encode_message(PushPull((), largest, join=False))) > USER_STATE_SIZE_MAX
    with pytest.raises(ValueError, match="20971521 bytes"):
        encode_user_stream(largest + b"x")
    with pytest.raises(ValueError, match="user state"):
        encode_message(PushPull((), largest + b"x", join=False))


def test_stream_in_small_pieces_is_held_once() -> None:
    """Memory is that of the message and its buffer, however many pieces it comes in."""
    user_state = bytes(200_000)
    data = encode_message(PushPull(NODES * 100, user_state, join=False))
    reader = codec().request_reader()
    tracemalloc.start()
    try:
        for start in range(0, len(data), 50):
            reader.feed(data[start : start + 50])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The buffer, the state taken out of it, the nodes: not a copy for every piece.
    assert peak < 4 * len(data)
