"""One subscriber's view of a pool's notices: an async iterator over a bounded buffer.

Serf's event channel blocks the whole agent when nobody reads it (serf config.go, EventCh). Here the
subscriber that does not keep up is the one who loses: notices beyond the limit are dropped, and a
`Lost` stands where they were.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import TracebackType

import trio

from .notices import Notice

EVENT_BUFFER_NOTICES_MAX = 1024
"""Notices kept for a subscriber: as many as a pool of a thousand makes when all of it fails at
once. At some hundred bytes each that is little memory, and nobody sensible is further behind."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands where a subscriber that did not keep up lost this many notices."""

    count: int


class EventStream:
    """A subscriber's notices, in order, from the moment it was made.

    Iterate over it (`async for`); the iteration ends with the pool. Dropping the last reference,
    `close()`, or leaving its `with` block ends the subscription.
    """

    def __init__(self, kinds: tuple[type[Notice], ...]) -> None:
        """Take notices of these kinds, of all if there are none."""
        self._kinds = kinds
        self._buffer: deque[Notice | Lost] = deque()
        self._lost = 0
        self._is_closed = False
        self._arrived = trio.lowlevel.ParkingLot()

    def offer(self, notice: Notice) -> bool:
        """Take a notice, if it is of a kind asked for; False when it had to be dropped."""
        if self._is_closed or (self._kinds and not isinstance(notice, self._kinds)):
            return True
        if len(self._buffer) >= EVENT_BUFFER_NOTICES_MAX:
            self._lost += 1
            return False
        if self._lost:
            # Told once there is room again, so that one gap is one notice, in its place.
            self._buffer.append(Lost(self._lost))
            self._lost = 0
        self._buffer.append(notice)
        self._arrived.unpark()
        return True

    def close(self) -> None:
        """End the subscription; what is buffered can still be read."""
        self._is_closed = True
        self._arrived.unpark_all()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Notice | Lost:
        await trio.lowlevel.checkpoint()
        while not self._buffer:
            if self._lost:
                lost, self._lost = self._lost, 0
                return Lost(lost)
            if self._is_closed:
                raise StopAsyncIteration
            await self._arrived.park()
        return self._buffer.popleft()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
