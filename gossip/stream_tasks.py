"""TCP conversations as tasks: one for each stream, moving bytes between it and the engine.

How it works
    A task writes what the engine has given it, then reads and hands over what comes, until the
    engine closes the conversation. What the engine decides meanwhile (an answer, a time-out)
    interrupts the read. Who speaks when, and how long it may take, the engine knows
    (`swim.conversations`); here are only the limits of what happens after it has said goodbye:

    * the last bytes must be taken within `FLUSH_SECONDS_MAX`;
    * after an answer we end our side and read on for a moment, because closing over unread bytes
      resets the connection and throws away the answer on its way: a peer whose request was refused
      half-way would read "connection reset" instead of the reason.

Where the rules come from
    memberlist net.go (streamListen, handleConn): a bounded number of conversations, the others are
    closed without an answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import trio

from .addresses import Address
from .effects import OpenStream, SendStream, StreamAction
from .transport import DialError, PeerStream, StreamError, Transport

INCOMING_STREAMS_MAX = 256
"""Peers' streams open at once, those included that the engine is done with and that are only
flushed. Twice the engine's own limit, so that slow readers of answers do not lock out others."""

FLUSH_SECONDS_MAX = 10.0
"""How long a peer may take to read the end of what we write (the LAN profile's limit of a whole
conversation)."""

LINGER_SECONDS_MAX = 1.0
"""How long we read on after our answer."""

LINGER_BYTES_MAX = 20 * 1024 * 1024
"""How much we read on after our answer: the largest legal request there is."""


class StreamEngine(Protocol):
    """The engine's part in conversations (see `serf.engine`)."""

    def accept_stream(self, source: Address, *, now: float) -> int | None: ...
    def receive_stream_data(self, stream: int, data: bytes, *, now: float) -> None: ...
    def receive_stream_eof(self, stream: int, *, now: float) -> None: ...
    def fail_stream(self, stream: int, error: str, *, now: float) -> None: ...


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Counts since the start, and what is open now."""

    open: int
    accepted: int
    refused: int
    """Closed without an answer because too many were open."""
    dialled: int
    failed: int
    """Dials that did not work and streams that broke."""


class _Conversation:
    """One stream as its task sees it."""

    __slots__ = ("has_sent", "is_closing", "number", "outbox", "scope", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.outbox: deque[bytes] = deque()
        self.has_sent = False
        self.is_closing = False
        self.scope = trio.CancelScope()
        """Around all of it; gets a deadline with the close."""
        self.waiting = trio.CancelScope()
        """Around the present dial or read."""


class StreamTasks:
    """The tasks of all conversations, and the counters over them."""

    def __init__(
        self, engine: StreamEngine, transport: Transport, flush: Callable[[], None]
    ) -> None:
        """Prepare; `flush` is to be called after each call into the engine."""
        self._engine = engine
        self._transport = transport
        self._flush = flush
        self._conversations: dict[int, _Conversation] = {}
        self._incoming = 0
        self._accepted = 0
        self._refused = 0
        self._dialled = 0
        self._failed = 0

    def statistics(self) -> StreamStatistics:
        """Return the counters."""
        return StreamStatistics(
            open=len(self._conversations),
            accepted=self._accepted,
            refused=self._refused,
            dialled=self._dialled,
            failed=self._failed,
        )

    async def accept_streams(self) -> None:
        """Take peers' streams, for ever; their tasks end with this one."""
        async with trio.open_nursery() as nursery:
            while True:
                stream = await self._transport.accept()
                number = None
                if self._incoming < INCOMING_STREAMS_MAX:
                    now = trio.current_time()
                    number = self._engine.accept_stream(stream.remote, now=now)
                if number is None:
                    self._refused += 1
                    stream.close()
                else:
                    self._accepted += 1
                    self._incoming += 1
                    conversation = self._conversations[number] = _Conversation(number)
                    nursery.start_soon(self._serve, conversation, stream)
                self._flush()

    def act(self, action: StreamAction, nursery: trio.Nursery) -> None:
        """Carry out what the engine wants; dials become tasks of the nursery."""
        if isinstance(action, OpenStream):
            self._dialled += 1
            opened = self._conversations[action.stream] = _Conversation(action.stream)
            opened.outbox.append(action.data)
            nursery.start_soon(self._dial, opened, action.destination)
            return
        conversation = self._conversations.get(action.stream)
        if conversation is None:
            # It has ended here already: broken, or not flushed in time.
            return
        if isinstance(action, SendStream):
            conversation.outbox.append(action.data)
        else:
            conversation.is_closing = True
            conversation.scope.deadline = trio.current_time() + FLUSH_SECONDS_MAX
        conversation.waiting.cancel()

    async def _serve(self, conversation: _Conversation, stream: PeerStream) -> None:
        """Hold a conversation that a peer began."""
        try:
            with conversation.scope:
                await self._converse(conversation, stream)
                if conversation.has_sent:
                    await _linger(stream)
        except StreamError as error:
            self._fail(conversation, error)
        finally:
            stream.close()
            self._incoming -= 1
            del self._conversations[conversation.number]

    async def _dial(self, conversation: _Conversation, destination: Address) -> None:
        """Hold a conversation that we begin."""
        stream: PeerStream | None = None
        try:
            with conversation.scope:
                if not conversation.is_closing:
                    with trio.CancelScope() as conversation.waiting:
                        stream = await self._transport.dial(destination)
                if stream is not None:
                    await self._converse(conversation, stream)
        except (DialError, StreamError) as error:
            self._fail(conversation, error)
        finally:
            if stream is not None:
                stream.close()
            del self._conversations[conversation.number]

    async def _converse(self, conversation: _Conversation, stream: PeerStream) -> None:
        """Write what there is, then read and tell the engine, until the engine has ended it."""
        has_ended = False
        while True:
            while conversation.outbox:
                conversation.has_sent = True
                await stream.send_all(conversation.outbox.popleft())
            if conversation.is_closing:
                return
            data = None
            with trio.CancelScope() as conversation.waiting:
                if has_ended:
                    # Nothing more will come: only the engine can end this now.
                    await trio.sleep_forever()
                data = await stream.receive_some()
            if data is None:
                continue
            now = trio.current_time()
            if data:
                self._engine.receive_stream_data(conversation.number, data, now=now)
            else:
                has_ended = True
                self._engine.receive_stream_eof(conversation.number, now=now)
            self._flush()

    def _fail(self, conversation: _Conversation, error: DialError | StreamError) -> None:
        self._failed += 1
        self._engine.fail_stream(conversation.number, str(error), now=trio.current_time())
        self._flush()


async def _linger(stream: PeerStream) -> None:
    """End our side, and read on until the peer has ended its own, within limits."""
    size = 0
    # The answer has been sent; how the peer goes away after it is its own business.
    with suppress(StreamError), trio.move_on_after(LINGER_SECONDS_MAX):
        await stream.send_eof()
        while size < LINGER_BYTES_MAX and (data := await stream.receive_some()):
            size += len(data)
