"""A subscriber's events put together: an `EventStream` behind Serf's coalescing.

The rules are in `serf.coalescing`; here they get a clock. The reader waits for the next notice or
for the end of the wait, whichever is first, so nothing runs while nobody reads and nothing wakes up
while nothing happens.
"""

from __future__ import annotations

import math
from collections import deque
from types import TracebackType

import trio

from .notices import Notice
from .serf.coalescing import Coalescer, CoalesceSettings, MemberEvents
from .subscriptions import EventStream, Lost


class CoalescedStream:
    """Iterate over it (`async for`), as over an `EventStream`; it ends with the pool."""

    def __init__(self, stream: EventStream, settings: CoalesceSettings) -> None:
        """Put together what `stream` gives."""
        self._stream = stream
        self._coalescer: Coalescer[Lost] = Coalescer(settings)
        self._ready: deque[MemberEvents | Notice | Lost] = deque()
        self._is_over = False

    def close(self) -> None:
        """End the subscription; what is held back can still be read, at once."""
        self._stream.close()

    def __aiter__(self) -> CoalescedStream:
        return self

    async def __anext__(self) -> MemberEvents | Notice | Lost:
        await trio.lowlevel.checkpoint()
        while not self._ready:
            if self._is_over:
                raise StopAsyncIteration
            await self._wait()
        return self._ready.popleft()

    async def _wait(self) -> None:
        """Wait for a notice or for the end of the wait."""
        deadline = self._coalescer.next_deadline()
        with trio.move_on_at(math.inf if deadline is None else deadline):
            try:
                notice = await anext(self._stream)
            except StopAsyncIteration:
                self._is_over = True
                self._ready.extend(self._coalescer.flush())
                return
            self._ready.extend(self._coalescer.receive(notice, now=trio.current_time()))
        self._ready.extend(self._coalescer.handle_timers(now=trio.current_time()))

    def __enter__(self) -> CoalescedStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
