"""Failure detection: one probe per interval, with helpers and TCP before anybody is accused.

A probe is a record with a method per thing that can happen to it:

    ping ──ack in time──────────────────────────────► success (round trip known)
      └─probe_timeout─► ask helpers, try TCP ──ack──► success
                              └─deadline── TCP ok ──► success, "UDP seems blocked"
                                           else ────► suspect

The deadline is `probe_interval` stretched by our health score. Ticks that fall into a running
probe lapse; they do not pile up. A lone node has nobody to probe and sets no timer.

Also here, because they share sequence numbers: answering pings, and probing on behalf of others
with nacks.

Sources: SWIM, sections 3.1 and 4.3; Lifeguard, "Self-Awareness" (nacks); memberlist state.go
(probe, probeNode, Ping, handleAckHandler), net.go (handlePing, handleIndirectPing, handleAck,
handleNack).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ..addresses import ADDRESS_SIZES, Address, address_of
from ..evidence import EvidenceKind
from ..notices import PingFinished
from ..wire.messages import Ack, IndirectPing, Nack, Ping, Suspect, encode_message
from .awareness import Awareness
from .delegate import SwimDelegate
from .dissemination import Dissemination
from .membership import NODE_NAME_ACCEPTED_MAX, Membership, name_size
from .nodes import Node, NodeState, NodeTable
from .outbox import Outbox
from .settings import SwimSettings
from .timers import Timer, TimerHeap
from .versions import PROTOCOL_NACK, PROTOCOL_STREAM_PING

RELAYED_PINGS_MAX = 1024
"""Indirect pings served at once. In a pool of n a node is asked by a few peers per second; beyond
this somebody floods."""

SEQUENCE_NUMBER_MAX = 2**32 - 1
"""Sequence numbers are u32 on the wire and start over at 1."""


@dataclass(slots=True, eq=False)
class Probe:
    """One probe of one node, from the ping to the verdict."""

    node: Node
    incarnation: int
    sequence_number: int
    sent: float
    deadline: float
    is_direct: bool = True
    nacks_expected: int = 0
    nacks: set[Address] = field(default_factory=set)
    stream: int | None = None
    has_stream_contact: bool = False
    timer: Timer | None = None


@dataclass(slots=True, eq=False)
class RelayedPing:
    """A ping that we sent for somebody else."""

    requester: Address
    sequence_number: int
    wants_nack: bool
    timer: Timer


@dataclass(slots=True, eq=False)
class ManualPing:
    """A ping that the owner asked for; it has no consequences."""

    operation: int
    sent: float
    timer: Timer


class Prober:
    """Probes others and answers their probes."""

    def __init__(
        self,
        settings: SwimSettings,
        table: NodeTable,
        timers: TimerHeap,
        outbox: Outbox,
        dissemination: Dissemination,
        membership: Membership,
        awareness: Awareness,
        delegate: SwimDelegate,
        rng: random.Random,
        open_stream_ping: Callable[[Probe, float], int],
    ) -> None:
        self._settings = settings
        self._table = table
        self._timers = timers
        self._outbox = outbox
        self._dissemination = dissemination
        self._membership = membership
        self._awareness = awareness
        self._delegate = delegate
        self._rng = rng
        self._open_stream_ping = open_stream_ping
        self._sequence_number = 0
        self._phase: float | None = None
        self._tick_timer: Timer | None = None
        self._probe: Probe | None = None
        self._relayed: dict[int, RelayedPing] = {}
        self._manual: dict[int, ManualPing] = {}
        self.succeeded = 0
        self.failed = 0

    # --- schedule ---------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Choose the phase of the ticks; they begin once there is somebody to probe."""
        self._phase = now + self._rng.random() * self._settings.probe_interval
        self.wake(now)

    def stop(self) -> None:
        """Probe no more; pings are still answered."""
        self._phase = None
        if self._tick_timer is not None:
            self._tick_timer.cancel()
            self._tick_timer = None
        if self._probe is not None:
            if self._probe.timer is not None:
                self._probe.timer.cancel()
            self._probe = None

    def wake(self, now: float) -> None:
        """See to it that the next tick is coming: call it when the table has grown."""
        if (
            self._tick_timer is None
            and self._probe is None
            and self._phase is not None
            and len(self._table) > 1
        ):
            self._schedule_tick(now)

    def _schedule_tick(self, now: float) -> None:
        assert self._phase is not None
        interval = self._settings.probe_interval
        steps = math.floor((now - self._phase) / interval + 1e-6) + 1
        self._tick_timer = self._timers.schedule(self._phase + steps * interval, self._tick)

    def _tick(self, now: float) -> None:
        self._tick_timer = None
        if len(self._table) <= 1:
            return  # wake() starts the ticks again
        node = self._table.next_to_probe(self._is_probed, lambda: self._forget_old_dead(now))
        if node is not None:
            self._start_probe(node, now)
        else:
            self._schedule_tick(now)

    def _is_probed(self, node: Node) -> bool:
        return not node.is_gone and node.name != self._settings.node_name

    def _forget_old_dead(self, now: float) -> None:
        keep = self._settings.gossip_to_the_dead_time
        for node in self._table.forget(
            lambda node: (
                node.is_gone and now - node.changed > keep and node.name != self._settings.node_name
            )
        ):
            self._membership.forget(node)

    # --- one probe --------------------------------------------------------------------

    def _start_probe(self, node: Node, now: float) -> None:
        deadline = now + self._awareness.scale(self._settings.probe_interval)
        probe = Probe(node, node.incarnation, self._next_sequence_number(), now, deadline)
        self._probe = probe
        ping = encode_message(self._ping(probe.sequence_number, node.name))
        if node.state is NodeState.ALIVE:
            self._dissemination.send(node.destination, ping)
        else:
            # Tell a suspect that it is one in the same packet, so that it can refute at once.
            suspect = Suspect(node.incarnation, node.name, self._settings.node_name)
            self._outbox.send(node.destination, [ping, encode_message(suspect)])
        timeout = min(now + self._settings.probe_timeout, deadline)
        probe.timer = self._timers.schedule(timeout, lambda fired: self._ask_others(probe, fired))

    def _ask_others(self, probe: Probe, now: float) -> None:
        """The direct ack is late: ask helpers, and try TCP, both until the deadline."""
        probe.is_direct = False
        node = probe.node
        if node.name != self._settings.node_name and not node.is_gone:
            helpers = self._table.random_nodes(
                self._settings.indirect_checks,
                lambda other: (
                    other.state is NodeState.ALIVE
                    and other.name != node.name
                    and other.name != self._settings.node_name
                ),
            )
            for helper in helpers:
                wants_nack = helper.protocol_max >= PROTOCOL_NACK
                probe.nacks_expected += wants_nack
                request = IndirectPing(
                    probe.sequence_number,
                    node.address,
                    node.port,
                    node.name,
                    wants_nack,
                    self._settings.address,
                    self._settings.port,
                    self._settings.node_name,
                )
                self._dissemination.send(helper.destination, encode_message(request))
            if self._settings.stream_pings and node.protocol_max >= PROTOCOL_STREAM_PING:
                probe.stream = self._open_stream_ping(probe, now)
        probe.timer = self._timers.schedule(
            probe.deadline, lambda fired: self._decide(probe, fired)
        )

    def _decide(self, probe: Probe, now: float) -> None:
        """The deadline is there and no ack is."""
        if probe.has_stream_contact:
            self._outbox.remark("udp_seems_blocked", "warning", node=probe.node.name)
            self._succeed(probe, now)
            return
        self._end_probe(now)
        if probe.node.is_gone:
            return  # it left, or others were quicker: no fault of ours
        self.failed += 1
        missing = probe.nacks_expected - len(probe.nacks)
        self._awareness.apply(missing if probe.nacks_expected else 1)
        self._outbox.remark(
            "probe_failed",
            "debug",
            node=probe.node.name,
            nacks_expected=probe.nacks_expected,
            nacks=len(probe.nacks),
        )
        self._membership.observe(
            EvidenceKind.PROBE_FAILED,
            probe.node,
            now,
            by=self._settings.node_name,
            detail=f"no ack; {len(probe.nacks)} of {probe.nacks_expected} helpers sent a nack",
        )
        suspect = Suspect(probe.incarnation, probe.node.name, self._settings.node_name)
        self._membership.handle_suspect(suspect, None, now=now)

    def _succeed(self, probe: Probe, now: float) -> None:
        self._end_probe(now)
        self.succeeded += 1
        self._awareness.apply(-1)

    def _end_probe(self, now: float) -> None:
        probe, self._probe = self._probe, None
        if probe is not None and probe.timer is not None:
            probe.timer.cancel()
        if self._phase is None or len(self._table) <= 1 or probe is None:
            return
        if now - probe.sent >= self._settings.probe_interval:
            # A tick lapsed meanwhile: like a Go ticker, catch up with one, at once.
            self._tick_timer = self._timers.schedule(now, self._tick)
        else:
            self._schedule_tick(now)

    # --- what comes in ----------------------------------------------------------------

    def handle_ping(self, ping: Ping, source: Address, *, now: float) -> None:
        """Answer a ping, unless it is meant for somebody else."""
        if ping.node and ping.node != self._settings.node_name:
            self._outbox.rejections.record(
                "ping_for_another_node", source, f"ping for {ping.node!r}", now=now
            )
            return
        ack = Ack(ping.sequence_number, self._delegate.ack_payload())
        destination = _reply_address(ping.source_address, ping.source_port, source)
        self._dissemination.send(destination, encode_message(ack))

    def handle_indirect_ping(self, request: IndirectPing, source: Address, *, now: float) -> None:
        """Probe a node on behalf of a peer."""
        if len(request.target) not in ADDRESS_SIZES:
            self._outbox.rejections.record(
                "bad_address",
                source,
                f"indirect ping to {len(request.target)} address bytes",
                now=now,
            )
            return
        if (size := name_size(request.node)) > NODE_NAME_ACCEPTED_MAX:
            self._outbox.rejections.record(
                "node_name_too_long", source, f"indirect ping: {size} bytes", now=now
            )
            return
        if len(self._relayed) >= RELAYED_PINGS_MAX:
            self._outbox.rejections.record("too_many_indirect_pings", source, request.node, now=now)
            return
        sequence_number = self._next_sequence_number()
        timer = self._timers.schedule(
            now + self._settings.probe_timeout,
            lambda _fired: self._relay_timed_out(sequence_number),
        )
        requester = _reply_address(request.source_address, request.source_port, source)
        self._relayed[sequence_number] = RelayedPing(
            requester, request.sequence_number, request.wants_nack, timer
        )
        target = address_of(request.target, request.port or self._settings.port)
        self._dissemination.send(target, encode_message(self._ping(sequence_number, request.node)))

    def handle_ack(self, ack: Ack, source: Address, *, now: float) -> None:
        """Match an ack to what we asked; late and unknown ones are ignored."""
        probe = self._probe
        if probe is not None and ack.sequence_number == probe.sequence_number:
            if probe.is_direct:
                self._delegate.ping_completed(probe.node, now - probe.sent, ack.payload, now=now)
            self._succeed(probe, now)
            return
        relayed = self._relayed.pop(ack.sequence_number, None)
        if relayed is not None:
            relayed.timer.cancel()
            # A relayed ack carries no payload: a coordinate would be that of another path.
            self._dissemination.send(
                relayed.requester, encode_message(Ack(relayed.sequence_number, None))
            )
            return
        manual = self._manual.pop(ack.sequence_number, None)
        if manual is not None:
            manual.timer.cancel()
            self._outbox.notices.append(PingFinished(manual.operation, now - manual.sent))

    def handle_nack(self, nack: Nack, source: Address, *, now: float) -> None:
        """Count a helper's word that it could not reach the target either.

        The helper at least is there.
        """
        probe = self._probe
        if probe is None or nack.sequence_number != probe.sequence_number:
            return
        # Sources are counted once, and no more than were asked: a nack is easily sent twice.
        if len(probe.nacks) < probe.nacks_expected:
            probe.nacks.add(source)

    def _relay_timed_out(self, sequence_number: int) -> None:
        relayed = self._relayed.pop(sequence_number, None)
        if relayed is not None and relayed.wants_nack:
            self._dissemination.send(
                relayed.requester, encode_message(Nack(relayed.sequence_number))
            )

    # --- manual pings -----------------------------------------------------

    def ping(self, operation: int, node: str, destination: Address, *, now: float) -> None:
        """Ping once, without consequences.

        A notice tells the round trip, or None after `probe_timeout`.
        """
        sequence_number = self._next_sequence_number()
        timer = self._timers.schedule(
            now + self._settings.probe_timeout,
            lambda _fired: self._manual_timed_out(sequence_number),
        )
        self._manual[sequence_number] = ManualPing(operation, now, timer)
        self._outbox.send(destination, [encode_message(self._ping(sequence_number, node))])

    def _manual_timed_out(self, sequence_number: int) -> None:
        manual = self._manual.pop(sequence_number, None)
        if manual is not None:
            self._outbox.notices.append(PingFinished(manual.operation, None))

    def _ping(self, sequence_number: int, node: str) -> Ping:
        settings = self._settings
        return Ping(sequence_number, node, settings.address, settings.port, settings.node_name)

    def _next_sequence_number(self) -> int:
        self._sequence_number = self._sequence_number % SEQUENCE_NUMBER_MAX + 1
        return self._sequence_number


def _reply_address(raw: bytes, port: int, source: Address) -> Address:
    """Return where an answer goes: the address the message names, or the one it came from."""
    if port and len(raw) in ADDRESS_SIZES:
        return address_of(raw, port)
    return source
