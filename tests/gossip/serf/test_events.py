"""User events: delivered once, passed on once, remembered within limits."""

from __future__ import annotations

import pytest
from rookery.gossip.notices import Remark, UserEventReceived
from rookery.gossip.serf import events as events_module
from rookery.gossip.serf.engine import EventRefused
from rookery.gossip.serf.events import (
    EVENT_BUFFER_SIZE,
    EVENTS_BYTES_MAX,
    EVENTS_PER_LTIME_MAX,
    USER_EVENT_SIZE_MAX,
    is_too_old,
)
from rookery.gossip.serf.lamport import GOSSIPED_JUMP_MAX
from rookery.gossip.serf.messages import UserEvent

from ..benches import SerfBench, raw


def received(bench: SerfBench) -> list[tuple[int, str, bytes]]:
    return [
        (event.ltime, event.name, event.payload) for event in bench.take_notice(UserEventReceived)
    ]


@pytest.mark.parametrize(
    ("clock", "ltime", "is_over"),
    [
        (1, 0, False),
        (512, 0, False),
        (513, 1, False),
        (513, 0, True),
        (3001, 2489, False),
        (3001, 2488, True),
        (3001, 5000, False),
    ],
)
def test_what_has_fallen_out_of_the_ring_is_too_old(clock: int, ltime: int, is_over: bool) -> None:
    """Clock > 512 and LTime < clock - 512: it cannot be told from a repetition."""
    assert EVENT_BUFFER_SIZE == 512
    assert is_too_old(clock, ltime, EVENT_BUFFER_SIZE) is is_over


def test_event_is_delivered_and_passed_on_once_byte_for_byte() -> None:
    """Unknown fields travel on; copies do nothing."""
    bench = SerfBench("b")
    message = raw(3, CC=True, Future=1, LTime=7, Name="deploy", Payload=b"x")
    for _ in range(3):
        bench.hear(message)
    assert bench.take_notice(UserEventReceived) == [UserEventReceived(7, "deploy", b"x", True)]
    bench.run_for(5.0)
    sent = [
        part for packet in bench.take_sent() for part in packet.parts if part == b"\x08" + message
    ]
    assert len(sent) == 4  # RetransmitMult 4 * ceil(log10(3))


def test_event_moves_the_event_clock() -> None:
    """The next event of our own comes after all that we saw."""
    bench = SerfBench("b")
    bench.hear(UserEvent(100, "e", None, False))
    assert bench.engine.statistics().event_time == 101
    bench.hear(UserEvent(50, "e", None, False))
    assert bench.engine.statistics().event_time == 101


def test_window_of_the_ring_is_512_times() -> None:
    """With the clock at 3001 time 2489 is delivered, 2488 dropped and counted."""
    bench = SerfBench("b")
    bench.hear(UserEvent(3000, "newest", None, False))
    assert bench.engine.statistics().event_time == 3001
    bench.forget_output()
    bench.hear(UserEvent(2489, "just", None, False))
    assert received(bench) == [(2489, "just", b"")]
    assert len(bench.news()) == 1
    bench.hear(UserEvent(2488, "too old", None, False))
    assert received(bench) == []
    assert bench.news() == []
    assert bench.rejected == {"user_event_too_old": 1}


def test_same_time_with_other_name_or_payload_is_another_event() -> None:
    """An event is known by time, name and payload."""
    bench = SerfBench("b")
    for name, payload in [("a", b"1"), ("a", b"2"), ("b", b"1"), ("a", b"1"), ("b", b"1")]:
        bench.hear(UserEvent(9, name, payload, False))
    assert received(bench) == [(9, "a", b"1"), (9, "a", b"2"), (9, "b", b"1")]


def test_absent_and_empty_payload_are_the_same() -> None:
    """Peers write either; it is one event."""
    bench = SerfBench("b")
    bench.hear(UserEvent(9, "a", None, False))
    bench.hear(UserEvent(9, "a", b"", False))
    assert received(bench) == [(9, "a", b"")]


def test_slot_is_taken_over_by_a_later_time() -> None:
    """512 later the ring comes round; what was there is forgotten."""
    bench = SerfBench("b")
    bench.hear(UserEvent(9, "a", None, False))
    bench.hear(UserEvent(9 + EVENT_BUFFER_SIZE, "a", None, False))
    assert received(bench) == [(9, "a", b""), (521, "a", b"")]
    assert [slot.ltime for slot in bench.user_state().events] == [521]


def test_event_of_a_slot_taken_over_is_not_delivered_again() -> None:
    """An old copy that lags exactly at the edge of the window stays what it is: seen."""
    bench = SerfBench("b")
    bench.hear(UserEvent(9, "a", None, False))
    bench.hear(
        UserEvent(520, "filler", None, False)
    )  # the clock is at 521: 9 is just in the window
    received(bench)
    bench.hear(UserEvent(9, "a", None, False))
    assert received(bench) == []


@pytest.mark.parametrize(
    ("name", "payload", "is_taken"),
    [
        ("n", USER_EVENT_SIZE_MAX - 1, True),
        ("n", USER_EVENT_SIZE_MAX, False),
        ("n" * 1000, USER_EVENT_SIZE_MAX - 1000, True),
        ("ä" * 500, USER_EVENT_SIZE_MAX - 1000, True),
        ("ä" * 500, USER_EVENT_SIZE_MAX - 999, False),
    ],
)
def test_event_size_has_a_hard_cap(name: str, payload: int, is_taken: bool) -> None:
    """Name and payload together 9216 bytes, whatever the sender was configured to."""
    bench = SerfBench("b")
    bench.hear(UserEvent(9, name, bytes(payload), False))
    assert len(received(bench)) == is_taken
    assert bench.rejected == ({} if is_taken else {"user_event_too_large": 1})


def test_event_that_no_packet_holds_is_delivered_and_not_queued() -> None:
    """It came by a push-pull or a large datagram; waiting for room it would wait for ever."""
    bench = SerfBench("b")
    bench.hear(UserEvent(9, "big", bytes(2000), False))
    assert len(bench.notices) >= 1
    notices = bench.take_notices()
    assert [n.name for n in notices if isinstance(n, UserEventReceived)] == ["big"]
    assert [n.name for n in notices if isinstance(n, Remark)] == ["too_large_to_gossip"]
    assert bench.news() == []
    assert bench.engine.statistics().event_queue == 0


def test_events_of_one_time_have_a_limit() -> None:
    """At the limit all count, one more is refused; other times are free."""
    bench = SerfBench("b")
    for number in range(EVENTS_PER_LTIME_MAX):
        bench.hear(UserEvent(9, f"e{number}", None, False))
    assert len(received(bench)) == EVENTS_PER_LTIME_MAX
    bench.hear(UserEvent(9, "one more", None, False))
    assert received(bench) == []
    assert bench.rejected == {"too_many_events_of_one_time": 1}
    bench.hear(UserEvent(10, "next time", None, False))
    assert len(received(bench)) == 1


def test_remembered_events_have_a_limit_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the earliest times are forgotten for good: neither shown nor delivered again."""
    assert 512 * USER_EVENT_SIZE_MAX < EVENTS_BYTES_MAX < 20 * 1024 * 1024
    monkeypatch.setattr(events_module, "EVENTS_BYTES_MAX", 10_000)
    bench = SerfBench("b")
    for ltime in range(1, 11):
        bench.hear(UserEvent(ltime, "e", bytes(999), False))
    assert [slot.ltime for slot in bench.user_state().events] == list(range(1, 11))
    bench.hear(UserEvent(11, "e", bytes(999), False))
    assert [slot.ltime for slot in bench.user_state().events] == list(range(2, 12))
    assert len(received(bench)) == 11
    bench.hear(UserEvent(1, "e", bytes(999), False))
    assert received(bench) == []
    for ltime in range(12, 50):
        bench.hear(UserEvent(ltime, "e", bytes(999), False))
    assert [slot.ltime for slot in bench.user_state().events] == list(range(40, 50))


@pytest.mark.parametrize("beyond", [0, 1])
def test_event_from_the_far_future_is_refused(beyond: int) -> None:
    """It would make all events of the pool look too old."""
    bench = SerfBench("b")
    bench.hear(UserEvent(1 + GOSSIPED_JUMP_MAX + beyond, "e", None, False))
    assert len(received(bench)) == 1 - beyond
    assert bench.rejected == ({"lamport_time_out_of_range": 1} if beyond else {})


# --- our own ----------------------------------------------------------------------------


def test_own_event_takes_the_clock_and_is_delivered_here_too() -> None:
    """LTime is the clock, which moves; everybody gets it, ourselves included."""
    bench = SerfBench("b")
    bench.hear(UserEvent(41, "other", None, False))
    bench.forget_output()
    ltime = bench.engine.user_event("deploy", b"x", coalesce=True, now=bench.now)
    assert ltime == 42
    assert bench.engine.statistics().event_time == 43
    assert bench.take_notice(UserEventReceived) == [UserEventReceived(42, "deploy", b"x", True)]
    assert bench.news() == [UserEvent(42, "deploy", b"x", True)]
    assert bench.engine.user_event("deploy", b"x", coalesce=True, now=bench.now) == 43


def test_own_event_keeps_to_the_configured_limit() -> None:
    """Name and payload, and the whole message, at most 512 bytes; nothing is sent beyond."""
    bench = SerfBench("b")
    encoded_overhead = len(raw(3, CC=False, LTime=1, Name="e", Payload=b"x" * 300)) - 301
    largest = 512 - encoded_overhead - 1
    bench.engine.user_event("e", bytes(largest), coalesce=False, now=bench.now)
    with pytest.raises(EventRefused, match="after encoding"):
        bench.engine.user_event("e", bytes(largest + 1), coalesce=False, now=bench.now)
    with pytest.raises(EventRefused, match="before encoding"):
        bench.engine.user_event("e", bytes(512), coalesce=False, now=bench.now)
    assert len(received(bench)) == 1
    assert len(bench.news()) == 1
    assert bench.engine.statistics().event_time == 2
