"""User events: delivered once, passed on once, remembered for a while.

An event is known by Lamport time, name and payload. The last 512 times are kept in a ring, which
is also what a push-pull hands to those who missed them. What is older than the ring cannot be told
from a repetition and is dropped. Source: serf serf.go (handleUserEvent), delegate.go.
"""

from __future__ import annotations

from ..addresses import Address
from ..notices import UserEventReceived
from ..swim.outbox import Outbox
from .lamport import LamportClock
from .messages import RecentEvents, UserEvent

EVENT_BUFFER_SIZE = 512
"""Lamport times that are remembered (Serf: EventBuffer)."""

USER_EVENT_SIZE_MAX = 9 * 1024
"""Bytes of name and payload together: the hard cap of Serf's UserEventSizeLimit, whatever a sender
configured."""

EVENTS_PER_LTIME_MAX = 128
"""Different events of one Lamport time. Only senders that have not heard of each other share a
time, a handful even in a storm."""

EVENTS_BYTES_MAX = 8 * 1024 * 1024
"""Bytes of names and payloads that are remembered. One event of the largest size for each time in
the ring fits well; a push-pull, which carries them all, may have 20 MiB."""


class UserEvents:
    """The ring of recent events."""

    def __init__(self, clock: LamportClock, outbox: Outbox) -> None:
        self._clock = clock
        self._outbox = outbox
        self._ring: dict[int, tuple[int, list[tuple[str, bytes | None]]]] = {}
        self._ltime_min = 0
        self._bytes = 0

    def ignore_before(self, ltime: int) -> None:
        """Drop events before `ltime` from now on."""
        self._ltime_min = max(self._ltime_min, ltime)

    def recent(self) -> tuple[RecentEvents, ...]:
        """Return the occupied slots, for a push-pull."""
        return tuple(RecentEvents(ltime, tuple(events)) for ltime, events in self._ring.values())

    def handle(self, event: UserEvent, source: Address | None, *, now: float) -> bool:
        """Take an event; return whether it was news, to be passed on."""
        rejections = self._outbox.rejections
        if not self._clock.is_exchangeable(event.ltime):
            rejections.record(
                "lamport_time_out_of_range", source, f"event at {event.ltime}", now=now
            )
            return False
        size = _size(event.name, event.payload)
        if size > USER_EVENT_SIZE_MAX:
            rejections.record(
                "user_event_too_large", source, f"{event.name!r}: {size} bytes", now=now
            )
            return False
        self._clock.witness(event.ltime)
        if event.ltime < self._ltime_min:
            return False
        if is_too_old(self._clock.time, event.ltime, EVENT_BUFFER_SIZE):
            rejections.record(
                "user_event_too_old", source, f"{event.name!r} at {event.ltime}", now=now
            )
            return False
        slot = event.ltime % EVENT_BUFFER_SIZE
        ltime, events = self._ring.get(slot, (event.ltime, []))
        if ltime != event.ltime:
            self._forget(slot)
            events = []
        identity = (event.name, event.payload or None)
        if identity in events:
            return False
        if len(events) >= EVENTS_PER_LTIME_MAX:
            rejections.record("too_many_events_of_one_time", source, f"at {event.ltime}", now=now)
            return False
        events.append(identity)
        self._ring[slot] = (event.ltime, events)
        self._bytes += size
        while self._bytes > EVENTS_BYTES_MAX:
            # What is forgotten could not be told from news any more: it counts as too early.
            earliest, _ = min(self._ring.values(), key=lambda occupied: occupied[0])
            self._forget(earliest % EVENT_BUFFER_SIZE)
            self.ignore_before(earliest + 1)
        self._outbox.notices.append(
            UserEventReceived(event.ltime, event.name, event.payload or b"", event.coalesce)
        )
        return True

    def _forget(self, slot: int) -> None:
        _, events = self._ring.pop(slot)
        self._bytes -= sum(_size(name, payload) for name, payload in events)


def _size(name: str, payload: bytes | None) -> int:
    return len(name.encode("utf-8", "surrogateescape")) + len(payload or b"")


def is_too_old(clock: int, ltime: int, buffer_size: int) -> bool:
    """Return whether a time has fallen out of a ring of `buffer_size` times."""
    return clock > buffer_size and ltime < clock - buffer_size
