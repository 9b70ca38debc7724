"""The heap of deadlines: order, cancelling, and its size."""

from __future__ import annotations

from rookery.gossip.swim.timers import SWEEP_SIZE_MIN, TimerHeap


def test_timers_fire_by_deadline_then_in_the_order_they_were_set() -> None:
    """Equal deadlines fire in the order of setting, so that a run is the same each time."""
    heap = TimerHeap()
    fired: list[str] = []
    for deadline, name in [(2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b"), (3.0, "late")]:
        heap.schedule(deadline, lambda _now, name=name: fired.append(name))
    heap.run_due(2.0)
    assert fired == ["a", "b", "c", "d"]
    assert heap.next_deadline() == 3.0


def test_timer_fires_at_its_deadline_and_not_before() -> None:
    """A deadline is reached when the time equals it."""
    heap = TimerHeap()
    fired: list[float] = []
    heap.schedule(5.0, fired.append)
    heap.run_due(4.999)
    assert fired == []
    heap.run_due(5.0)
    assert fired == [5.0]
    assert heap.next_deadline() is None


def test_cancelled_timer_does_not_fire_and_is_no_deadline() -> None:
    """What was cancelled is stale: not called, not counted, not waited for."""
    heap = TimerHeap()
    fired: list[float] = []
    first = heap.schedule(1.0, fired.append)
    heap.schedule(2.0, fired.append)
    first.cancel()
    first.cancel()
    assert len(heap) == 1
    assert heap.next_deadline() == 2.0
    heap.run_due(3.0)
    assert fired == [3.0]


def test_cancelling_a_fired_timer_changes_nothing() -> None:
    """A late cancel is harmless, also for the count of pending timers."""
    heap = TimerHeap()
    timer = heap.schedule(1.0, lambda _now: None)
    heap.schedule(9.0, lambda _now: None)
    heap.run_due(1.0)
    timer.cancel()
    assert len(heap) == 1
    assert not timer.is_pending


def test_timer_set_by_a_timer_fires_in_the_same_run_when_due() -> None:
    """A chain of due timers is worked off in one call, in order."""
    heap = TimerHeap()
    fired: list[str] = []

    def first(now: float) -> None:
        fired.append("first")
        heap.schedule(now, lambda _now: fired.append("chained"))
        heap.schedule(now + 1.0, lambda _now: fired.append("too late"))

    heap.schedule(1.0, first)
    heap.schedule(1.5, lambda _now: fired.append("second"))
    heap.run_due(2.0)
    assert fired == ["first", "second", "chained"]


def test_timer_cancelled_by_an_earlier_one_of_the_same_run_does_not_fire() -> None:
    """Cancelling works until the very moment of firing."""
    heap = TimerHeap()
    fired: list[str] = []
    victim = heap.schedule(1.0, lambda _now: fired.append("victim"))
    heap.schedule(0.5, lambda _now: victim.cancel())
    heap.run_due(2.0)
    assert fired == []


def test_cancelled_timers_do_not_pile_up() -> None:
    """A peer that makes us set and cancel timers all day grows the heap no further."""
    heap = TimerHeap()
    live = [heap.schedule(1000.0 + number, lambda _now: None) for number in range(10)]
    largest = 0
    for number in range(10_000):
        heap.schedule(500.0 + number, lambda _now: None).cancel()
        largest = max(largest, len(heap._entries))
    assert largest <= 2 * (SWEEP_SIZE_MIN + len(live))
    assert len(heap) == len(live)
    assert heap.next_deadline() == 1000.0


def test_sweep_keeps_the_order() -> None:
    """Sweeping stale entries neither loses nor reorders the others."""
    heap = TimerHeap()
    fired: list[int] = []
    timers = [
        heap.schedule(float(number % 7), lambda _now, number=number: fired.append(number))
        for number in range(1000)
    ]
    for number, timer in enumerate(timers):
        if number % 10:
            timer.cancel()
    heap.run_due(10.0)
    assert fired == sorted(range(0, 1000, 10), key=lambda number: (number % 7, number))
