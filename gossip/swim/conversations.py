"""TCP conversations as the engine sees them: one request, at most one answer.

The shell moves bytes; here they become messages and an answer. Every conversation, ours or a
peer's, has one deadline (`stream_timeout`, the dial included) that ends in a CloseStream. What
peers can make us hold is limited in number and in bytes over all streams together.

    peer dials:  bytes ─► push-pull: our table as answer, then merge · ping: ack · user message: no
    answer we dial:     push-pull (join, look, periodic) ─► merge · ping (fallback of a probe) ─►
    contact

Sources: memberlist net.go (handleConn, sendAndReceiveState, sendPingAndWaitForAck,
readRemoteState).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from ..addresses import Address
from ..effects import CloseStream, OpenStream, SendStream
from ..wire.errors import MalformedInput
from ..wire.messages import (
    Ack,
    ErrorReply,
    Ping,
    PushPull,
    User,
    encode_message,
    encode_user_stream,
)
from ..wire.messages import NodeState as NodeRecord
from ..wire.streams import StreamCodec, StreamReader
from .delegate import SwimDelegate
from .nodes import NodeTable
from .outbox import Outbox
from .probe import Probe
from .push_pull import PushPullMerge
from .settings import SwimSettings
from .timers import Timer, TimerHeap

INCOMING_STREAMS_MAX = 128
"""Streams that peers may have open at us; more are closed unanswered. memberlist's bound for
concurrent push-pulls."""

INCOMING_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of unfinished requests over all incoming streams: three of the largest legal ones (20
MiB), not 128 of them."""

OUTGOING_MESSAGES_MAX = 64
"""Messages of the layer above that are on their way by stream; more are dropped and counted. A
stranger's queries must not make us dial whom it likes, as often as it likes."""


class StateTooLarge(Exception):
    """Our table and the layer above's state together are more than a push-pull may carry."""


class Purpose(Enum):
    """Why we dialled."""

    PERIODIC = "periodic push-pull"
    JOIN = "join"
    LOOK = "look"
    STREAM_PING = "stream ping"
    USER_MESSAGE = "user message"


REMARKED = {
    Purpose.PERIODIC: "push_pull_failed",
    Purpose.USER_MESSAGE: "user_message_failed",
}
"""Conversations nobody waits for: what the log calls their failures."""


@dataclass(slots=True, eq=False)
class Incoming:
    """A stream that a peer opened."""

    source: Address
    reader: StreamReader
    timer: Timer
    received: int = 0


@dataclass(slots=True, eq=False)
class Outgoing:
    """A stream that we opened. `operation` is the owner's number for a join or a look."""

    purpose: Purpose
    destination: Address
    reader: StreamReader
    timer: Timer
    operation: int = 0
    probe: Probe | None = None


FinishedHook = Callable[[int, str | None, tuple[NodeRecord, ...], float], None]
"""Called with operation, error, the records the peer showed, and the time
when a join or look is over."""


class Conversations:
    """All open streams by number."""

    def __init__(
        self,
        settings: SwimSettings,
        table: NodeTable,
        timers: TimerHeap,
        outbox: Outbox,
        codec: StreamCodec,
        merge: PushPullMerge,
        delegate: SwimDelegate,
        on_finished: FinishedHook,
    ) -> None:
        self._settings = settings
        self._table = table
        self._timers = timers
        self._outbox = outbox
        self._codec = codec
        self._merge = merge
        self._delegate = delegate
        self._on_finished = on_finished
        self._incoming: dict[int, Incoming] = {}
        self._outgoing: dict[int, Outgoing] = {}
        self._incoming_bytes = 0
        self._last_stream = 0

    def __len__(self) -> int:
        return len(self._incoming) + len(self._outgoing)

    # --- opening ----------------------------------------------------------------------

    def accept(self, source: Address, *, now: float) -> int | None:
        """Take a stream that a peer opened.

        None when there are too many, and the shell should just close it.
        """
        if len(self._incoming) >= INCOMING_STREAMS_MAX:
            self._outbox.rejections.record("too_many_streams", source, "", now=now)
            return None
        stream = self._next_stream()
        self._incoming[stream] = Incoming(
            source,
            self._codec.request_reader(),
            self._deadline(stream, now + self._settings.stream_timeout),
        )
        return stream

    def push_pull(
        self, purpose: Purpose, destination: Address, *, now: float, operation: int = 0
    ) -> None:
        """Open a push-pull; a look shows nothing of us."""
        if purpose is Purpose.LOOK:
            request = self._codec.seal_request(encode_message(PushPull((), b"", False)))
        else:
            try:
                request = self._local_state(self._codec.seal_request, join=purpose is Purpose.JOIN)
            except StateTooLarge as error:
                text = str(error)
                if purpose is Purpose.JOIN:
                    # Not before the caller knows the operation's number.
                    self._timers.schedule(
                        now, lambda fired: self._on_finished(operation, text, (), fired)
                    )
                return
        self._open(purpose, destination, request, now + self._settings.stream_timeout, operation)

    def stream_ping(self, probe: Probe, _now: float) -> int:
        """Open the TCP fallback of a probe, until the probe's own deadline."""
        settings = self._settings
        ping = Ping(
            probe.sequence_number,
            probe.node.name,
            settings.address,
            settings.port,
            settings.node_name,
        )
        return self._open(
            Purpose.STREAM_PING,
            probe.node.destination,
            self._codec.seal_request(encode_message(ping)),
            probe.deadline,
            0,
            probe,
        )

    def send_user_message(self, destination: Address, payload: bytes, *, now: float) -> None:
        """Send a message of the layer above that is too large for a packet; nobody answers it.

        Dropped where too many are on their way.
        """
        under_way = sum(o.purpose is Purpose.USER_MESSAGE for o in self._outgoing.values())
        if under_way >= OUTGOING_MESSAGES_MAX:
            self._outbox.rejections.record("too_many_messages_by_stream", destination, "", now=now)
            return
        deadline = now + self._settings.stream_timeout
        self._open(Purpose.USER_MESSAGE, destination, encode_user_stream(payload), deadline, 0)

    def _open(
        self,
        purpose: Purpose,
        destination: Address,
        request: bytes,
        deadline: float,
        operation: int,
        probe: Probe | None = None,
    ) -> int:
        stream = self._next_stream()
        self._outgoing[stream] = Outgoing(
            purpose,
            destination,
            self._codec.reply_reader(),
            self._deadline(stream, deadline),
            operation,
            probe,
        )
        self._outbox.actions.append(OpenStream(stream, destination, request))
        return stream

    def _local_state(self, seal: Callable[[bytes], bytes], *, join: bool) -> bytes:
        """Return our side of a push-pull, sealed.

        Raises:
            StateTooLarge: Strangers have filled our tables with more than a stream may carry.
        """
        try:
            return seal(encode_message(self._merge.local_state(join=join)))
        except ValueError as error:
            self._outbox.remark("state_too_large", "error", error=str(error))
            raise StateTooLarge(f"our own state cannot be sent: {error}") from error

    # --- what the shell reports -------------------------------------------------------

    def receive(self, stream: int, data: bytes, *, now: float) -> None:
        """Take bytes of a stream; those of a finished one are ignored."""
        if (incoming := self._incoming.get(stream)) is not None:
            incoming.received += len(data)
            self._incoming_bytes += len(data)
            if self._incoming_bytes > INCOMING_BYTES_MAX:
                self._outbox.rejections.record("stream_memory_full", incoming.source, "", now=now)
                self._close(stream)
                return
            try:
                message = incoming.reader.feed(data)
            except MalformedInput as error:
                self._refuse(stream, incoming, error, now)
                return
            if message is not None:
                self._serve(stream, incoming, message, now)
        elif (outgoing := self._outgoing.get(stream)) is not None:
            try:
                message = outgoing.reader.feed(data)
            except MalformedInput as error:
                self._reject_answer(stream, outgoing, error, now)
                return
            if message is not None:
                self._handle_answer(stream, outgoing, message, now)

    def receive_eof(self, stream: int, *, now: float) -> None:
        """Hear that the peer has closed before the conversation was complete."""
        if (incoming := self._incoming.get(stream)) is not None:
            # Nothing at all is a port scan or a health check, not worth a count.
            if incoming.received:
                self._outbox.rejections.record("stream_truncated", incoming.source, "", now=now)
            self._close(stream)
        elif (outgoing := self._outgoing.get(stream)) is not None:
            # A user message is not answered: the peer closes when it has read it.
            is_done = outgoing.purpose is Purpose.USER_MESSAGE
            self._finish(stream, outgoing, None if is_done else "EOF", now)

    def fail(self, stream: int, error: str, *, now: float) -> None:
        """Hear that a dial, a read or a write failed."""
        if (outgoing := self._outgoing.get(stream)) is not None:
            self._finish(stream, outgoing, error, now)
        elif stream in self._incoming:
            self._close(stream)

    def close_all(self, *, now: float) -> None:
        """End every conversation."""
        for stream in [*self._incoming]:
            self._close(stream)
        for stream, outgoing in [*self._outgoing.items()]:
            self._finish(stream, outgoing, "shutting down", now)

    # --- answering --------------------------------------------------------------------

    def _serve(self, stream: int, incoming: Incoming, message: object, now: float) -> None:
        if isinstance(message, PushPull):
            self._serve_push_pull(stream, incoming, message, now)
        elif isinstance(message, Ping):
            if message.node and message.node != self._settings.node_name:
                self._outbox.rejections.record(
                    "ping_for_another_node",
                    incoming.source,
                    f"stream ping for {message.node!r}",
                    now=now,
                )
            else:
                self._reply(stream, encode_message(Ack(message.sequence_number, None)))
            self._close(stream)
        elif isinstance(message, User):
            self._close(stream)
            self._delegate.receive_user_message(message.payload, incoming.source, now=now)
        else:
            self._outbox.rejections.record(
                "unexpected_stream_message", incoming.source, type(message).__name__, now=now
            )
            self._close(stream)

    def _serve_push_pull(
        self, stream: int, incoming: Incoming, remote: PushPull, now: float
    ) -> None:
        refusal = self._merge.refusal(remote)
        if refusal is not None and refusal[0] == "pool_refused":
            # Our table is not shown to a pool that we must not be part of.
            self._reply(stream, encode_message(ErrorReply(refusal[1])))
        else:
            # Answered before it is merged, as Go does, and even when it cannot be merged: the peer
            # may learn from it.
            with suppress(StateTooLarge):
                state = self._local_state(self._codec.seal_reply, join=remote.join)
                self._outbox.actions.append(SendStream(stream, state))
        self._close(stream)
        if refusal is not None:
            self._outbox.rejections.record(refusal[0], incoming.source, refusal[1], now=now)
        elif remote.nodes or remote.user_state:
            self._merge.merge(remote, incoming.source, now=now)

    def _refuse(self, stream: int, incoming: Incoming, error: MalformedInput, now: float) -> None:
        self._outbox.rejections.record(error.reason, incoming.source, error.detail, now=now)
        if error.reply_text is not None:
            self._reply(stream, encode_message(ErrorReply(error.reply_text)))
        self._close(stream)

    def _reply(self, stream: int, message: bytes) -> None:
        self._outbox.actions.append(SendStream(stream, self._codec.seal_reply(message)))

    # --- answers ----------------------------------------------------------------------

    def _handle_answer(self, stream: int, outgoing: Outgoing, message: object, now: float) -> None:
        if outgoing.purpose is Purpose.STREAM_PING:
            probe = outgoing.probe
            if (
                isinstance(message, Ack)
                and probe is not None
                and message.sequence_number == probe.sequence_number
            ):
                probe.has_stream_contact = True
            self._finish(stream, outgoing, None, now)
        elif isinstance(message, ErrorReply):
            self._finish(stream, outgoing, f"remote error: {message.text}", now)
        elif not isinstance(message, PushPull):
            kind = type(message).__name__
            self._outbox.rejections.record(
                "unexpected_stream_message", outgoing.destination, kind, now=now
            )
            self._finish(stream, outgoing, f"expected a push-pull answer, got {kind}", now)
        elif outgoing.purpose is Purpose.LOOK:
            self._finish(stream, outgoing, None, now, message.nodes)
        elif (refusal := self._merge.refusal(message)) is not None:
            self._outbox.rejections.record(refusal[0], outgoing.destination, refusal[1], now=now)
            self._finish(stream, outgoing, refusal[1], now, message.nodes)
        else:
            operation = outgoing.operation if outgoing.purpose is Purpose.JOIN else None
            self._merge.merge(message, outgoing.destination, operation=operation, now=now)
            self._finish(stream, outgoing, None, now, message.nodes)

    def _reject_answer(
        self, stream: int, outgoing: Outgoing, error: MalformedInput, now: float
    ) -> None:
        self._outbox.rejections.record(error.reason, outgoing.destination, error.detail, now=now)
        self._finish(stream, outgoing, error.detail or str(error), now)

    def _finish(
        self,
        stream: int,
        outgoing: Outgoing,
        error: str | None,
        now: float,
        records: tuple[NodeRecord, ...] = (),
    ) -> None:
        self._close(stream)
        if outgoing.purpose in (Purpose.JOIN, Purpose.LOOK):
            self._on_finished(outgoing.operation, error, records, now)
        elif error is not None and outgoing.purpose in REMARKED:
            self._outbox.remark(
                REMARKED[outgoing.purpose],
                "warning",
                peer=str(outgoing.destination),
                error=error,
            )

    # --- bookkeeping ------------------------------------------------------------------

    def _close(self, stream: int) -> None:
        if (incoming := self._incoming.pop(stream, None)) is not None:
            incoming.timer.cancel()
            self._incoming_bytes -= incoming.received
        elif (outgoing := self._outgoing.pop(stream, None)) is not None:
            outgoing.timer.cancel()
        self._outbox.actions.append(CloseStream(stream))

    def _deadline(self, stream: int, deadline: float) -> Timer:
        return self._timers.schedule(deadline, lambda now: self._time_out(stream, now))

    def _time_out(self, stream: int, now: float) -> None:
        if (incoming := self._incoming.get(stream)) is not None:
            self._outbox.rejections.record("stream_timed_out", incoming.source, "", now=now)
            self._close(stream)
        elif (outgoing := self._outgoing.get(stream)) is not None:
            self._finish(stream, outgoing, f"dial tcp {outgoing.destination}: i/o timeout", now)

    def _next_stream(self) -> int:
        self._last_stream += 1
        return self._last_stream
