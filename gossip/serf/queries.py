"""Queries from others: seen once, passed on once, filtered, acknowledged, answered.

    known or too old ─► dropped          filters exclude us ─► passed on, nothing else
    news ─► passed on ─► ack if asked ─► `_serf_…`: answered here · others: handed to the
    application

Answers go straight to the asker by UDP; with a relay factor some random members carry copies, in
case the direct way is blocked. What would crash a Go agent (an empty filter, a key query without
payload) is neither obeyed nor passed on. Tag filters are RE2 expressions as in Go; RE2 runs in
linear time, so a filter cannot stall us.

Sources: serf serf.go (handleQuery, handleQueryResponse), query.go (shouldProcessQuery, Respond,
relayResponse), delegate.go (relay).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ..addresses import ADDRESS_SIZES, Address, address_of
from ..notices import QueryReceived
from ..swim.outbox import Outbox
from ..wire.errors import MalformedInput
from ..wire.messages import MessageType
from .events import is_too_old
from .lamport import LamportClock
from .members import MemberRecord, MemberStatus, MemberTable
from .messages import (
    QUERY_ACK,
    QUERY_NO_BROADCAST,
    RESPONSE_ACK,
    NodeFilter,
    Query,
    QueryResponse,
    Relay,
    decode_filter_untrusted,
    decode_serf_message_untrusted,
    encode_serf_message,
)
from .tag_expressions import tag_matches

QUERY_BUFFER_SIZE = 512
"""Lamport times that are remembered (Serf: QueryBuffer)."""

QUERIES_PER_LTIME_MAX = 128
"""Different queries of one Lamport time, for the reason of EVENTS_PER_LTIME_MAX."""

QUERY_SIZE_MAX = 9 * 1024
"""Bytes of a query's name and payload that are taken. Serf sends at most 1024 in all unless
configured otherwise; its events stop at 9 KiB."""

QUERY_RESPONSE_SIZE_MAX = 1024
"""Bytes of an encoded response in a packet, and of a relay around one (Serf:
QueryResponseSizeLimit). A larger response goes over a stream, which Go agents accept."""

STREAM_RESPONSE_SIZE_MAX = 64 * 1024
"""Bytes of an encoded response at all. The asker collects one of each member: what is larger should
be fetched from us by some other way."""

RELAYED_SIZE_MAX = 9 * 1024
"""Bytes of an answer that is carried for others. Serf sends at most 1024 unless configured
otherwise; what comes compressed could be more than a datagram holds."""

QUERY_TIMEOUT_MAX = 3600.0
"""Seconds a query may stay open here, whatever it says: each open one is remembered."""

OPEN_QUERIES_MAX = 512
"""Queries of the application waiting for its answer; the oldest give way."""

FILTERS_MAX = 64
"""Filters of one query. All must match, so more make no sense; each may cost a regular
expression."""

RELAY_PROTOCOL_MIN = 5
"""Lowest highest-memberlist-version of a member that is asked to relay."""

INTERNAL_PREFIX = "_serf_"
"""Queries of this prefix are Serf's own and are not shown to the application."""

KEY_QUERIES_WITH_PAYLOAD = ("_serf_install-key", "_serf_use-key", "_serf_remove-key")
"""Go agents die of one of these without payload."""

_USER_TYPE = bytes((MessageType.USER,))


def query_defect(query: Query) -> str | None:
    """Return the reason why a query must be neither obeyed nor passed on.

    None when it is sound.
    """
    if any(not part for part in query.filters):
        return "query_empty_filter"
    if query.name in KEY_QUERIES_WITH_PAYLOAD and not query.payload:
        return "key_query_without_payload"
    if len(query.filters) > FILTERS_MAX:
        return "query_too_many_filters"
    if len(query.name) + len(query.payload or b"") > QUERY_SIZE_MAX:
        return "query_too_large"
    if len(query.address) not in ADDRESS_SIZES or not query.port:
        return "bad_address"
    return None


class Queries:
    """Receives queries, and answers for the engine and the application."""

    def __init__(
        self,
        own_name: str,
        members: MemberTable,
        clock: LamportClock,
        outbox: Outbox,
        rng: random.Random,
        answer_internal: Callable[[Query, float], bytes | None],
        send_by_stream: Callable[[Address, bytes, float], None],
    ) -> None:
        """Build on the engine's parts.

        `answer_internal` gives the payload for a `_serf_` query, None for no answer;
        `send_by_stream` carries what is too large for a packet.
        """
        self._own_name = own_name
        self._members = members
        self._clock = clock
        self._outbox = outbox
        self._rng = rng
        self._answer_internal = answer_internal
        self._send_by_stream = send_by_stream
        self._ring: dict[int, tuple[int, list[int]]] = {}
        self._open: dict[tuple[int, int], tuple[Query, float]] = {}
        self._ltime_min = 0

    def ignore_before(self, ltime: int) -> None:
        """Drop queries before `ltime` from now on."""
        self._ltime_min = max(self._ltime_min, ltime)

    def handle(self, query: Query, source: Address | None, *, now: float) -> bool:
        """Take a query; return whether it is to be passed on."""
        rejections = self._outbox.rejections
        if defect := query_defect(query):
            rejections.record(defect, source, f"query {query.name!r}", now=now)
            return False
        self._clock.witness(query.ltime)
        if query.ltime < self._ltime_min:
            return False
        if is_too_old(self._clock.time, query.ltime, QUERY_BUFFER_SIZE):
            rejections.record("query_too_old", source, f"{query.name!r} at {query.ltime}", now=now)
            return False
        slot = query.ltime % QUERY_BUFFER_SIZE
        ltime, seen = self._ring.get(slot, (query.ltime, []))
        if ltime != query.ltime:
            seen = []
        if query.id in seen:
            return False
        if len(seen) >= QUERIES_PER_LTIME_MAX:
            rejections.record("too_many_queries_of_one_time", source, f"at {query.ltime}", now=now)
            return False
        seen.append(query.id)
        self._ring[slot] = (query.ltime, seen)
        if self._concerns_us(query, source, now):
            self._process(query, now)
        return not query.flags & QUERY_NO_BROADCAST

    def respond(self, ltime: int, query_id: int, payload: bytes, *, now: float) -> None:
        """Answer a query of the application, once.

        Raises:
            LookupError: The query is unknown, answered already, or over.
            ValueError: The answer is larger than STREAM_RESPONSE_SIZE_MAX with its header.
        """
        query, deadline = self._open.get((ltime, query_id), (None, now))
        if query is None or now >= deadline:
            raise LookupError(f"no open query {query_id} of time {ltime}")
        self._respond(query, payload, now)
        del self._open[ltime, query_id]

    def handle_relay(self, relay: Relay, source: Address | None, *, now: float) -> None:
        """Send the answer inside a relay to where it says.

        Only answers are carried: Go looks at nothing here, and would pass on what crashes the
        receiver.
        """
        rejections = self._outbox.rejections
        if len(relay.inner) > RELAYED_SIZE_MAX:
            rejections.record("bad_relay", source, f"{len(relay.inner)} bytes", now=now)
            return
        try:
            inner = decode_serf_message_untrusted(relay.inner)
        except MalformedInput as error:
            rejections.record("bad_relay", source, error.detail, now=now)
            return
        if not isinstance(inner, QueryResponse):
            rejections.record("bad_relay", source, f"carries a {type(inner).__name__}", now=now)
        elif len(relay.address) not in ADDRESS_SIZES or not 0 < relay.port < 65536:
            rejections.record("bad_address", source, "relay", now=now)
        else:
            self._outbox.send(address_of(relay.address, relay.port), [_USER_TYPE + relay.inner])

    # --- inside -----------------------------------------------------------------------

    def _concerns_us(self, query: Query, source: Address | None, now: float) -> bool:
        for part in query.filters:
            try:
                filter_ = decode_filter_untrusted(part)
            except MalformedInput as error:
                self._outbox.rejections.record("bad_query_filter", source, error.detail, now=now)
                return False
            if isinstance(filter_, NodeFilter):
                if self._own_name not in filter_.names:
                    return False
            else:
                own = self._members.get(self._own_name)
                value = own.tags.get(filter_.tag, "") if own is not None else ""
                if not tag_matches(filter_.expression, value):
                    return False
        return True

    def _process(self, query: Query, now: float) -> None:
        if query.flags & QUERY_ACK:
            self._send(
                query, QueryResponse(query.ltime, query.id, self._own_name, RESPONSE_ACK, None), now
            )
        if query.name.startswith(INTERNAL_PREFIX):
            self._answer(query, now)
            return
        deadline = now + min(max(query.timeout_ns, 0) / 1e9, QUERY_TIMEOUT_MAX)
        self._forget_over(now)
        self._open[query.ltime, query.id] = (query, deadline)
        self._outbox.notices.append(
            QueryReceived(
                query.ltime, query.id, query.name, query.payload or b"", query.source_node, deadline
            )
        )

    def _answer(self, query: Query, now: float) -> None:
        """Answer one of Serf's own queries, if it has an answer and that fits a response."""
        payload = self._answer_internal(query, now)
        if payload is None:
            return
        try:
            self._respond(query, payload, now)
        except ValueError as error:
            self._outbox.remark(
                "internal_answer_too_large", "warning", query=query.name, error=str(error)
            )

    def _respond(self, query: Query, payload: bytes, now: float) -> None:
        self._send(query, QueryResponse(query.ltime, query.id, self._own_name, 0, payload), now)

    def _send(self, query: Query, response: QueryResponse, now: float) -> None:
        encoded = encode_serf_message(response)
        if len(encoded) > STREAM_RESPONSE_SIZE_MAX:
            raise ValueError(
                f"response to query {query.name!r} is {len(encoded)} bytes with its header, "
                f"the limit is {STREAM_RESPONSE_SIZE_MAX}"
            )
        asker = address_of(query.address, query.port)
        if len(encoded) > QUERY_RESPONSE_SIZE_MAX:
            self._send_by_stream(asker, encoded, now)
            return
        self._outbox.send(asker, [_USER_TYPE + encoded])
        self._relay(query, encoded)

    def _relay(self, query: Query, encoded: bytes) -> None:
        """Send copies of a response by way of random members."""
        if not query.relay_factor or len(self._members) < query.relay_factor + 1:
            return
        relay = encode_serf_message(
            Relay(query.address, query.port, "", query.source_node, encoded)
        )
        if len(relay) > QUERY_RESPONSE_SIZE_MAX:
            return
        candidates = [record for record in self._members if self._may_relay(record)]
        for record in self._rng.sample(candidates, min(query.relay_factor, len(candidates))):
            self._outbox.send(record.destination, [_USER_TYPE + relay])

    def _may_relay(self, record: MemberRecord) -> bool:
        return (
            record.name != self._own_name
            and record.status is MemberStatus.ALIVE
            and record.protocol_max >= RELAY_PROTOCOL_MIN
        )

    def _forget_over(self, now: float) -> None:
        """Make room among the open queries: those that are over first, then the oldest."""
        if len(self._open) >= OPEN_QUERIES_MAX:
            self._open = {key: entry for key, entry in self._open.items() if entry[1] > now}
        while len(self._open) >= OPEN_QUERIES_MAX:
            del self._open[next(iter(self._open))]
