"""The answers to one query of ours: an async iterator over a bounded buffer, up to its deadline.

Members acknowledge and answer in any order; the engine has already matched them, and of each member
let through one ack and one answer. The iteration ends at the query's deadline. Who has heard enough
closes the stream, which ends the query: as long as it is open it takes one of the engine's places.

Serf's channels drop what does not fit (serf query.go, `sendResponse`); so do we, and count it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType

import trio

from .notices import QueryAcked, QueryAnswered, QueryFinished

ANSWERS_BUFFERED_MAX = 4096
"""Acks and answers kept for a reader that is slower than they come: those of a pool of two
thousand."""

ANSWERS_BUFFERED_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of these answers. Each may have 64 KiB, but those of usual size fit a packet."""


class QueryStream:
    """What comes back on one query. Iterate (`async for`) inside a `with` block, or `close()` it.

    Attributes:
        ltime: The query's Lamport time.
        id: Its number; both together name it.
        finished: The counts of all that came, once the query is over; None before, and for ever
            when the pool closed first.
        lost: Acks and answers dropped because the reader was too slow.
    """

    def __init__(self, ltime: int, query_id: int, end_query: Callable[[QueryStream], None]) -> None:
        """Wait for answers; `end_query` ends the query when the reader has heard enough."""
        self.ltime = ltime
        self.id = query_id
        self.finished: QueryFinished | None = None
        self.lost = 0
        self._end_query = end_query
        self._buffer: deque[QueryAcked | QueryAnswered] = deque()
        self._buffer_size = 0
        self._is_over = False
        self._arrived = trio.lowlevel.ParkingLot()

    def offer(self, notice: QueryAcked | QueryAnswered | QueryFinished) -> None:
        """Take what came back on this query."""
        if isinstance(notice, QueryFinished):
            self.finished = notice
            self.end()
        elif not self._is_over:
            size = self._buffer_size + _size(notice)
            if len(self._buffer) >= ANSWERS_BUFFERED_MAX or size > ANSWERS_BUFFERED_BYTES_MAX:
                self.lost += 1
                return
            self._buffer_size = size
            self._buffer.append(notice)
            self._arrived.unpark()

    def end(self) -> None:
        """Hear that nothing more comes; what is buffered can still be read."""
        self._is_over = True
        self._arrived.unpark_all()

    def close(self) -> None:
        """End the query: its answers are of no interest any more. Harmless when it is over."""
        if not self._is_over:
            self._end_query(self)
            self.end()

    def __aiter__(self) -> QueryStream:
        return self

    async def __anext__(self) -> QueryAcked | QueryAnswered:
        await trio.lowlevel.checkpoint()
        while not self._buffer:
            if self._is_over:
                raise StopAsyncIteration
            await self._arrived.park()
        notice = self._buffer.popleft()
        self._buffer_size -= _size(notice)
        return notice

    def __enter__(self) -> QueryStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _size(notice: QueryAcked | QueryAnswered) -> int:
    return len(notice.payload) if isinstance(notice, QueryAnswered) else 0
