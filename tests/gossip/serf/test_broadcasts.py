"""Serf's three queues: order, limits, and what fits beside them."""

from __future__ import annotations

from rookery.gossip.serf.messages import (
    JoinIntent,
    LeaveIntent,
    Query,
    UserEvent,
    encode_serf_message,
)
from rookery.gossip.swim.broadcasts import BROADCASTS_MAX
from rookery.gossip.wire.messages import Alive, Ping

from ..benches import OWN, SerfBench, alive, at, ip


def query(number: int, payload: bytes = b"") -> Query:
    return Query(5, number, ip(8), 7008, "b", (), 0, 0, 0, "q", payload)


def test_room_goes_to_membership_then_intents_then_queries_then_events() -> None:
    """As in Go, whatever came first."""
    bench = SerfBench("b")
    bench.hear(UserEvent(5, "event", b"x" * 100, False))
    bench.hear(query(1))
    bench.hear(JoinIntent(5, "b"))
    bench.receive(alive("c", 3))
    bench.take_sent()
    bench.receive(Ping(1, OWN), at(2))
    (sent,) = bench.take_sent()
    assert [type(message) for message in sent.messages[1:]] == [
        Alive,
        JoinIntent,
        Query,
        UserEvent,
    ]


def test_serf_messages_never_replace_each_other() -> None:
    """Two intents about one member both travel."""
    bench = SerfBench("b", "c")
    bench.hear(JoinIntent(5, "b"))
    bench.hear(LeaveIntent(6, "b"))
    assert sorted(type(news).__name__ for news in bench.news()) == ["JoinIntent", "LeaveIntent"]


def test_transmit_limit_scales_with_members_of_every_status() -> None:
    """Here with the member count, which failed members are part of."""
    bench = SerfBench(*"bcdefghij", probe_interval=1000.0, probe_timeout=500.0)
    assert bench.engine.statistics().members == 10
    bench.hear(UserEvent(5, "event", None, False))
    bench.run_for(10.0)
    assert len(bench.take_messages(UserEvent)) == 8


def test_packets_full_of_serf_messages_keep_to_the_budget() -> None:
    """Intents, queries and events together, each with its type byte and length."""
    bench = SerfBench("b")
    for number in range(60):
        bench.hear(UserEvent(number + 1, "event", bytes(number * 5), False))
        bench.hear(query(number, bytes(number * 7)))
        bench.hear(JoinIntent(number + 5, "b"))
    bench.take_sent()
    bench.run_for(5.0)
    for _ in range(50):
        bench.receive(Ping(1, OWN), at(2))
    sizes = [len(sent.data) for sent in bench.take_sent()]
    assert max(sizes) <= 1405
    assert max(sizes) > 1300


def test_queue_holds_its_limit_and_not_one_more() -> None:
    """A flooding peer does not own our memory; what is dropped is counted by nobody's wait."""
    bench = SerfBench("b")
    ltime = 0
    for number in range(BROADCASTS_MAX + 1):
        ltime = 1 + number // 100
        bench.hear(UserEvent(ltime, f"e{number}", None, False))
    assert bench.engine.statistics().event_queue == BROADCASTS_MAX
    assert bench.engine.statistics().intent_queue == 0


def test_largest_message_that_a_packet_holds_is_gossiped_and_one_byte_more_is_not() -> None:
    """The limit of queueing is exactly the room of a packet."""
    for beyond in (0, 1):
        bench = SerfBench("b", probe_interval=1000.0, probe_timeout=500.0)
        overhead = len(encode_serf_message(UserEvent(5, "e", bytes(1000), False))) - 1000
        room = 1400 - 2 - 2 - 1
        bench.hear(UserEvent(5, "e", bytes(room - overhead + beyond), False))
        bench.run_for(5.0)
        assert len(bench.take_messages(UserEvent)) == (4 if not beyond else 0)
        assert bench.engine.statistics().event_queue == 0
