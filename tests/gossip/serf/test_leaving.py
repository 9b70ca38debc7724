"""The graceful leave, step by step: with peers, alone, when nobody listens."""

from __future__ import annotations

import pytest
from rookery.gossip.notices import LeaveFinished, MemberLeft
from rookery.gossip.serf.engine import EngineState
from rookery.gossip.serf.leaving import BROADCAST_TIMEOUT, PROPAGATE_DELAY
from rookery.gossip.serf.messages import JoinIntent, LeaveIntent
from rookery.gossip.wire.messages import Ack, Dead, Ping, PushPull, Suspect

from ..benches import OWN, SerfBench, alive, at


def leaving_bench(*names: str, **settings: object) -> SerfBench:
    bench = SerfBench(*names, **settings)
    bench.answering |= set(names)
    bench.run_until(10.0)
    bench.forget_output()
    bench.engine.leave(now=bench.now)
    return bench


def finished_at(bench: SerfBench, limit: float = 60.0) -> float:
    """Let time pass until the leave is over; return how long it took."""
    start = bench.now
    while bench.now < start + limit:
        bench.run_for(0.01)
        if bench.take_notice(LeaveFinished):
            return bench.now - start
    raise AssertionError("the leave did not end")


def test_first_step_is_the_intent_alone() -> None:
    """Leaving, the intent queued with the member time, no word of departure yet."""
    bench = leaving_bench("b", "c")
    time = bench.engine.statistics().member_time
    assert bench.engine.state is EngineState.LEAVING
    assert bench.statuses[OWN] == "leaving"
    assert bench.state_of(OWN) == ("alive", 1)
    assert bench.news() == [LeaveIntent(time - 1, OWN, False)]
    assert bench.status_ltime(OWN) == time - 1


def test_on_the_wire_the_intent_comes_first_then_the_departure_each_its_number_of_times() -> None:
    """So that peers know that it left before they know that it is gone."""
    bench = leaving_bench("b", "c")
    finished_at(bench)
    order = [
        type(message)
        for sent in bench.take_sent()
        for message in sent.messages
        if isinstance(message, LeaveIntent | Dead)
    ]
    limit, peers = 4, 2
    told = limit + peers  # each is told directly as well
    assert order[:told] == [LeaveIntent] * told, "sent in full before anything else"
    assert order.count(Dead) == limit
    # Once more beside the departure, for those who have not got it.
    assert order.count(LeaveIntent) == told + limit


def test_each_live_member_is_told_of_the_leave_directly_and_at_once() -> None:
    """Gossip alone may spend all its transmissions on acks to one member; the dead are not told."""
    bench = SerfBench("b", "c", "d")
    bench.receive(Dead(1, "d", "b"))
    bench.forget_output()
    bench.engine.leave(now=bench.now)
    bench.run_for(0.0)
    told = {
        sent.destination
        for sent in bench.take_sent()
        if any(isinstance(message, LeaveIntent) for message in sent.messages)
    }
    assert told == {at(2), at(3)}


def test_leave_ends_a_second_after_the_departure_was_sent() -> None:
    """LeavePropagateDelay: pings are answered meanwhile."""
    bench = leaving_bench("b", "c")
    took = finished_at(bench)
    last_dead = max(
        sent.at for sent in bench.take_sent() if any(isinstance(m, Dead) for m in sent.messages)
    )
    assert bench.now - last_dead == pytest.approx(PROPAGATE_DELAY, abs=0.02)
    assert took < 4.0
    assert bench.engine.state is EngineState.LEFT
    assert bench.statuses == {OWN: "left", "b": "alive", "c": "alive"}


def test_we_show_as_left_to_our_owner_too() -> None:
    """The own member is leaving, then left, never failed."""
    bench = leaving_bench("b")
    finished = False
    kinds = []
    while not finished:
        bench.run_for(0.01)
        notices = bench.take_notices()
        kinds += [type(n) for n in notices if isinstance(n, MemberLeft | LeaveFinished)]
        finished = LeaveFinished in kinds
    assert kinds == [MemberLeft, LeaveFinished]


def test_pings_are_answered_to_the_end_and_beyond() -> None:
    """While leaving, and after, for as long as we are driven."""
    bench = leaving_bench("b", "c")
    for _ in range(20):
        bench.run_for(0.25)
        bench.take_sent()
        bench.receive(Ping(5, OWN), at(2))
        assert len(bench.take_first(Ack)) == 1


def test_no_probe_of_ours_after_the_departure() -> None:
    """Who has left accuses nobody."""
    bench = leaving_bench("b", "c")
    bench.answering.clear()
    finished_at(bench)
    bench.take_sent()
    bench.run_for(30.0)
    assert bench.take_first(Ping) == []
    assert bench.engine.next_deadline() is None


def test_alone_the_leave_is_over_at_once() -> None:
    """Nobody to tell, nobody to wait for."""
    bench = SerfBench()
    bench.engine.leave(now=bench.now)
    bench.run_for(0.0)
    assert bench.take_notice(LeaveFinished) == [LeaveFinished()]
    assert bench.engine.state is EngineState.LEFT
    assert bench.engine.next_deadline() is None


def test_with_failed_members_only_the_leave_is_over_at_once() -> None:
    """The dead cannot be told either."""
    bench = SerfBench("b")
    bench.receive(Dead(1, "b", "x"))
    bench.forget_output()
    bench.engine.leave(now=bench.now)
    bench.run_for(0.0)
    assert bench.take_notice(LeaveFinished) == [LeaveFinished()]


def test_each_broadcast_is_given_up_after_five_seconds_and_the_leave_goes_on() -> None:
    """Unlike serf 0.9.4, which gives up the leave; here gossip is too slow to get it all out."""
    bench = leaving_bench("b", "c", gossip_interval=100.0, probe_interval=1000.0, probe_timeout=500)
    assert BROADCAST_TIMEOUT == 5.0
    took = finished_at(bench)
    assert took == pytest.approx(2 * BROADCAST_TIMEOUT + PROPAGATE_DELAY, abs=0.05)
    assert bench.engine.state is EngineState.LEFT
    assert bench.state_of(OWN) == ("left", 1)


def test_leaving_twice_is_leaving_once() -> None:
    """Further calls change nothing, also when it is over."""
    bench = leaving_bench("b")
    bench.engine.leave(now=bench.now)
    intents = [news for news in bench.news() if isinstance(news, LeaveIntent)]
    assert len(intents) == 1
    finished_at(bench)
    bench.engine.leave(now=bench.now)
    bench.run_for(10.0)
    assert bench.take_notice(LeaveFinished) == []


def test_accusations_are_refuted_until_the_departure_and_not_after() -> None:
    """Before memberlist's leave we are alive and say so."""
    bench = leaving_bench("b")
    bench.receive(Suspect(1, OWN, "b"))
    assert bench.state_of(OWN) == ("alive", 2)
    finished_at(bench)
    bench.receive(Suspect(2, OWN, "b"))
    bench.receive(alive(OWN, 1, 9))
    assert bench.state_of(OWN) == ("left", 2)


def test_departure_carries_the_incarnation_of_that_moment() -> None:
    """A refutation while leaving counts: an older word would be stale."""
    bench = leaving_bench("b")
    bench.receive(Suspect(7, OWN, "b"))
    finished_at(bench)
    assert set(bench.take_messages(Dead)) == {Dead(8, OWN, OWN)}


def test_leave_of_a_node_whose_peers_fail_meanwhile_ends() -> None:
    """Waiting for a broadcast that nobody can get any more ends by its time-out."""
    bench = leaving_bench("b")
    bench.receive(Dead(1, "b", "x"))
    assert finished_at(bench) <= BROADCAST_TIMEOUT + 0.02


def test_stop_in_the_middle_of_a_leave_ends_everything() -> None:
    """The owner may be in a hurry; no timer is left."""
    bench = leaving_bench("b")
    bench.run_for(0.3)
    bench.engine.stop(now=bench.now)
    assert bench.engine.state is EngineState.SHUTDOWN
    assert bench.engine.next_deadline() is None
    bench.run_for(20.0)
    assert bench.take_notice(LeaveFinished) == []


def test_join_intents_about_us_do_not_call_us_back() -> None:
    """An echo of our own join while we leave leaves us leaving for the pool."""
    for ltime in (1, 500):
        bench = leaving_bench("b", "c")
        bench.forget_output()
        bench.hear(JoinIntent(ltime, OWN))
        assert bench.statuses[OWN] == "leaving"
        assert JoinIntent(ltime, OWN) not in bench.news()
        finished_at(bench)
        assert bench.statuses[OWN] == "left"


def test_tags_do_not_change_after_the_departure() -> None:
    """Nothing of us is announced any more."""
    bench = leaving_bench("b")
    finished_at(bench)
    bench.take_sent()
    bench.engine.set_tags({"role": "ghost"}, now=bench.now)
    bench.run_for(5.0)
    assert bench.news() == []
    assert bench.state_of(OWN) == ("left", 1)


def test_table_after_the_leave_shows_us_left() -> None:
    """A peer that exchanges with us in the last second learns it."""
    bench = leaving_bench("b")
    while bench.state_of(OWN) != ("left", 1):
        bench.run_for(0.01)
    message = bench.dial(PushPull((), b"", False)).message
    assert [node.state for node in message.nodes if node.name == OWN] == [3]
    assert bench.user_state().left_members == (OWN,)
