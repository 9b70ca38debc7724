"""One heap of deadlines for everything an engine waits for.

A timer is never chased through the heap: cancelling marks it, and it is dropped when its turn
comes. Timers of one deadline fire in the order in which they were set, so a run is the same each
time. Cancelled entries are swept once they outnumber the live ones, so that a peer that makes us
set and cancel timers (acks do, all day) cannot grow the heap.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

SWEEP_SIZE_MIN = 64
"""Below this many entries a sweep would cost more than the memory it frees."""


class Timer:
    """One deadline and what to call then; `cancel()` makes it stale."""

    __slots__ = ("_heap", "callback", "deadline", "is_pending")

    def __init__(self, deadline: float, callback: Callable[[float], None], heap: TimerHeap) -> None:
        self.deadline = deadline
        self.callback = callback
        self.is_pending = True
        self._heap = heap

    def cancel(self) -> None:
        """Make sure that the timer does not fire; harmless when it has."""
        if self.is_pending:
            self.is_pending = False
            self._heap.note_cancelled()


class TimerHeap:
    """Deadlines in engine seconds; `run_due` calls back what is due, in order."""

    __slots__ = ("_cancelled", "_entries", "_sequence")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._entries) - self._cancelled

    def schedule(self, deadline: float, callback: Callable[[float], None]) -> Timer:
        """Call `callback(now)` once `deadline` has been reached."""
        timer = Timer(deadline, callback, self)
        self._sequence += 1
        heapq.heappush(self._entries, (deadline, self._sequence, timer))
        return timer

    def next_deadline(self) -> float | None:
        """Return the earliest deadline that still counts, None when there is none."""
        entries = self._entries
        while entries and not entries[0][2].is_pending:
            heapq.heappop(entries)
            self._cancelled -= 1
        return entries[0][0] if entries else None

    def run_due(self, now: float) -> None:
        """Call back every timer whose deadline is not after `now`, earliest first."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            timer = heapq.heappop(self._entries)[2]
            timer.is_pending = False
            timer.callback(now)

    def clear(self) -> None:
        """Forget all timers; none of them fires any more."""
        for _, _, timer in self._entries:
            timer.is_pending = False
        self._entries = []
        self._cancelled = 0

    def note_cancelled(self) -> None:
        """Count a stale entry, and sweep when most are stale."""
        self._cancelled += 1
        if self._cancelled > SWEEP_SIZE_MIN and self._cancelled * 2 > len(self._entries):
            self._entries = [entry for entry in self._entries if entry[2].is_pending]
            heapq.heapify(self._entries)
            self._cancelled = 0
