"""Streams that peers open: what is answered, what is refused, how much and how long."""

from __future__ import annotations

import pytest
from rookery.gossip.effects import CloseStream
from rookery.gossip.swim import conversations
from rookery.gossip.swim.conversations import INCOMING_BYTES_MAX, INCOMING_STREAMS_MAX
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.messages import (
    Ack,
    ErrorReply,
    Ping,
    PushPull,
    encode_message,
    encode_user_stream,
)
from rookery.gossip.wire.packets import PacketCodec
from rookery.gossip.wire.streams import StreamCodec

from ..benches import OWN, Reply, SwimBench, at, raw, raw_push_pull, record


def test_ping_over_tcp_is_acked_without_payload() -> None:
    """Also one for nobody in particular; the coordinate goes with UDP acks only."""
    bench = SwimBench()
    bench.delegate.payload = b"\1coordinate"
    for name in (OWN, ""):
        reply = bench.dial(Ping(77, name))
        assert reply.message == Ack(77, None)
        assert reply.is_closed


def test_ping_over_tcp_for_another_name_is_closed_without_an_answer() -> None:
    """As over UDP."""
    bench = SwimBench()
    reply = bench.dial(Ping(77, "somebody"))
    assert reply == Reply(b"", True)
    assert bench.rejected == {"ping_for_another_node": 1}


def test_user_message_over_tcp_is_handed_over_without_an_answer() -> None:
    """Serf accepts it, though it never sends it."""
    bench = SwimBench()
    reply = bench.dial(encode_user_stream(b"\3event"), at(7, 5000))
    assert reply == Reply(b"", True)
    assert bench.delegate.heard() == [("user", b"\3event", at(7, 5000))]


def test_second_message_of_a_stream_is_ignored() -> None:
    """One message, one answer, and the end."""
    bench = SwimBench()
    reply = bench.dial(encode_message(Ping(1, OWN)) + encode_message(Ping(2, OWN)))
    assert reply.message == Ack(1, None)
    stream = bench.engine.accept_stream(at(9), now=bench.now)
    assert stream is not None
    bench.engine.receive_stream_data(stream, encode_message(Ping(3, OWN)), now=bench.now)
    bench.take_actions()
    bench.engine.receive_stream_data(stream, encode_message(Ping(4, OWN)), now=bench.now)
    bench.engine.receive_stream_eof(stream, now=bench.now)
    bench.engine.fail_stream(stream, "reset", now=bench.now)
    assert bench.take_actions() == []


@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def test_request_may_come_in_pieces(pieces: int) -> None:
    """A stream has no message boundaries."""
    bench = SwimBench()
    request = PushPull((record("b", 2), record("c", 3)), b"\2state", True)
    reply = bench.dial(request, pieces=pieces)
    assert isinstance(reply.message, PushPull)
    assert bench.state_of("c") == ("alive", 1)
    assert ("state", b"\2state", None) in bench.delegate.heard()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x63abc", "unknown_type"),
        (b"\x02\x82\xa7Payload\xc0\xa5SeqNo\1", "unexpected_type"),
        (b"\x04\x80", "unexpected_type"),
        (b"\x07\x01\x00\x01\x00", "unexpected_type"),
        (b"\x06\xc1", "bad_msgpack"),
        (b"\x06\xa3abc", None),
        (raw_push_pull(Nodes=-1), None),
        (raw_push_pull(UserStateLen=-1), None),
        (raw_push_pull(Nodes=2**24), None),
        (raw_push_pull(UserStateLen=2**40), None),
        (raw(8, UserMsgLen=2**40), None),
        (raw(9, Algo=0, Buf=b"\x00\x03\x02"), None),
        (raw(9, Algo=9, Buf=b"\x00\x03\x02"), None),
        (raw(9, Algo=0, Buf=b"\xff" * 20), None),
        (b"\xf4\x05wrong" + encode_message(Ping(1, OWN)), "wrong_label"),
    ],
)
def test_unreadable_stream_is_counted_and_closed(data: bytes, reason: str | None) -> None:
    """Nothing of it counts; nothing is awaited that cannot come."""
    bench = SwimBench("b")
    reply = bench.dial(data)
    assert reply.is_closed
    assert reply.message is None or isinstance(reply.message, ErrorReply)
    assert sum(bench.rejected.values()) == 1
    assert reason is None or bench.rejected == {reason: 1}
    assert [node.name for node in bench.engine.table] == [OWN, "b"]
    assert len(bench.engine.conversations) == 0


def test_end_in_the_middle_of_a_request_is_counted_and_one_before_it_is_not() -> None:
    """A connection that says nothing is a health check or a port scan."""
    bench = SwimBench()
    silent = bench.engine.accept_stream(at(9), now=bench.now)
    assert silent is not None
    bench.engine.receive_stream_eof(silent, now=bench.now)
    assert bench.rejected == {}
    cut = bench.engine.accept_stream(at(9), now=bench.now)
    assert cut is not None
    bench.engine.receive_stream_data(cut, encode_message(Ping(1, OWN))[:5], now=bench.now)
    bench.engine.receive_stream_eof(cut, now=bench.now)
    assert bench.rejected == {"stream_truncated": 1}
    assert bench.take_actions() == [CloseStream(silent), CloseStream(cut)]


# --- encryption -------------------------------------------------------------------------

KEY, OTHER = bytes(range(16)), bytes(range(32))


def codec(key: bytes | None, **settings: object) -> StreamCodec:
    keyring = None if key is None else Keyring([key])
    return StreamCodec(keyring=keyring, nonce=lambda size: bytes(size), **settings)  # type: ignore[arg-type]


def test_sealed_stream_is_answered_sealed() -> None:
    """Request and answer under one key."""
    bench = SwimBench(keyring=Keyring([KEY]))
    reply = bench.dial(codec(KEY).seal_request(encode_message(PushPull((), b"", False))))
    assert reply.data[0] == 10
    message = codec(KEY).reply_reader().feed(reply.data)
    assert isinstance(message, PushPull)


def test_undecryptable_stream_is_told_so() -> None:
    """An err answer in the words of memberlist 0.2.2, sealed with our key."""
    bench = SwimBench(keyring=Keyring([KEY]))
    reply = bench.dial(codec(OTHER).seal_request(encode_message(Ping(1, OWN))))
    assert codec(KEY).reply_reader().feed(reply.data) == ErrorReply(
        "No installed keys could decrypt the message"
    )
    assert reply.is_closed
    assert bench.rejected == {"undecryptable": 1}


def test_plaintext_stream_is_refused_where_encryption_is_demanded() -> None:
    """Unless verify_incoming is off, while encryption is introduced."""
    request = encode_message(Ping(1, OWN))
    strict = SwimBench(keyring=Keyring([KEY]))
    reply = strict.dial(request)
    assert codec(KEY).reply_reader().feed(reply.data) == ErrorReply(
        "Encryption is configured but remote state is not encrypted"
    )
    lenient = SwimBench(keyring=Keyring([KEY]), verify_incoming=False)
    reply = lenient.dial(request)
    assert codec(KEY).reply_reader().feed(reply.data) == Ack(1, None)


def test_sealed_stream_is_refused_without_a_key() -> None:
    """The err answer is plain: we have nothing to seal it with."""
    bench = SwimBench()
    reply = bench.dial(codec(KEY).seal_request(encode_message(Ping(1, OWN))))
    assert reply.message == ErrorReply("Remote state is encrypted and encryption is not configured")
    assert bench.rejected == {"no_key": 1}


def test_outgoing_streams_are_plain_while_verify_outgoing_is_off() -> None:
    """The first step of introducing encryption."""
    bench = SwimBench(keyring=Keyring([KEY]), verify_incoming=False, verify_outgoing=False)
    assert bench.dial(Ping(1, OWN)).message == Ack(1, None)


def test_label_is_demanded_of_the_dialling_side_and_not_sent_back() -> None:
    """Another label, or none, is closed without an answer."""
    bench = SwimBench(label="pool")
    request = encode_message(Ping(1, OWN))
    reply = bench.dial(b"\xf4\x04pool" + request)
    assert reply.message == Ack(1, None)
    for other in (request, b"\xf4\x05other" + request):
        reply = bench.dial(other)
        assert reply == Reply(b"", True)
    assert bench.rejected == {"wrong_label": 2}


def test_packets_of_another_pool_change_nothing() -> None:
    """Another key or label, or none: counted, nothing else."""
    ping = encode_message(Ping(1, OWN))
    for settings in ({"keyring": Keyring([KEY])}, {"label": "pool"}):
        bench = SwimBench(**settings)
        for wrong in (
            PacketCodec(nonce=bytes),
            PacketCodec(nonce=bytes, keyring=Keyring([OTHER])),
            PacketCodec(nonce=bytes, label=b"other"),
        ):
            bench.receive(wrong.seal([ping], crc=False))
        assert bench.take_sent() == []
        assert sum(bench.rejected.values()) == 3


# --- limits -----------------------------------------------------------------------------


def test_streams_are_accepted_up_to_a_limit() -> None:
    """INCOMING_STREAMS_MAX at once, one more is not taken; a closed one makes room."""
    bench = SwimBench()
    streams = [
        bench.engine.accept_stream(at(9), now=bench.now) for _ in range(INCOMING_STREAMS_MAX)
    ]
    assert None not in streams
    assert len(set(streams)) == INCOMING_STREAMS_MAX
    assert bench.engine.accept_stream(at(9), now=bench.now) is None
    assert bench.rejected == {"too_many_streams": 1}
    assert streams[0] is not None
    bench.engine.receive_stream_eof(streams[0], now=bench.now)
    assert bench.engine.accept_stream(at(9), now=bench.now) is not None


def test_our_own_dials_do_not_count_against_the_peers_limit() -> None:
    """A flooded agent can still join."""
    bench = SwimBench()
    for _ in range(INCOMING_STREAMS_MAX):
        bench.engine.accept_stream(at(9), now=bench.now)
    bench.engine.push_pull(conversations.Purpose.JOIN, at(2), now=bench.now)
    assert len(bench.take_opened()) == 1


def test_peers_share_a_bound_of_unfinished_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream that goes beyond is closed; the others go on, and room comes back."""
    assert INCOMING_BYTES_MAX == 64 * 1024 * 1024
    monkeypatch.setattr(conversations, "INCOMING_BYTES_MAX", 10_000)
    bench = SwimBench()
    head = raw_push_pull(UserStateLen=6000)

    def begin(size: int) -> int:
        stream = bench.engine.accept_stream(at(9), now=bench.now)
        assert stream is not None
        data = (head + bytes(size))[:size]
        bench.engine.receive_stream_data(stream, data, now=bench.now)
        return stream

    first, second = begin(5000), begin(5000)
    assert bench.take_actions() == []
    bench.engine.receive_stream_data(second, b"x", now=bench.now)
    assert bench.take_actions() == [CloseStream(second)]
    assert bench.rejected == {"stream_memory_full": 1}
    third = begin(5000)
    assert bench.take_actions() == []
    bench.engine.receive_stream_eof(third, now=bench.now)
    bench.engine.receive_stream_data(first, bytes(6000 + len(head) - 5000), now=bench.now)
    assert isinstance(bench.reply(first).message, PushPull)
    begin(10_000)


@pytest.mark.parametrize(("profile", "seconds"), [("lan", 10.0), ("wan", 30.0), ("local", 1.0)])
def test_slow_request_is_closed_at_the_deadline(profile: str, seconds: float) -> None:
    """TCPTimeout from the accept on, however busily it trickles."""
    bench = SwimBench(profile=profile)
    stream = bench.engine.accept_stream(at(9), now=bench.now)
    assert stream is not None
    bench.run_until(seconds - 0.01)
    bench.engine.receive_stream_data(stream, b"\x06", now=bench.now)
    assert bench.take_actions() == []
    bench.run_until(seconds)
    assert bench.take_actions() == [CloseStream(stream)]
    assert bench.rejected == {"stream_timed_out": 1}
    assert bench.engine.next_deadline() is None


def test_calls_for_unknown_streams_are_ignored() -> None:
    """The shell may be late."""
    bench = SwimBench()
    bench.engine.receive_stream_data(99, b"data", now=bench.now)
    bench.engine.receive_stream_eof(99, now=bench.now)
    bench.engine.fail_stream(99, "error", now=bench.now)
    assert bench.take_actions() == []
    assert bench.rejected == {}


def test_stream_numbers_are_never_used_twice() -> None:
    """Neither by peers' streams nor by ours."""
    bench = SwimBench("b")
    seen = []
    for _ in range(5):
        stream = bench.engine.accept_stream(at(9), now=bench.now)
        assert stream is not None
        seen.append(stream)
        bench.engine.receive_stream_eof(stream, now=bench.now)
        bench.engine.push_pull(conversations.Purpose.LOOK, at(2), now=bench.now)
        seen += [action.stream for action in bench.take_opened()]
    assert len(set(seen)) == len(seen) == 10
