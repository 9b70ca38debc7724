"""Asking the pool: our own queries, and the answers to them until their deadline.

A query is gossiped to everybody and answered straight to us. Answers are matched by Lamport time,
then id; of each member one ack and one response count, copies by way of relays do not. We answer
our own query as well. The number of collected answers is bounded by the number of live members at
the start.

Sources: serf serf.go (Query, handleQueryResponse, registerQueryResponse), query.go (QueryParam,
DefaultQueryTimeout).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..addresses import Address
from ..swim.outbox import Outbox
from ..swim.timers import Timer, TimerHeap
from .lamport import LamportClock
from .messages import (
    QUERY_ACK,
    QUERY_NO_BROADCAST,
    RESPONSE_ACK,
    NodeFilter,
    Query,
    QueryResponse,
    TagFilter,
    encode_filter,
    encode_serf_message,
)
from .tag_expressions import expression_defect

QUERY_SIZE_LIMIT = 1024
"""Bytes of a whole encoded query (Serf: QuerySizeLimit). Go agents refuse to send more; a packet
holds little more."""

QUERY_TIMEOUT_MULT = 16
"""Default timeout: `gossip_interval * 16 * ceil(log10(n + 1))` (Serf: QueryTimeoutMult)."""

PENDING_QUERIES_MAX = 256
"""Queries of ours open at once. Each holds its answers until its deadline."""

RELAY_FACTOR_MAX = 255
"""Relay factors are u8 on the wire."""


class QueryRefused(ValueError):
    """A query cannot be asked: too large, or too many are open. Nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask.

    Attributes:
        name: Of the query; `_serf_…` is Serf's own.
        payload: Up to what fits 1024 bytes with everything else.
        nodes: Only these members answer; empty: all.
        tags: Only members whose tag matches the RE2 expression answer, for each of these.
        wants_acks: Members acknowledge before they answer.
        relay_factor: How many members carry copies of each answer.
        timeout: Seconds until the deadline; None: the default for this pool.
    """

    name: str
    payload: bytes = b""
    nodes: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    wants_acks: bool = False
    relay_factor: int = 0
    timeout: float | None = None
    is_broadcast: bool = True


@dataclass(slots=True, eq=False)
class PendingQuery:
    """One query of ours until its deadline."""

    ltime: int
    id: int
    deadline: float
    answers_max: int
    on_ack: Callable[[str], None] | None
    on_response: Callable[[str, bytes], None] | None
    on_finished: Callable[[PendingQuery, float], None] | None
    acks: set[str] = field(default_factory=set)
    responses: set[str] = field(default_factory=set)
    timer: Timer | None = None


def default_query_timeout(gossip_interval: float, nodes: int) -> float:
    """Return the default timeout in seconds for a pool of `nodes` live members."""
    return gossip_interval * QUERY_TIMEOUT_MULT * math.ceil(math.log10(nodes + 1))


class Asking:
    """Sends our queries and collects what comes back."""

    def __init__(
        self,
        own_name: str,
        own_address: bytes,
        own_port: int,
        gossip_interval: float,
        clock: LamportClock,
        timers: TimerHeap,
        outbox: Outbox,
        rng: random.Random,
        live_members: Callable[[], int],
        take_query: Callable[[Query, bytes, float], None],
    ) -> None:
        """Build on the engine's parts.

        `take_query` handles a query of ours locally and broadcasts it.
        """
        self._own_name = own_name
        self._own_address = own_address
        self._own_port = own_port
        self._gossip_interval = gossip_interval
        self._clock = clock
        self._timers = timers
        self._outbox = outbox
        self._rng = rng
        self._live_members = live_members
        self._take_query = take_query
        self._pending: dict[tuple[int, int], PendingQuery] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def ask(
        self,
        question: Question,
        *,
        now: float,
        on_ack: Callable[[str], None] | None = None,
        on_response: Callable[[str, bytes], None] | None = None,
        on_finished: Callable[[PendingQuery, float], None] | None = None,
    ) -> PendingQuery:
        """Ask the pool.

        Args:
            question: What.
            now: Engine seconds.
            on_ack: Hears who acknowledged.
            on_response: Hears who answered what.
            on_finished: Hears that the deadline has come, or that `finish` was called.

        Raises:
            QueryRefused: Too large, too many are open, an impossible relay factor or timeout, or a
                tag filter that is no RE2 expression (it would match nobody).
        """
        if len(self._pending) >= PENDING_QUERIES_MAX:
            raise QueryRefused(f"{PENDING_QUERIES_MAX} queries are open already")
        if not 0 <= question.relay_factor <= RELAY_FACTOR_MAX:
            raise QueryRefused(f"relay factor must be 0 to {RELAY_FACTOR_MAX}")
        for tag, expression in question.tags.items():
            if defect := expression_defect(expression):
                raise QueryRefused(f"tag filter {tag}={expression}: {defect}")
        live = self._live_members()
        timeout = question.timeout
        if timeout is None or timeout == 0:
            timeout = default_query_timeout(self._gossip_interval, live)
        if not 0 < timeout <= 86400:
            raise QueryRefused(f"timeout must be above 0 and at most 86400 seconds, not {timeout}")
        query = Query(
            ltime=self._clock.time,
            id=self._rng.getrandbits(31),
            address=self._own_address,
            port=self._own_port,
            source_node=self._own_name,
            filters=_encode_filters(question),
            flags=(QUERY_ACK if question.wants_acks else 0)
            | (0 if question.is_broadcast else QUERY_NO_BROADCAST),
            relay_factor=question.relay_factor,
            timeout_ns=int(timeout * 1e9),
            name=question.name,
            payload=question.payload or None,
        )
        encoded = encode_serf_message(query)
        if len(encoded) > QUERY_SIZE_LIMIT:
            raise QueryRefused(
                f"query exceeds limit of {QUERY_SIZE_LIMIT} bytes: it has {len(encoded)}"
            )
        pending = PendingQuery(
            query.ltime, query.id, now + timeout, max(live, 1), on_ack, on_response, on_finished
        )
        pending.timer = self._timers.schedule(
            pending.deadline, lambda at: self.finish(pending, now=at)
        )
        self._pending[pending.ltime, pending.id] = pending
        self._take_query(query, encoded, now)
        return pending

    def handle_response(
        self, response: QueryResponse, source: Address | None, *, now: float
    ) -> None:
        """Take an answer to one of our queries."""
        pending = self._pending.get((response.ltime, response.id))
        if pending is None:
            self._outbox.rejections.record(
                "response_to_no_query", source, f"query {response.id} of {response.ltime}", now=now
            )
            return
        is_ack = bool(response.flags & RESPONSE_ACK)
        seen = pending.acks if is_ack else pending.responses
        if response.sender in seen or len(seen) >= pending.answers_max:
            return
        seen.add(response.sender)
        if is_ack:
            if pending.on_ack is not None:
                pending.on_ack(response.sender)
        elif pending.on_response is not None:
            pending.on_response(response.sender, response.payload or b"")

    def end(self, ltime: int, query_id: int, *, now: float) -> None:
        """End a query because its asker has heard enough; one that is over is no error."""
        pending = self._pending.get((ltime, query_id))
        if pending is not None:
            self.finish(pending, now=now)

    def finish(self, pending: PendingQuery, *, now: float) -> None:
        """End a query: at its deadline, or because enough is known."""
        if self._pending.pop((pending.ltime, pending.id), None) is None:
            return
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.on_finished is not None:
            pending.on_finished(pending, now)


def _encode_filters(question: Question) -> tuple[bytes, ...]:
    filters = [encode_filter(NodeFilter(question.nodes))] if question.nodes else []
    filters += [encode_filter(TagFilter(tag, question.tags[tag])) for tag in sorted(question.tags)]
    return tuple(filters)
