"""Queries from others: seen once, passed on once, filtered, acknowledged, answered, relayed."""

from __future__ import annotations

from typing import Any

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.notices import QueryReceived
from rookery.gossip.serf import queries as queries_module
from rookery.gossip.serf.lamport import GOSSIPED_JUMP_MAX
from rookery.gossip.serf.messages import (
    QUERY_ACK,
    QUERY_NO_BROADCAST,
    RESPONSE_ACK,
    NodeFilter,
    Query,
    QueryResponse,
    Relay,
    TagFilter,
    UserEvent,
    decode_serf_message_untrusted,
    encode_filter,
    encode_serf_message,
)
from rookery.gossip.serf.queries import (
    FILTERS_MAX,
    OPEN_QUERIES_MAX,
    QUERIES_PER_LTIME_MAX,
    QUERY_RESPONSE_SIZE_MAX,
    QUERY_SIZE_MAX,
    QUERY_TIMEOUT_MAX,
    RELAYED_SIZE_MAX,
    STREAM_RESPONSE_SIZE_MAX,
)
from rookery.gossip.serf.tag_expressions import tag_matches
from rookery.gossip.swim.conversations import OUTGOING_MESSAGES_MAX
from rookery.gossip.wire.messages import Dead, User, encode_message
from rookery.gossip.wire.packets import PacketCodec
from rookery.gossip.wire.streams import StreamCodec

from ..benches import OWN, SerfBench, alive, at, ip, raw

ASKER = at(8, 7008)


def query(
    ltime: int = 5, number: int = 77, *, name: str = "uptime", flags: int = 0, **fields: Any
) -> Query:
    values: dict[str, Any] = {
        "address": ip(8),
        "port": 7008,
        "source_node": "asker",
        "filters": (),
        "relay_factor": 0,
        "timeout_ns": 5_000_000_000,
        "payload": None,
        **fields,
    }
    return Query(ltime=ltime, id=number, flags=flags, name=name, **values)


def raw_query(**fields: Any) -> bytes:
    """Pack a query by hand; None leaves a field out."""
    every = {
        "Addr": ip(8),
        "Filters": None,
        "Flags": 0,
        "ID": 77,
        "LTime": 5,
        "Name": "uptime",
        "Payload": b"",
        "Port": 7008,
        "RelayFactor": 0,
        "SourceNode": "asker",
        "Timeout": 5_000_000_000,
        **fields,
    }
    return raw(4, **every)


def received(bench: SerfBench) -> list[tuple[int, int]]:
    return [(notice.ltime, notice.id) for notice in bench.take_notice(QueryReceived)]


def answers(bench: SerfBench) -> list[tuple[Address, Any]]:
    """Return what was sent straight to somebody, and to whom."""
    return [
        (sent.destination, sent.first)
        for sent in bench.take_sent()
        if isinstance(sent.first, QueryResponse | Relay)
    ]


# --- once -------------------------------------------------------------------------------


def test_query_is_handed_over_with_its_deadline_and_passed_on_once() -> None:
    """Byte for byte, whatever fields it has; copies do nothing."""
    bench = SerfBench("b")
    message = raw_query(Future=1, Payload=b"x")
    for _ in range(3):
        bench.hear(message)
    assert bench.take_notice(QueryReceived) == [
        QueryReceived(5, 77, "uptime", b"x", "asker", bench.now + 5.0)
    ]
    bench.run_for(5.0)
    parts = [part for sent in bench.take_sent() for part in sent.parts]
    assert parts.count(b"\x08" + message) == 4


def test_query_is_known_by_time_and_id() -> None:
    """Another id of the same time, or another time of the same id, is another query."""
    bench = SerfBench("b")
    for ltime, number in [(5, 1), (5, 2), (6, 1), (5, 1)]:
        bench.hear(query(ltime, number))
    assert received(bench) == [(5, 1), (5, 2), (6, 1)]


def test_window_of_the_ring_is_512_times() -> None:
    """As with user events."""
    bench = SerfBench("b")
    bench.hear(query(3000, 1))
    bench.forget_output()
    bench.hear(query(2489, 2))
    assert received(bench) == [(2489, 2)]
    assert len(bench.news()) == 1
    bench.hear(query(2488, 3))
    assert received(bench) == []
    assert bench.news() == []
    assert bench.rejected == {"query_too_old": 1}
    assert bench.engine.statistics().query_time == 3001


def test_query_that_is_not_to_be_broadcast_stays_here() -> None:
    """Flag 2."""
    bench = SerfBench("b")
    bench.hear(query(flags=QUERY_NO_BROADCAST))
    assert len(received(bench)) == 1
    assert bench.news() == []


def test_queries_of_one_time_have_a_limit() -> None:
    """At the limit all count, one more is refused and not passed on."""
    bench = SerfBench("b")
    for number in range(QUERIES_PER_LTIME_MAX):
        bench.hear(query(5, number))
    assert len(received(bench)) == QUERIES_PER_LTIME_MAX
    bench.forget_output()
    bench.hear(query(5, 9999))
    assert received(bench) == []
    assert bench.news() == []
    assert bench.rejected == {"too_many_queries_of_one_time": 1}


@pytest.mark.parametrize("beyond", [0, 1])
def test_query_from_the_far_future_is_refused(beyond: int) -> None:
    """It would make all queries of the pool look too old."""
    bench = SerfBench("b")
    bench.hear(query(1 + GOSSIPED_JUMP_MAX + beyond))
    assert len(received(bench)) == 1 - beyond
    assert bench.rejected == ({"lamport_time_out_of_range": 1} if beyond else {})


# --- what kills Go peers ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (raw_query(Filters=[b""]), "query_empty_filter"),
        (raw_query(Filters=[encode_filter(NodeFilter((OWN,))), b""]), "query_empty_filter"),
        # What Go reads as empty, though it looks like something else.
        (raw_query(Filters=[None]), "query_empty_filter"),
        (raw_query(Filters=[[]]), "query_empty_filter"),
        (raw_query(Name="_serf_use-key", Payload=[]), "key_query_without_payload"),
        (raw_query(Name="_serf_install-key"), "key_query_without_payload"),
        (raw_query(Name="_serf_use-key"), "key_query_without_payload"),
        (raw_query(Name="_serf_remove-key", Payload=None), "key_query_without_payload"),
        (raw_query(Addr=b""), "bad_address"),
        (raw_query(Addr=b"\1\2\3"), "bad_address"),
        (raw_query(Port=0), "bad_address"),
        (raw_query(Filters=[b"\0\x90"] * (FILTERS_MAX + 1)), "query_too_many_filters"),
        (raw_query(Payload=bytes(QUERY_SIZE_MAX)), "query_too_large"),
    ],
)
def test_harmful_query_is_neither_obeyed_nor_passed_on(message: bytes, reason: str) -> None:
    """No ack, no answer, no copy; counted."""
    bench = SerfBench("b")
    bench.hear(message)
    assert received(bench) == []
    assert bench.take_sent() == []
    assert bench.news() == []
    assert bench.rejected == {reason: 1}


def test_queries_at_the_limits_are_taken() -> None:
    """As many filters and as many bytes as may be."""
    bench = SerfBench("b")
    mine = encode_filter(NodeFilter((OWN,)))
    bench.hear(query(5, 1, filters=(mine,) * FILTERS_MAX))
    bench.hear(query(5, 2, payload=bytes(QUERY_SIZE_MAX - len("uptime"))))
    assert received(bench) == [(5, 1), (5, 2)]


# --- filters ----------------------------------------------------------------------------

TAGS = {"role": "web-server", "dc": "eu-1", "city": "Köln"}


@pytest.mark.parametrize(
    ("filters", "concerns_us"),
    [
        ([], True),
        ([NodeFilter((OWN,))], True),
        ([NodeFilter(("b", OWN))], True),
        ([NodeFilter(("b",))], False),
        ([NodeFilter(())], False),
        ([NodeFilter((OWN.upper(),))], False),
        ([TagFilter("role", "web")], True),
        ([TagFilter("role", "server")], True),
        ([TagFilter("role", "^web-server$")], True),
        ([TagFilter("role", "^server")], False),
        ([TagFilter("role", "(?i)WEB")], True),
        ([TagFilter("role", "")], True),
        ([TagFilter("city", "^K.ln$")], True),
        ([TagFilter("missing", "")], True),
        ([TagFilter("missing", "^$")], True),
        ([TagFilter("missing", "x")], False),
        # All must match.
        ([NodeFilter((OWN,)), TagFilter("dc", "eu")], True),
        ([NodeFilter((OWN,)), TagFilter("dc", "us")], False),
        ([NodeFilter(("b",)), TagFilter("dc", "eu")], False),
        # RE2, not Python's: no lookaround, no backreferences; Unicode classes and \z.
        ([TagFilter("role", "(?=web)")], False),
        ([TagFilter("role", r"(w)\1")], False),
        ([TagFilter("role", r"\pL+-\pL+\z")], True),
        # Invalid ones match nothing.
        ([TagFilter("role", "(")], False),
        ([TagFilter("role", "*")], False),
        # So do those that are not UTF-8 (a lone surrogate stands for such a byte).
        ([TagFilter("role", "\udcff")], False),
        ([TagFilter("role", "web\udcff?")], False),
    ],
)
def test_filters_decide_who_answers(
    filters: list[NodeFilter | TagFilter], concerns_us: bool
) -> None:
    """Who is excluded stays silent, but passes the query on all the same."""
    bench = SerfBench("b", tags=TAGS)
    asked = query(flags=QUERY_ACK, filters=tuple(map(encode_filter, filters)))
    bench.hear(asked)
    assert len(received(bench)) == concerns_us
    assert len(answers(bench)) == concerns_us
    assert bench.news() == [asked]


@pytest.mark.parametrize("part", [b"\x00\xc1", b"\x01", b"\x01\xc1", b"\x02abc", b"\x00", b"\xff"])
def test_unreadable_filter_matches_nobody(part: bytes) -> None:
    """Unknown type or bad msgpack: not for us, counted, passed on (it does Go no harm)."""
    bench = SerfBench("b")
    bench.hear(raw_query(Filters=[part], Flags=QUERY_ACK))
    assert received(bench) == []
    assert answers(bench) == []
    assert len(bench.news()) == 1
    assert bench.rejected == {"bad_query_filter": 1}


def test_own_tags_are_looked_at_as_they_are_now() -> None:
    """A change of tags counts for the next query."""
    bench = SerfBench("b", tags=TAGS)
    wanted = encode_filter(TagFilter("role", "db"))
    bench.hear(query(5, 1, filters=(wanted,)))
    bench.engine.set_tags({"role": "db"}, now=bench.now)
    bench.hear(query(5, 2, filters=(wanted,)))
    assert received(bench) == [(5, 2)]


def test_expensive_expressions_do_not_stall_us() -> None:
    """Catastrophic for a backtracking engine, linear here; too large ones are invalid."""
    assert not tag_matches("(a*)*b", "a" * 500)
    assert not tag_matches("(x+x+)+y", "x" * 500)
    assert not tag_matches("((a{1,100}){1,100}){1,100}", "a" * 500)


# --- acks and answers -------------------------------------------------------------------


def test_ack_goes_straight_to_the_asker() -> None:
    """By UDP to Addr:Port, with the query's time and id, no payload, alone in its packet."""
    bench = SerfBench("b")
    bench.receive(alive("c", 3))
    bench.hear(query(flags=QUERY_ACK))
    (sent,) = [sent for sent in bench.take_sent() if sent.destination == ASKER]
    assert sent.messages == [QueryResponse(5, 77, OWN, RESPONSE_ACK, None)]


def test_without_the_flag_there_is_no_ack() -> None:
    """The answer alone counts."""
    bench = SerfBench("b")
    bench.hear(query())
    assert answers(bench) == []


def test_application_answers_once_before_the_deadline() -> None:
    """The response goes straight to the asker; a second one is refused."""
    bench = SerfBench("b")
    bench.hear(query())
    bench.run_for(4.99)
    bench.take_sent()
    bench.engine.respond(5, 77, b"3 days", now=bench.now)
    assert answers(bench) == [(ASKER, QueryResponse(5, 77, OWN, 0, b"3 days"))]
    with pytest.raises(LookupError):
        bench.engine.respond(5, 77, b"again", now=bench.now)


@pytest.mark.parametrize(("timeout_ns", "after"), [(5_000_000_000, 5.0), (0, 0.0), (-1, 0.0)])
def test_answer_after_the_deadline_is_refused(timeout_ns: int, after: float) -> None:
    """The asker would ignore it."""
    bench = SerfBench("b")
    bench.hear(query(timeout_ns=timeout_ns))
    bench.run_for(after)
    with pytest.raises(LookupError):
        bench.engine.respond(5, 77, b"late", now=bench.now)
    assert answers(bench) == []


def test_unknown_query_cannot_be_answered() -> None:
    """Neither one that never came nor one of Serf's own."""
    bench = SerfBench("b")
    bench.hear(query(name="_serf_ping"))
    with pytest.raises(LookupError):
        bench.engine.respond(5, 77, b"x", now=bench.now)


def largest_payload(limit: int) -> int:
    """Return how long an answer's payload may be so that all of it has `limit` bytes."""
    near = limit - 100
    return limit - len(encode_serf_message(QueryResponse(5, 77, OWN, 0, bytes(near)))) + near


def test_answer_that_fits_goes_by_packet() -> None:
    """Up to 1024 bytes with its header."""
    bench = SerfBench("b")
    bench.hear(query())
    largest = largest_payload(QUERY_RESPONSE_SIZE_MAX)
    bench.engine.respond(5, 77, bytes(largest), now=bench.now)
    ((_, response),) = answers(bench)
    assert len(encode_serf_message(response)) == QUERY_RESPONSE_SIZE_MAX
    assert bench.take_opened() == []


def test_larger_answer_goes_by_stream() -> None:
    """One byte more than a packet may have is dialled to the asker as a user message."""
    bench = SerfBench("b")
    bench.hear(query())
    answer = bytes(largest_payload(QUERY_RESPONSE_SIZE_MAX) + 1)
    bench.engine.respond(5, 77, answer, now=bench.now)
    assert answers(bench) == []
    (opened,) = bench.take_opened()
    message = StreamCodec(nonce=bytes).request_reader().feed(opened.data)
    assert isinstance(message, User)
    assert decode_serf_message_untrusted(message.payload) == QueryResponse(5, 77, OWN, 0, answer)


def test_answers_on_their_way_by_stream_have_a_limit() -> None:
    """A stranger's queries must not make us dial as often as it likes; an end makes room."""
    bench = SerfBench("b")
    answer = bytes(QUERY_RESPONSE_SIZE_MAX)
    for number in range(OUTGOING_MESSAGES_MAX + 1):
        bench.hear(query(5, number))
        bench.engine.respond(5, number, answer, now=bench.now)
    opened = bench.take_opened()
    assert len(opened) == OUTGOING_MESSAGES_MAX
    assert bench.rejected == {"too_many_messages_by_stream": 1}
    bench.engine.receive_stream_eof(opened[0].stream, now=bench.now)
    bench.hear(query(6, 1))
    bench.engine.respond(6, 1, answer, now=bench.now)
    assert len(bench.take_opened()) == 1


def test_answer_has_a_size_limit() -> None:
    """64 KiB with its header; after a refusal a shorter one may still be given."""
    bench = SerfBench("b")
    bench.hear(query())
    largest = largest_payload(STREAM_RESPONSE_SIZE_MAX)
    with pytest.raises(ValueError, match="65536"):
        bench.engine.respond(5, 77, bytes(largest + 1), now=bench.now)
    bench.engine.respond(5, 77, bytes(largest), now=bench.now)
    assert len(bench.take_opened()) == 1


def test_no_query_stays_open_longer_than_an_hour() -> None:
    """Each open one is remembered, whatever its sender says."""
    bench = SerfBench("b")
    bench.hear(query(timeout_ns=2**62))
    (notice,) = bench.take_notice(QueryReceived)
    assert notice.deadline == QUERY_TIMEOUT_MAX


def test_open_queries_have_a_limit_and_the_oldest_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are over go first."""
    assert OPEN_QUERIES_MAX == 512
    monkeypatch.setattr(queries_module, "OPEN_QUERIES_MAX", 3)
    bench = SerfBench("b")
    bench.hear(query(5, 1, timeout_ns=10_000_000_000))
    bench.hear(query(5, 2, timeout_ns=1_000_000_000))
    bench.hear(query(5, 3, timeout_ns=10_000_000_000))
    bench.run_for(2.0)
    bench.hear(query(5, 4))
    bench.engine.respond(5, 1, b"", now=bench.now)
    bench.hear(query(5, 5))
    bench.hear(query(5, 6))
    with pytest.raises(LookupError):
        bench.engine.respond(5, 3, b"", now=bench.now)
    for number in (4, 5, 6):
        bench.engine.respond(5, number, b"", now=bench.now)


# --- relay factor -----------------------------------------------------------------------


def test_relay_factor_sends_copies_by_way_of_others() -> None:
    """The same response wrapped, to that many random members that understand it."""
    bench = SerfBench("b", "c", "d", "e")
    bench.hear(query(flags=QUERY_ACK, relay_factor=2))
    ack = QueryResponse(5, 77, OWN, RESPONSE_ACK, None)
    direct, *relayed = answers(bench)
    assert direct == (ASKER, ack)
    assert len(relayed) == 2
    assert len({destination for destination, _ in relayed}) == 2
    for destination, relay in relayed:
        assert destination in {at(n) for n in range(2, 6)}
        assert relay == Relay(ip(8), 7008, "", "asker", encode_serf_message(ack))


@pytest.mark.parametrize(
    ("factor", "members", "copies"), [(1, "b", 1), (2, "b", 0), (2, "bc", 2), (3, "bc", 0)]
)
def test_relaying_needs_more_members_than_copies(factor: int, members: str, copies: int) -> None:
    """At least r + 1 members must be known, ourselves included."""
    bench = SerfBench(*members)
    bench.hear(query(flags=QUERY_ACK, relay_factor=factor))
    assert len(answers(bench)) == 1 + copies


def test_only_alive_members_that_understand_relays_carry_copies() -> None:
    """Not us, not the failed or leaving, not those below protocol 5."""
    bench = SerfBench("b", "c", "e")
    bench.receive(Dead(1, "c", "b"))
    bench.receive(alive("d", 4, versions=bytes((1, 4, 2, 2, 5, 5))))
    bench.take_sent()
    bench.hear(query(flags=QUERY_ACK, relay_factor=4))
    assert {destination for destination, _ in answers(bench)} == {ASKER, at(2), at(5)}


def test_answers_are_relayed_as_acks_are_and_large_ones_are_not() -> None:
    """A relay has the limit of 1024 bytes too."""
    bench = SerfBench("b", "c")
    bench.hear(query(5, 1, relay_factor=1))
    bench.engine.respond(5, 1, bytes(800), now=bench.now)
    assert len(answers(bench)) == 2
    bench.hear(query(5, 2, relay_factor=1))
    bench.engine.respond(5, 2, bytes(960), now=bench.now)
    assert len(answers(bench)) == 1


# --- carrying for others ----------------------------------------------------------------


def test_relay_is_carried_unchanged() -> None:
    """The inner message goes on byte for byte as a user message."""
    bench = SerfBench("b")
    inner = raw(5, LTime=5, ID=77, From="b", Flags=0, Payload=b"x", Future=1)
    bench.hear(Relay(ip(8), 7008, "", "asker", inner))
    (sent,) = bench.take_sent()
    assert sent.destination == ASKER
    assert sent.parts == [b"\x08" + inner]


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (b"", "bad_relay"),
        (encode_serf_message(UserEvent(5, "e", None, False)), "bad_relay"),
        (raw_query(), "bad_relay"),
        (b"\x09" + b"\x80", "bad_relay"),
        (b"\x4d", "bad_relay"),
        (b"\x05\xc1", "bad_relay"),
    ],
)
def test_only_answers_are_carried(inner: bytes, reason: str) -> None:
    """Go looks at nothing here, and so passes on what crashes the receiver."""
    bench = SerfBench("b")
    header = raw(9, DestAddr={"IP": ip(8), "Port": 7008, "Zone": ""}, DestName="asker")
    bench.hear(header + inner)
    assert bench.take_sent() == []
    assert bench.rejected == {reason: 1}


@pytest.mark.parametrize(
    "destination",
    [
        {"IP": b"\1\2\3", "Port": 7008, "Zone": ""},
        {"IP": b"", "Port": 7008, "Zone": ""},
        {"IP": ip(8), "Port": 0, "Zone": ""},
        {"IP": ip(8), "Port": 65536, "Zone": ""},
        {"IP": ip(8), "Port": -1, "Zone": ""},
    ],
)
def test_relay_to_no_address_is_refused(destination: dict[str, Any]) -> None:
    """Counted, nothing sent."""
    bench = SerfBench("b")
    inner = encode_serf_message(QueryResponse(5, 77, "b", 0, b"x"))
    bench.hear(raw(9, DestAddr=destination, DestName="asker") + inner)
    assert bench.take_sent() == []
    assert sum(bench.rejected.values()) == 1


@pytest.mark.parametrize(("beyond", "is_carried"), [(0, True), (1, False)])
def test_carried_answers_have_a_size_limit(beyond: int, is_carried: bool) -> None:
    """Above it nothing honest is; a compressed packet could hold more than a datagram takes."""
    bench = SerfBench("b")
    overhead = len(encode_serf_message(QueryResponse(5, 77, "b", 0, bytes(5000)))) - 5000
    inner = encode_serf_message(
        QueryResponse(5, 77, "b", 0, bytes(RELAYED_SIZE_MAX - overhead + beyond))
    )
    assert len(inner) == RELAYED_SIZE_MAX + beyond
    bench.hear(Relay(ip(8), 7008, "", "asker", inner))
    assert len(bench.take_sent()) == is_carried


def test_relay_that_unpacks_to_more_than_a_datagram_is_refused() -> None:
    """It used to be possible to make us send what no datagram holds."""
    bench = SerfBench("b")
    inner = encode_serf_message(QueryResponse(5, 77, "b", 0, bytes(100_000)))
    relay = encode_serf_message(Relay(ip(8), 7008, "", "asker", inner))
    packed = PacketCodec(nonce=bytes).seal([encode_message(User(relay))], crc=False)
    assert len(packed) < 5000
    bench.receive(packed)
    assert bench.take_sent() == []
    assert bench.rejected == {"bad_relay": 1}
