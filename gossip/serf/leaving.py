"""Graceful leave, step by step: say so, be gone, and stay a little to answer the last pings.

    leave intent ─sent or 5 s─► memberlist's dead (From = ourselves) ─sent or 5 s─► 1 s to travel
    ─► over

The intent must arrive before the dead message, otherwise we show as failed; so the second waits
until the first was sent its full number of times, and the intent goes out once more beside it.
With nobody alive to tell there is nothing to wait for. Unlike serf 0.9.4, and like later ones, a
broadcast that takes too long does not stop the leave. Source: serf serf.go (Leave); memberlist
memberlist.go (Leave).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from ..swim.timers import Timer, TimerHeap

BROADCAST_TIMEOUT = 5.0
"""Seconds a broadcast of the leave may take (Serf: BroadcastTimeout)."""

PROPAGATE_DELAY = 1.0
"""Seconds to stay after the leave was sent, so that it travels and pings are answered (Serf:
LeavePropagateDelay)."""


class LeaveStep(Enum):
    """Where a leave is."""

    NOT_LEAVING = "not leaving"
    INTENT = "broadcasting the intent"
    DEAD = "broadcasting the departure"
    PROPAGATING = "giving it time to travel"
    OVER = "over"


class GracefulLeave:
    """The procedure. Each step ends by its broadcast being done, or by its time-out."""

    def __init__(
        self,
        timers: TimerHeap,
        broadcast_intent: Callable[[float, Callable[[], None] | None], None],
        broadcast_dead: Callable[[float, Callable[[], None]], None],
        has_alive_peers: Callable[[], bool],
        on_finished: Callable[[float], None],
    ) -> None:
        self._timers = timers
        self._broadcast_intent = broadcast_intent
        self._broadcast_dead = broadcast_dead
        self._has_alive_peers = has_alive_peers
        self._on_finished = on_finished
        self._timer: Timer | None = None
        self.step = LeaveStep.NOT_LEAVING

    def start(self, now: float) -> None:
        """Begin; further calls change nothing."""
        if self.step is not LeaveStep.NOT_LEAVING:
            return
        self.step = LeaveStep.INTENT
        self._broadcast_intent(now, lambda: self._end_step(LeaveStep.INTENT))
        self._wait(now, LeaveStep.INTENT)

    def _wait(self, now: float, step: LeaveStep) -> None:
        if self._has_alive_peers():
            self._timer = self._timers.schedule(now + BROADCAST_TIMEOUT, self._advance)
        elif self.step is step:
            self._advance(now)

    def _end_step(self, step: LeaveStep) -> None:
        """A broadcast is done: go on when timers are looked at next.

        Not here: we may be deep inside the packing of a packet.
        """
        if self.step is step and self._timer is not None:
            self._timer.cancel()
            self._timer = self._timers.schedule(float("-inf"), self._advance)

    def _advance(self, now: float) -> None:
        if self.step is LeaveStep.INTENT:
            self.step = LeaveStep.DEAD
            # Before the departure is declared: afterwards nobody of the pool is a peer of ours any
            # more.
            had_peers = self._has_alive_peers()
            self._broadcast_dead(now, lambda: self._end_step(LeaveStep.DEAD))
            if had_peers:
                self._broadcast_intent(now, None)
            self._wait(now, LeaveStep.DEAD)
        elif self.step is LeaveStep.DEAD:
            self.step = LeaveStep.PROPAGATING
            if self._has_alive_peers():
                self._timer = self._timers.schedule(now + PROPAGATE_DELAY, self._advance)
            else:
                self._advance(now)
        elif self.step is LeaveStep.PROPAGATING:
            self.step = LeaveStep.OVER
            self._timer = None
            self._on_finished(now)
