"""Intents: early ones wait in a bounded buffer, false ones about us are refuted, prunes rare."""

from __future__ import annotations

import pytest
from rookery.gossip.notices import InputRejected, MemberLeft, MemberReaped
from rookery.gossip.serf import intents
from rookery.gossip.serf.intents import EARLY_INTENT_TIMEOUT, EARLY_INTENTS_MAX
from rookery.gossip.serf.lamport import GOSSIPED_JUMP_MAX
from rookery.gossip.serf.messages import JoinIntent, LeaveIntent
from rookery.gossip.swim.membership import NODE_NAME_ACCEPTED_MAX
from rookery.gossip.wire.messages import Dead

from ..benches import OWN, SerfBench, alive, raw

# --- early intents ----------------------------------------------------------------------


def early(bench: SerfBench) -> int:
    return bench.engine.statistics().early_intents


def test_early_join_intent_gives_the_member_its_status_time() -> None:
    """It is consumed when memberlist reports the join."""
    bench = SerfBench()
    bench.hear(JoinIntent(7, "b"))
    assert early(bench) == 1
    bench.know("b")
    assert bench.statuses["b"] == "alive"
    assert bench.status_ltime("b") == 7
    assert early(bench) == 0


def test_early_leave_intent_makes_the_member_leaving() -> None:
    """A node that is about to go joins the table as leaving."""
    bench = SerfBench()
    bench.hear(LeaveIntent(7, "b"))
    bench.know("b")
    assert bench.statuses["b"] == "leaving"
    assert bench.status_ltime("b") == 7
    bench.receive(Dead(1, "b", "b"))
    assert bench.statuses["b"] == "left"


@pytest.mark.parametrize(
    ("first", "second", "is_news", "then"),
    [
        (JoinIntent(7, "b"), LeaveIntent(8, "b"), True, "leaving"),
        (LeaveIntent(7, "b"), JoinIntent(8, "b"), True, "alive"),
        (JoinIntent(7, "b"), LeaveIntent(7, "b"), False, "alive"),
        (LeaveIntent(7, "b"), JoinIntent(6, "b"), False, "leaving"),
        (LeaveIntent(7, "b"), LeaveIntent(7, "b"), False, "leaving"),
    ],
)
def test_early_intent_is_replaced_and_passed_on_only_with_a_larger_time(
    first: JoinIntent | LeaveIntent, second: JoinIntent | LeaveIntent, is_news: bool, then: str
) -> None:
    """One intent a name is kept, the newest."""
    bench = SerfBench("c")
    bench.hear(first)
    assert bench.news() == [first]
    bench.hear(second)
    assert bench.news() == ([second] if is_news else [])
    assert early(bench) == 1
    bench.know("b")
    assert bench.statuses["b"] == then


@pytest.mark.parametrize(
    ("age", "status"),
    [(EARLY_INTENT_TIMEOUT, "leaving"), (EARLY_INTENT_TIMEOUT + 0.01, "alive")],
)
def test_early_intent_counts_for_five_minutes(age: float, status: str) -> None:
    """Serf: RecentIntentTimeout."""
    bench = SerfBench()
    bench.hear(LeaveIntent(7, "b"))
    bench.run_for(age)
    bench.know("b")
    assert bench.statuses["b"] == status


def test_expired_early_intent_does_not_hold_back_an_older_one() -> None:
    """After five minutes the name starts over."""
    bench = SerfBench("c")
    bench.hear(LeaveIntent(7, "b"))
    bench.run_for(EARLY_INTENT_TIMEOUT + 1.0)
    bench.forget_output()
    bench.hear(LeaveIntent(5, "b"))
    assert bench.news() == [LeaveIntent(5, "b")]


def test_expired_early_intents_are_dropped() -> None:
    """Each new one clears those that are over."""
    bench = SerfBench()
    for number in range(50):
        bench.hear(JoinIntent(7, f"n{number}"))
    bench.run_for(EARLY_INTENT_TIMEOUT + 1.0)
    bench.hear(JoinIntent(8, "late"))
    assert early(bench) == 1


def test_early_intents_keep_to_their_limit_and_the_oldest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the limit all are kept, one more drops the oldest."""
    assert EARLY_INTENTS_MAX == 65536
    monkeypatch.setattr(intents, "EARLY_INTENTS_MAX", 10)
    bench = SerfBench()
    for number in range(10):
        bench.hear(LeaveIntent(7, f"{'bcdefghijk'[number]}{number}"))
    assert early(bench) == 10
    bench.hear(LeaveIntent(8, "b0"))
    assert early(bench) == 10
    bench.hear(LeaveIntent(7, "one more"))
    assert early(bench) == 10
    bench.know("b0")
    bench.know("c1")
    assert bench.statuses["b0"] == "leaving", "renewed, so not the oldest"
    assert bench.statuses["c1"] == "alive", "dropped"


@pytest.mark.parametrize("type_number", [0, 1])
def test_intent_with_an_endless_name_is_not_kept(type_number: int) -> None:
    """Sixty thousand of them would be gigabytes."""
    bench = SerfBench("c")
    longest = "n" * NODE_NAME_ACCEPTED_MAX
    bench.hear(raw(type_number, LTime=3, Node=longest))
    assert early(bench) == 1
    bench.forget_output()
    bench.hear(raw(type_number, LTime=3, Node=longest + "n"))
    assert early(bench) == 1
    assert bench.rejected == {"node_name_too_long": 1}
    assert bench.news() == []


# --- about ourselves --------------------------------------------------------------------


@pytest.mark.parametrize("prune", [False, True])
def test_leave_intent_about_us_is_refuted_by_a_join_intent(prune: bool) -> None:
    """leave@500 is answered by join@501 and not passed on; we stay alive."""
    bench = SerfBench("b")
    bench.hear(LeaveIntent(500, OWN, prune))
    assert bench.statuses[OWN] == "alive"
    assert bench.news() == [JoinIntent(501, OWN)]
    assert bench.status_ltime(OWN) == 501
    assert bench.engine.statistics().member_time == 502
    assert "leave_intent_refuted" in bench.remarks()


def test_old_leave_intent_about_us_is_ignored() -> None:
    """An echo of an earlier life, or one already refuted, needs no answer."""
    bench = SerfBench("b")
    bench.hear(LeaveIntent(500, OWN))
    bench.forget_output()
    bench.hear(LeaveIntent(500, OWN))
    bench.hear(LeaveIntent(501, OWN))
    assert bench.news() == []
    assert bench.statuses[OWN] == "alive"


def test_refutation_of_a_false_leave_reaches_who_believed_it() -> None:
    """A witness that holds us as leaving takes our answer."""
    witness, victim = SerfBench("b"), SerfBench("c")
    claim = LeaveIntent(500, "b")
    witness.hear(claim)
    assert witness.statuses["b"] == "leaving"
    victim.hear(LeaveIntent(500, OWN))
    (answer,) = victim.news()
    witness.hear(JoinIntent(answer.ltime, "b"))
    assert witness.statuses["b"] == "alive"


def test_leave_intent_about_us_while_we_leave_is_not_refuted() -> None:
    """We mean it."""
    bench = SerfBench("b")
    bench.engine.leave(now=bench.now)
    bench.forget_output()
    bench.hear(LeaveIntent(500, OWN))
    assert bench.statuses[OWN] == "leaving"
    assert JoinIntent not in [type(news) for news in bench.news()]


def test_join_intent_about_us_is_applied_like_any() -> None:
    """Our status time follows, so that an older leave does not count."""
    bench = SerfBench("b")
    bench.hear(JoinIntent(40, OWN))
    bench.forget_output()
    bench.hear(LeaveIntent(40, OWN))
    assert bench.news() == []


def test_announced_join_carries_the_clock_and_moves_it() -> None:
    """A join intent has the current member time, witnessed by ourselves."""
    bench = SerfBench("b")
    bench.hear(JoinIntent(30, "b"))
    bench.forget_output()
    bench.engine.announce_join(now=bench.now)
    assert bench.news() == [JoinIntent(31, OWN)]
    assert bench.engine.statistics().member_time == 32
    assert bench.status_ltime(OWN) == 31


# --- prune ------------------------------------------------------------------------------


def gone(status: str) -> SerfBench:
    bench = SerfBench("b", "c")
    bench.hear(LeaveIntent(5, "b") if status in ("leaving", "left") else JoinIntent(5, "b"))
    if status in ("failed", "left"):
        bench.receive(Dead(1, "b", "c"))
    bench.forget_output()
    return bench


@pytest.mark.parametrize(
    ("status", "notices"),
    [("failed", ["MemberLeft", "MemberReaped"]), ("left", ["MemberReaped"])],
)
def test_prune_of_a_gone_member_erases_it_and_is_passed_on(status: str, notices: list[str]) -> None:
    """A failed one leaves first; then it is out of the table."""
    bench = gone(status)
    bench.hear(LeaveIntent(6, "b", True))
    assert "b" not in bench.statuses
    assert "b" not in bench.user_state().status_ltimes
    assert [
        type(notice).__name__
        for notice in bench.take_notices()
        if isinstance(notice, MemberLeft | MemberReaped)
    ] == notices
    assert bench.news() == [LeaveIntent(6, "b", True)]


@pytest.mark.parametrize("status", ["alive", "leaving"])
def test_prune_of_a_live_member_goes_nowhere(status: str) -> None:
    """It blocks each Go agent for six seconds, which then erases a member that is well."""
    bench = gone(status)
    bench.hear(LeaveIntent(6, "b", True))
    assert bench.statuses["b"] == status
    assert bench.status_ltime("b") == 5
    assert bench.news() == []
    assert [n.reason for n in bench.take_notice(InputRejected)] == ["prune_of_live_member"]


@pytest.mark.parametrize(("wait", "then"), [(29.0, None), (31.0, "failed")])
def test_prune_that_came_early_is_applied_once_the_member_is_gone(
    wait: float, then: str | None
) -> None:
    """Who pruned knew of the failure sooner; it is passed on then, unless that was long ago."""
    bench = gone("alive")
    bench.answering.add("b")
    bench.hear(LeaveIntent(6, "b", True))
    bench.run_for(wait)
    bench.receive(Dead(1, "b", "c"))
    bench.run_for(0.0)
    assert bench.statuses.get("b") == then
    intents = [news for news in bench.news() if isinstance(news, LeaveIntent)]
    assert intents == ([LeaveIntent(6, "b", True)] if then is None else [])


def test_old_prune_is_ignored() -> None:
    """Like any old intent."""
    bench = gone("failed")
    bench.hear(LeaveIntent(5, "b", True))
    assert bench.statuses["b"] == "failed"
    assert bench.news() == []


def test_prune_of_an_unknown_member_is_neither_kept_nor_passed_on() -> None:
    """Where its member is alive it would do harm."""
    bench = SerfBench("c")
    bench.hear(LeaveIntent(6, "b", True))
    assert early(bench) == 0
    assert bench.news() == []
    bench.know("b")
    assert bench.statuses["b"] == "alive"


def test_pruned_member_that_comes_back_joins_anew() -> None:
    """Nothing of the old row is left."""
    bench = gone("failed")
    bench.hear(LeaveIntent(6, "b", True))
    bench.receive(alive("b", 2, 2))
    assert bench.statuses["b"] == "alive"
    assert bench.status_ltime("b") == 0


def test_leave_intent_of_an_old_peer_has_no_prune_field() -> None:
    """Absent reads as false."""
    bench = gone("failed")
    bench.hear(raw(0, LTime=6, Node="b"))
    assert bench.statuses["b"] == "left"


# --- poison -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [JoinIntent, LeaveIntent])
@pytest.mark.parametrize("name", ["b", "nobody", OWN])
def test_intent_from_the_far_future_moves_nothing(
    kind: type[JoinIntent] | type[LeaveIntent], name: str
) -> None:
    """One step beyond what is plausible: refused, not passed on; at the limit it counts."""
    bench = SerfBench("b")
    clock = bench.engine.statistics().member_time
    bench.hear(kind(clock + GOSSIPED_JUMP_MAX + 1, name))
    assert bench.engine.statistics().member_time == clock
    assert bench.news() == []
    assert bench.rejected == {"lamport_time_out_of_range": 1}
    assert early(bench) == 0
    bench.hear(kind(clock + GOSSIPED_JUMP_MAX, name))
    assert bench.engine.statistics().member_time > clock + GOSSIPED_JUMP_MAX
    assert len(bench.news()) == 1


@pytest.mark.parametrize("ltime", [2**63, 2**64 - 1])
def test_intent_at_the_end_of_the_range_is_refused(ltime: int) -> None:
    """A clock pushed there would wrap in Go."""
    bench = SerfBench("b")
    bench.hear(LeaveIntent(ltime, "b"))
    assert bench.statuses["b"] == "alive"
    assert bench.rejected == {"lamport_time_out_of_range": 1}
