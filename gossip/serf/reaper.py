"""Erasing members that have been gone for long enough.

Failed members are kept for `reconnect_timeout` (somebody may reach them again), left ones for
`tombstone_timeout` (so that old gossip about them is recognised). Go looks every 15 s; here one
timer stands at the next expiry, and none when nobody is gone. Source: serf serf.go (handleReap,
reap).
"""

from __future__ import annotations

from collections.abc import Callable

from ..swim.timers import Timer, TimerHeap
from .members import MemberRecord, MemberStatus, MemberTable


class Reaper:
    """Watches the members that are gone."""

    def __init__(
        self,
        members: MemberTable,
        timers: TimerHeap,
        reconnect_timeout: float,
        tombstone_timeout: float,
        reap: Callable[[MemberRecord, float], None],
    ) -> None:
        """Build on the engine's parts; `reap` erases one member."""
        self._members = members
        self._timers = timers
        self._keep = {
            MemberStatus.FAILED: reconnect_timeout,
            MemberStatus.LEFT: tombstone_timeout,
        }
        self._reap = reap
        self._timer: Timer | None = None

    def watch(self, record: MemberRecord) -> None:
        """Take note that a member is gone: call it when one fails or leaves."""
        expiry = self._expiry(record)
        if expiry is None or (self._timer is not None and self._timer.deadline <= expiry):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.schedule(expiry, self._look)

    def stop(self) -> None:
        """Reap no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expiry(self, record: MemberRecord) -> float | None:
        keep = self._keep.get(record.status)
        return None if keep is None or record.left_at is None else record.left_at + keep

    def _look(self, now: float) -> None:
        self._timer = None
        next_expiry: float | None = None
        for record in list(self._members):
            expiry = self._expiry(record)
            if expiry is None:
                continue
            if expiry <= now:
                self._reap(record, now)
            elif next_expiry is None or expiry < next_expiry:
                next_expiry = expiry
        if next_expiry is not None:
            self._timer = self._timers.schedule(next_expiry, self._look)
