"""What has happened in the pool, kept for readers that come late or come back.

Every member change, user event and query of the application gets a number that grows by one, and
the latest are kept. A reader says the last number it has seen and goes on from there; whoever is
further behind than what is kept is told how many it has missed. Readers have no buffers of their
own: each is only a position in the ring, so a slow one costs nothing.

Numbers start over with the agent. A reader that comes with a number from an earlier life gets all
that is kept, and first a record that says that something is missing.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import trio

EVENTS_KEPT_MAX = 1024
"""Events kept. A pool of a thousand makes as many when all of it fails at once; with payloads of
usual sizes that is about a megabyte."""

LOST = "lost"
"""Type of the record that stands for events that are not kept any more."""

Document = dict[str, Any]


class EventRing:
    """The latest events."""

    def __init__(self) -> None:
        self._kept: deque[Document] = deque(maxlen=EVENTS_KEPT_MAX)
        self._newest = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._is_closed = False

    @property
    def newest(self) -> int:
        """The number of the latest event; 0 before the first."""
        return self._newest

    def add(self, document: Document) -> None:
        """Keep an event, under the next number as its `Index`."""
        self._newest += 1
        self._kept.append({"Index": self._newest, **document})
        self._arrived.unpark_all()

    def skip(self, count: int) -> None:
        """Note that this many events were lost before they came here."""
        self._newest += count
        self._kept.append({"Index": self._newest, "Type": LOST, "Count": count})
        self._arrived.unpark_all()

    def close(self) -> None:
        """End all readers, once they have read what is kept."""
        self._is_closed = True
        self._arrived.unpark_all()

    def feed(self, since: int | None) -> EventFeed:
        """Return a reader of what came after number `since`; None: of what is still to come."""
        return EventFeed(self, self._newest if since is None else since)

    def _after(self, index: int) -> list[Document]:
        """Return what came after a number, with a record in front for what is not kept."""
        if index > self._newest:
            # A number of an earlier life: how much happened in between nobody knows.
            oldest = self._kept[0]["Index"] if self._kept else self._newest + 1
            return [{"Index": oldest - 1, "Type": LOST, "Count": 0}, *self._kept]
        if index == self._newest:
            return []
        kept = [document for document in self._kept if document["Index"] > index]
        first = kept[0]["Index"] - (kept[0]["Count"] if kept[0]["Type"] == LOST else 1)
        if first > index:
            return [{"Index": first, "Type": LOST, "Count": first - index}, *kept]
        return kept


class EventFeed:
    """One reader of the ring. Iterate (`async for`) to follow it, or take what `ready` gives.

    Each document has an `Index`; the last one seen is where to come back to.
    """

    def __init__(self, ring: EventRing, index: int) -> None:
        """Start after number `index`."""
        self._ring = ring
        self._index = index
        self._fetched: deque[Document] = deque()

    def ready(self) -> list[Document]:
        """Return what is there now, oldest first, without waiting."""
        documents = list(self._fetched)
        self._fetched.clear()
        self._fetch()
        documents += self._fetched
        self._fetched.clear()
        return documents

    def _fetch(self) -> None:
        if not self._fetched and self._index != self._ring._newest:
            self._fetched.extend(self._ring._after(self._index))
            self._index = self._ring._newest

    def __aiter__(self) -> EventFeed:
        return self

    async def __anext__(self) -> Document:
        await trio.lowlevel.checkpoint()
        while True:
            self._fetch()
            if self._fetched:
                return self._fetched.popleft()
            if self._ring._is_closed:
                raise StopAsyncIteration
            await self._ring._arrived.park()
