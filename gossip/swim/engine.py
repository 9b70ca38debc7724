"""The SWIM engine: bytes and the time go in, effects come out.

Effects are packets, stream actions, notices and the next deadline.

A facade: it owns the parts and routes messages to them. What the parts decide is in their files:
membership (merge rules), probe (failure detection), dissemination (gossip), push_pull (table
exchange), conversations (streams).

Drive it so: call in (`receive_packet`, `handle_timers`, …), then drain `packets_to_send()`,
`stream_actions()` and `next_event()`, then wait until `next_deadline()`. Calls are synchronous and
atomic. The same settings, random source and inputs give the same outputs. Source: memberlist
memberlist.go (Create, Join, Leave), net.go (handleCommand).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..addresses import Address
from ..effects import Packet, StreamAction
from ..notices import Notice
from ..wire.errors import MalformedInput
from ..wire.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Nack,
    Ping,
    Suspect,
    User,
    decode_message_untrusted,
    encode_message,
)
from ..wire.messages import NodeState as NodeRecord
from ..wire.packets import PacketCodec
from ..wire.streams import StreamCodec
from .awareness import Awareness
from .conversations import Conversations, FinishedHook, Purpose
from .delegate import SwimDelegate
from .dissemination import Dissemination
from .membership import Membership
from .nodes import Node, NodeState, NodeTable
from .outbox import Outbox
from .probe import Prober
from .push_pull import PushPullMerge, PushPullSchedule
from .settings import SwimSettings
from .timers import TimerHeap


@dataclass(frozen=True, slots=True)
class SwimStatistics:
    """A snapshot of one engine. Counts are since the start."""

    nodes: int
    alive: int
    suspect: int
    dead: int
    left: int
    incarnation: int
    health_score: int
    broadcasts_queued: int
    broadcasts_dropped: int
    gossip_ticks: int
    probes_succeeded: int
    probes_failed: int
    refutations: int
    conflicts: int
    messages_received: int
    streams_open: int
    timers: int
    rejected: dict[str, int]


class SwimEngine:
    """One node of a SWIM pool."""

    def __init__(
        self,
        settings: SwimSettings,
        *,
        rng: random.Random,
        nonce: Callable[[int], bytes],
        delegate: SwimDelegate | None = None,
    ) -> None:
        """Build the parts; nothing happens before `start`.

        Args:
            settings: Who we are and how we take part.
            rng: The only source of choices.
            nonce: Returns that many unpredictable bytes, never the same twice: nonces of AES-GCM.
            delegate: The layer above.
        """
        self.settings = settings
        self.delegate = delegate if delegate is not None else SwimDelegate()
        sealing: dict[str, Any] = {
            "label": settings.label.encode(),
            "keyring": settings.keyring,
            "compression": settings.compression,
            "verify_incoming": settings.verify_incoming,
            "verify_outgoing": settings.verify_outgoing,
            "encryption_version": 1 if settings.versions[2] >= 2 else 0,
            "nonce": nonce,
        }
        self.timers = TimerHeap()
        self.outbox = Outbox(PacketCodec(**sealing))
        self.table = NodeTable(rng)
        self.awareness = Awareness(settings.awareness_score_max)
        self.dissemination = Dissemination(
            settings, self.table, self.timers, self.outbox, self.delegate, rng
        )
        self.membership = Membership(
            settings,
            self.table,
            self.timers,
            self.outbox,
            self.dissemination,
            self.awareness,
            self.delegate,
        )
        self._merge = PushPullMerge(
            settings, self.table, self.outbox, self.membership, self.delegate
        )
        self.conversations = Conversations(
            settings,
            self.table,
            self.timers,
            self.outbox,
            StreamCodec(**sealing),
            self._merge,
            self.delegate,
            self._finish_push_pull,
        )
        self._prober = Prober(
            settings,
            self.table,
            self.timers,
            self.outbox,
            self.dissemination,
            self.membership,
            self.awareness,
            self.delegate,
            rng,
            self.conversations.stream_ping,
        )
        self._schedule = PushPullSchedule(settings, self.table, self.timers, rng, self._exchange)
        self._operation = 0
        self._messages_received = 0
        self._table_size = 0
        self.push_pull_finished: FinishedHook | None = None
        """Set by the layer above: hears of each finished join or look."""
        self._handlers: dict[type, Callable[..., None]] = {
            Alive: self.membership.handle_alive,
            Suspect: self.membership.handle_suspect,
            Dead: self.membership.handle_dead,
            Ping: self._prober.handle_ping,
            IndirectPing: self._prober.handle_indirect_ping,
            Ack: self._prober.handle_ack,
            Nack: self._prober.handle_nack,
            User: self._handle_user,
        }

    # --- life -------------------------------------------------------------------------

    def start(self, meta: bytes = b"", *, now: float) -> None:
        """Enter ourselves and begin; alone, that sets no timer."""
        self.membership.enter_self(meta, now=now)
        self.dissemination.start(now)
        self._prober.start(now)
        self._schedule.start(now)
        self._table_size = len(self.table)

    def update_meta(self, meta: bytes, *, now: float) -> None:
        """Announce a new meta of our own."""
        self.membership.update_meta(meta, now=now)

    def leave(self, *, now: float, finished: Callable[[], None]) -> None:
        """Declare ourselves left; pings are answered on, until `stop`."""
        self._prober.stop()
        self._schedule.stop()
        self.membership.leave(now=now, finished=finished)

    def stop(self, *, now: float) -> None:
        """End everything: timers, gossip, conversations."""
        self._prober.stop()
        self._schedule.stop()
        self.dissemination.stop()
        self.conversations.close_all(now=now)
        self.timers.clear()

    def send_user_to_live(self, payload: bytes, count_max: int) -> None:
        """Send a message of the layer above to each other live node, at most to `count_max`."""
        own = self.settings.node_name
        message = encode_message(User(payload))
        for node in self.table.random_nodes(
            count_max, lambda node: not node.is_gone and node.name != own
        ):
            self.outbox.send(node.destination, [message])

    def live_nodes(self) -> int:
        """Return how many nodes are not gone, ourselves included."""
        return sum(not node.is_gone for node in self.table)

    def has_alive_peers(self) -> bool:
        """Return whether anybody but us is alive, so that a broadcast can reach somebody."""
        own = self.settings.node_name
        return any(node.state is NodeState.ALIVE and node.name != own for node in self.table)

    # --- in ---------------------------------------------------------------------------

    def receive_packet(self, data: bytes, source: Address, *, now: float) -> None:
        """Take one datagram, whatever is in it.

        What cannot be read is counted, the rest applies.
        """
        rejections, handlers = self.outbox.rejections, self._handlers
        try:
            opened = self.outbox.codec.open_untrusted(data)
        except MalformedInput as error:
            rejections.record(error.reason, source, error.detail, now=now)
            return
        for rejection in opened.rejections:
            rejections.record(rejection.reason, source, rejection.detail, now=now)
        for part in opened.parts:
            self._messages_received += 1
            try:
                message = decode_message_untrusted(part)
            except MalformedInput as error:
                rejections.record(error.reason, source, error.detail, now=now)
                continue
            handlers[type(message)](message, source, now=now)
        self._notice_growth(now)

    def _handle_user(self, message: User, source: Address, *, now: float) -> None:
        self.delegate.receive_user_message(message.payload, source, now=now)

    def handle_timers(self, *, now: float) -> None:
        """Do what is due at `now`."""
        self.timers.run_due(now)
        self._notice_growth(now)

    def accept_stream(self, source: Address, *, now: float) -> int | None:
        """Take a stream that a peer opened: its number, or None when it should just be closed."""
        return self.conversations.accept(source, now=now)

    def receive_stream_data(self, stream: int, data: bytes, *, now: float) -> None:
        """Take bytes of a stream."""
        self.conversations.receive(stream, data, now=now)
        self._notice_growth(now)

    def receive_stream_eof(self, stream: int, *, now: float) -> None:
        """Hear that the peer closed its side."""
        self.conversations.receive_eof(stream, now=now)

    def fail_stream(self, stream: int, error: str, *, now: float) -> None:
        """Hear that a dial, read or write failed.

        `error` in Go's words, for those who compare texts.
        """
        self.conversations.fail(stream, error, now=now)

    def push_pull(self, purpose: Purpose, destination: Address, *, now: float) -> int:
        """Start a join or a look; `push_pull_finished` hears the end under the number returned."""
        operation = self.next_operation()
        self.conversations.push_pull(purpose, destination, now=now, operation=operation)
        return operation

    def send_user_message(self, destination: Address, payload: bytes, *, now: float) -> None:
        """Send a message of the layer above over a stream: one that is too large for a packet."""
        self.conversations.send_user_message(destination, payload, now=now)

    def ping(self, node: str, destination: Address, *, now: float) -> int:
        """Ping once; PingFinished tells the end under the number returned."""
        operation = self.next_operation()
        self._prober.ping(operation, node, destination, now=now)
        return operation

    def next_operation(self) -> int:
        """Return a number for something the owner waits for; never the same twice."""
        self._operation += 1
        return self._operation

    # --- out --------------------------------------------------------------------------

    def packets_to_send(self) -> list[Packet]:
        """Drain the packets."""
        packets = self.outbox.packets
        if packets:
            self.outbox.packets = []
        return packets

    def stream_actions(self) -> list[StreamAction]:
        """Drain the stream actions, in order."""
        actions = self.outbox.actions
        if actions:
            self.outbox.actions = []
        return actions

    def next_event(self) -> Notice | None:
        """Return the next notice, None when there is none."""
        notices = self.outbox.notices
        return notices.popleft() if notices else None

    def next_deadline(self) -> float | None:
        """Return when `handle_timers` has something to do.

        None when only input can change anything.
        """
        return self.timers.next_deadline()

    def statistics(self) -> SwimStatistics:
        """Return a snapshot."""
        states = dict.fromkeys(NodeState, 0)
        for node in self.table:
            states[node.state] += 1
        return SwimStatistics(
            nodes=len(self.table),
            alive=states[NodeState.ALIVE],
            suspect=states[NodeState.SUSPECT],
            dead=states[NodeState.DEAD],
            left=states[NodeState.LEFT],
            incarnation=self.membership.own_node.incarnation,
            health_score=self.awareness.score,
            broadcasts_queued=len(self.dissemination.queue),
            broadcasts_dropped=self.dissemination.queue.dropped,
            gossip_ticks=self.dissemination.ticks,
            probes_succeeded=self._prober.succeeded,
            probes_failed=self._prober.failed,
            refutations=self.membership.refutations,
            conflicts=self.membership.conflicts,
            messages_received=self._messages_received,
            streams_open=len(self.conversations),
            timers=len(self.timers),
            rejected=dict(self.outbox.rejections.counts),
        )

    # --- inside -----------------------------------------------------------------------

    def _exchange(self, node: Node, now: float) -> None:
        self.conversations.push_pull(Purpose.PERIODIC, node.destination, now=now)

    def _finish_push_pull(
        self, operation: int, error: str | None, records: tuple[NodeRecord, ...], now: float
    ) -> None:
        if self.push_pull_finished is not None:
            self.push_pull_finished(operation, error, records, now)

    def _notice_growth(self, now: float) -> None:
        """Start probing and exchanging when the table was empty of others before."""
        size = len(self.table)
        if size != self._table_size:
            self._table_size = size
            self._prober.wake(now)
            self._schedule.wake(now)
            self.dissemination.wake(now)
