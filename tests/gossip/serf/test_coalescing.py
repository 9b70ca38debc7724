"""Coalescing: what is put together, when it is given out, and which events are dropped."""

from __future__ import annotations

import pytest
from rookery.gossip.notices import (
    LeaveFinished,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberNotice,
    MemberReaped,
    MemberUpdated,
    UserEventReceived,
)
from rookery.gossip.serf.coalescing import (
    USER_EVENTS_HELD_MAX,
    Coalescer,
    CoalesceSettings,
    MemberEvents,
    UserEventCoalescer,
)
from rookery.gossip.serf.members import MemberStatus, make_member

A, B = (make_member(name, bytes(4), 1, {}, MemberStatus.ALIVE, b"") for name in "ab")


def coalescer(**over: float) -> Coalescer[None]:
    return Coalescer(CoalesceSettings(**over))


def event(name: str = "deploy", ltime: int = 1, payload: bytes = b"", coalesce: bool = True):
    return UserEventReceived(ltime, name, payload, coalesce)


def test_serf_commands_times_are_the_defaults() -> None:
    """Three seconds at most, one without news, for both kinds."""
    settings = CoalesceSettings()
    assert (settings.period, settings.quiescence) == (3.0, 1.0)
    assert (settings.user_period, settings.user_quiescence) == (3.0, 1.0)


def test_events_of_one_kind_become_one() -> None:
    """Members are listed in the order in which they changed."""
    coalesced = coalescer()
    for member in (B, A):
        assert coalesced.receive(MemberJoined(member), now=0.0) == []
    assert coalesced.handle_timers(now=1.0) == [MemberEvents(MemberJoined, (B, A))]
    assert coalesced.next_deadline() is None


@pytest.mark.parametrize(
    ("burst", "told"),
    [
        ((MemberJoined, MemberFailed), MemberFailed),
        ((MemberJoined, MemberFailed, MemberJoined), MemberJoined),
        ((MemberJoined, MemberUpdated), MemberUpdated),
        ((MemberFailed, MemberLeft, MemberReaped), MemberReaped),
    ],
)
def test_only_the_last_change_of_a_member_counts(
    burst: tuple[type[MemberNotice], ...], told: type[MemberNotice]
) -> None:
    """Whatever it went through in between."""
    coalesced = coalescer()
    for kind in burst:
        coalesced.receive(kind(A), now=0.0)
    assert coalesced.handle_timers(now=1.0) == [MemberEvents(told, (A,))]


def test_what_was_told_before_is_not_told_again() -> None:
    """A member that failed and came back within the wait is as it was; an update is always news."""
    coalesced = coalescer()
    for burst, told in (
        ((MemberJoined,), [MemberEvents(MemberJoined, (A,))]),
        ((MemberFailed, MemberJoined), []),
        ((MemberUpdated,), [MemberEvents(MemberUpdated, (A,))]),
        ((MemberUpdated,), [MemberEvents(MemberUpdated, (A,))]),
        ((MemberReaped,), [MemberEvents(MemberReaped, (A,))]),
        ((MemberReaped,), [MemberEvents(MemberReaped, (A,))]),
    ):
        for kind in burst:
            coalesced.receive(kind(A), now=0.0)
        assert coalesced.flush() == told


def test_wait_ends_when_nothing_new_comes() -> None:
    """Each event puts the end off by the quiescence, and never beyond the period."""
    coalesced = coalescer(period=3.0, quiescence=1.0)
    deadlines = []
    for now in (10.0, 10.5, 11.4, 12.3):
        coalesced.receive(MemberJoined(A), now=now)
        deadlines.append(coalesced.next_deadline())
    assert deadlines == [11.0, 11.5, 12.4, 13.0]
    assert coalesced.handle_timers(now=12.99) == []
    assert coalesced.handle_timers(now=13.0) == [MemberEvents(MemberJoined, (A,))]


def test_of_user_events_the_newest_of_each_name_count() -> None:
    """All of the highest time are told, in the order in which they came; older ones never."""
    coalesced = coalescer()
    newest = [event(ltime=3, payload=b"x"), event(ltime=3, payload=b"y")]
    for one in (event(ltime=2), event("other", 1), newest[0], event(ltime=1), newest[1]):
        assert coalesced.receive(one, now=0.0) == []
    assert coalesced.handle_timers(now=1.0) == [*newest, event("other", 1)]


def test_everything_else_passes_at_once() -> None:
    """Events whose sender wants each delivered, and notices of other kinds."""
    coalesced = coalescer()
    for notice in (event(coalesce=False), LeaveFinished(), None):
        assert coalesced.receive(notice, now=0.0) == [notice]
    assert coalesced.next_deadline() is None


def test_both_kinds_have_times_of_their_own() -> None:
    """The sooner one is the deadline, and the other goes on waiting."""
    coalesced = coalescer(quiescence=2.0, user_quiescence=1.0)
    coalesced.receive(MemberJoined(A), now=0.0)
    coalesced.receive(event(), now=0.0)
    assert coalesced.next_deadline() == 1.0
    assert coalesced.handle_timers(now=1.0) == [event()]
    assert coalesced.next_deadline() == 2.0


def test_a_period_of_zero_switches_it_off() -> None:
    """Events pass one by one; what was told before is still not told twice."""
    coalesced = coalescer(period=0.0, user_period=0.0)
    assert coalesced.receive(event(), now=0.0) == [event()]
    assert coalesced.receive(MemberJoined(A), now=0.0) == [MemberEvents(MemberJoined, (A,))]
    assert coalesced.receive(MemberJoined(A), now=0.0) == []
    assert coalesced.next_deadline() is None


def test_flood_of_names_ends_the_wait() -> None:
    """Names are the senders' choice, so the number held back has a limit."""
    coalesced = coalescer()
    for number in range(USER_EVENTS_HELD_MAX - 1):
        assert coalesced.receive(event(str(number)), now=0.0) == []
    assert len(coalesced.receive(event("last"), now=0.0)) == USER_EVENTS_HELD_MAX == 1024
    assert coalesced.next_deadline() is None


def test_replaced_events_do_not_count_to_the_limit() -> None:
    """One name fired ever newer never fills the table."""
    events = UserEventCoalescer()
    for ltime in range(2 * USER_EVENTS_HELD_MAX):
        events.add(event(ltime=ltime))
    assert not events.is_full
    assert events.take() == [event(ltime=2 * USER_EVENTS_HELD_MAX - 1)]


def test_erased_members_are_forgotten() -> None:
    """What was told of a member is kept as long as it is listed, not for ever."""
    coalesced = coalescer()
    coalesced.receive(MemberJoined(A), now=0.0)
    coalesced.flush()
    coalesced.receive(MemberReaped(A), now=0.0)
    coalesced.flush()
    assert coalesced._members._told == {}
