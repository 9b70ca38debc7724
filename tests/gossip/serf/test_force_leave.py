"""Force-leave: a leave intent in somebody else's name, and care for what prunes do to Go agents."""

from __future__ import annotations

import pytest
from rookery.gossip.notices import ForceLeaveFinished, MemberLeft, MemberReaped
from rookery.gossip.serf.force_leave import TIMED_OUT
from rookery.gossip.serf.messages import JoinIntent, LeaveIntent
from rookery.gossip.wire.messages import Dead

from ..benches import SerfBench


def bench_with(status: str) -> SerfBench:
    """Return a bench on which "b" has a status; "c" is alive."""
    bench = SerfBench("b", "c")
    bench.answering |= {"b", "c"}
    if status in ("leaving", "left"):
        bench.hear(LeaveIntent(5, "b"))
    if status in ("left", "failed"):
        bench.receive(Dead(1, "b", "c"))
    assert bench.statuses["b"] == status
    bench.forget_output()
    return bench


def force(bench: SerfBench, name: str = "b", *, prune: bool = False) -> int:
    return bench.engine.force_leave(name, prune=prune, now=bench.now)


def test_failed_member_has_left_here_and_everywhere() -> None:
    """The intent has the member clock's time, which moves; it is applied and broadcast."""
    bench = bench_with("failed")
    time = bench.engine.statistics().member_time
    operation = force(bench)
    assert bench.statuses["b"] == "left"
    assert bench.engine.statistics().member_time == time + 1
    assert [n.member.name for n in bench.take_notice(MemberLeft)] == ["b"]
    assert bench.news() == [LeaveIntent(time, "b", False)]
    assert bench.take_notice(ForceLeaveFinished) == [ForceLeaveFinished(operation, None)]


def test_operation_is_over_when_the_intent_was_sent_its_number_of_times() -> None:
    """Not before."""
    bench = bench_with("failed")
    operation = force(bench)
    bench.run_for(0.2)
    assert bench.take_notice(ForceLeaveFinished) == []
    bench.run_for(2.0)
    assert bench.take_notice(ForceLeaveFinished) == [ForceLeaveFinished(operation, None)]
    bench.run_for(10.0)
    assert bench.take_notice(ForceLeaveFinished) == []


def test_operation_fails_after_five_seconds() -> None:
    """Here gossip is too slow; the member has left all the same."""
    bench = SerfBench("b", "c", gossip_interval=100.0, probe_interval=1000.0, probe_timeout=500.0)
    bench.receive(Dead(1, "b", "c"))
    bench.forget_output()
    operation = force(bench)
    bench.run_for(5.0)
    assert bench.take_notice(ForceLeaveFinished) == [ForceLeaveFinished(operation, TIMED_OUT)]
    assert bench.statuses["b"] == "left"


def test_alone_it_is_over_at_once() -> None:
    """Nobody could hear it."""
    bench = SerfBench("b")
    bench.receive(Dead(1, "b", "x"))
    bench.forget_output()
    operation = force(bench)
    assert bench.take_notice(ForceLeaveFinished) == [ForceLeaveFinished(operation, None)]
    assert bench.statuses["b"] == "left"


def test_alive_member_shows_as_leaving_until_it_refutes() -> None:
    """The victim answers with a join intent of a later time."""
    bench = bench_with("alive")
    force(bench)
    assert bench.statuses["b"] == "leaving"
    (intent,) = bench.news()
    bench.hear(JoinIntent(intent.ltime + 1, "b"))
    assert bench.statuses["b"] == "alive"


def test_unknown_member_is_no_error() -> None:
    """The intent goes round: others may know it."""
    bench = SerfBench("c")
    operation = force(bench, "nobody")
    assert isinstance(bench.news()[0], LeaveIntent)
    assert bench.take_notice(ForceLeaveFinished) == [ForceLeaveFinished(operation, None)]


@pytest.mark.parametrize("status", ["failed", "left"])
def test_prune_of_a_gone_member_erases_it_everywhere(status: str) -> None:
    """Sent with the flag, applied here."""
    bench = bench_with(status)
    force(bench, prune=True)
    assert "b" not in bench.statuses
    assert [n.member.name for n in bench.take_notice(MemberReaped)] == ["b"]
    (intent,) = bench.news()
    assert intent.prune


@pytest.mark.parametrize("status", ["alive", "leaving"])
def test_prune_of_a_live_member_is_never_sent(status: str) -> None:
    """Each Go agent that takes one blocks for six seconds, then erases a member that is well."""
    bench = bench_with(status)
    force(bench, prune=True)
    assert bench.statuses["b"] == "leaving"
    intents = [news for news in bench.news() if isinstance(news, LeaveIntent)]
    assert [intent.prune for intent in intents] == [False]


@pytest.mark.parametrize("status", ["alive", "leaving"])
def test_prune_of_a_live_member_waits_until_it_is_gone(status: str) -> None:
    """Then it goes round with the flag: who was alive may be dead without our having noticed."""
    bench = bench_with(status)
    force(bench, prune=True)
    bench.forget_output()
    bench.receive(Dead(1, "b", "b"))
    bench.run_for(0.0)
    assert "b" not in bench.statuses
    intents = [news for news in bench.news() if isinstance(news, LeaveIntent)]
    assert [(intent.node, intent.prune) for intent in intents] == [("b", True)]


def test_wish_to_prune_is_forgotten_when_the_member_is_alive_again() -> None:
    """It refuted, so it means to stay; a later failure is another matter."""
    bench = bench_with("leaving")
    force(bench, prune=True)
    time = bench.engine.statistics().member_time
    bench.hear(JoinIntent(time + 5, "b"))
    assert bench.statuses["b"] == "alive"
    bench.receive(Dead(1, "b", "c"))
    bench.run_for(0.0)
    assert bench.statuses["b"] == "failed"
