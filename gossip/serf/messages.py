"""Serf's messages: one type byte, then a msgpack struct.

They travel inside memberlist's user messages, except the push-pull state (the user state of a
push-pull) and the three that are payloads of queries and query responses. A relay is a header
followed by the bytes of another Serf message. A query's filters are small messages of their own.

As in `wire.messages`, decoding checks types and ranges only, and encoding refuses what would crash
a Go peer (an empty filter, a key query without a payload, a relay of nothing) with a ValueError.
Intents, user events and queries repeat as gossip does, so decoding them is remembered.

The push-pull state may have 20 MiB and comes from anyone who can connect: it is read element by
element, each of bounded size, and never as one msgpack object.

Payloads keep nil and empty apart, as the peers do; an empty address is written as nil. `LTime` is
Lamport time. Timeouts are in nanoseconds here, because the wire's unit is that.

From: serf `serf/messages.go`, `serf/query.go` (filters, flags), `serf/internal_query.go` (keys),
`serf/delegate.go` (`LocalState`, `MergeRemoteState`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias

from ..wire.codec import (
    I64_MAX,
    I64_MIN,
    U8_MAX,
    U16_MAX,
    U32_MAX,
    U64_MAX,
    Container,
    NeedMore,
    ObjectReader,
    Shape,
    pack,
    to_bool,
    to_i64,
    to_list,
    to_map,
    to_octets,
    to_octets_or_none,
    to_struct,
    to_text,
    to_u8,
    to_u16,
    to_u32,
    to_u64,
    unpack_struct_untrusted,
    unpack_untrusted,
)
from ..wire.errors import MalformedInput, Reason
from ..wire.limits import (
    EVENT_SLOTS_MAX,
    MEMO_ENTRIES_MAX,
    MEMO_MESSAGE_SIZE_MAX,
    STATE_FIELDS_MAX,
    STATUS_LTIMES_MAX,
    USER_STATE_SIZE_MAX,
)


class SerfMessageType(IntEnum):
    """The first byte of a Serf message."""

    LEAVE = 0
    JOIN = 1
    PUSH_PULL = 2
    USER_EVENT = 3
    QUERY = 4
    QUERY_RESPONSE = 5
    CONFLICT_RESPONSE = 6
    KEY_REQUEST = 7
    KEY_RESPONSE = 8
    RELAY = 9


QUERY_ACK: Final = 1
"""Flag of a query: send an ack at once, besides any response."""
QUERY_NO_BROADCAST: Final = 2
"""Flag of a query: do not pass it on."""
RESPONSE_ACK: Final = 1
"""Flag of a query response: this is the ack."""

KEY_CHANGES: Final = frozenset({"_serf_install-key", "_serf_use-key", "_serf_remove-key"})
"""Internal queries whose payload must hold a key request; an empty one crashes Go agents."""


@dataclass(frozen=True, slots=True)
class LeaveIntent:
    """`node` is about to leave, or shall be made to; `prune`: forget it at once."""

    ltime: int
    node: str
    prune: bool = False


@dataclass(frozen=True, slots=True)
class JoinIntent:
    """`node` has joined."""

    ltime: int
    node: str


@dataclass(frozen=True, slots=True)
class RecentEvents:
    """User events of one Lamport time: name and payload of each."""

    ltime: int
    events: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class PushPullState:
    """Serf's part of a push-pull.

    `status_ltimes` has every member; `left_members` those of them that left. `events` are the
    occupied slots of the event buffer. `event_slots` is the length of that buffer on the wire, as
    Serf writes it (entry at index LTime modulo length, nil elsewhere), and 0 for occupied slots
    only, which every reader takes as well and which is what we send.
    """

    ltime: int
    status_ltimes: Mapping[str, int]
    left_members: tuple[str, ...]
    event_ltime: int
    events: tuple[RecentEvents, ...]
    query_ltime: int
    event_slots: int = 0


@dataclass(frozen=True, slots=True)
class UserEvent:
    """An application's event; `coalesce`: of several with this name only the newest matters."""

    ltime: int
    name: str
    payload: bytes | None
    coalesce: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A question to all members; answers go by UDP to `address` and `port` within the timeout."""

    ltime: int
    id: int
    address: bytes
    port: int
    source_node: str
    filters: tuple[bytes, ...]
    flags: int
    relay_factor: int
    timeout_ns: int
    name: str
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class QueryResponse:
    """An answer to the query of this Lamport time and id, or the ack that it arrived."""

    ltime: int
    id: int
    sender: str
    flags: int
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class ConflictMember:
    """A member as the answering node knows it."""

    name: str
    address: bytes
    port: int
    tags: Mapping[str, str]
    status: int
    protocol_min: int
    protocol_max: int
    protocol_cur: int
    delegate_min: int
    delegate_max: int
    delegate_cur: int


@dataclass(frozen=True, slots=True)
class ConflictResponse:
    """Answer to `_serf_conflict`: the member of the name asked for, None if unknown."""

    member: ConflictMember | None


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """Payload of a key query: the raw key, empty for a list."""

    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyResponse:
    """Answer to a key query; `keys` and `primary_key` are base64, and filled for a list only."""

    result: bool
    message: str
    keys: tuple[str, ...] | None = field(repr=False)
    primary_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Relay:
    """Please send `inner`, unchanged, as a user message to this address."""

    address: bytes
    port: int
    zone: str
    node: str
    inner: bytes


@dataclass(frozen=True, slots=True)
class NodeFilter:
    """A query is for these nodes only."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TagFilter:
    """A query is for nodes in whose tag the expression (RE2 syntax) is found."""

    tag: str
    expression: str


SerfMessage: TypeAlias = (
    LeaveIntent
    | JoinIntent
    | PushPullState
    | UserEvent
    | Query
    | QueryResponse
    | ConflictResponse
    | KeyRequest
    | KeyResponse
    | Relay
)
Filter: TypeAlias = NodeFilter | TagFilter

# --- shapes, fields in the order of their declaration in Go ---

_to_texts = partial(to_list, convert=to_text)


def _to_texts_or_none(value: object) -> tuple[str, ...] | None:
    return None if value is None else to_list(value, to_text)


_LEAVE: Shape = ((b"LTime", to_u64), (b"Node", to_text), (b"Prune", to_bool))
_JOIN: Shape = ((b"LTime", to_u64), (b"Node", to_text))
_USER_EVENT: Shape = (
    (b"LTime", to_u64),
    (b"Name", to_text),
    (b"Payload", to_octets_or_none),
    (b"CC", to_bool),
)
_QUERY: Shape = (
    (b"LTime", to_u64),
    (b"ID", to_u32),
    (b"Addr", to_octets),
    (b"Port", to_u16),
    (b"SourceNode", to_text),
    (b"Filters", partial(to_list, convert=to_octets)),
    (b"Flags", to_u32),
    (b"RelayFactor", to_u8),
    (b"Timeout", to_i64),
    (b"Name", to_text),
    (b"Payload", to_octets_or_none),
)
_QUERY_RESPONSE: Shape = (
    (b"LTime", to_u64),
    (b"ID", to_u32),
    (b"From", to_text),
    (b"Flags", to_u32),
    (b"Payload", to_octets_or_none),
)
_MEMBER: Shape = (
    (b"Name", to_text),
    (b"Addr", to_octets),
    (b"Port", to_u16),
    (b"Tags", partial(to_map, convert=to_text)),
    (b"Status", to_i64),
    (b"ProtocolMin", to_u8),
    (b"ProtocolMax", to_u8),
    (b"ProtocolCur", to_u8),
    (b"DelegateMin", to_u8),
    (b"DelegateMax", to_u8),
    (b"DelegateCur", to_u8),
)
_KEY_REQUEST: Shape = ((b"Key", to_octets),)
_KEY_RESPONSE: Shape = (
    (b"Result", to_bool),
    (b"Message", to_text),
    (b"Keys", _to_texts_or_none),
    (b"PrimaryKey", to_text),
)
_UDP_ADDRESS: Shape = ((b"IP", to_octets), (b"Port", to_i64), (b"Zone", to_text))
_RELAY: Shape = ((b"DestAddr", partial(to_struct, shape=_UDP_ADDRESS)), (b"DestName", to_text))
_RECENT_EVENT: Shape = ((b"Name", to_text), (b"Payload", to_octets_or_none))
_TAG_FILTER: Shape = ((b"Tag", to_text), (b"Expr", to_text))


def _to_recent_events(value: object) -> tuple[tuple[str, bytes | None], ...]:
    events = to_list(value, partial(to_struct, shape=_RECENT_EVENT))
    return tuple((name, payload) for name, payload in events)


_RECENT_EVENTS: Shape = ((b"LTime", to_u64), (b"Events", _to_recent_events))
_PUSH_PULL_FIELDS: Final = (
    b"LTime",
    b"StatusLTimes",
    b"LeftMembers",
    b"EventLTime",
    b"Events",
    b"QueryLTime",
)


# --- decoding ---


def decode_serf_message_untrusted(data: bytes) -> SerfMessage:
    """Read a Serf message of any type, type byte included.

    Raises:
        MalformedInput: Empty, of an unknown type, or unreadable.
    """
    if not data:
        raise MalformedInput(Reason.EMPTY, "no Serf message")
    decode = _DECODERS.get(data[0])
    if decode is None:
        raise MalformedInput(Reason.UNKNOWN_TYPE, f"Serf message type {data[0]}")
    return decode(data)


def decode_filter_untrusted(data: bytes) -> Filter:
    """Read one filter of a query.

    Raises:
        MalformedInput: Empty, of an unknown type, or unreadable; such a filter matches nobody.
    """
    if not data:
        raise MalformedInput(Reason.EMPTY, "empty filter")
    if data[0] == 0:
        return NodeFilter(_to_texts(unpack_untrusted(data[1:])))
    if data[0] == 1:
        return TagFilter(*unpack_struct_untrusted(data[1:], _TAG_FILTER))
    raise MalformedInput(Reason.UNKNOWN_TYPE, f"filter type {data[0]}")


def _decode_gossip_now(data: bytes) -> LeaveIntent | JoinIntent | UserEvent | Query:
    body = data[1:]
    match data[0]:
        case SerfMessageType.LEAVE:
            return LeaveIntent(*unpack_struct_untrusted(body, _LEAVE))
        case SerfMessageType.JOIN:
            return JoinIntent(*unpack_struct_untrusted(body, _JOIN))
        case SerfMessageType.USER_EVENT:
            return UserEvent(*unpack_struct_untrusted(body, _USER_EVENT))
        case _:
            return Query(*unpack_struct_untrusted(body, _QUERY))


_decode_gossip_remembered = lru_cache(maxsize=MEMO_ENTRIES_MAX)(_decode_gossip_now)


def _decode_gossip(data: bytes) -> LeaveIntent | JoinIntent | UserEvent | Query:
    if len(data) <= MEMO_MESSAGE_SIZE_MAX:
        return _decode_gossip_remembered(data)
    return _decode_gossip_now(data)


def _decode_query_response(data: bytes) -> QueryResponse:
    return QueryResponse(*unpack_struct_untrusted(data[1:], _QUERY_RESPONSE))


def _decode_conflict_response(data: bytes) -> ConflictResponse:
    body = unpack_untrusted(data[1:])
    if body is None:
        return ConflictResponse(None)
    return ConflictResponse(ConflictMember(*to_struct(body, _MEMBER)))


def _decode_key_request(data: bytes) -> KeyRequest:
    return KeyRequest(*unpack_struct_untrusted(data[1:], _KEY_REQUEST))


def _decode_key_response(data: bytes) -> KeyResponse:
    return KeyResponse(*unpack_struct_untrusted(data[1:], _KEY_RESPONSE))


def _decode_relay(data: bytes) -> Relay:
    reader = ObjectReader(data[1:])
    try:
        (address, port, zone), node = reader.read_struct(_RELAY)
    except NeedMore:
        raise MalformedInput(Reason.TRUNCATED, "relay header") from None
    if not 0 <= port <= U16_MAX:
        raise MalformedInput(Reason.BAD_FIELD, f"DestAddr: {port} is no port")
    return Relay(address, port, zone, node, reader.read_rest())


def _decode_push_pull(data: bytes) -> PushPullState:
    if len(data) > USER_STATE_SIZE_MAX:
        raise MalformedInput(Reason.TOO_LARGE, f"a Serf state of {len(data)} bytes")
    reader = ObjectReader(data[1:])
    try:
        return _read_push_pull(reader)
    except NeedMore:
        raise MalformedInput(Reason.TRUNCATED, "Serf's push-pull state") from None


def _read_push_pull(reader: ObjectReader) -> PushPullState:
    """Read the state element by element; a map of fields, or an array in their order."""
    values: dict[bytes, Any] = {}
    kind, count = reader.read_header(STATE_FIELDS_MAX)
    for index in range(count):
        if kind is Container.MAP:
            key = reader.read_object()
            if key is not None and type(key) is not bytes:
                raise MalformedInput(Reason.BAD_FIELD, "a field name of the state is no text")
        else:
            key = _PUSH_PULL_FIELDS[index] if index < len(_PUSH_PULL_FIELDS) else None
        if key == b"StatusLTimes":
            values[key] = _read_status_ltimes(reader)
        elif key == b"LeftMembers":
            values[key] = _read_left_members(reader)
        elif key == b"Events":
            values[key] = _read_events(reader)
        elif key in _PUSH_PULL_FIELDS:
            values[key] = reader.read_object()
        else:
            reader.read_object()
    events, event_slots = values.get(b"Events", ((), 0))
    return PushPullState(
        ltime=to_u64(values.get(b"LTime")),
        status_ltimes=values.get(b"StatusLTimes", {}),
        left_members=values.get(b"LeftMembers", ()),
        event_ltime=to_u64(values.get(b"EventLTime")),
        events=events,
        query_ltime=to_u64(values.get(b"QueryLTime")),
        event_slots=event_slots,
    )


def _read_status_ltimes(reader: ObjectReader) -> dict[str, int]:
    kind, count = reader.read_header(STATUS_LTIMES_MAX)
    if kind is Container.LIST:
        raise MalformedInput(Reason.BAD_FIELD, "StatusLTimes: a list is not a map")
    return {to_text(reader.read_object()): to_u64(reader.read_object()) for _ in range(count)}


def _read_list_header(reader: ObjectReader, elements_max: int) -> int:
    kind, count = reader.read_header(elements_max)
    return 2 * count if kind is Container.MAP else count  # keys and values in turn, as Go reads it


def _read_left_members(reader: ObjectReader) -> tuple[str, ...]:
    count = _read_list_header(reader, STATUS_LTIMES_MAX)
    return tuple(to_text(reader.read_object()) for _ in range(count))


def _read_events(reader: ObjectReader) -> tuple[tuple[RecentEvents, ...], int]:
    """Read the event buffer: the occupied slots, and the number of all if some are empty."""
    count = _read_list_header(reader, EVENT_SLOTS_MAX)
    events = []
    is_whole_buffer = True
    for index in range(count):
        slot = reader.read_object()
        if slot is not None:
            recent = RecentEvents(*to_struct(slot, _RECENT_EVENTS))
            events.append(recent)
            is_whole_buffer = is_whole_buffer and recent.ltime % count == index
    return tuple(events), count if is_whole_buffer and count > len(events) else 0


_DECODERS: Final[dict[int, Callable[[bytes], SerfMessage]]] = {
    SerfMessageType.LEAVE: _decode_gossip,
    SerfMessageType.JOIN: _decode_gossip,
    SerfMessageType.PUSH_PULL: _decode_push_pull,
    SerfMessageType.USER_EVENT: _decode_gossip,
    SerfMessageType.QUERY: _decode_gossip,
    SerfMessageType.QUERY_RESPONSE: _decode_query_response,
    SerfMessageType.CONFLICT_RESPONSE: _decode_conflict_response,
    SerfMessageType.KEY_REQUEST: _decode_key_request,
    SerfMessageType.KEY_RESPONSE: _decode_key_response,
    SerfMessageType.RELAY: _decode_relay,
}


# --- encoding ---


def encode_serf_message(message: SerfMessage) -> bytes:
    """Write a Serf message with its type byte.

    Raises:
        ValueError: A number out of its range, or something that would crash a Go peer.
    """
    return _ENCODERS[type(message)](message)


def encode_filter(wanted: Filter) -> bytes:
    """Write one filter of a query."""
    if isinstance(wanted, NodeFilter):
        return b"\x00" + pack(wanted.names)
    return b"\x01" + pack({"Expr": wanted.expression, "Tag": wanted.tag})


def _encode_leave(message: LeaveIntent) -> bytes:
    _check(message.ltime, U64_MAX)
    fields = {"LTime": message.ltime, "Node": message.node, "Prune": message.prune}
    return b"\x00" + pack(fields)


def _encode_join(message: JoinIntent) -> bytes:
    _check(message.ltime, U64_MAX)
    return b"\x01" + pack({"LTime": message.ltime, "Node": message.node})


def _encode_push_pull(message: PushPullState) -> bytes:
    for ltime in (message.ltime, message.event_ltime, message.query_ltime):
        _check(ltime, U64_MAX)
    if len(message.status_ltimes) > STATUS_LTIMES_MAX:
        raise ValueError(f"{len(message.status_ltimes)} members, at most {STATUS_LTIMES_MAX}")
    return b"\x02" + pack(
        {
            "EventLTime": message.event_ltime,
            "Events": _event_buffer(message.events, message.event_slots),
            "LTime": message.ltime,
            "LeftMembers": message.left_members,
            "QueryLTime": message.query_ltime,
            "StatusLTimes": dict(message.status_ltimes),
        }
    )


def _event_buffer(events: tuple[RecentEvents, ...], slots: int) -> list[dict[str, object] | None]:
    if max(slots, len(events)) > EVENT_SLOTS_MAX:
        raise ValueError(f"an event buffer of more than {EVENT_SLOTS_MAX} slots")
    occupied: list[dict[str, object] | None] = [_slot_fields(recent) for recent in events]
    if not slots:
        return occupied
    buffer: list[dict[str, object] | None] = [None] * slots
    for recent, fields in zip(events, occupied, strict=True):
        if buffer[recent.ltime % slots] is not None:
            raise ValueError(f"two entries for slot {recent.ltime % slots} of the event buffer")
        buffer[recent.ltime % slots] = fields
    return buffer


def _slot_fields(recent: RecentEvents) -> dict[str, object]:
    events = [{"Name": name, "Payload": payload} for name, payload in recent.events]
    return {"Events": events, "LTime": recent.ltime}


def _encode_user_event(message: UserEvent) -> bytes:
    _check(message.ltime, U64_MAX)
    return b"\x03" + pack(
        {
            "CC": message.coalesce,
            "LTime": message.ltime,
            "Name": message.name,
            "Payload": message.payload,
        }
    )


def _encode_query(message: Query) -> bytes:
    if not all(message.filters):
        raise ValueError("an empty filter crashes Go agents")
    if message.name in KEY_CHANGES and not message.payload:
        raise ValueError(f"a {message.name} query without a payload crashes Go agents")
    _check(message.ltime, U64_MAX)
    _check(message.id, U32_MAX)
    _check(message.flags, U32_MAX)
    _check(message.port, U16_MAX)
    _check(message.relay_factor, U8_MAX)
    _check(message.timeout_ns, I64_MAX, I64_MIN)
    return b"\x04" + pack(
        {
            "Addr": message.address or None,
            "Filters": message.filters or None,
            "Flags": message.flags,
            "ID": message.id,
            "LTime": message.ltime,
            "Name": message.name,
            "Payload": message.payload,
            "Port": message.port,
            "RelayFactor": message.relay_factor,
            "SourceNode": message.source_node,
            "Timeout": message.timeout_ns,
        }
    )


def _encode_query_response(message: QueryResponse) -> bytes:
    _check(message.ltime, U64_MAX)
    _check(message.id, U32_MAX)
    _check(message.flags, U32_MAX)
    return b"\x05" + pack(
        {
            "Flags": message.flags,
            "From": message.sender,
            "ID": message.id,
            "LTime": message.ltime,
            "Payload": message.payload,
        }
    )


def _encode_conflict_response(message: ConflictResponse) -> bytes:
    member = message.member
    if member is None:
        return b"\x06" + pack(None)
    _check(member.port, U16_MAX)
    fields = {
        "Addr": member.address or None,
        "DelegateCur": member.delegate_cur,
        "DelegateMax": member.delegate_max,
        "DelegateMin": member.delegate_min,
        "Name": member.name,
        "Port": member.port,
        "ProtocolCur": member.protocol_cur,
        "ProtocolMax": member.protocol_max,
        "ProtocolMin": member.protocol_min,
        "Status": member.status,
        "Tags": dict(sorted(member.tags.items())),
    }
    return b"\x06" + pack(fields)


def _encode_key_request(message: KeyRequest) -> bytes:
    return b"\x07" + pack({"Key": message.key})


def _encode_key_response(message: KeyResponse) -> bytes:
    return b"\x08" + pack(
        {
            "Keys": message.keys,
            "Message": message.message,
            "PrimaryKey": message.primary_key,
            "Result": message.result,
        }
    )


def _encode_relay(message: Relay) -> bytes:
    if not message.inner:
        raise ValueError("a relay of an empty message")
    _check(message.port, U16_MAX)
    destination = {"IP": message.address or None, "Port": message.port, "Zone": message.zone}
    return b"\x09" + pack({"DestAddr": destination, "DestName": message.node}) + message.inner


def _check(number: int, maximum: int, minimum: int = 0) -> None:
    """Refuse what peers could not decode."""
    if not minimum <= number <= maximum:
        raise ValueError(f"{number} is not from {minimum} to {maximum}")


_ENCODERS: Final[dict[type, Callable[..., bytes]]] = {
    LeaveIntent: _encode_leave,
    JoinIntent: _encode_join,
    PushPullState: _encode_push_pull,
    UserEvent: _encode_user_event,
    Query: _encode_query,
    QueryResponse: _encode_query_response,
    ConflictResponse: _encode_conflict_response,
    KeyRequest: _encode_key_request,
    KeyResponse: _encode_key_response,
    Relay: _encode_relay,
}
