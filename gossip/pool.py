"""The running pool: tasks around an engine, and the public API of membership.

How it works
    The engine decides everything and does nothing; the pool moves bytes and time. Each task calls
    into the engine and then *flushes* it: packets go to the socket, stream actions to their
    conversations, notices to the log and to subscribers, and the timer task is told of the new next
    deadline. Engine calls are synchronous, hence atomic, and need no lock.

        receive packets ─┐                                ┌─► packets: sent at once, or queued
        timer task ──────┤                                ├─► streams: a task for each conversation
        accept streams ──┼─► engine call ─► flush engine ─┼─► notices: log, subscribers' buffers
        conversations ───┤                                └─► deadline of the timer task
        join, leave … ───┘

    Nothing here is periodic. The timer task sleeps until the engine's next deadline, and a flush
    moves that deadline without waking it. `statistics()` counts the wake-ups, so that a test can
    hold us to that.

    Joining resolves names in threads, a few addresses at a time. Each target is *looked at* first,
    without showing ourselves, if `PoolSettings.admit` wants to see it; then comes the real
    exchange.

Where the rules come from
    memberlist memberlist.go (Create, Join, Leave), net.go (packetListen), serf serf.go (Join,
    Leave). The texts of join errors are theirs.
"""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
import trio

from .addresses import Address, ip_bytes
from .coalesced_stream import CoalescedStream
from .host_addresses import Resolver, advertised_host
from .join_targets import JoinTargetError, parse_join_target
from .notice_log import log_notice
from .notices import (
    ForceLeaveFinished,
    KeyOperationFinished,
    LeaveFinished,
    Notice,
    PushPullFinished,
    QueryAcked,
    QueryAnswered,
    QueryFinished,
)
from .operations import Operations, Outcome
from .pool_settings import PoolSettings
from .query_stream import QueryStream
from .serf.asking import Question
from .serf.coalescing import CoalesceSettings
from .serf.coordinates import Coordinate
from .serf.engine import EngineState, SerfEngine, SerfStatistics
from .serf.key_outcome import KeyOutcome
from .serf.members import Member
from .serf.recording import SnapshotRecorder, SnapshotSink
from .serf.settings import SerfSettings
from .stream_tasks import StreamStatistics, StreamTasks
from .subscriptions import EventStream
from .swim.settings import SwimSettings
from .timed_evidence import TimedEvidence, utc_now, with_wall_clock
from .transport import SocketTransport, Transport, TransportStatistics

JOINS_AT_ONCE_MAX = 16
"""Addresses of all joins worked on at once: the HTTP API lets anybody ask."""

JOINS_AT_ONCE_PER_CALL_MAX = 4
"""Addresses of one join worked on at once, so that one black hole does not hold up the others."""

JOIN_REFUSED_TEXT = "Serf can't Join after Leave or Shutdown"

CLOSED_MEANWHILE_TEXT = "the pool was stopped before this was done"


class PoolClosed(Exception):
    """The pool is not (or no longer) in a state for this."""


class ForceLeaveError(Exception):
    """A force-leave was not broadcast in time; it may still have reached some members."""


@dataclass(frozen=True, slots=True)
class JoinError:
    """One thing that went wrong in a join: the address as it was given, and the whole text."""

    address: str
    message: str


@dataclass(frozen=True, slots=True)
class JoinResult:
    """How a join went: exchanges that worked (not distinct members), and each failure in order."""

    joined: int
    errors: tuple[JoinError, ...]


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A snapshot of everything that is counted. Counts are since the start."""

    engine: SerfStatistics
    transport: TransportStatistics
    streams: StreamStatistics
    rejected: Mapping[str, int]
    """What peers sent and we refused, by reason."""
    packet_bursts: int
    """Wake-ups by packets; each handled one or more of them."""
    timer_wakeups: int
    """Wake-ups by the clock; each was a deadline of the engine."""
    notices_lost: int
    """Dropped for subscribers that did not keep up."""


class Pool:
    """Our part in a pool. `run` it in a nursery, or use `open_pool`."""

    def __init__(
        self,
        settings: PoolSettings,
        *,
        open_transport: Callable[[Address], Transport] = SocketTransport.open,
        snapshot: SnapshotSink | None = None,
    ) -> None:
        """Prepare; nothing is opened before `bind` or `run`.

        Args:
            settings: Who we are and how we take part.
            open_transport: Opens the network at an address.
            snapshot: Keeps what the next life should remember; None: nothing is kept.
        """
        self.settings = settings
        self._recorder = (
            None if snapshot is None else SnapshotRecorder(snapshot, settings.remembered)
        )
        self._open_transport = open_transport
        self._log = structlog.get_logger("gossip").bind(node=settings.node_name)
        self._parts: tuple[Transport, SerfEngine, StreamTasks] | None = None
        self._nursery: trio.Nursery | None = None
        self._timer = trio.CancelScope()
        self._operations = Operations()
        self._queries: dict[tuple[int, int], QueryStream] = {}
        self._subscribers: list[weakref.ref[EventStream]] = []
        self._left = trio.Event()
        self._has_left = False
        self._is_closed = False
        self._joins = trio.CapacityLimiter(JOINS_AT_ONCE_MAX)
        self._resolver = Resolver()
        self._packet_bursts = 0
        self._timer_wakeups = 0
        self._notices_lost = 0

    # --- life
    # --------------------------------------------------------------------------------------

    def bind(self) -> Address:
        """Open the sockets and build the engine; return the bound address. `run` does it otherwise.

        Raises:
            BindError: The address or port cannot be had.
            AdvertiseError: There is no address to advertise.
            ValueError: A setting is out of its range.
        """
        settings = self.settings
        transport = self._open_transport(Address(settings.bind, settings.port))
        try:
            engine = self._build_engine(transport.address)
        except BaseException:
            transport.close()
            raise
        self._parts = transport, engine, StreamTasks(engine, transport, self._flush)
        return transport.address

    def _build_engine(self, bound: Address) -> SerfEngine:
        settings = self.settings
        fields = {
            "node_name": settings.node_name,
            "address": ip_bytes(settings.advertise or advertised_host(bound.host)),
            "port": settings.advertise_port or bound.port,
            "keyring": settings.keyring,
            "label": settings.label,
            "compression": settings.compression,
            "dead_node_reclaim_time": settings.dead_node_reclaim_time,
        }
        swim = SwimSettings.profile(settings.profile, **{**fields, **settings.overrides})
        return SerfEngine(
            SerfSettings(
                swim=swim,
                tags=settings.tags,
                admit=settings.admit,
                remembered=settings.remembered,
                reconnect_interval=settings.reconnect_interval,
                reconnect_timeout=settings.reconnect_timeout,
                tombstone_timeout=settings.tombstone_timeout,
                user_event_size_limit=settings.user_event_size_limit,
                resolves_conflicts=settings.resolves_conflicts,
            ),
            rng=random.Random(settings.seed),
            nonce=os.urandom,
        )

    async def run(
        self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take part until cancelled (a stop without leave) or until `leave` has finished.

        Reports the bound address when members can reach us.

        Raises:
            PoolClosed: It has run before.
            BindError: As `bind`, which also may raise `AdvertiseError` and `ValueError`.
        """
        if self._is_closed or self._nursery is not None:
            raise PoolClosed("this pool has run before")
        if self._parts is None:
            self.bind()
        transport, engine, streams = self._require_bound()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                engine.start(now=trio.current_time())
                self._flush()
                nursery.start_soon(self._receive_packets)
                nursery.start_soon(transport.send_queued_packets)
                nursery.start_soon(streams.accept_streams)
                nursery.start_soon(self._run_timers)
                task_status.started(transport.address)
        finally:
            self._close(transport, engine)

    def _close(self, transport: Transport, engine: SerfEngine) -> None:
        """Tell everybody who waits; nothing here waits itself."""
        self._is_closed = True
        transport.close()
        self._left.set()
        self._operations.close()
        for stream in self._queries.values():
            stream.end()
        for reference in self._subscribers:
            if (subscriber := reference()) is not None:
                subscriber.close()
        if not self._has_left:
            engine.stop(now=trio.current_time())

    # --- what users ask
    # ----------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        """Where we listen, the port resolved."""
        return self._require_bound()[0].address

    @property
    def state(self) -> EngineState:
        """Whether we are alive, leaving, or gone."""
        return self._require_bound()[1].state

    def members(self) -> list[Member]:
        """Return all members, of every status."""
        return self._require_bound()[1].members()

    def members_version(self) -> int:
        """Return a number that grows whenever `members()` changes, for caches."""
        return self._require_bound()[1].members_version

    def local_member(self) -> Member:
        """Return ourselves."""
        return self._require_bound()[1].local_member()

    def events(self, *kinds: type[Notice]) -> EventStream:
        """Subscribe to notices from now on: to all, or to the kinds given."""
        subscriber = EventStream(kinds)
        if self._is_closed:
            subscriber.close()
        self._subscribers = [known for known in self._subscribers if known() is not None]
        self._subscribers.append(weakref.ref(subscriber))
        return subscriber

    def coalesced_events(
        self, *kinds: type[Notice], settings: CoalesceSettings | None = None
    ) -> CoalescedStream:
        """Subscribe as by `events`, with bursts of member and user events put together."""
        return CoalescedStream(self.events(*kinds), settings or CoalesceSettings())

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Change our tags and tell the pool.

        Raises:
            TagsTooLarge: They do not fit; nothing has changed.
            PoolClosed: The pool is not running.
        """
        self._require_running().set_tags(tags, now=trio.current_time())
        self._flush()

    async def join(self, addresses: Sequence[str]) -> JoinResult:
        """Exchange tables with each address (`[nodename/]host[:port]`), and announce ourselves.

        Returns when every address was tried. A name with several addresses counts each.

        Raises:
            PoolClosed: We are leaving, have left, or do not run.
        """
        self._require_joinable()
        results: list[list[str | None]] = [[] for _ in addresses]
        waiting = iter(list(enumerate(addresses)))
        is_closed = False

        async def work(scope: trio.CancelScope) -> None:
            nonlocal is_closed
            try:
                for index, text in waiting:
                    results[index] = await self._join_text(text)
            except PoolClosed:
                # Told once and as itself, not as a group of what each worker met.
                is_closed = True
                scope.cancel()

        async with trio.open_nursery() as nursery:
            for _ in range(min(JOINS_AT_ONCE_PER_CALL_MAX, len(addresses))):
                nursery.start_soon(work, nursery.cancel_scope)
        if is_closed:
            raise PoolClosed(JOIN_REFUSED_TEXT)
        joined = sum(outcome is None for outcomes in results for outcome in outcomes)
        if joined and not self._is_refusing_joins:
            self._require_running().announce_join(now=trio.current_time())
            self._flush()
        errors = [
            JoinError(text, outcome)
            for text, outcomes in zip(addresses, results, strict=True)
            for outcome in outcomes
            if outcome is not None
        ]
        return JoinResult(joined, tuple(errors))

    async def leave(self) -> None:
        """Leave gracefully; returns when it was announced and given time to travel. Ends `run`.

        Raises:
            PoolClosed: The pool does not run, or was stopped before it had left.
        """
        if not self._has_left:
            engine = self._require_running()
            if engine.state is EngineState.ALIVE:
                if self._recorder is not None:
                    self._recorder.note_leave()
                engine.leave(now=trio.current_time())
                self._flush()
        await self._left.wait()
        if not self._has_left:
            raise PoolClosed("the pool was stopped before it had left")

    def statistics(self) -> PoolStatistics:
        """Return a snapshot of all counters."""
        transport, engine, streams = self._require_bound()
        of_engine = engine.statistics()
        return PoolStatistics(
            engine=of_engine,
            rejected=of_engine.swim.rejected,
            transport=transport.statistics(),
            streams=streams.statistics(),
            packet_bursts=self._packet_bursts,
            timer_wakeups=self._timer_wakeups,
            notices_lost=self._notices_lost,
        )

    def _require_bound(self) -> tuple[Transport, SerfEngine, StreamTasks]:
        if self._parts is None:
            raise PoolClosed("the pool has not been started")
        return self._parts

    def _require_running(self) -> SerfEngine:
        if self._is_closed or self._nursery is None:
            raise PoolClosed("the pool is not running")
        return self._require_bound()[1]

    @property
    def _is_refusing_joins(self) -> bool:
        if self._parts is None:
            return False
        return self._is_closed or self._parts[1].state is not EngineState.ALIVE

    def _require_joinable(self) -> SerfEngine:
        if self._is_refusing_joins:
            raise PoolClosed(JOIN_REFUSED_TEXT)
        return self._require_running()

    # --- joining
    # -----------------------------------------------------------------------------------

    async def _join_text(self, text: str) -> list[str | None]:
        """Join what one text names: for each of its addresses None, or what went wrong."""
        try:
            targets = await self._resolve(text)
        except JoinTargetError as error:
            return [f"Failed to resolve {text}: {error}"]
        outcomes: list[str | None] = []
        for target in targets:
            async with self._joins:
                error_text = await self._join_address(target)
            failed = error_text is not None
            outcomes.append(f"Failed to join {target.host}: {error_text}" if failed else None)
        return outcomes

    async def _resolve(self, text: str) -> list[Address]:
        """Return the addresses that a text means, at least one.

        The node name before a slash is only read: peers use it to check certificates of other
        transports than these, and nothing of it is on the wire.
        """
        bound = self.address
        target = parse_join_target(text, bound.port)
        hosts = [target.host]
        if not target.is_ip:
            # Only of our own family: gossip could not follow to an address of the other.
            hosts = await self._resolver.look_up(target.host, ipv6=":" in bound.host)
        return [Address(host, target.port) for host in hosts]

    async def _join_address(self, target: Address) -> str | None:
        """Join one address: None, or what went wrong."""
        admit = self.settings.admit
        if admit is not None:
            seen = await self._push_pull(lambda engine, now: engine.look(target, now=now))
            if seen.error is not None:
                return seen.error
            refusal = admit(seen.nodes)
            if refusal is not None:
                return refusal
        joined = await self._push_pull(lambda engine, now: engine.join(target, now=now))
        return joined.error

    async def _push_pull(self, start: Callable[[SerfEngine, float], int]) -> PushPullFinished:
        """Start a push-pull and wait for its end; the engine sees to it that there is one."""
        number = start(self._require_joinable(), trio.current_time())
        outcome = await self._finish(number, PushPullFinished)
        if outcome is None:
            raise PoolClosed(JOIN_REFUSED_TEXT)
        return outcome

    # --- operating the pool -----------------------------------------------------------

    def user_event(self, name: str, payload: bytes, *, coalesce: bool = True) -> int:
        """Send a user event to everybody, ourselves included; return its Lamport time.

        Raises:
            EventRefused: It is too large.
            PoolClosed: The pool is not running.
        """
        engine = self._require_running()
        ltime = engine.user_event(name, payload, coalesce=coalesce, now=trio.current_time())
        self._flush()
        return ltime

    def query(self, question: Question) -> QueryStream:
        """Ask the pool; the stream has the answers, our own among them, until the deadline.

        Close it (`with`) when enough is known: an open query takes one of a few hundred places.

        Raises:
            QueryRefused: It is too large, or too many are open.
            PoolClosed: The pool is not running.
        """
        engine = self._require_running()
        key = engine.query(question, now=trio.current_time())
        stream = self._queries[key] = QueryStream(*key, self._end_query)
        self._flush()
        return stream

    def respond(self, ltime: int, query_id: int, payload: bytes) -> None:
        """Answer a query that a `QueryReceived` notice told of, once and before its deadline.

        Raises:
            LookupError: The query is unknown, answered already, or over.
            ValueError: The answer is too large.
            PoolClosed: The pool is not running.
        """
        engine = self._require_running()
        engine.respond(ltime, query_id, payload, now=trio.current_time())
        self._flush()

    async def change_keys(self, operation: str, key: bytes = b"") -> KeyOutcome:
        """Install, use, remove or list keys on every member; return what they said.

        Returns when all live members have answered, or at the query's deadline.

        Raises:
            ValueError: No such operation, or a key of a wrong size.
            QueryRefused: Too many queries are open.
            PoolClosed: The pool is not running, or closed meanwhile.
        """
        engine = self._require_running()
        number = engine.change_keys(operation, key, now=trio.current_time())
        finished = await self._finish(number, KeyOperationFinished)
        if finished is None:
            raise PoolClosed(CLOSED_MEANWHILE_TEXT)
        return finished.outcome

    async def force_leave(self, name: str, *, prune: bool = False) -> None:
        """Tell everybody that a failed member has left; with `prune`, to forget it altogether.

        Returns when it was broadcast, at once when nobody could hear it. An unknown name is no
        error, and a member that is alive refutes it.

        Raises:
            ForceLeaveError: It could not be broadcast in time.
            PoolClosed: The pool is not running, or closed meanwhile.
        """
        engine = self._require_running()
        number = engine.force_leave(name, prune=prune, now=trio.current_time())
        finished = await self._finish(number, ForceLeaveFinished)
        if finished is None:
            raise PoolClosed(CLOSED_MEANWHILE_TEXT)
        if finished.error is not None:
            raise ForceLeaveError(finished.error)

    def evidence_of(self, name: str) -> list[TimedEvidence]:
        """Return why a member has its status, oldest first; empty for a stranger."""
        records = self._require_bound()[1].evidence_of(name)
        return with_wall_clock(records, now=trio.current_time(), wall_clock=utc_now())

    def coordinate_of(self, name: str) -> Coordinate | None:
        """Return where a member stands in the network; None when that is not known."""
        return self._require_bound()[1].coordinate_of(name)

    def estimated_rtt(self, one: str, other: str) -> float | None:
        """Return the estimated round trip between two members in seconds, None when not known."""
        return self._require_bound()[1].estimated_rtt(one, other)

    def _end_query(self, stream: QueryStream) -> None:
        if not self._is_closed:
            engine = self._require_bound()[1]
            engine.end_query(stream.ltime, stream.id, now=trio.current_time())
            self._flush()

    def _offer_to_query(self, notice: QueryAcked | QueryAnswered | QueryFinished) -> None:
        key = notice.ltime, notice.id
        if (stream := self._queries.get(key)) is not None:
            stream.offer(notice)
        if isinstance(notice, QueryFinished):
            self._queries.pop(key, None)

    async def _finish(self, number: int, kind: type[Outcome]) -> Outcome | None:
        """Wait for the end of an operation that was just started; None: the pool closed first."""
        with self._operations.expect(number) as operation:
            self._flush()
            return await operation.outcome(kind)

    # --- tasks
    # -------------------------------------------------------------------------------------

    async def _receive_packets(self) -> None:
        transport, engine, _ = self._require_bound()
        while True:
            burst = await transport.receive_packets()
            self._packet_bursts += 1
            for data, source in burst:
                engine.receive_packet(data, source, now=trio.current_time())
            self._flush()

    async def _run_timers(self) -> None:
        _, engine, _ = self._require_bound()
        while True:
            with trio.CancelScope(deadline=_deadline_of(engine)) as self._timer:
                await trio.sleep_forever()
            self._timer_wakeups += 1
            engine.handle_timers(now=trio.current_time())
            self._flush()

    def _flush(self) -> None:
        """Carry out what the engine has decided; every call into the engine ends with it."""
        transport, engine, streams = self._require_bound()
        for packet in engine.packets_to_send():
            transport.send_packet_nowait(packet.data, packet.destination)
        for action in engine.stream_actions():
            assert self._nursery is not None, "the engine acts only after its start"
            streams.act(action, self._nursery)
        while (notice := engine.next_event()) is not None:
            self._deliver(notice)
        if self._recorder is not None:
            self._recorder.flush(engine.member_clock.time)
        deadline = _deadline_of(engine)
        if deadline != self._timer.deadline:
            self._timer.deadline = deadline

    def _deliver(self, notice: Notice) -> None:
        log_notice(self._log, notice)
        if self._recorder is not None:
            self._recorder.note(notice)
        self._operations.take(notice)
        if isinstance(notice, QueryAcked | QueryAnswered | QueryFinished):
            self._offer_to_query(notice)
        elif isinstance(notice, LeaveFinished):
            self._has_left = True
            self._left.set()
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()
        for reference in self._subscribers:
            subscriber = reference()
            if subscriber is not None and not subscriber.offer(notice):
                self._notices_lost += 1


def _deadline_of(engine: SerfEngine) -> float:
    deadline = engine.next_deadline()
    return float("inf") if deadline is None else deadline


@asynccontextmanager
async def open_pool(
    settings: PoolSettings,
    *,
    open_transport: Callable[[Address], Transport] = SocketTransport.open,
) -> AsyncIterator[Pool]:
    """Yield a running pool; at the end of the block it stops, without a leave of its own.

    Raises:
        BindError: The address or port cannot be had.
        AdvertiseError: There is no address to advertise.
        ValueError: A setting is out of its range.
    """
    pool = Pool(settings, open_transport=open_transport)
    # Outside the nursery, so that these errors come as themselves and not in a group.
    pool.bind()
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        yield pool
        nursery.cancel_scope.cancel()
