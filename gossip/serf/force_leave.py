"""Telling the pool that a failed member has left for good.

A force-leave is a leave intent in somebody else's name: on every member failed → left. On an alive
member it shows as leaving for a moment, until the victim hears of it and refutes. With prune the
member is erased everywhere; that is only ever sent about members that are gone, because a Go agent
that takes a prune of a live one blocks for six seconds and then erases it. A prune of a leaving
member waits until it has left.

The operation is over when the intent was transmitted its number of times, at once when nobody
could hear it, and fails after 5 s. Source: serf serf.go (RemoveFailedNode, RemoveFailedNodePrune,
removeFailedNode).
"""

from __future__ import annotations

from collections.abc import Callable

from ..notices import ForceLeaveFinished
from ..swim.outbox import Outbox
from ..swim.timers import TimerHeap
from .lamport import LamportClock
from .leaving import BROADCAST_TIMEOUT
from .members import GONE, MemberRecord, MemberStatus, MemberTable
from .messages import LeaveIntent

TIMED_OUT = "timed out broadcasting node removal"

PRUNABLE = (MemberStatus.FAILED, MemberStatus.LEFT)
"""Who may be erased at once; of others (those that `GONE` has a next status for) a prune waits."""


class ForceLeave:
    """Runs force-leaves; several may be under way."""

    def __init__(
        self,
        members: MemberTable,
        clock: LamportClock,
        timers: TimerHeap,
        outbox: Outbox,
        has_alive_peers: Callable[[], bool],
        apply_intent: Callable[[LeaveIntent, float], None],
        broadcast_intent: Callable[[LeaveIntent, float, Callable[[], None]], None],
    ) -> None:
        self._members = members
        self._clock = clock
        self._timers = timers
        self._outbox = outbox
        self._has_alive_peers = has_alive_peers
        self._apply_intent = apply_intent
        self._broadcast_intent = broadcast_intent
        self._prune_when_gone: set[str] = set()
        self._is_open: set[int] = set()

    def start(self, operation: int, name: str, *, prune: bool, now: float) -> None:
        """Begin; ForceLeaveFinished with `operation` tells the end.

        Args:
            operation: The number the notice will carry.
            name: The member's name; an unknown one is no error.
            prune: Erase the member everywhere, once it is gone.
            now: Engine seconds.
        """
        record = self._members.get(name)
        is_gone = record is not None and record.status in PRUNABLE
        if prune and record is not None and record.status in GONE:
            # It may be dead without our having noticed. If it is well it refutes, and this is
            # forgotten.
            self._prune_when_gone.add(name)
        self._send(operation, name, prune=prune and is_gone, now=now)

    def note_gone(self, record: MemberRecord, now: float) -> None:
        """Prune a member that was not gone yet when it was asked for."""
        if record.name in self._prune_when_gone:
            self._prune_when_gone.discard(record.name)
            # Not now: the table is being changed.
            self._timers.schedule(now, lambda at: self._send(None, record.name, prune=True, now=at))

    def note_alive(self, name: str) -> None:
        """Forget a wish to prune: the member is back."""
        self._prune_when_gone.discard(name)

    def _send(self, operation: int | None, name: str, *, prune: bool, now: float) -> None:
        intent = LeaveIntent(self._clock.time, name, prune)
        self._clock.increment()
        self._apply_intent(intent, now)
        if not self._has_alive_peers():
            self._finish(operation, None, is_at_once=True)
            return
        if operation is not None:
            self._is_open.add(operation)
            self._timers.schedule(
                now + BROADCAST_TIMEOUT, lambda _at: self._finish(operation, TIMED_OUT)
            )
        self._broadcast_intent(intent, now, lambda: self._finish(operation, None))

    def _finish(
        self, operation: int | None, error: str | None, *, is_at_once: bool = False
    ) -> None:
        if operation is None or not (is_at_once or operation in self._is_open):
            return
        self._is_open.discard(operation)
        self._outbox.notices.append(ForceLeaveFinished(operation, error))
