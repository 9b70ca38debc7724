"""Two and three engines, packets and streams moved by hand: what is not moved is lost.

"a" is at 10.0.0.1, "b" at 10.0.0.2, "c" at 10.0.0.3, on the LAN profile.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.notices import (
    LeaveFinished,
    NameConflict,
    PushPullFinished,
    QueryAnswered,
    QueryFinished,
    QueryReceived,
    UserEventReceived,
)
from rookery.gossip.serf.asking import Question
from rookery.gossip.serf.messages import JoinIntent, LeaveIntent
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.messages import Ack, Alive, Dead, IndirectPing, Nack, Ping, Suspect

from .benches import Exchange, Sent, SerfBench, at, ip

A, B, C = at(1), at(2), at(3)


def make(name: str, seed: int = 1, **settings: object) -> SerfBench:
    """Return the engine of a name at its usual address."""
    number = ord(name[0]) - ord("a") + 1
    return SerfBench(node_name=name, address=ip(number), seed=seed * 100 + number, **settings)


def strangers(names: str, **settings: object) -> tuple[Exchange, list[SerfBench]]:
    """Return engines that do not know each other."""
    benches = [make(name, **settings) for name in names]
    exchange = Exchange({at(ord(name) - 96): b for name, b in zip(names, benches, strict=True)})
    return exchange, benches


def join(exchange: Exchange, bench: SerfBench, address: Address) -> None:
    """Let one join another, with everything that follows at once."""
    bench.engine.join(address, now=bench.now)
    exchange.move_streams()
    (finished,) = bench.take_notice(PushPullFinished)
    assert finished.error is None
    bench.engine.announce_join(now=bench.now)


def friends(names: str, **settings: object) -> tuple[Exchange, list[SerfBench]]:
    """Return engines that are one pool, at 10 s, with nothing left to tell."""
    exchange, benches = strangers(names, **settings)
    for bench in benches[1:]:
        join(exchange, bench, A)
    exchange.run_until(10.0)
    for bench in benches:
        assert bench.statuses == dict.fromkeys(names, "alive")
        bench.take_notices()
    return exchange, benches


def between(one: Address, other: Address) -> Callable[[Sent, Address], bool]:
    """Return a rule that loses what two send to each other."""

    def is_moved(sent: Sent, source: Address) -> bool:
        return {source, sent.destination} != {one, other}

    return is_moved


def sent_for(
    log: list[tuple[float, Address, Sent]], kind: type, source: Address
) -> list[tuple[float, Address]]:
    """Return when and to whom somebody sent packets for messages of a kind."""
    return [
        (time, sent.destination)
        for time, by, sent in log
        if by == source and isinstance(sent.first, kind)
    ]


# --- joining ----------------------------------------------------------------------------


def test_join_makes_both_know_each_other_in_one_exchange() -> None:
    """The answer shows the one, the request the other; the join intent follows by gossip."""
    exchange, (a, b) = strangers("ab")
    b.engine.join(A, now=0.0)
    assert a.statuses == {"a": "alive"}
    exchange.move_streams()
    assert a.statuses == {"a": "alive", "b": "alive"}
    assert b.statuses == {"a": "alive", "b": "alive"}
    b.engine.announce_join(now=0.0)
    exchange.run_until(1.0)
    assert a.status_ltime("b") == b.status_ltime("b") > 0


def test_look_leaves_no_trace_at_the_other() -> None:
    """Nobody there hears of who looked."""
    exchange, (a, b) = strangers("ab")
    b.engine.look(A, now=0.0)
    exchange.move_streams()
    (finished,) = b.take_notice(PushPullFinished)
    assert [node.name for node in finished.nodes] == ["a"]
    exchange.run_until(5.0)
    assert a.statuses == {"a": "alive"}
    assert b.statuses == {"b": "alive"}
    assert a.rejected == b.rejected == {}


def test_third_is_known_to_all_by_gossip() -> None:
    """C joins through A; B hears of it within some ticks, without a stream of its own."""
    exchange, (a, b, c) = strangers("abc")
    join(exchange, b, A)
    exchange.run_until(5.0)
    join(exchange, c, A)
    assert "c" not in b.statuses
    exchange.run_until(6.0, streams=False)
    assert b.statuses == c.statuses == a.statuses == dict.fromkeys("abc", "alive")


def test_answer_that_is_lost_makes_half_a_join_that_the_next_exchange_completes() -> None:
    """A took the request; B saw no answer and knows nobody until A exchanges with it."""
    exchange, (a, b) = strangers("ab")
    b.engine.join(A, now=0.0)
    (dial,) = b.take_opened()
    reply = a.dial(dial.data, B)
    assert reply.message is not None
    assert a.statuses == {"a": "alive", "b": "alive"}
    assert b.statuses == {"b": "alive"}
    exchange.run_until(11.0)
    (finished,) = b.take_notice(PushPullFinished)
    assert finished.error == "dial tcp 10.0.0.1:7946: i/o timeout"
    assert a.statuses == {"a": "alive", "b": "alive"}, "B answers A's pings"
    exchange.run_until(61.0)
    assert b.statuses == {"a": "alive", "b": "alive"}


def test_restarted_node_outbids_what_is_remembered_of_it() -> None:
    """Incarnation 1 again: the answer shows it its old entry, and it refutes that."""
    exchange, (a, b) = friends("ab")
    for _ in range(3):
        b.engine.set_tags({"life": "1"}, now=b.now)
        exchange.run_until(b.now + 1.0)
    assert a.state_of("b") == ("alive", 4)
    reborn = make("b", seed=2, tags={"life": "2"})
    reborn.run_until(a.now)
    exchange.benches[B] = reborn
    join(exchange, reborn, A)
    assert reborn.state_of("b") == ("alive", 5)
    assert a.state_of("b") == ("alive", 4)
    exchange.run_until(a.now + 1.0)
    assert a.state_of("b") == ("alive", 5)
    assert a.member("b").tags == {"life": "2"}


def test_second_node_of_a_name_is_told_to_both() -> None:
    """Neither gives way, neither takes the other's address."""
    exchange, (a, b) = friends("ab")
    twin = SerfBench(node_name="b", address=ip(9), seed=7)
    twin.run_until(a.now)
    exchange.benches[at(9)] = twin
    twin.engine.join(B, now=twin.now)
    exchange.move_streams()
    assert b.take_notice(NameConflict) == [NameConflict("b", B, at(9))]
    assert twin.take_notice(NameConflict) == [NameConflict("b", at(9), B)]
    exchange.run_until(a.now + 5.0)
    assert a.member("b").host == "10.0.0.2"


# --- probing ----------------------------------------------------------------------------


def test_lost_ping_is_made_good_by_a_helper() -> None:
    """A's ping to B is lost: half a second later C pings for it, and the probe succeeds."""
    exchange, (a, b, c) = friends("abc", stream_pings=False)
    before = a.engine.statistics().swim
    log = exchange.run_until(20.0, between(A, B))
    pings = [time for time, to in sent_for(log, Ping, A) if to == B]
    requests = [time for time, to in sent_for(log, IndirectPing, A) if to == C]
    assert len(pings) >= 4
    assert [round(request - ping, 3) for ping, request in zip(pings, requests, strict=False)] == [
        0.5
    ] * len(requests)
    relayed = [time for time, to in sent_for(log, Ping, C) if to == B]
    assert len(relayed) >= len(requests)
    after = a.engine.statistics().swim
    assert after.probes_failed == before.probes_failed == 0
    assert a.statuses == b.statuses == c.statuses == dict.fromkeys("abc", "alive")


def test_helper_that_cannot_reach_either_says_so_and_the_asker_stays_healthy() -> None:
    """B is gone: C sends a nack at its own time-out, so A's health does not suffer.

    With the local profile's time-out; with that of LAN a nack comes just after the deadline.
    """
    exchange, (a, _, c) = friends("abc", stream_pings=False, probe_timeout=0.2)
    del exchange.benches[B]
    log = exchange.run_until(16.0)
    nacks = sent_for(log, Nack, C)
    assert nacks
    assert {to for _, to in nacks} == {A}
    requests = sent_for(log, IndirectPing, A)
    for (nacked, _), (asked, _) in zip(nacks, requests, strict=False):
        assert 0.2 <= nacked - asked <= 0.22
    assert a.engine.statistics().swim.probes_failed >= 2
    assert a.engine.statistics().swim.health_score == 0
    exchange.run_until(40.0)
    assert a.statuses["b"] == c.statuses["b"] == "failed"


def test_blocked_udp_is_told_from_a_dead_node() -> None:
    """No packet passes between A and B, but streams do: both stay alive, with a warning."""
    exchange, (a, b) = friends("ab")
    exchange.run_until(20.0, between(A, B))
    assert a.statuses == b.statuses == {"a": "alive", "b": "alive"}
    assert "udp_seems_blocked" in a.remarks()


def test_silent_node_is_failed_after_the_shortest_suspicion_of_a_pair() -> None:
    """B is gone: A suspects it after a probe of 1 s, and 4 s later it is failed."""
    exchange, (a, _) = friends("ab")
    del exchange.benches[B]
    pings: list[tuple[float, Address]] = []
    while not pings:
        pings = sent_for(exchange.run_until(a.now + 0.01), Ping, A)
    ((first, destination),) = pings
    assert destination == B
    exchange.run_until(first + 0.99)
    assert a.state_of("b") == ("alive", 1)
    exchange.run_until(first + 1.02)
    assert a.state_of("b") == ("suspect", 1)
    exchange.run_until(first + 4.98)
    assert a.statuses["b"] == "alive"
    exchange.run_until(first + 5.05)
    assert a.statuses["b"] == "failed"


def test_false_accusation_is_refuted_by_way_of_a_third() -> None:
    """A cannot reach B at all, C can: C tells B, B refutes, and A believes it."""
    exchange, (a, b, c) = friends("abc", stream_pings=False, indirect_checks=0)
    log = exchange.run_until(25.0, between(A, B), streams=False)
    assert any(
        isinstance(message, Suspect) and message.node == "b"
        for _, by, sent in log
        if by == A
        for message in sent.messages
    )
    incarnation = b.engine.statistics().swim.incarnation
    assert incarnation > 1
    assert a.statuses["b"] == c.statuses["b"] == "alive"
    state = a.state_of("b")
    assert state is not None
    assert state[1] >= incarnation - 1


def test_suspect_that_is_reached_again_refutes_at_once() -> None:
    """The next ping carries the accusation; the answer brings ack and refutation together."""
    exchange, (a, b) = friends("ab", stream_pings=False)
    is_lost = True
    log: list[tuple[float, Address, Sent]] = []
    while a.state_of("b") == ("alive", 1):
        log += exchange.run_until(a.now + 0.01, lambda _sent, _source: not is_lost, streams=False)
        assert a.now < 20.0
    exchange.run_until(a.now + 1.5, streams=False)
    assert a.state_of("b") == ("alive", 2)
    assert b.engine.statistics().swim.refutations == 1


def test_probes_of_a_pair_carry_news_along() -> None:
    """With gossip packets lost, the news rides on pings and acks."""
    exchange, (a, b) = friends("ab")
    b.engine.set_tags({"role": "new"}, now=b.now)
    exchange.run_until(
        14.0, lambda sent, _source: isinstance(sent.first, Ping | Ack), streams=False
    )
    assert a.member("b").tags == {"role": "new"}


# --- leaving ----------------------------------------------------------------------------


def leave(exchange: Exchange, bench: SerfBench, is_moved: Callable[[Sent, Address], bool]) -> None:
    bench.engine.leave(now=bench.now)
    start = bench.now
    while not bench.take_notice(LeaveFinished):
        exchange.run_until(bench.now + 0.1, is_moved)
        assert bench.now < start + 15.0


def everything(_sent: Sent, _source: Address) -> bool:
    return True


def test_leave_is_left_at_everybody() -> None:
    """Intent, then departure; both others hold it as left."""
    exchange, (a, b, c) = friends("abc")
    leave(exchange, b, everything)
    assert a.statuses["b"] == c.statuses["b"] == b.statuses["b"] == "left"


def test_leave_whose_departure_is_lost_ends_as_left_all_the_same() -> None:
    """The others find it gone, and have its intent."""
    exchange, (a, b, c) = friends("abc")

    def no_dead(sent: Sent, source: Address) -> bool:
        return not (source == B and any(isinstance(m, Dead) for m in sent.messages))

    leave(exchange, b, no_dead)
    assert a.statuses["b"] == "leaving"
    del exchange.benches[B]
    exchange.run_until(a.now + 30.0)
    assert a.statuses["b"] == c.statuses["b"] == "left"


def test_leave_whose_intent_is_lost_to_one_is_repaired_by_the_other() -> None:
    """C got the intent, A did not: A holds it as failed only until C's table comes."""
    exchange, (a, b, c) = friends("abc")

    def not_to_a(sent: Sent, _source: Address) -> bool:
        return not (
            sent.destination == A and any(isinstance(m, LeaveIntent) for m in sent.messages)
        )

    leave(exchange, b, not_to_a)
    del exchange.benches[B]
    exchange.run_until(a.now + 8.0, not_to_a, streams=False)
    assert c.statuses["b"] == "left"
    assert a.statuses["b"] == "failed"
    a.engine.join(C, now=a.now)
    exchange.move_streams()
    assert a.statuses["b"] == "left"


def test_departed_node_that_comes_back_is_alive_at_everybody() -> None:
    """It starts over with incarnation 1 and is believed after its refutation."""
    exchange, (a, b, c) = friends("abc")
    leave(exchange, b, everything)
    reborn = make("b", seed=3)
    reborn.run_until(a.now)
    exchange.benches[B] = reborn
    join(exchange, reborn, C)
    exchange.run_until(a.now + 3.0)
    for bench in (a, reborn, c):
        assert bench.statuses == dict.fromkeys("abc", "alive")


# --- absence ----------------------------------------------------------------------------


def test_who_was_away_learns_who_left_and_who_failed() -> None:
    """Nothing reached C while D left and E died; one exchange tells them apart.

    C stood still meanwhile, as a stopped process does, and believes that all is well.
    """
    exchange, (a, b, c, d, _) = friends("abcde")
    del exchange.benches[C]
    leave(exchange, d, everything)
    del exchange.benches[at(4)]
    del exchange.benches[at(5)]
    exchange.run_until(a.now + 60.0)
    assert a.statuses == {"a": "alive", "b": "alive", "c": "failed", "d": "left", "e": "failed"}
    assert c.statuses == dict.fromkeys("abcde", "alive")
    c.now = a.now
    exchange.benches[C] = c
    join(exchange, c, A)
    # C's old table may bring D back for a while, where SWIM has forgotten it; then it fails, and
    # the next exchange of each tells that it had left.
    exchange.run_until(a.now + 75.0)
    expected = {"a": "alive", "b": "alive", "c": "alive", "d": "left", "e": "failed"}
    assert a.statuses == b.statuses == c.statuses == expected


# --- events and queries -----------------------------------------------------------------


def test_event_and_query_reach_the_others_and_answers_come_back() -> None:
    """A asks, B and C answer; each event is heard once everywhere."""
    exchange, (a, b, c) = friends("abc")
    a.engine.user_event("deploy", b"7", coalesce=False, now=a.now)
    key = a.engine.query(Question(name="uptime", payload=b"?"), now=a.now)
    answered = False
    while a.now < 16.0:
        exchange.run_until(a.now + 0.1)
        if not answered and b.notices and c.notices:
            for bench in (a, b, c):
                (query,) = [n for n in bench.notices if isinstance(n, QueryReceived)]
                assert (query.ltime, query.id) == key
                bench.engine.respond(*key, bench.engine.local_member().name.encode(), now=bench.now)
            answered = True
    for bench in (a, b, c):
        heard = [n for n in bench.notices if isinstance(n, UserEventReceived)]
        assert [(n.name, n.payload) for n in heard] == [("deploy", b"7")]
    answers = {n.sender: n.payload for n in a.notices if isinstance(n, QueryAnswered)}
    assert answers == {"a": b"a", "b": b"b", "c": b"c"}
    assert QueryFinished(*key, 0, 3) in a.notices


@pytest.mark.parametrize(
    "settings",
    [
        {"keyring": "shared"},
        {"label": "pool"},
        {"compression": True},
        {"keyring": "shared", "label": "pool", "compression": True},
    ],
)
def test_conversations_are_the_same_under_every_layer(settings: dict[str, object]) -> None:
    """Join, gossip, failure and leave with encryption, label and compression."""
    if settings.get("keyring"):
        settings = {**settings, "keyring": Keyring([bytes(range(16))])}
    exchange, (a, b, c) = friends("abc", **settings)
    b.engine.set_tags({"role": "new"}, now=b.now)
    leave(exchange, c, everything)
    assert a.member("b").tags == {"role": "new"}
    assert a.statuses == {"a": "alive", "b": "alive", "c": "left"}
    assert a.rejected == b.rejected == c.rejected == {}


def test_pools_of_other_keys_and_labels_stay_apart() -> None:
    """A join into one fails with its words, and nobody knows anybody."""
    exchange = Exchange(
        {
            A: make("a", keyring=Keyring([bytes(16)])),
            B: make("b", keyring=Keyring([bytes(range(16))])),
            C: make("c", label="other"),
        }
    )
    a, b, c = exchange.benches.values()
    for bench in (b, c):
        assert isinstance(bench, SerfBench)
        bench.engine.join(A, now=0.0)
        exchange.move_streams()
    (refused,) = b.take_notice(PushPullFinished)
    assert refused.error is not None
    (closed,) = c.take_notice(PushPullFinished)
    assert closed.error == "EOF"
    for bench in (a, b, c):
        assert isinstance(bench, SerfBench)
        assert len(bench.statuses) == 1


def test_lost_and_doubled_packets_change_nothing_that_counts() -> None:
    """Every second packet is lost, the others come twice: the pool agrees all the same."""
    exchange, (a, b, c) = strangers("abc")
    join(exchange, b, A)
    join(exchange, c, A)
    count = 0
    now = 0.0
    while now < 20.0:
        now += 0.01
        for bench in (a, b, c):
            bench.run_until(now)
        exchange.move_streams()
        for source, bench in exchange.benches.items():
            for sent in bench.take_sent():
                count += 1
                for _ in range(2 * (count % 2)):
                    target = exchange.benches[sent.destination]
                    target.engine.receive_packet(sent.data, source, now=now)
                    target.drain()
    assert a.statuses == b.statuses == c.statuses == dict.fromkeys("abc", "alive")
    assert a.status_ltime("b") == c.status_ltime("b")


def test_messages_seen_on_the_way_are_what_they_should_be() -> None:
    """A join as it looks to a third: alive and join intent, each as news of B."""
    exchange, (a, b) = strangers("ab")
    join(exchange, b, A)
    log = exchange.run_until(2.0)
    messages = [message for _, by, sent in log if by == B for message in sent.messages]
    intents = [message for message in messages if isinstance(message, JoinIntent)]
    assert {intent.node for intent in intents} == {"b"}
    assert {m.node for m in messages if isinstance(m, Alive)} <= {"a", "b"}
    assert a.status_ltime("b") == intents[0].ltime
