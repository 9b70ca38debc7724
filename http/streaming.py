"""Answers without a known end: written chunk by chunk while they come about.

A handler returns a `StreamedResponse` in place of a `Response`. Its `produce` then runs as a task
beside the connection and puts bytes into an `Outlet`; the connection takes out what waits there,
writes it as one chunk, and waits again. So whatever is put in is on its way at once, a burst
travels as few chunks, and a client that reads slowly makes the producer wait (`send`) or drop and
count (`send_nowait`), as it prefers: what the agent holds for one client never exceeds the outlet's
size. With gzip each chunk ends in a flush, so that its reader has all of it.

How a stream ends. `produce` returns: the last chunk is written and the connection lives on.
`produce` raises: the log has the traceback, and the connection is cut off without the last chunk,
by which the client can tell. The client closes or breaks the connection, or its sending half: the
producer is cancelled at once. The client does not take what is written: the write times out. The
client's host is gone without a word: the kernel finds out, after the next write or by its own
asking (see `server.py`). The agent stops: a stream without end of its own (`is_endless`) ends
orderly, any other may finish within the drain's time.

`close` is called exactly once after all that, even if `produce` never ran.

Where it comes from (public API): the flushing writers of Nomad's `Agent.monitor` and
`EventStream` handlers, whose idle heartbeats are `{}` too.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import trio

from .faults import CodedFault
from .responses import HeaderList

_GZIP_LEVEL = 1
"""As for whole answers; a stream has little to gain from more."""

_GZIP_WINDOW = 16 + 13
"""gzip's frame, and a window of 8 KiB: lines of a stream resemble those just before them."""

_GZIP_MEMORY_LEVEL = 6
"""With this window 64 KiB a stream; zlib's defaults would take 256."""


def _do_nothing() -> None:
    """What most streams have to close."""


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """One answer that is written while it comes about. See the module's head for its life.

    Attributes:
        produce: Puts the body into the outlet, and returns at its end.
        content_type: Of the body.
        heartbeat: Written whenever nothing else was for `heartbeat_interval`; empty: nothing. It
            shows the client that we are there. That a client's host has vanished shows by it too,
            and sooner than without: then only the kernel's own asking does.
        heartbeat_interval: Seconds.
        is_endless: Whether the stream has no end of its own, and so has to be ended by a drain.
        close: Releases what the handler took for this stream.
        status: The HTTP status.
        headers: Others of its own.
        configured: The operator's headers.
    """

    produce: Callable[[Outlet], Awaitable[None]]
    content_type: bytes
    heartbeat: bytes = b""
    heartbeat_interval: float = 10.0
    is_endless: bool = False
    close: Callable[[], None] = _do_nothing
    status: int = 200
    headers: HeaderList = ()
    configured: HeaderList = ()

    def with_configured(self, headers: HeaderList) -> StreamedResponse:
        """Return this answer with the operator's headers."""
        return replace(self, configured=headers) if headers else self

    def with_close(self, also: Callable[[], None]) -> StreamedResponse:
        """Return this answer with something more to do when it is over."""

        def close() -> None:
            try:
                self.close()
            finally:
                also()

        return replace(self, close=close)


class Outlet:
    """Between the producer of one stream and its connection: a bounded buffer of bytes.

    One task puts in, one takes out. A piece is taken in as long as the buffer is below its size,
    so at most that and one piece are held.
    """

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._size = 0
        self._pieces: deque[bytes] = deque()
        self._is_ended = False
        self._changed = trio.lowlevel.ParkingLot()

    async def send(self, data: bytes) -> None:
        """Put a piece in as soon as there is room."""
        await trio.lowlevel.checkpoint()
        while self._size >= self._size_max:
            await self._changed.park()
        self._put(data)

    def send_nowait(self, data: bytes) -> None:
        """Put a piece in.

        Raises:
            trio.WouldBlock: There is no room; nothing was put in.
        """
        if self._size >= self._size_max:
            raise trio.WouldBlock
        self._put(data)

    def end(self) -> None:
        """Say that nothing more comes. What is put in afterwards is thrown away."""
        self._is_ended = True
        self._changed.unpark_all()

    async def receive(self) -> bytes:
        """Take out everything that waits, in one piece; `b""` at the end."""
        await trio.lowlevel.checkpoint()
        while not self._pieces and not self._is_ended:
            await self._changed.park()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._changed.unpark_all()
        return data

    def _put(self, data: bytes) -> None:
        if data and not self._is_ended:
            self._pieces.append(data)
            self._size += len(data)
            self._changed.unpark_all()


class GzipChunks:
    """The gzip form of a stream, chunk by chunk."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(
            _GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW, _GZIP_MEMORY_LEVEL
        )

    def compress(self, data: bytes) -> bytes:
        """Return the chunk from which a reader that has all before it gets `data`."""
        return self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        """Return gzip's trailer."""
        return self._packer.flush()


class StreamPlaces:
    """How many streams of a kind may be open at once."""

    def __init__(self, count_max: int, kind: str) -> None:
        self._count_max = count_max
        self._kind = kind
        self._taken = 0

    def take(self) -> Callable[[], None]:
        """Take a place; what is returned gives it back.

        Raises:
            CodedFault: All are taken.
        """
        if self._taken >= self._count_max:
            raise CodedFault(
                503,
                f"the agent has {self._count_max} {self._kind} open, which is its limit;"
                " please try again later",
            )
        self._taken += 1

        def give_back() -> None:
            self._taken -= 1

        return give_back
