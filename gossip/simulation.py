"""A network in memory that runs real engines under virtual time, the same way for the same seed.

How it works: one heap holds everything that will happen: packets on their way, bytes of streams,
timers of engines, and the steps of the experiment. Virtual time jumps from one to the next, so
that an hour of a quiet pool takes seconds. The network decides for each packet, by one random
source, whether and when it arrives; streams are like TCP: ordered, and loss only delays them.
Nodes can be partitioned, crashed and restarted.

What engines tell is the trace: each notice with its time and node goes into a running digest, so
two runs are compared by one string.

    simulation = Simulation(seed=1, network=Network(loss=0.1))
    for number in range(100):
        simulation.add(f"node-{number:03}")
    simulation.join_all(through="node-000")
    simulation.run_until(lambda: simulation.is_converged(), limit=60.0)

No engine knows that it is simulated. Real sockets and clocks are in transport and pool instead.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .addresses import Address, address_of
from .effects import CloseStream, OpenStream, Packet, SendStream
from .notices import (
    InputRejected,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    Notice,
    PushPullFinished,
    Remark,
)
from .serf.engine import SerfEngine
from .serf.members import MemberStatus
from .serf.settings import SerfSettings
from .serf.snapshot import Remembered
from .swim.settings import SwimSettings

DEFAULT_PORT = 7946
RETRANSMISSION_DELAY = 0.2
"""Seconds that the first loss of a segment costs a stream; each further one twice as much, as TCP
backs off."""
RETRANSMISSIONS_MAX = 8
"""Losses in a row after which a stream's bytes do not arrive any more."""


@dataclass(slots=True, kw_only=True)
class Network:
    """Rules of the simulated network; they may be changed while a simulation runs.

    Attributes:
        delay_min: Seconds a packet takes at least, one way.
        delay_max: Seconds it takes at most; the spread is what reorders packets.
        loss: Probability that a packet is lost.
        duplication: Probability that a packet arrives twice.
        reordering: Probability that a packet is held back by another `delay_max`.
    """

    delay_min: float = 0.0002
    delay_max: float = 0.002
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0


@dataclass(slots=True, eq=False)
class SimulatedNode:
    """One node: its settings, and its engine while it runs."""

    name: str
    settings: SerfSettings
    address: Address
    engine: SerfEngine | None = None
    wake_at: float | None = None
    life: int = 0
    """Counts starts, so that what was on its way to an earlier life is not delivered to a later
    one."""
    links: dict[int, StreamEnd] = field(default_factory=dict)
    joining: set[int] = field(default_factory=set)
    """Operations of joins that are announced when they have worked."""
    remembered: Remembered | None = None
    """What its snapshot file said when it went down."""

    @property
    def running(self) -> SerfEngine:
        """The engine.

        Raises:
            RuntimeError: The node is down.
        """
        if self.engine is None:
            raise RuntimeError(f"{self.name} is down")
        return self.engine


@dataclass(slots=True, eq=False)
class StreamEnd:
    """One end of a stream: where the other end is.

    `last_arrival` is when the last bytes sent from here arrive: later ones do not overtake them.
    """

    peer: SimulatedNode
    peer_life: int
    peer_stream: int | None
    last_arrival: float = 0.0
    unsent: list[bytes | None] = field(default_factory=list)
    """What was sent before the peer's end was known; None is the end of the stream."""


class Simulation:
    """Engines and a network on one heap."""

    def __init__(
        self,
        *,
        seed: int,
        network: Network | None = None,
        profile: str = "lan",
        swim: Mapping[str, Any] | None = None,
        serf: Mapping[str, Any] | None = None,
    ) -> None:
        """Build an empty network.

        Args:
            seed: Decides everything that is random, engines included.
            network: Its rules; the default is a quiet LAN.
            profile: Timing of the nodes that `add` makes.
            swim: Settings of SWIM over the profile, for all nodes.
            serf: Settings of Serf over the defaults, for all nodes.
        """
        self.seed = seed
        self.network = network if network is not None else Network()
        self.now = 0.0
        self.nodes: dict[str, SimulatedNode] = {}
        self.observers: list[Callable[[float, str, Notice], None]] = []
        """Hear of each notice: time, node, notice."""
        self.packets_sent = 0
        self.packets_lost = 0
        self.bytes_sent = 0
        self.events_run = 0
        self._profile = profile
        self._swim = dict(swim or {})
        self._serf = dict(serf or {})
        self._rng = random.Random(seed)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._by_address: dict[Address, SimulatedNode] = {}
        self._groups: dict[str, int] | None = None
        self._digest = hashlib.blake2b(digest_size=16)

    # --- nodes ------------------------------------------------------------------------

    def add(
        self,
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        address: bytes | None = None,
        port: int = DEFAULT_PORT,
        is_started: bool = True,
        **swim: Any,
    ) -> SimulatedNode:
        """Add a node at an address of its own and start it.

        Args:
            name: Its node name.
            tags: Its tags.
            address: Four or sixteen raw bytes; the default is the next one of 10.0.0.0/8.
            port: Its port.
            is_started: False adds it without starting it.
            swim: Settings of SWIM, over the profile and those of the simulation.

        Raises:
            ValueError: The name is taken by a node of this simulation, or settings are wrong.
        """
        if name in self.nodes:
            raise ValueError(
                f"{name} exists already; a second node of one name is added by add_as()"
            )
        return self.add_as(
            name, name, tags=tags, address=address, port=port, is_started=is_started, **swim
        )

    def add_as(
        self,
        key: str,
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        address: bytes | None = None,
        port: int = DEFAULT_PORT,
        is_started: bool = True,
        **swim: Any,
    ) -> SimulatedNode:
        """Add a node known here as `key` whose node name is `name`, for conflicts of names."""
        raw = (
            address
            if address is not None
            else bytes((10, *(len(self.nodes) + 1).to_bytes(3, "big")))
        )
        settings = SerfSettings(
            swim=SwimSettings.profile(
                self._profile,
                **{"node_name": name, "address": raw, "port": port, **self._swim, **swim},
            ),
            tags=tags or {},
            **self._serf,
        )
        node = SimulatedNode(key, settings, address_of(raw, port))
        self.nodes[key] = node
        if is_started:
            self.start(key)
        return node

    def start(self, key: str, *, is_remembering: bool = False) -> SerfEngine:
        """Start a node, or start it again, with what its snapshot says or with nothing."""
        node = self.nodes[key]
        if node.engine is not None:
            raise RuntimeError(f"{key} is running")
        if (other := self._by_address.get(node.address)) is not None:
            raise RuntimeError(f"{other.name} is running at {node.address}")
        node.life += 1
        node.joining.clear()
        # Each life of each node has its own random source: adding a node does not change the
        # choices of others.
        rng = random.Random(f"{self.seed}/{key}/{node.life}")
        settings = node.settings
        if is_remembering:
            settings = replace(settings, remembered=node.remembered)
        node.engine = SerfEngine(settings, rng=rng, nonce=rng.randbytes)
        self._by_address[node.address] = node
        node.engine.start(now=self.now)
        self._flush(node)
        return node.engine

    def crash(self, key: str) -> None:
        """Stop a node at once: nothing it has not sent yet is sent, its streams are reset."""
        node = self.nodes[key]
        node.remembered = remembered_by(node.running)
        node.engine = None
        node.wake_at = None
        del self._by_address[node.address]
        ends, node.links = node.links, {}
        for end in ends.values():
            if end.peer_stream is not None:
                self._deliver_failure(
                    end.peer, end.peer_life, end.peer_stream, "connection reset by peer"
                )

    def join(self, key: str, through: str) -> None:
        """Let a node join through another, and announce itself when that worked."""
        node = self.nodes[key]
        node.joining.add(node.running.join(self.nodes[through].address, now=self.now))
        self._flush(node)

    def join_all(self, *, through: str, interval: float = 0.01) -> None:
        """Let everybody join through one node, one after the other in `interval` seconds."""
        for number, key in enumerate(key for key in self.nodes if key != through):
            self.at(self.now + number * interval, lambda key=key: self.join(key, through))  # type: ignore[misc]

    def leave(self, key: str) -> None:
        """Let a node leave gracefully."""
        node = self.nodes[key]
        node.running.leave(now=self.now)
        self._flush(node)

    def call(self, key: str, action: Callable[[SerfEngine, float], None]) -> None:
        """Do something with a node's engine now, and take what comes of it."""
        node = self.nodes[key]
        action(node.running, self.now)
        self._flush(node)

    # --- network ----------------------------------------------------------------------

    def partition(self, *groups: Iterable[str]) -> None:
        """Let nodes reach only those of their own group.

        Who is in none is alone with the others in none.
        """
        self._groups = {key: number for number, group in enumerate(groups) for key in group}

    def heal(self) -> None:
        """End the partition."""
        self._groups = None

    def can_reach(self, source: SimulatedNode, destination: SimulatedNode) -> bool:
        """Return whether the partition lets packets through."""
        if self._groups is None:
            return True
        return self._groups.get(source.name, -1) == self._groups.get(destination.name, -1)

    # --- time -------------------------------------------------------------------------

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(time, self.now), self._sequence, action))

    def run_for(self, seconds: float) -> None:
        """Run until that much virtual time has passed."""
        self.run_until(lambda: False, limit=seconds, check_interval=seconds or 1.0)

    def run_until(
        self, is_reached: Callable[[], bool], *, limit: float, check_interval: float = 0.1
    ) -> bool:
        """Run until a condition holds.

        Args:
            is_reached: Looked at every `check_interval` seconds of virtual time.
            limit: Seconds of virtual time after which to give up.
            check_interval: See above.

        Returns:
            Whether it was reached.
        """
        end = self.now + limit
        next_check = self.now
        heap = self._heap
        while True:
            if self.now >= next_check:
                if is_reached():
                    return True
                next_check = self.now + check_interval
            horizon = min(next_check, end)
            while heap and heap[0][0] <= horizon:
                self.now, _, action = heapq.heappop(heap)
                self.events_run += 1
                action()
            self.now = horizon
            if horizon >= end:
                return is_reached()

    # --- looking in -------------------------------------------------------------------

    def statuses(self, key: str) -> dict[str, MemberStatus]:
        """Return what a node believes of every member."""
        return {member.name: member.status for member in self.nodes[key].running.members()}

    def running(self) -> list[SimulatedNode]:
        """Return the nodes that are up."""
        return [node for node in self.nodes.values() if node.engine is not None]

    def is_converged(
        self, expected: Mapping[str, MemberStatus] | None = None, among: Sequence[str] | None = None
    ) -> bool:
        """Return whether all nodes that are up (or those of `among`) list exactly `expected`.

        Args:
            expected: Node names and statuses; the default is everybody that is up, alive.
            among: Whose lists are looked at.
        """
        if expected is None:
            expected = {node.settings.swim.node_name: MemberStatus.ALIVE for node in self.running()}
        nodes = self.running() if among is None else [self.nodes[key] for key in among]
        for node in nodes:
            members = node.running.members()
            if len(members) != len(expected):
                return False
            if any(expected.get(member.name) is not member.status for member in members):
                return False
        return True

    def trace_digest(self) -> str:
        """Return a digest of everything that was told so far: equal for equal runs."""
        return self._digest.copy().hexdigest()

    # --- inside -----------------------------------------------------------------------

    def _flush(self, node: SimulatedNode) -> None:
        """Take what an engine wants out, and see to its next deadline."""
        engine = node.engine
        if engine is None:
            return
        for packet in engine.packets_to_send():
            self._send(node, packet)
        for action in engine.stream_actions():
            if isinstance(action, OpenStream):
                self._open(node, action)
            elif isinstance(action, SendStream):
                self._write(node, action.stream, action.data)
            elif isinstance(action, CloseStream):
                self._write(node, action.stream, None)
        while (notice := engine.next_event()) is not None:
            if isinstance(notice, PushPullFinished) and notice.operation in node.joining:
                node.joining.discard(notice.operation)
                if notice.error is None:
                    engine.announce_join(now=self.now)
            self._digest.update(
                f"{self.now!r} {node.name} {describe(notice)}\n".encode("utf-8", "replace")
            )
            for observer in self.observers:
                observer(self.now, node.name, notice)
        deadline = engine.next_deadline()
        if deadline is not None and (node.wake_at is None or deadline < node.wake_at):
            node.wake_at = deadline
            self.at(deadline, lambda: self._wake(node, deadline))

    def _wake(self, node: SimulatedNode, deadline: float) -> None:
        if node.engine is None or node.wake_at != deadline:
            return  # a newer wake-up has taken its place
        node.wake_at = None
        node.engine.handle_timers(now=self.now)
        self._flush(node)

    def _delay(self) -> float:
        network = self.network
        delay = network.delay_min + self._rng.random() * (network.delay_max - network.delay_min)
        if network.reordering and self._rng.random() < network.reordering:
            delay += network.delay_max
        return delay

    def _send(self, source: SimulatedNode, packet: Packet) -> None:
        self.packets_sent += 1
        self.bytes_sent += len(packet.data)
        network = self.network
        destination = self._by_address.get(packet.destination)
        if destination is None or not self.can_reach(source, destination):
            self.packets_lost += 1
            return
        copies = 2 if network.duplication and self._rng.random() < network.duplication else 1
        for _ in range(copies):
            if network.loss and self._rng.random() < network.loss:
                self.packets_lost += 1
                continue
            self.at(
                self.now + self._delay(),
                functools.partial(
                    self._arrive, destination, destination.life, packet.data, source.address
                ),
            )

    def _arrive(self, node: SimulatedNode, life: int, data: bytes, source: Address) -> None:
        if node.engine is None or node.life != life:
            return
        node.engine.receive_packet(data, source, now=self.now)
        self._flush(node)

    # --- streams ----------------------------------------------------------------------

    def _open(self, source: SimulatedNode, action: OpenStream) -> None:
        destination = self._by_address.get(action.destination)
        if destination is None:
            refused = f"dial tcp {action.destination}: connect: connection refused"
            self._deliver_failure(source, source.life, action.stream, refused)
            return
        end = StreamEnd(destination, destination.life, None)
        source.links[action.stream] = end
        if not self.can_reach(source, destination):
            return  # no answer at all: the engine's own time limit ends it
        life = source.life
        self.at(
            self.now + self._stream_delay(),
            lambda: self._accept(source, life, action, destination, end),
        )

    def _accept(
        self,
        source: SimulatedNode,
        life: int,
        action: OpenStream,
        destination: SimulatedNode,
        end: StreamEnd,
    ) -> None:
        if source.life != life or source.engine is None:
            return
        if destination.engine is None or destination.life != end.peer_life:
            refused = f"dial tcp {action.destination}: connect: connection refused"
            self._deliver_failure(source, life, action.stream, refused)
            return
        accepted = destination.engine.accept_stream(source.address, now=self.now)
        if accepted is None:
            self._deliver_eof(source, life, action.stream, self.now + self._stream_delay())
            return
        end.peer_stream = accepted
        destination.links[accepted] = StreamEnd(source, life, action.stream)
        self._write(source, action.stream, action.data)
        for data in end.unsent:
            self._write(source, action.stream, data)
        self._flush(destination)

    def _write(self, node: SimulatedNode, stream: int, data: bytes | None) -> None:
        """Send bytes, or the end of the stream for None, to the other end, in order."""
        end = node.links.get(stream)
        if end is None:
            return
        if end.peer_stream is None:
            end.unsent.append(data)
            return
        arrival = max(self.now + self._stream_delay(), end.last_arrival)
        end.last_arrival = arrival
        if data is None:
            del node.links[stream]
            self._deliver_eof(end.peer, end.peer_life, end.peer_stream, arrival)
        elif self.can_reach(node, end.peer):
            peer, life, peer_stream = end.peer, end.peer_life, end.peer_stream
            self.at(arrival, lambda: self._deliver(peer, life, peer_stream, data))

    def _deliver(self, node: SimulatedNode, life: int, stream: int, data: bytes) -> None:
        if node.engine is not None and node.life == life:
            node.engine.receive_stream_data(stream, data, now=self.now)
            self._flush(node)

    def _deliver_eof(self, node: SimulatedNode, life: int, stream: int, arrival: float) -> None:
        def deliver() -> None:
            if node.engine is not None and node.life == life:
                node.engine.receive_stream_eof(stream, now=self.now)
                self._flush(node)

        self.at(arrival, deliver)

    def _deliver_failure(self, node: SimulatedNode, life: int, stream: int, error: str) -> None:
        def deliver() -> None:
            if node.engine is not None and node.life == life:
                node.links.pop(stream, None)
                node.engine.fail_stream(stream, error, now=self.now)
                self._flush(node)

        self.at(self.now + self._delay(), deliver)

    def _stream_delay(self) -> float:
        """One way of a stream: loss delays it, as TCP's retransmissions do."""
        delay = self._delay()
        if self.network.loss:
            for attempt in range(RETRANSMISSIONS_MAX):
                if self._rng.random() >= self.network.loss:
                    break
                delay += RETRANSMISSION_DELAY * 2**attempt
        return delay


def remembered_by(engine: SerfEngine) -> Remembered:
    """Return what the snapshot of an engine would say if it went down now."""
    own_name = engine.local_member().name
    return Remembered(
        members={
            member.name: Address(member.host, member.port)
            for member in engine.members()
            if member.name != own_name
            and member.status in (MemberStatus.ALIVE, MemberStatus.LEAVING)
        },
        clock=engine.member_clock.time - 1,
        event_clock=engine.event_clock.time - 1,
        query_clock=engine.query_clock.time - 1,
    )


def describe(notice: Notice) -> str:
    """Return a notice as one line, the same for equal notices."""
    if isinstance(notice, MemberJoined | MemberUpdated | MemberLeft | MemberFailed | MemberReaped):
        member = notice.member
        where = f"{member.address.hex()} {member.port}"
        return f"{type(notice).__name__} {member.name} {where} {member.status}"
    if isinstance(notice, PushPullFinished):
        return f"PushPullFinished {notice.operation} {notice.error} {len(notice.nodes)}"
    if isinstance(notice, Remark):
        return f"Remark {notice.name} {sorted(notice.fields.items())}"
    if isinstance(notice, InputRejected):
        return f"InputRejected {notice.reason} {notice.source} {notice.count}"
    return repr(notice)
