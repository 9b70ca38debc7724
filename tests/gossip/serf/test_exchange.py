"""Serf's part of a push-pull: what we say, what we learn, and that nothing creeps."""

from __future__ import annotations

import pytest
from rookery.gossip.notices import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    UserEventReceived,
)
from rookery.gossip.serf.lamport import EXCHANGED_TIME_MAX
from rookery.gossip.serf.messages import (
    JoinIntent,
    LeaveIntent,
    PushPullState,
    Query,
    RecentEvents,
    UserEvent,
    encode_serf_message,
)
from rookery.gossip.swim.nodes import NodeState
from rookery.gossip.wire.messages import Dead, PushPull

from ..benches import OWN, SerfBench, at, ip, record


def state(
    ltime: int = 1,
    status_ltimes: dict[str, int] | None = None,
    left: tuple[str, ...] = (),
    event_ltime: int = 1,
    events: tuple[RecentEvents, ...] = (),
    query_ltime: int = 1,
) -> bytes:
    return encode_serf_message(
        PushPullState(ltime, status_ltimes or {}, left, event_ltime, events, query_ltime)
    )


def exchange(bench: SerfBench, *nodes: object, data: bytes) -> None:
    """Let a peer dial us with a table and a state."""
    bench.dial(PushPull(nodes, data, False))  # type: ignore[arg-type]


def notices(bench: SerfBench) -> list[str]:
    kinds = MemberJoined | MemberFailed | MemberLeft
    return [
        f"{type(notice).__name__} {notice.member.name}"
        for notice in bench.take_notices()
        if isinstance(notice, kinds)
    ]


# --- what we say ------------------------------------------------------------------------


def test_fresh_node_says_clocks_at_1_and_itself() -> None:
    """Every member has its status time, here 0."""
    assert SerfBench().user_state() == PushPullState(1, {OWN: 0}, (), 1, (), 1)


def test_everything_known_is_said() -> None:
    """Clocks, all members' status times, who left (not who failed), recent events."""
    bench = SerfBench("b", "c", "d")
    bench.hear(LeaveIntent(10, "b"))
    bench.receive(Dead(1, "b", "b"))
    bench.hear(JoinIntent(12, "c"))
    bench.receive(Dead(1, "c", "d"))
    bench.hear(LeaveIntent(13, "d"))
    bench.hear(UserEvent(20, "deploy", b"1", False))
    bench.hear(UserEvent(20, "deploy", None, True))
    bench.hear(Query(30, 1, ip(2), 1, "b", (), 0, 0, 0, "uptime", None))
    said = bench.user_state()
    assert said == PushPullState(
        14,
        {OWN: 0, "b": 10, "c": 12, "d": 13},
        ("b",),
        21,
        (RecentEvents(20, (("deploy", b"1"), ("deploy", None))),),
        31,
    )


# --- clocks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "then"), [((0, 0, 0), (1, 1, 1)), ((1, 1, 1), (1, 1, 1)), ((50, 60, 70), (50, 60, 70))]
)
def test_clocks_are_witnessed_less_one(
    said: tuple[int, int, int], then: tuple[int, int, int]
) -> None:
    """A clock says the next time to use, so that both end up with the same."""
    bench = SerfBench()
    exchange(bench, data=state(said[0], event_ltime=said[1], query_ltime=said[2]))
    statistics = bench.engine.statistics()
    assert (statistics.member_time, statistics.event_time, statistics.query_time) == then


# --- members ----------------------------------------------------------------------------


def test_absent_agent_learns_who_left_and_who_failed() -> None:
    """A left member shows as left at once, never as failed for a moment; a failed one is suspected.

    The peer has both as gone in memberlist's table.
    """
    bench = SerfBench("b", "c", "d")
    exchange(
        bench,
        record("b", 2, state=NodeState.LEFT),
        record("c", 3, state=NodeState.DEAD),
        record("d", 4),
        data=state(9, {"b": 7, "c": 3, "d": 2}, ("b",)),
    )
    assert bench.statuses == {OWN: "alive", "b": "left", "c": "alive", "d": "alive"}
    assert notices(bench) == ["MemberLeft b"]
    bench.answering |= {"b", "d"}
    bench.run_for(25.0)
    assert bench.statuses["c"] == "failed"
    assert bench.statuses["b"] == "left"


def test_left_member_whose_node_is_forgotten_there_is_left_here_once_it_is_dead() -> None:
    """Memberlist forgets after seconds, Serf after a day: leaving first, left when it is gone."""
    bench = SerfBench("b", "c")
    exchange(bench, data=state(9, {"b": 7}, ("b",)))
    assert bench.statuses["b"] == "leaving"
    assert bench.status_ltime("b") == 8
    bench.receive(Dead(1, "b", "c"))
    assert bench.statuses["b"] == "left"


def test_failed_member_that_the_peer_holds_as_left_becomes_left() -> None:
    """A late intent repairs it, by the peer's status time plus one."""
    bench = SerfBench("b", "c")
    bench.hear(JoinIntent(7, "b"))
    bench.receive(Dead(1, "b", "c"))
    bench.forget_output()
    exchange(bench, data=state(9, {"b": 7}, ("b",)))
    assert bench.statuses["b"] == "left"
    assert bench.status_ltime("b") == 8
    assert notices(bench) == ["MemberLeft b"]


def test_left_member_that_the_peer_holds_as_alive_stays_left() -> None:
    """A join intent does not bring anybody back; memberlist's word does."""
    bench = SerfBench("b", "c")
    bench.hear(LeaveIntent(7, "b"))
    bench.receive(Dead(1, "b", "b"))
    exchange(bench, data=state(99, {"b": 50}))
    assert bench.statuses["b"] == "left"
    assert bench.status_ltime("b") == 50
    exchange(bench, record("b", 2, 2), data=state(99, {"b": 50}))
    assert bench.statuses["b"] == "alive"


def test_stale_word_that_a_member_left_does_not_count() -> None:
    """It is alive here by a newer intent."""
    bench = SerfBench("b", "c")
    bench.hear(JoinIntent(20, "b"))
    exchange(bench, data=state(30, {"b": 19}, ("b",)))
    assert bench.statuses["b"] == "alive"
    exchange(bench, data=state(30, {"b": 20}, ("b",)))
    assert bench.statuses["b"] == "leaving"


def test_missing_status_time_of_a_left_member_counts_as_0() -> None:
    """Then its leave has time 1."""
    bench = SerfBench("b")
    exchange(bench, data=state(9, {}, ("b",)))
    assert bench.statuses["b"] == "leaving"
    assert bench.status_ltime("b") == 1


def test_left_member_that_we_never_met_waits_as_early_intent() -> None:
    """If it should join within five minutes, it is leaving."""
    bench = SerfBench()
    exchange(bench, data=state(9, {"b": 7}, ("b",)))
    assert "b" not in bench.statuses
    assert bench.engine.statistics().early_intents == 1


def test_members_that_come_with_the_table_get_their_status_times() -> None:
    """Nodes are merged first, so nothing has to wait."""
    bench = SerfBench()
    exchange(bench, record("b", 2), record("c", 3), data=state(9, {"b": 7, "c": 4}))
    assert bench.user_state().status_ltimes == {OWN: 0, "b": 7, "c": 4}
    assert bench.engine.statistics().early_intents == 0


def test_what_a_push_pull_implies_is_not_gossiped() -> None:
    """Intents from a state are not passed on; only memberlist's news is."""
    bench = SerfBench("b", "c")
    exchange(bench, data=state(9, {"b": 7, "c": 8}, ("b",)))
    assert bench.news() == []


def test_that_we_left_is_refuted() -> None:
    """A peer that holds us as left, from an earlier life, hears that we are here."""
    bench = SerfBench("b")
    exchange(bench, data=state(9, {OWN: 7}, (OWN,)))
    assert bench.statuses[OWN] == "alive"
    assert bench.news() == [JoinIntent(9, OWN)]


def test_later_intent_about_us_that_we_do_not_know_is_answered() -> None:
    """Whoever holds a leave of an earlier life against us would otherwise do so for ever."""
    bench = SerfBench("b")
    exchange(bench, data=state(30, {OWN: 40}))
    assert bench.news() == [JoinIntent(41, OWN)]
    assert bench.status_ltime(OWN) == 41
    exchange(bench, data=state(42, {OWN: 41}))
    exchange(bench, data=state(42, {OWN: 40}))
    assert bench.news() == [], "what we said ourselves is no news"


def test_later_intent_about_us_is_not_answered_while_we_leave() -> None:
    """We mean it."""
    bench = SerfBench("b")
    bench.engine.leave(now=bench.now)
    bench.forget_output()
    exchange(bench, data=state(30, {OWN: 40}))
    assert bench.news() == []
    assert bench.statuses[OWN] == "leaving"


def test_nothing_creeps_between_two_that_agree() -> None:
    """However often two exchange, status times and clocks stay where they are."""
    one, other = SerfBench("b", "c"), SerfBench("b", "c")
    for bench, ltime in ((one, 7), (other, 12)):
        bench.hear(LeaveIntent(ltime, "b"))
        bench.receive(Dead(1, "b", "b"))
    exchange(one, data=encode_serf_message(other.user_state()))
    settled = None
    for _ in range(5):
        exchange(other, data=encode_serf_message(one.user_state()))
        exchange(one, data=encode_serf_message(other.user_state()))
        now = (one.user_state(), other.user_state())
        assert settled is None or now == settled
        settled = now
    assert (one.status_ltime("b"), other.status_ltime("b")) == (7, 12)


def test_nothing_creeps_where_only_one_side_remembers() -> None:
    """A left member that the other never met moves no clock twice."""
    one, other = SerfBench("b", "c"), SerfBench("c")
    one.hear(LeaveIntent(7, "b"))
    one.receive(Dead(1, "b", "b"))
    clocks = []
    for _ in range(4):
        exchange(other, data=encode_serf_message(one.user_state()))
        exchange(one, data=encode_serf_message(other.user_state()))
        clocks.append((one.user_state().ltime, other.user_state().ltime))
    assert clocks[1:] == clocks[:1] * 3


# --- events -----------------------------------------------------------------------------

EVENTS = (
    RecentEvents(40, (("deploy", b"1"), ("deploy", b"2"))),
    RecentEvents(41, (("other", None),)),
)


def received(bench: SerfBench) -> list[tuple[int, str, bytes, bool]]:
    return [
        (event.ltime, event.name, event.payload, event.coalesce)
        for event in bench.take_notice(UserEventReceived)
    ]


def test_events_of_a_state_are_delivered_once_and_not_gossiped() -> None:
    """Who missed them catches up; they are not coalesced."""
    bench = SerfBench("b")
    data = state(event_ltime=42, events=EVENTS)
    exchange(bench, data=data)
    assert received(bench) == [
        (40, "deploy", b"1", False),
        (40, "deploy", b"2", False),
        (41, "other", b"", False),
    ]
    exchange(bench, data=data)
    assert received(bench) == []
    assert bench.news() == []


def join(bench: SerfBench, data: bytes, *, ignore_old: bool) -> None:
    """Let the engine join at peer 9 and answer with a state."""
    bench.engine.join(at(9), ignore_old=ignore_old, now=bench.now)
    (dial,) = bench.take_opened()
    bench.answer(dial.stream, PushPull((), data, True))


def test_join_with_ignore_old_delivers_nothing_from_before() -> None:
    """Events below the peer's clock are dropped, also when they come by gossip later."""
    bench = SerfBench("b")
    join(bench, state(event_ltime=42, events=EVENTS), ignore_old=True)
    assert received(bench) == []
    bench.hear(UserEvent(41, "late", b"", False))
    assert received(bench) == []
    bench.hear(UserEvent(42, "new", b"", False))
    assert received(bench) == [(42, "new", b"", False)]


def test_join_with_replay_delivers_what_was_sent_before() -> None:
    """If the owner asked for it."""
    bench = SerfBench("b")
    join(bench, state(event_ltime=42, events=EVENTS), ignore_old=False)
    assert len(received(bench)) == 3


@pytest.mark.parametrize("is_join", [True, False])
def test_only_our_own_join_ignores_old_events(is_join: bool) -> None:
    """Who joins through us later, or exchanges with us, does not make us deaf to older events."""
    bench = SerfBench("b")
    join(bench, state(), ignore_old=True)
    bench.dial(PushPull((), state(event_ltime=42, events=EVENTS), is_join))
    assert len(received(bench)) == 3
    bench.hear(UserEvent(39, "late", b"", False))
    assert received(bench) == [(39, "late", b"", False)]


def test_each_join_has_its_own_say() -> None:
    """Two joins under way, one with replay, one without."""
    bench = SerfBench("b")
    bench.engine.join(at(8), ignore_old=False, now=bench.now)
    bench.engine.join(at(9), ignore_old=True, now=bench.now)
    replaying, ignoring = bench.take_opened()
    bench.answer(replaying.stream, PushPull((), state(event_ltime=42, events=EVENTS), True))
    assert len(received(bench)) == 3
    later = (RecentEvents(50, (("deploy", b"3"),)),)
    bench.answer(ignoring.stream, PushPull((), state(event_ltime=60, events=later), True))
    assert received(bench) == []


# --- broken states ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        encode_serf_message(JoinIntent(5, "b")),
        b"\x4drubbish",
        b"\x02\xc1",
        b"\x02",
        state(5, {"b": 3})[:-3],
    ],
)
def test_broken_state_is_counted_and_the_nodes_are_merged_all_the_same(data: bytes) -> None:
    """The Serf part alone is ignored."""
    bench = SerfBench("c")
    exchange(bench, record("b", 2), data=data)
    assert bench.statuses["b"] == "alive"
    assert sum(bench.rejected.values()) >= 1
    assert bench.status_ltime("b") == 0
    assert bench.engine.statistics().member_time == 1


def test_missing_state_changes_nothing() -> None:
    """Memberlist alone sends none."""
    bench = SerfBench("c")
    exchange(bench, record("b", 2), data=b"")
    assert bench.statuses["b"] == "alive"
    assert bench.rejected == {}


@pytest.mark.parametrize(
    "poisoned",
    [
        state(EXCHANGED_TIME_MAX + 1),
        state(event_ltime=EXCHANGED_TIME_MAX + 1),
        state(query_ltime=2**64 - 1),
        state(5, {"c": EXCHANGED_TIME_MAX + 1}),
        state(5, {"c": 2**64 - 1}, ("c",)),
        state(5, event_ltime=5, events=(RecentEvents(EXCHANGED_TIME_MAX + 1, (("e", b""),)),)),
    ],
)
def test_times_out_of_range_move_no_clock(poisoned: bytes) -> None:
    """Counted; clocks, status times and members stay."""
    bench = SerfBench("c")
    before = bench.user_state()
    exchange(bench, data=poisoned)
    after = bench.user_state()
    assert max(after.ltime, after.event_ltime, after.query_ltime) <= 5
    assert after.status_ltimes == before.status_ltimes
    assert bench.statuses["c"] == "alive"
    assert bench.rejected == {"lamport_time_out_of_range": 1}
    assert received(bench) == []


def test_highest_time_that_is_taken_does_not_make_our_own_state_unreadable() -> None:
    """Who took the same still takes ours, after our clocks have moved on."""
    one, other = SerfBench("c"), SerfBench("c")
    top = state(EXCHANGED_TIME_MAX, {"c": EXCHANGED_TIME_MAX - 1}, (), EXCHANGED_TIME_MAX, (), 1)
    exchange(one, data=top)
    exchange(other, data=top)
    one.engine.announce_join(now=one.now)
    one.hear(LeaveIntent(EXCHANGED_TIME_MAX + 3, "c"))
    one.receive(Dead(1, "c", "c"))
    exchange(other, data=encode_serf_message(one.user_state()))
    assert other.rejected == {}
    assert other.statuses["c"] == "leaving"


def test_names_of_a_state_are_bounded() -> None:
    """Endless names of unknown members are not kept."""
    bench = SerfBench("c")
    exchange(bench, data=state(5, {"n" * 513: 3, "m" * 512: 3}, ("n" * 513,)))
    assert bench.engine.statistics().early_intents == 1
