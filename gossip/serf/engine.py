"""The Serf engine: what a pool and a simulation drive.

A facade over the SWIM engine and Serf's parts, with the same verbs (see `swim.engine` for how to
drive it). It is the SWIM engine's delegate: tags ride in the node meta, Serf messages in user
messages, Serf's state in push-pulls. What the parts decide is in their files: intents (member
states), events, queries, internal_queries, exchange (push-pull), leaving.

Source: serf serf.go (Create, Join, Leave), delegate.go (NotifyMsg), merge_delegate.go.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ..addresses import Address, address_of
from ..effects import Packet, StreamAction
from ..evidence import Evidence, EvidenceKind, EvidenceLog
from ..notices import (
    KeyOperationFinished,
    LeaveFinished,
    Notice,
    PushPullFinished,
    QueryAcked,
    QueryAnswered,
    QueryFinished,
)
from ..swim.conversations import Purpose
from ..swim.delegate import SwimDelegate
from ..swim.engine import SwimEngine, SwimStatistics
from ..swim.nodes import Node, NodeState
from ..wire.errors import MalformedInput
from ..wire.messages import NodeState as NodeRecord
from .asking import Asking, Question
from .broadcasts import SerfBroadcasts
from .conflict import ConflictVote
from .coordinates import (
    Coordinate,
    CoordinateClient,
    decode_coordinate_untrusted,
    distance,
    encode_coordinate,
)
from .events import USER_EVENT_SIZE_MAX, UserEvents
from .exchange import StateExchange
from .force_leave import ForceLeave
from .healing import Healing, Target, is_worth_finding
from .intents import Intents
from .internal_queries import InternalQueries
from .key_outcome import KeyOutcome
from .keys import KeyManager
from .lamport import LamportClock
from .leaving import GracefulLeave
from .members import Member, MemberRecord, MemberStatus, MemberTable, make_member
from .messages import (
    JoinIntent,
    LeaveIntent,
    Query,
    QueryResponse,
    Relay,
    UserEvent,
    decode_serf_message_untrusted,
    encode_serf_message,
)
from .queries import Queries
from .reaper import Reaper
from .settings import SerfSettings
from .tags import decode_tags_untrusted, encode_tags

STATUS_OF_NODE: Mapping[int, MemberStatus] = {
    NodeState.ALIVE: MemberStatus.ALIVE,
    NodeState.SUSPECT: MemberStatus.ALIVE,
    NodeState.DEAD: MemberStatus.FAILED,
    NodeState.LEFT: MemberStatus.LEFT,
}
"""How a node that only a push-pull shows reads as a member."""


LEAVE_TOLD_MAX = 64
"""Members that are told of our leave directly, besides the gossip. Who hears of the departure and
not of the intent lists us as failed; in a small pool the few transmissions of the intent may all
ride on acks to one and the same member."""


class EventRefused(ValueError):
    """A user event cannot be sent because of its size. Nothing was sent."""


class EngineState(Enum):
    """Where an engine is in its life."""

    ALIVE = "alive"
    LEAVING = "leaving"
    LEFT = "left"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class SerfStatistics:
    """A snapshot of one engine; times are Lamport times."""

    members: int
    failed: int
    left: int
    member_time: int
    event_time: int
    query_time: int
    intent_queue: int
    event_queue: int
    query_queue: int
    early_intents: int
    open_queries: int
    reconnects_tried: int
    lost_members: int
    coordinate_resets: int
    encrypted: bool
    swim: SwimStatistics


class SerfEngine(SwimDelegate):
    """One member of a Serf pool."""

    def __init__(
        self, settings: SerfSettings, *, rng: random.Random, nonce: Callable[[int], bytes]
    ) -> None:
        """Build the parts; nothing happens before `start`.

        Args:
            settings: Who we are and how we take part.
            rng: The only source of choices.
            nonce: Returns that many unpredictable bytes, never the same twice.

        Raises:
            TagsTooLarge: The tags do not fit a node's meta.
        """
        self.settings = settings
        self.state = EngineState.ALIVE
        self._meta = encode_tags(settings.tags)
        self._name = settings.swim.node_name
        self._joins_without_old_events: set[int] = set()
        self.member_clock = LamportClock()
        self.event_clock = LamportClock()
        self.query_clock = LamportClock()
        self._members = MemberTable()
        self._swim = SwimEngine(settings.swim, rng=rng, nonce=nonce, delegate=self)
        self._swim.push_pull_finished = self._finish_push_pull
        outbox = self._outbox = self._swim.outbox
        self._broadcasts = SerfBroadcasts(
            settings.swim.retransmit_mult,
            settings.swim.gossip_nodes,
            lambda: len(self._members),
            self._swim.dissemination,
            outbox,
        )
        self._evidence = EvidenceLog()
        self._intents = Intents(
            self._name,
            self._members,
            self.member_clock,
            outbox,
            self._refute_leave,
            self._evidence,
            self._member_changed,
        )
        self._events = UserEvents(self.event_clock, outbox)
        internal = InternalQueries(
            self._name,
            self._members,
            settings.swim.keyring,
            outbox,
            lambda address, now: self._swim.membership.note_namesake(address, now=now),
        )
        self._queries = Queries(
            self._name,
            self._members,
            self.query_clock,
            outbox,
            rng,
            internal.answer,
            lambda asker, message, now: self._swim.send_user_message(asker, message, now=now),
        )
        self._exchange = StateExchange(
            self._name,
            self._members,
            self._intents,
            self._events,
            self.member_clock,
            self.event_clock,
            self.query_clock,
            outbox,
            self._broadcast_join_intent,
        )
        self._leave = GracefulLeave(
            self._swim.timers,
            self._broadcast_leave_intent,
            lambda now, finished: self._swim.leave(now=now, finished=finished),
            self._swim.has_alive_peers,
            self._finish_leave,
        )

        self._asking = Asking(
            self._name,
            settings.swim.address,
            settings.swim.port,
            settings.swim.gossip_interval,
            self.query_clock,
            self._swim.timers,
            outbox,
            rng,
            self._swim.live_nodes,
            self._take_own_query,
        )
        self._keys = KeyManager(self._asking, self._swim.live_nodes)
        self._vote = ConflictVote(
            self._name, settings.swim.address, settings.swim.port, self._asking, outbox
        )
        self._force_leave = ForceLeave(
            self._members,
            self.member_clock,
            self._swim.timers,
            outbox,
            self._swim.has_alive_peers,
            lambda intent, now: self._apply_force_leave(intent, now),
            self._broadcast_intent,
        )
        self._reaper = Reaper(
            self._members,
            self._swim.timers,
            settings.reconnect_timeout,
            settings.tombstone_timeout,
            self._reap,
        )
        self._healing = Healing(
            self._name,
            address_of(settings.swim.address, settings.swim.port),
            self._members,
            self._swim.timers,
            outbox,
            rng,
            settings.reconnect_interval,
            self._heal_by_joining,
            self._heal_by_looking,
        )
        self._healing_operations: dict[int, Target | None] = {}
        self._coordinates = CoordinateClient(rng)
        self._coordinates_of: dict[str, Coordinate] = {}

    # --- life -------------------------------------------------------------------------

    def start(self, *, now: float) -> None:
        """Enter ourselves and begin; alone and with nobody to look for, that sets no timer."""
        self._swim.start(self._meta, now=now)
        remembered = self.settings.remembered
        if remembered is None:
            return
        self.member_clock.witness(remembered.clock)
        self.event_clock.witness(remembered.event_clock)
        self.query_clock.witness(remembered.query_clock)
        self._events.ignore_before(remembered.event_clock + 1)
        self._queries.ignore_before(remembered.query_clock + 1)
        for name, address in remembered.members.items():
            self._healing.remember_lost(name, address, now=now)
        if remembered.members:
            self._healing.start_at_once(now)

    def join(self, address: Address, *, ignore_old: bool = True, now: float) -> int:
        """Exchange tables with an address, to become one pool; PushPullFinished tells the end.

        Args:
            address: Where somebody of the pool is.
            ignore_old: Do not deliver user events that were sent before.
            now: Engine seconds.

        Returns:
            The operation's number.
        """
        self._healing.remember_seed(address)
        operation = self._swim.push_pull(Purpose.JOIN, address, now=now)
        if ignore_old:
            self._joins_without_old_events.add(operation)
        return operation

    def look(self, address: Address, *, now: float) -> int:
        """Read the table at an address without showing ourselves; PushPullFinished carries it."""
        return self._swim.push_pull(Purpose.LOOK, address, now=now)

    def announce_join(self, *, now: float) -> None:
        """Broadcast our join intent: after at least one join has worked."""
        self._broadcast_join_intent(now)

    def ping(self, name: str, address: Address, *, now: float) -> int:
        """Ping once, without consequences; PingFinished tells the end."""
        return self._swim.ping(name, address, now=now)

    def set_tags(self, tags: Mapping[str, str], *, now: float) -> None:
        """Change our tags, everywhere.

        Raises:
            TagsTooLarge: They do not fit; nothing has changed.
        """
        self._meta = encode_tags(tags)
        self._swim.update_meta(self._meta, now=now)

    def respond(self, ltime: int, query_id: int, payload: bytes, *, now: float) -> None:
        """Answer a query that a QueryReceived notice told of.

        Raises:
            LookupError: The query is unknown, answered already, or over.
            ValueError: The answer is too large.
        """
        self._queries.respond(ltime, query_id, payload, now=now)

    def user_event(self, name: str, payload: bytes, *, coalesce: bool, now: float) -> int:
        """Send a user event to everybody, ourselves included.

        Args:
            name: Of the event; receivers may coalesce by it.
            payload: Up to `user_event_size_limit` bytes together with the name.
            coalesce: Receivers may drop it for a newer one of the name.
            now: Engine seconds.

        Returns:
            Its Lamport time.

        Raises:
            EventRefused: It is too large.
        """
        limit = self.settings.user_event_size_limit
        size = len(name.encode("utf-8", "surrogateescape")) + len(payload)
        if size > limit:
            raise EventRefused(
                f"user event exceeds configured limit of {limit} bytes before encoding:"
                f" it has {size}"
            )
        event = UserEvent(self.event_clock.time, name, payload or None, coalesce)
        encoded = encode_serf_message(event)
        for most, kind in ((limit, "configured"), (USER_EVENT_SIZE_MAX, "sane")):
            if len(encoded) > most:
                raise EventRefused(
                    f"user event exceeds {kind} limit of {most} bytes after encoding:"
                    f" it has {len(encoded)}"
                )
        self.event_clock.increment()
        self._events.handle(event, None, now=now)
        self._broadcasts.queue(self._broadcasts.events, encoded, now=now)
        return event.ltime

    def query(self, question: Question, *, now: float) -> tuple[int, int]:
        """Ask the pool; QueryAcked, QueryAnswered and QueryFinished carry what comes back.

        Returns:
            Lamport time and id, which those notices carry.

        Raises:
            QueryRefused: It is too large, or too many are open.
        """
        # The notices name the query by its time and id, which are known only once it is asked;
        # nothing can come back before that.
        notices = self._outbox.notices
        key = (0, 0)
        pending = self._asking.ask(
            question,
            now=now,
            on_ack=lambda sender: notices.append(QueryAcked(*key, sender)),
            on_response=lambda sender, payload: notices.append(
                QueryAnswered(*key, sender, payload)
            ),
            on_finished=lambda over, _now: notices.append(
                QueryFinished(*key, len(over.acks), len(over.responses))
            ),
        )
        key = (pending.ltime, pending.id)
        return key

    def end_query(self, ltime: int, query_id: int, *, now: float) -> None:
        """End a query of ours before its deadline; QueryFinished comes at once."""
        self._asking.end(ltime, query_id, now=now)

    def change_keys(self, operation: str, key: bytes = b"", *, now: float) -> int:
        """Install, use, remove or list keys on every member; KeyOperationFinished tells the end.

        Raises:
            ValueError: No such operation, or a key of a wrong size.
            QueryRefused: Too many queries are open.
        """
        number = self._swim.next_operation()

        def finish(outcome: KeyOutcome) -> None:
            self._outbox.notices.append(KeyOperationFinished(number, outcome))

        self._keys.start(operation, key, finish, now=now)
        return number

    def force_leave(self, name: str, *, prune: bool = False, now: float) -> int:
        """Tell the pool that a failed member has left; ForceLeaveFinished tells the end."""
        number = self._swim.next_operation()
        self._force_leave.start(number, name, prune=prune, now=now)
        return number

    def leave(self, *, now: float) -> None:
        """Leave gracefully; LeaveFinished says when the shell may stop.

        Further calls change nothing.
        """
        if self.state is EngineState.ALIVE:
            self.state = EngineState.LEAVING
            self._healing.stop()
            self._intents.is_leaving = True
            self._leave.start(now)

    def stop(self, *, now: float) -> None:
        """End at once: conversations are closed, timers gone.

        Without a leave others will find us failed.
        """
        self.state = EngineState.SHUTDOWN
        self._swim.stop(now=now)

    # --- in ---------------------------------------------------------------------------

    def receive_packet(self, data: bytes, source: Address, *, now: float) -> None:
        """Take one datagram."""
        self._swim.receive_packet(data, source, now=now)

    def handle_timers(self, *, now: float) -> None:
        """Do what is due at `now`."""
        self._swim.handle_timers(now=now)

    def accept_stream(self, source: Address, *, now: float) -> int | None:
        """Take a stream that a peer opened: its number, or None when it should just be closed."""
        return self._swim.accept_stream(source, now=now)

    def receive_stream_data(self, stream: int, data: bytes, *, now: float) -> None:
        """Take bytes of a stream; those of a closed one are ignored."""
        self._swim.receive_stream_data(stream, data, now=now)

    def receive_stream_eof(self, stream: int, *, now: float) -> None:
        """Hear that the peer closed its side."""
        self._swim.receive_stream_eof(stream, now=now)

    def fail_stream(self, stream: int, error: str, *, now: float) -> None:
        """Hear that a dial, read or write failed."""
        self._swim.fail_stream(stream, error, now=now)

    # --- out --------------------------------------------------------------------------

    def packets_to_send(self) -> list[Packet]:
        """Drain the packets."""
        return self._swim.packets_to_send()

    def stream_actions(self) -> list[StreamAction]:
        """Drain the stream actions, in order."""
        return self._swim.stream_actions()

    def next_event(self) -> Notice | None:
        """Return the next notice, None when there is none."""
        return self._swim.next_event()

    def next_deadline(self) -> float | None:
        """Return when `handle_timers` has something to do.

        None when only input can change anything.
        """
        return self._swim.next_deadline()

    def members(self) -> list[Member]:
        """Return all members, of every status, ourselves included."""
        return self._members.members()

    @property
    def members_version(self) -> int:
        """A number that grows whenever `members()` changes."""
        return self._members.version

    def local_member(self) -> Member:
        """Return ourselves."""
        record = self._members.get(self._name)
        if record is None:
            raise RuntimeError("the engine has not been started")
        return self._members.public(record)

    def statistics(self) -> SerfStatistics:
        """Return a snapshot."""
        keyring = self.settings.swim.keyring
        return SerfStatistics(
            members=len(self._members),
            failed=self._members.count(MemberStatus.FAILED),
            left=self._members.count(MemberStatus.LEFT),
            member_time=self.member_clock.time,
            event_time=self.event_clock.time,
            query_time=self.query_clock.time,
            intent_queue=len(self._broadcasts.intents),
            event_queue=len(self._broadcasts.events),
            query_queue=len(self._broadcasts.queries),
            early_intents=self._intents.early_count,
            open_queries=len(self._asking),
            reconnects_tried=self._healing.tries,
            lost_members=len(self._healing.lost_members()),
            coordinate_resets=self._coordinates.resets,
            encrypted=keyring is not None and bool(keyring.keys),
            swim=self._swim.statistics(),
        )

    def evidence_of(self, name: str) -> tuple[Evidence, ...]:
        """Return why a member has its status, oldest first; empty for a stranger."""
        return self._evidence.of(name)

    def coordinate_of(self, name: str) -> Coordinate | None:
        """Return where a member stands; None when we have not heard."""
        if name == self._name:
            return self._coordinates.coordinate
        return self._coordinates_of.get(name)

    def estimated_rtt(self, one: str, other: str) -> float | None:
        """Return the estimated round trip between two members in seconds.

        None when one of the coordinates is not known.
        """
        here, there = self.coordinate_of(one), self.coordinate_of(other)
        return None if here is None or there is None else distance(here, there)

    # --- what SWIM asks of its delegate -----------------------------------------------

    def broadcasts(self, overhead: int, budget: int, *, is_counted: bool) -> list[bytes]:
        """Give Serf's gossip."""
        return self._broadcasts.take(overhead, budget, is_counted=is_counted)

    def has_broadcasts(self) -> bool:
        """Return whether there is any."""
        return len(self._broadcasts) > 0

    def user_state(self, *, join: bool) -> bytes:
        """Give Serf's part of a push-pull."""
        return self._exchange.local()

    def prepare_merge(self, state: bytes, *, now: float) -> None:
        """Learn who left before learning who is gone."""
        self._exchange.prepare(state, now=now)

    def merge_user_state(self, state: bytes, *, operation: int | None, now: float) -> None:
        """Take Serf's part of a push-pull."""
        ignores_old = operation in self._joins_without_old_events
        self._exchange.merge(state, ignores_old_events=ignores_old, now=now)

    def receive_user_message(self, payload: bytes, source: Address | None, *, now: float) -> None:
        """Take a Serf message, and pass on what is news, byte for byte."""
        rejections = self._outbox.rejections
        if not payload:
            rejections.record("empty_user_message", source, "", now=now)
            return
        try:
            message = decode_serf_message_untrusted(payload)
        except MalformedInput as error:
            rejections.record(error.reason, source, f"serf message: {error.detail}", now=now)
            return
        if isinstance(message, JoinIntent | LeaveIntent | UserEvent | Query):
            self._take_gossip(message, payload, source, now)
        elif isinstance(message, Relay):
            self._queries.handle_relay(message, source, now=now)
        elif isinstance(message, QueryResponse):
            self._asking.handle_response(message, source, now=now)
        else:
            rejections.record("unexpected_serf_message", source, type(message).__name__, now=now)

    def _take_gossip(
        self,
        message: JoinIntent | LeaveIntent | UserEvent | Query,
        payload: bytes,
        source: Address | None,
        now: float,
    ) -> None:
        """Apply one of the messages that are passed on, if its time may be believed."""
        if isinstance(message, UserEvent):
            clock, queue = self.event_clock, self._broadcasts.events
        elif isinstance(message, Query):
            clock, queue = self.query_clock, self._broadcasts.queries
        else:
            clock, queue = self.member_clock, self._broadcasts.intents
        if not clock.is_plausible(message.ltime):
            detail = f"{message.ltime}, our clock is at {clock.time}"
            self._outbox.rejections.record("lamport_time_out_of_range", source, detail, now=now)
            return
        if isinstance(message, UserEvent):
            is_news = self._events.handle(message, source, now=now)
        elif isinstance(message, Query):
            is_news = self._queries.handle(message, source, now=now)
        elif isinstance(message, LeaveIntent):
            is_news = self._intents.handle_leave(message, source, now=now)
        else:
            is_news = self._intents.handle_join(message, now=now)
        if is_news:
            self._broadcasts.queue(queue, payload, now=now)

    def refuses_node(self, record: NodeRecord) -> str | None:
        """Ask the owner's admission about a single node."""
        if self.settings.admit is None:
            return None
        return self.settings.admit([member_of(record)])

    def refuses_pool(self, records: Sequence[NodeRecord], *, join: bool) -> str | None:
        """Ask the owner's admission about everybody a push-pull shows."""
        if self.settings.admit is None or not records:
            return None
        return self.settings.admit([member_of(record) for record in records])

    def node_joined(self, node: Node, *, now: float) -> None:
        """Take a node that is alive."""
        self._intents.node_joined(node, now=now)

    def node_updated(self, node: Node, *, now: float) -> None:
        """Take a node's new tags."""
        self._intents.node_updated(node, now=now)

    def node_gone(self, node: Node, *, now: float) -> None:
        """Take that a node is dead or left."""
        self._intents.node_gone(node, now=now)

    def ack_payload(self) -> bytes | None:
        """Give our coordinate."""
        if not self.settings.has_coordinates:
            return None
        return encode_coordinate(self._coordinates.coordinate)

    def ping_completed(self, node: Node, rtt: float, payload: bytes | None, *, now: float) -> None:
        """Learn from a measured round trip and the other's coordinate."""
        if not payload or not self.settings.has_coordinates:
            return
        try:
            other = decode_coordinate_untrusted(payload)
        except MalformedInput as error:
            detail = f"coordinate of {node.name!r}: {error.detail}"
            self._outbox.rejections.record(error.reason, node.destination, detail, now=now)
            return
        if problem := self._coordinates.update(node.name, other, rtt):
            detail = f"{node.name!r}: {problem}"
            self._outbox.rejections.record("bad_coordinate", node.destination, detail, now=now)
        elif self._members.get(node.name) is not None:
            self._coordinates_of[node.name] = other

    def observe(
        self, kind: EvidenceKind, name: str, *, by: str, incarnation: int, detail: str, now: float
    ) -> None:
        """Keep a record of why a member is believed to be what it is."""
        if self._members.get(name) is not None:
            self._evidence.add(
                name, Evidence(now, kind, by, incarnation=incarnation, detail=detail)
            )

    def name_conflict(self, node: Node, claim: NodeRecord, *, now: float) -> None:
        """Let the pool decide when it is our own name that is contested."""
        is_ours = node.name == self._name
        if is_ours and self.settings.resolves_conflicts and self.state is EngineState.ALIVE:
            self._vote.start(now=now)

    # --- inside -----------------------------------------------------------------------

    def _member_changed(self, record: MemberRecord, now: float) -> None:
        """Follow up on a member's new status."""
        status = record.status
        if status is MemberStatus.ALIVE:
            self._healing.forget(record.name)
            self._force_leave.note_alive(record.name)
            if record.name != self._name:
                self._healing.note_company()
        elif status in (MemberStatus.FAILED, MemberStatus.LEFT):
            self._reaper.watch(record)
            self._force_leave.note_gone(record, now)
            self._apply_held_prune(record.name, now)
            if status is MemberStatus.LEFT:
                self._healing.forget(record.name)
            elif self.state is EngineState.ALIVE:
                self._healing.wake(now)
        elif status is MemberStatus.NONE:
            self._coordinates.forget(record.name)
            self._coordinates_of.pop(record.name, None)

    def _apply_held_prune(self, name: str, now: float) -> None:
        """Apply a prune that came while the member still counted as live, and pass it on."""
        intent = self._intents.take_held_prune(name, now=now)
        if intent is None:
            return

        def apply(at: float) -> None:
            if self._intents.handle_leave(intent, None, now=at):
                self._broadcast_intent(intent, at, None)

        # Not now: the table is being changed.
        self._swim.timers.schedule(now, apply)

    def _reap(self, record: MemberRecord, now: float) -> None:
        """Erase a member that was gone for long enough; look for it on if it had failed."""
        if is_worth_finding(record):
            self._healing.remember_lost(record.name, record.destination, now=now)
        self._intents.erase(record, now=now)

    def _heal_by_joining(self, target: Target, now: float) -> None:
        record = self._members.get(target.name)
        if record is not None:
            self._evidence.add(record.name, Evidence(now, EvidenceKind.RECONNECT, self._name))
        operation = self._swim.push_pull(Purpose.JOIN, target.address, now=now)
        self._healing_operations[operation] = None

    def _heal_by_looking(self, target: Target, now: float) -> None:
        operation = self._swim.push_pull(Purpose.LOOK, target.address, now=now)
        self._healing_operations[operation] = target

    def _apply_force_leave(self, intent: LeaveIntent, now: float) -> None:
        record = self._members.get(intent.node)
        if record is not None:
            self._evidence.add(
                record.name,
                Evidence(now, EvidenceKind.FORCE_LEAVE, self._name, ltime=intent.ltime),
            )
        self._intents.handle_leave(intent, None, now=now)

    def _broadcast_intent(
        self, intent: LeaveIntent | JoinIntent, now: float, finished: Callable[[], None] | None
    ) -> None:
        message = encode_serf_message(intent)
        self._broadcasts.queue(self._broadcasts.intents, message, now=now, finished=finished)

    def _take_own_query(self, query: Query, encoded: bytes, now: float) -> None:
        """Handle a query of ours as everybody does, and send it round."""
        if self._queries.handle(query, None, now=now):
            self._broadcasts.queue(self._broadcasts.queries, encoded, now=now)

    def _refute_leave(self, now: float) -> None:
        """Somebody says that we leave, and we do not."""
        self._outbox.remark("leave_intent_refuted", "warning")
        self._broadcast_join_intent(now)

    def _broadcast_join_intent(self, now: float) -> None:
        intent = JoinIntent(self.member_clock.time, self._name)
        self._intents.handle_join(intent, now=now)
        self._broadcast_intent(intent, now, None)

    def _broadcast_leave_intent(self, now: float, finished: Callable[[], None] | None) -> None:
        """Broadcast that we leave: under a new time first, under the same when it is repeated."""
        record = self._members.get(self._name)
        if record is None:
            raise RuntimeError("the engine has not been started")
        if record.status is MemberStatus.ALIVE:
            intent = LeaveIntent(self.member_clock.time, self._name, False)
            self.member_clock.increment()
            self._intents.handle_leave(intent, None, now=now)
            self._swim.send_user_to_live(encode_serf_message(intent), LEAVE_TOLD_MAX)
        else:
            intent = LeaveIntent(record.status_ltime, self._name, False)
        self._broadcast_intent(intent, now, finished)

    def _finish_leave(self, now: float) -> None:
        self.state = EngineState.LEFT
        self._swim.stop(now=now)
        self._outbox.notices.append(LeaveFinished())

    def _finish_push_pull(
        self, operation: int, error: str | None, records: tuple[NodeRecord, ...], now: float
    ) -> None:
        nodes = tuple(member_of(record) for record in records)
        self._joins_without_old_events.discard(operation)
        if operation in self._healing_operations:
            target = self._healing_operations.pop(operation)
            if target is not None and error is None:
                self._healing.handle_look(target, nodes, now=now)
            return
        self._outbox.notices.append(PushPullFinished(operation, error, nodes))


def member_of(record: NodeRecord) -> Member:
    """Return a node that a push-pull shows as a member; tags that do not decode are left out."""
    try:
        tags = decode_tags_untrusted(record.meta)
    except MalformedInput:
        tags = {}
    status = STATUS_OF_NODE.get(record.state, MemberStatus.NONE)
    return make_member(record.name, record.address, record.port, tags, status, record.versions)
