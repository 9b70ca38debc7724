"""One engine on a test bench: real bytes go in, what comes out is read and kept with its time.

A bench drives an engine as a shell would: it calls in, drains what the engine wants out, and lets
virtual time jump from one deadline to the next. Nothing here knows the engine's insides except
`news`, which takes what is waiting to be gossiped. What the engine sent is taken apart by a few
lines of our own, so that a mistake in the codec does not hide itself; messages that no codec of
ours would write (poison) are packed by hand with `raw`.

The engine under test is named "own" and is at 10.0.0.1:7946; `at(n)` is the address of peer n.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgpack
from rookery.gossip.addresses import Address
from rookery.gossip.effects import CloseStream, OpenStream, SendStream
from rookery.gossip.notices import InputRejected, Notice, Remark
from rookery.gossip.serf.engine import SerfEngine
from rookery.gossip.serf.members import Member, MemberStatus
from rookery.gossip.serf.messages import (
    SerfMessage,
    decode_serf_message_untrusted,
    encode_serf_message,
)
from rookery.gossip.serf.settings import Admission, SerfSettings
from rookery.gossip.swim.delegate import SwimDelegate
from rookery.gossip.swim.engine import SwimEngine
from rookery.gossip.swim.nodes import Node, NodeState
from rookery.gossip.swim.settings import SwimSettings
from rookery.gossip.swim.versions import OUR_VERSIONS
from rookery.gossip.wire.messages import (
    Ack,
    Alive,
    Ping,
    PushPull,
    User,
    decode_message_untrusted,
    encode_message,
)
from rookery.gossip.wire.messages import NodeState as NodeRecord
from rookery.gossip.wire.streams import StreamCodec

PORT = 7946
OWN = "own"

M = TypeVar("M")
N = TypeVar("N")


def ip(number: int) -> bytes:
    """Return the raw address of peer `number`; 1 is the engine's own."""
    return bytes((10, 0, number >> 8, number & 255))


def at(number: int, port: int = PORT) -> Address:
    """Return the socket address of peer `number`."""
    return Address(".".join(map(str, ip(number))), port)


STRANGER = at(99)
DIALLER = at(99, 40000)


def raw(type_number: int, **fields: Any) -> bytes:
    """Pack a message by hand, in the old msgpack spec, whatever nonsense it is."""
    return bytes((type_number,)) + bytes(msgpack.packb(fields, use_bin_type=False))


def alive(
    name: str,
    number: int,
    incarnation: int = 1,
    *,
    meta: bytes = b"",
    port: int = PORT,
    versions: bytes = OUR_VERSIONS,
) -> Alive:
    """Return an alive message about a peer at its usual address."""
    return Alive(incarnation, name, ip(number), port, meta, versions)


def raw_alive(name: str, number: int, incarnation: int = 1, **fields: Any) -> bytes:
    """Pack an alive message by hand; `fields` replace its own, None leaves one out."""
    every: dict[str, Any] = {
        "Addr": ip(number),
        "Incarnation": incarnation,
        "Meta": b"",
        "Node": name,
        "Port": PORT,
        "Vsn": OUR_VERSIONS,
        **fields,
    }
    return raw(4, **{key: value for key, value in every.items() if value is not None})


def record(
    name: str,
    number: int,
    incarnation: int = 1,
    state: int = NodeState.ALIVE,
    *,
    meta: bytes = b"",
    port: int = PORT,
    versions: bytes = OUR_VERSIONS,
) -> NodeRecord:
    """Return a peer as a push-pull shows it."""
    return NodeRecord(name, ip(number), port, meta, incarnation, int(state), versions)


def raw_push_pull(*nodes: dict[str, Any], state: bytes = b"", **header: Any) -> bytes:
    """Pack a push-pull by hand; `header` replaces fields of the header."""
    fields = {"Nodes": len(nodes), "UserStateLen": len(state), "Join": False, **header}
    packed = [bytes(msgpack.packb(node, use_bin_type=False)) for node in nodes]
    return raw(6, **fields) + b"".join(packed) + state


def raw_record(name: str, number: int, incarnation: int = 1, **fields: Any) -> dict[str, Any]:
    """Return a node state of a push-pull as a dict to pack; `fields` replace its own."""
    every = {
        "Name": name,
        "Addr": ip(number),
        "Port": PORT,
        "Meta": b"",
        "Incarnation": incarnation,
        "State": 0,
        "Vsn": OUR_VERSIONS,
        **fields,
    }
    return {key: value for key, value in every.items() if value is not None}


def split_packet(data: bytes) -> list[bytes]:
    """Take a plain, uncompressed packet apart: a CRC header, and a compound or one message."""
    if data[0] == 12:
        assert zlib.crc32(data[5:]) == int.from_bytes(data[1:5], "big")
        data = data[5:]
    if data[0] != 7:
        return [data]
    count = data[1]
    sizes = [
        int.from_bytes(data[2 + 2 * number : 4 + 2 * number], "big") for number in range(count)
    ]
    parts, position = [], 2 + 2 * count
    for size in sizes:
        assert size > 0, "an empty part kills Go agents"
        parts.append(data[position : position + size])
        position += size
    assert position == len(data)
    return parts


@dataclass(frozen=True)
class Sent:
    """One packet that the engine sent."""

    at: float
    destination: Address
    data: bytes
    parts: list[bytes]
    messages: list[Any]

    @property
    def first(self) -> Any:
        """The message that the packet was sent for; the others ride with it."""
        return self.messages[0]


@dataclass
class Reply:
    """What a peer that dialled us got back."""

    data: bytes = b""
    is_closed: bool = False

    @property
    def message(self) -> Any:
        """The answer, decoded; None when there was none."""
        if not self.data:
            return None
        return StreamCodec(nonce=bytes).reply_reader().feed(self.data)


class RecordingDelegate(SwimDelegate):
    """A layer above that keeps what it hears, and refuses what it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.state = b""
        self.payload: bytes | None = None
        self.refused_node: str | None = None
        self.refused_pool: str | None = None
        self.gossip: list[bytes] = []
        """User messages to hand out, each once."""
        self.budgets: list[tuple[int, int]] = []
        """Overhead and budget of each time we were asked for some."""

    def heard(self) -> list[tuple[Any, ...]]:
        """Return what was heard since the last call."""
        calls, self.calls = self.calls, []
        return calls

    def broadcasts(self, overhead: int, budget: int, *, is_counted: bool) -> list[bytes]:
        self.budgets.append((overhead, budget))
        chosen = []
        while self.gossip and len(self.gossip[0]) + overhead <= budget:
            budget -= len(self.gossip[0]) + overhead
            chosen.append(self.gossip.pop(0))
        return chosen

    def has_broadcasts(self) -> bool:
        return bool(self.gossip)

    def user_state(self, *, join: bool) -> bytes:
        return self.state

    def merge_user_state(self, state: bytes, *, operation: int | None, now: float) -> None:
        self.calls.append(("state", state, operation))

    def receive_user_message(self, payload: bytes, source: Address | None, *, now: float) -> None:
        self.calls.append(("user", payload, source))

    def ack_payload(self) -> bytes | None:
        return self.payload

    def ping_completed(self, node: Node, rtt: float, payload: bytes | None, *, now: float) -> None:
        self.calls.append(("ping", node.name, round(rtt, 6), payload))

    def refuses_node(self, record: NodeRecord) -> str | None:
        return self.refused_node

    def refuses_pool(self, records: Any, *, join: bool) -> str | None:
        return self.refused_pool

    def node_joined(self, node: Node, *, now: float) -> None:
        self.calls.append(("joined", node.name))

    def node_updated(self, node: Node, *, now: float) -> None:
        self.calls.append(("updated", node.name, node.meta))

    def node_gone(self, node: Node, *, now: float) -> None:
        self.calls.append(("gone", node.name, node.state.name.lower()))

    def node_forgotten(self, node: Node) -> None:
        self.calls.append(("forgotten", node.name))

    def name_conflict(self, node: Node, claim: NodeRecord, *, now: float) -> None:
        self.calls.append(("conflict", node.name, claim.address, claim.port))


class Bench:
    """What the benches of both engines have in common."""

    engine: SwimEngine | SerfEngine

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[Sent] = []
        self.actions: list[OpenStream | SendStream | CloseStream] = []
        self.notices: list[Notice] = []
        self.answering: set[str] = set()
        """Names of peers that ack the engine's pings at once."""

    @property
    def swim(self) -> SwimEngine:
        """The SWIM engine, which may be the whole engine."""
        engine = self.engine
        return engine if isinstance(engine, SwimEngine) else engine._swim

    # --- time -------------------------------------------------------------------------

    def run_until(self, time: float) -> None:
        """Let time pass, from deadline to deadline."""
        while (deadline := self.engine.next_deadline()) is not None and deadline <= time:
            self.now = max(self.now, deadline)
            self.engine.handle_timers(now=self.now)
            self.drain()
        self.now = max(self.now, time)

    def run_for(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.run_until(self.now + seconds)

    def drain(self) -> None:
        """Take what the engine wants out."""
        for packet in self.engine.packets_to_send():
            parts = self._open(packet.data)
            messages = [self._read(part) for part in parts]
            self.sent.append(Sent(self.now, packet.destination, packet.data, parts, messages))
            for message in messages:
                if isinstance(message, Ping) and message.node in self.answering:
                    self.receive(Ack(message.sequence_number, None), packet.destination)
        self.actions += self.engine.stream_actions()
        while (notice := self.engine.next_event()) is not None:
            self.notices.append(notice)

    @property
    def is_plain(self) -> bool:
        """Whether packets have no layers that only the engine's own codec can put on."""
        settings = self.swim.settings
        return not (settings.keyring or settings.label or settings.compression)

    def _open(self, data: bytes) -> list[bytes]:
        if self.is_plain:
            return split_packet(data)
        opened = self.swim.outbox.codec.open_untrusted(data)
        assert opened.rejections == []
        return opened.parts

    @staticmethod
    def _read(part: bytes) -> Any:
        return decode_message_untrusted(part)

    # --- in ---------------------------------------------------------------------------

    def receive(self, message: Any, source: Address = STRANGER) -> None:
        """Hand the engine one packet: of bytes as they are, or of one message."""
        data = message if isinstance(message, bytes) else encode_message(message)
        if not self.is_plain and not isinstance(message, bytes):
            data = self.swim.outbox.codec.seal([data], crc=False)
        self.engine.receive_packet(data, source, now=self.now)
        self.drain()

    def know(self, *names: str, incarnation: int = 1, meta: bytes = b"") -> None:
        """Let the engine meet peers: "b" is at 10.0.0.2, "c" at 10.0.0.3, and so on."""
        for name in names:
            number = ord(name[0]) - ord("a") + 1
            self.receive(alive(name, number, incarnation, meta=meta))

    def dial(self, message: Any, source: Address = DIALLER, *, pieces: int | None = None) -> Reply:
        """Open a stream to the engine, send a message, and read the answer."""
        data = message if isinstance(message, bytes) else encode_message(message)
        stream = self.engine.accept_stream(source, now=self.now)
        assert stream is not None
        step = pieces or len(data)
        for position in range(0, len(data), step):
            self.engine.receive_stream_data(stream, data[position : position + step], now=self.now)
        return self.reply(stream)

    def reply(self, stream: int) -> Reply:
        """Read what the engine did with a stream so far."""
        self.drain()
        reply = Reply()
        for action in self.actions:
            if isinstance(action, SendStream) and action.stream == stream:
                reply.data += action.data
            elif isinstance(action, CloseStream) and action.stream == stream:
                reply.is_closed = True
        return reply

    def answer(self, stream: int, message: Any) -> None:
        """Answer a stream that the engine opened."""
        data = message if isinstance(message, bytes) else encode_message(message)
        self.engine.receive_stream_data(stream, data, now=self.now)
        self.drain()

    # --- out --------------------------------------------------------------------------

    def take_sent(self) -> list[Sent]:
        """Return the packets since the last call."""
        self.drain()
        sent, self.sent = self.sent, []
        return sent

    def take_first(self, kind: type[M]) -> list[tuple[float, Address, M]]:
        """Return when, where and what: packets since the last call that were sent for a `kind`."""
        return [
            (round(sent.at, 6), sent.destination, sent.first)
            for sent in self.take_sent()
            if isinstance(sent.first, kind)
        ]

    def take_messages(self, kind: type[M]) -> list[M]:
        """Return the messages of a kind in all packets since the last call."""
        return [
            message
            for sent in self.take_sent()
            for message in sent.messages
            if isinstance(message, kind)
        ]

    def take_actions(self) -> list[OpenStream | SendStream | CloseStream]:
        """Return the stream actions since the last call."""
        self.drain()
        actions, self.actions = self.actions, []
        return actions

    def take_opened(self) -> list[OpenStream]:
        """Return the dials since the last call; other stream actions are dropped."""
        return [action for action in self.take_actions() if isinstance(action, OpenStream)]

    def take_notices(self) -> list[Notice]:
        """Return the notices since the last call."""
        self.drain()
        notices, self.notices = self.notices, []
        return notices

    def take_notice(self, kind: type[N]) -> list[N]:
        """Return the notices of a kind since the last call; others are dropped."""
        return [notice for notice in self.take_notices() if isinstance(notice, kind)]

    def remarks(self) -> list[str]:
        """Return the names of the remarks since the last call; other notices are dropped."""
        return [notice.name for notice in self.take_notice(Remark)]

    @property
    def rejected(self) -> dict[str, int]:
        """Refusals so far, by reason."""
        return dict(self.swim.outbox.rejections.counts)

    def rejections(self) -> list[str]:
        """Return the reasons of the rejection notices since the last call."""
        return [notice.reason for notice in self.take_notice(InputRejected)]

    def news(self) -> list[Any]:
        """Return what waits to be gossiped, once each, and empty the queues."""
        self.drain()
        taken = self.swim.dissemination.take(10**7)
        while self.swim.dissemination.take(10**7):
            continue  # until each has been sent its number of times
        self.drain()
        return [self._read(part) for part in taken]

    def forget_output(self) -> None:
        """Drop everything that came out so far, the queued news included."""
        self.news()
        self.take_sent()
        self.take_actions()
        self.take_notices()

    def state_of(self, name: str) -> tuple[str, int] | None:
        """Return state and incarnation of a node, None when it is unknown."""
        node = self.swim.table.get(name)
        return None if node is None else (node.state.name.lower(), node.incarnation)

    def node(self, name: str) -> Node:
        """Return a node's entry."""
        node = self.swim.table.get(name)
        assert node is not None
        return node


def swim_settings(**values: Any) -> SwimSettings:
    """Return LAN settings of the engine on the bench: no compression and no settling by default."""
    return SwimSettings.profile(
        values.pop("profile", "lan"),
        **{
            "node_name": OWN,
            "address": ip(1),
            "port": PORT,
            "compression": False,
            "settling_delay": 0.0,
            **values,
        },
    )


class SwimBench(Bench):
    """A bare SWIM engine with a delegate that records."""

    engine: SwimEngine

    def __init__(
        self, *names: str, seed: int = 1, meta: bytes = b"own meta", **values: Any
    ) -> None:
        """Start an engine that knows the peers of these names, with nothing left to gossip."""
        super().__init__()
        self.delegate = RecordingDelegate()
        rng = random.Random(seed)
        self.engine = SwimEngine(
            swim_settings(**values), rng=rng, nonce=rng.randbytes, delegate=self.delegate
        )
        self.finished: list[tuple[int, str | None, tuple[NodeRecord, ...]]] = []
        self.engine.push_pull_finished = lambda operation, error, records, _now: (
            self.finished.append((operation, error, records))
        )
        self.engine.start(meta, now=self.now)
        self.know(*names)
        self.forget_output()
        self.delegate.heard()


class SerfBench(Bench):
    """A whole Serf engine."""

    engine: SerfEngine

    def __init__(
        self,
        *names: str,
        seed: int = 1,
        tags: Mapping[str, str] | None = None,
        admit: Admission | None = None,
        **values: Any,
    ) -> None:
        """Start an engine that knows the peers of these names, with nothing left to gossip."""
        super().__init__()
        rng = random.Random(seed)
        settings = SerfSettings(swim=swim_settings(**values), tags=tags or {}, admit=admit)
        self.engine = SerfEngine(settings, rng=rng, nonce=rng.randbytes)
        self.engine.start(now=self.now)
        self.know(*names)
        self.forget_output()

    @staticmethod
    def _read(part: bytes) -> Any:
        message = decode_message_untrusted(part)
        return (
            decode_serf_message_untrusted(message.payload) if isinstance(message, User) else message
        )

    def hear(self, message: SerfMessage | bytes, source: Address = STRANGER) -> None:
        """Hand the engine a Serf message, in a packet."""
        data = message if isinstance(message, bytes) else encode_serf_message(message)
        self.receive(User(data), source)

    @property
    def statuses(self) -> dict[str, str]:
        """What the engine believes of every member."""
        return {member.name: str(member.status) for member in self.engine.members()}

    def status(self, name: str) -> MemberStatus | None:
        """Return a member's status, None when there is no such member."""
        return next((m.status for m in self.engine.members() if m.name == name), None)

    def member(self, name: str) -> Member:
        """Return a member."""
        return next(member for member in self.engine.members() if member.name == name)

    def status_ltime(self, name: str) -> int:
        """Return the Lamport time of the last intent that touched a member, as a push-pull says."""
        state = self.user_state()
        return int(state.status_ltimes[name])

    def user_state(self) -> Any:
        """Return Serf's part of what a push-pull with the engine answers."""
        message = self.dial(PushPull((), b"", False)).message
        assert isinstance(message, PushPull)
        return decode_serf_message_untrusted(message.user_state)


@dataclass
class Exchange:
    """Two benches joined by hand: packets and streams move only when told to."""

    benches: dict[Address, Bench]
    dialled: dict[tuple[Address, int], tuple[Address, int]] = field(default_factory=dict)

    def move_packets(
        self, wanted: Callable[[Sent, Address], bool] = lambda _sent, _source: True
    ) -> int:
        """Deliver every packet that is wanted; the others are lost. Return how many arrived."""
        arrived = 0
        for source, bench in self.benches.items():
            for sent in bench.take_sent():
                if not wanted(sent, source):
                    continue
                target = self.benches.get(sent.destination)
                if target is not None:
                    target.engine.receive_packet(sent.data, source, now=target.now)
                    target.drain()
                    arrived += 1
        return arrived

    def move_streams(self) -> None:
        """Carry streams until nothing moves any more: dials, answers and ends."""
        is_moving = True
        while is_moving:
            is_moving = False
            for source, bench in self.benches.items():
                for action in bench.take_actions():
                    is_moving = True
                    self._carry(source, bench, action)

    def _carry(
        self, source: Address, bench: Bench, action: OpenStream | SendStream | CloseStream
    ) -> None:
        if isinstance(action, OpenStream):
            target = self.benches.get(action.destination)
            if target is None:
                error = f"dial tcp {action.destination}: connect: connection refused"
                bench.engine.fail_stream(action.stream, error, now=bench.now)
                return
            stream = target.engine.accept_stream(source, now=target.now)
            assert stream is not None
            self.dialled[source, action.stream] = (action.destination, stream)
            self.dialled[action.destination, stream] = (source, action.stream)
            target.engine.receive_stream_data(stream, action.data, now=target.now)
            return
        other = self.dialled.get((source, action.stream))
        if other is None:
            return
        peer = self.benches[other[0]]
        if isinstance(action, SendStream):
            peer.engine.receive_stream_data(other[1], action.data, now=peer.now)
        else:
            del self.dialled[source, action.stream]
            peer.engine.receive_stream_eof(other[1], now=peer.now)

    def run_until(
        self,
        time: float,
        is_moved: Callable[[Sent, Address], bool] = lambda _sent, _source: True,
        *,
        streams: bool = True,
        step: float = 0.01,
    ) -> list[tuple[float, Address, Sent]]:
        """Let time pass for all in small steps, moving packets and streams after each.

        Packets that `is_moved` does not want are lost; without `streams` these stay where they are.

        Returns:
            When, by whom and what was sent, moved or not.
        """
        log: list[tuple[float, Address, Sent]] = []

        def note(sent: Sent, source: Address) -> bool:
            log.append((sent.at, source, sent))
            return is_moved(sent, source)

        now = min(bench.now for bench in self.benches.values())
        while now < time:
            now = min(now + step, time)
            for bench in self.benches.values():
                bench.run_until(now)
            if streams:
                self.move_streams()
            while self.move_packets(note):
                continue  # answers to what has just arrived
        return log
