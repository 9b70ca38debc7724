"""memberlist's messages: one type byte, then a msgpack struct.

`encode_message` writes any of them, `decode_message_untrusted` reads those that travel in datagrams
(0 to 5, 8 and 11). Streams carry some in another form and are read by `streams`, which uses the
shapes and functions of this module.

Decoding checks only that a message can be read: types and number ranges. Whether it makes sense
(six version bytes, 4 or 16 address bytes, meta size, incarnations) is for the engine to judge,
which also counts and logs it. Encoding on the other hand refuses, with a ValueError, what would
crash or poison a Go peer; see `_check_node`.

Gossip delivers the same bytes many times, so decoding what gossip carries is remembered; it is a
pure function of the bytes and its results are immutable.

Byte fields keep an absent value as `b""`, except an ack's payload, where the peers tell nil from
empty. Names are `str`; see `codec` about bytes that are not UTF-8.

From: memberlist `net.go` (message types and structs), `security.go` and `label.go` (types 10, 244).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, TypeAlias

from .codec import (
    U16_MAX,
    U32_MAX,
    Shape,
    pack,
    to_bool,
    to_i64,
    to_octets,
    to_octets_or_none,
    to_text,
    to_u16,
    to_u32,
    unpack_struct_untrusted,
)
from .errors import MalformedInput, Reason
from .limits import (
    MEMO_ENTRIES_MAX,
    MEMO_MESSAGE_SIZE_MAX,
    PUSH_PULL_NODES_MAX,
    USER_MESSAGE_SIZE_MAX,
    USER_STATE_SIZE_MAX,
)


class MessageType(IntEnum):
    """The first byte of a message, of a wrapper, or of a stream."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    CRC = 12
    ERROR = 13
    LABEL = 244


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? `node` is the name the sender believes to reach, empty for any.

    The source fields say where to send the ack; absent (empty, 0) in old peers' pings.
    """

    sequence_number: int
    node: str
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class IndirectPing:
    """Please ping `node` at `target` for me; `wants_nack`: and tell me if it does not answer."""

    sequence_number: int
    target: bytes
    port: int
    node: str
    wants_nack: bool
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """Answer to a ping. The payload is Serf's coordinate, None over TCP and when relayed."""

    sequence_number: int
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Nack:
    """The target of your indirect ping did not answer me in time."""

    sequence_number: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """`accuser` got no answer from `node`, which it knew with this incarnation."""

    incarnation: int
    node: str
    accuser: str


@dataclass(frozen=True, slots=True)
class Dead:
    """`node` is dead, says `accuser`; it left on its own if both are the same."""

    incarnation: int
    node: str
    accuser: str


@dataclass(frozen=True, slots=True)
class Alive:
    """`node` is alive at this address, with this meta.

    `versions` are the raw bytes PMin PMax PCur DMin DMax DCur, `b""` when absent. Port 0 means the
    receiver's own port.
    """

    incarnation: int
    node: str
    address: bytes
    port: int
    meta: bytes
    versions: bytes


@dataclass(frozen=True, slots=True)
class User:
    """A message of the layer above: Serf's."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class NodeState:
    """One row of a node table in a push-pull. `state`: 0 alive, 1 suspect, 2 dead, 3 left."""

    name: str
    address: bytes
    port: int
    meta: bytes
    incarnation: int
    state: int
    versions: bytes


@dataclass(frozen=True, slots=True)
class PushPull:
    """A whole node table and the state of the layer above."""

    nodes: tuple[NodeState, ...]
    user_state: bytes
    join: bool


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """Answer to a stream that could not be read."""

    text: str


PacketMessage: TypeAlias = Ping | IndirectPing | Ack | Suspect | Alive | Dead | User | Nack
StreamMessage: TypeAlias = PushPull | Ping | User | Ack | ErrorReply
Message: TypeAlias = PacketMessage | PushPull | ErrorReply

VERSIONS_SIZE: Final = 6
ADDRESS_SIZES: Final = (4, 16)

# --- shapes, fields in the order of their declaration in Go ---

_SOURCE: Shape = ((b"SourceAddr", to_octets), (b"SourcePort", to_u16), (b"SourceNode", to_text))
PING: Shape = ((b"SeqNo", to_u32), (b"Node", to_text), *_SOURCE)
_INDIRECT_PING: Shape = (
    (b"SeqNo", to_u32),
    (b"Target", to_octets),
    (b"Port", to_u16),
    (b"Node", to_text),
    (b"Nack", to_bool),
    *_SOURCE,
)
ACK: Shape = ((b"SeqNo", to_u32), (b"Payload", to_octets_or_none))
_NACK: Shape = ((b"SeqNo", to_u32),)
_ACCUSATION: Shape = ((b"Incarnation", to_u32), (b"Node", to_text), (b"From", to_text))
_ALIVE: Shape = (
    (b"Incarnation", to_u32),
    (b"Node", to_text),
    (b"Addr", to_octets),
    (b"Port", to_u16),
    (b"Meta", to_octets),
    (b"Vsn", to_octets),
)
NODE_STATE: Shape = (
    (b"Name", to_text),
    (b"Addr", to_octets),
    (b"Port", to_u16),
    (b"Meta", to_octets),
    (b"Incarnation", to_u32),
    (b"State", to_i64),
    (b"Vsn", to_octets),
)
PUSH_PULL_HEADER: Shape = ((b"Nodes", to_i64), (b"UserStateLen", to_i64), (b"Join", to_bool))
USER_HEADER: Shape = ((b"UserMsgLen", to_i64),)
ERROR: Shape = ((b"Error", to_text),)


# --- decoding ---


def decode_message_untrusted(data: bytes) -> PacketMessage:
    """Read one bare message of a datagram, type byte included.

    Raises:
        MalformedInput: Empty, of a type that is unknown or not for datagrams, or unreadable.
    """
    if not data:
        raise MalformedInput(Reason.EMPTY, "no bytes")
    decode = _DECODERS.get(data[0])
    if decode is None:
        raise unwanted_type(data[0])
    return decode(data)


def unwanted_type(number: int) -> MalformedInput:
    """Return the error for a message of a type that is unknown, or may not stand where it does."""
    try:
        name = MessageType(number).name
    except ValueError:
        return MalformedInput(Reason.UNKNOWN_TYPE, f"message type {number}")
    return MalformedInput(Reason.UNEXPECTED_TYPE, f"{name} may not stand here")


def _decode_ping(data: bytes) -> Ping:
    return Ping(*unpack_struct_untrusted(data[1:], PING))


def _decode_indirect_ping(data: bytes) -> IndirectPing:
    return IndirectPing(*unpack_struct_untrusted(data[1:], _INDIRECT_PING))


def _decode_ack(data: bytes) -> Ack:
    return Ack(*unpack_struct_untrusted(data[1:], ACK))


def _decode_nack(data: bytes) -> Nack:
    return Nack(*unpack_struct_untrusted(data[1:], _NACK))


def _decode_gossip_now(data: bytes) -> Suspect | Alive | Dead:
    body = data[1:]
    if data[0] == MessageType.ALIVE:
        return Alive(*unpack_struct_untrusted(body, _ALIVE))
    if data[0] == MessageType.SUSPECT:
        return Suspect(*unpack_struct_untrusted(body, _ACCUSATION))
    return Dead(*unpack_struct_untrusted(body, _ACCUSATION))


_decode_gossip_remembered = lru_cache(maxsize=MEMO_ENTRIES_MAX)(_decode_gossip_now)


def _decode_gossip(data: bytes) -> Suspect | Alive | Dead:
    if len(data) <= MEMO_MESSAGE_SIZE_MAX:
        return _decode_gossip_remembered(data)
    return _decode_gossip_now(data)


def _decode_user(data: bytes) -> User:
    return User(data[1:])


_DECODERS: Final[dict[int, Callable[[bytes], PacketMessage]]] = {
    MessageType.PING: _decode_ping,
    MessageType.INDIRECT_PING: _decode_indirect_ping,
    MessageType.ACK: _decode_ack,
    MessageType.SUSPECT: _decode_gossip,
    MessageType.ALIVE: _decode_gossip,
    MessageType.DEAD: _decode_gossip,
    MessageType.USER: _decode_user,
    MessageType.NACK: _decode_nack,
}


# --- encoding ---


def encode_message(message: Message) -> bytes:
    """Write a message with its type byte; a `User` as it is in datagrams.

    Raises:
        ValueError: A number out of its range, or something that would harm a Go peer.
    """
    return _ENCODERS[type(message)](message)


def encode_user_stream(payload: bytes) -> bytes:
    """Write a user message as it is in streams: with its length.

    Raises:
        ValueError: Larger than peers accept.
    """
    if len(payload) > USER_MESSAGE_SIZE_MAX:
        raise ValueError(f"user message of {len(payload)} bytes, at most {USER_MESSAGE_SIZE_MAX}")
    return b"\x08" + pack({"UserMsgLen": len(payload)}) + payload


def _encode_ping(message: Ping) -> bytes:
    _check_numbers(message.sequence_number, message.source_port)
    fields: dict[str, object] = {"Node": message.node, "SeqNo": message.sequence_number}
    _add_source(fields, message)
    return b"\x00" + pack(fields)


def _encode_indirect_ping(message: IndirectPing) -> bytes:
    _check_numbers(message.sequence_number, message.port)
    _check_numbers(0, message.source_port)
    fields: dict[str, object] = {
        "Nack": message.wants_nack,
        "Node": message.node,
        "Port": message.port,
        "SeqNo": message.sequence_number,
    }
    _add_source(fields, message)
    fields["Target"] = message.target or None
    return b"\x01" + pack(fields)


def _add_source(fields: dict[str, object], message: Ping | IndirectPing) -> None:
    """Add the source fields that are not empty (omitempty in Go), in the order of their names."""
    if message.source_address:
        fields["SourceAddr"] = message.source_address
    if message.source_node:
        fields["SourceNode"] = message.source_node
    if message.source_port:
        fields["SourcePort"] = message.source_port


def _encode_ack(message: Ack) -> bytes:
    _check_numbers(message.sequence_number, 0)
    return b"\x02" + pack({"Payload": message.payload, "SeqNo": message.sequence_number})


def _encode_nack(message: Nack) -> bytes:
    _check_numbers(message.sequence_number, 0)
    return b"\x0b" + pack({"SeqNo": message.sequence_number})


def _encode_accusation(message: Suspect | Dead) -> bytes:
    _check_numbers(message.incarnation, 0)
    fields = {"From": message.accuser, "Incarnation": message.incarnation, "Node": message.node}
    return (b"\x03" if isinstance(message, Suspect) else b"\x05") + pack(fields)


def _encode_alive(message: Alive) -> bytes:
    _check_node(message)
    if not message.incarnation:
        raise ValueError("incarnation 0 leaves a dead entry at peers instead of a join")
    return b"\x04" + pack(
        {
            "Addr": message.address,
            "Incarnation": message.incarnation,
            "Meta": message.meta or None,
            "Node": message.node,
            "Port": message.port,
            "Vsn": message.versions,
        }
    )


def _encode_user(message: User) -> bytes:
    return b"\x08" + message.payload


def _encode_push_pull(message: PushPull) -> bytes:
    if len(message.nodes) > PUSH_PULL_NODES_MAX:
        raise ValueError(f"{len(message.nodes)} nodes, at most {PUSH_PULL_NODES_MAX}")
    if len(message.user_state) > USER_STATE_SIZE_MAX:
        raise ValueError(f"user state over {USER_STATE_SIZE_MAX} bytes")
    header = {
        "Join": message.join,
        "Nodes": len(message.nodes),
        "UserStateLen": len(message.user_state),
    }
    return b"".join(
        (b"\x06", pack(header), *map(_encode_node_state, message.nodes), message.user_state)
    )


def _encode_node_state(node: NodeState) -> bytes:
    _check_node(node)
    return pack(
        {
            "Addr": node.address,
            "Incarnation": node.incarnation,
            "Meta": node.meta or None,
            "Name": node.name,
            "Port": node.port,
            "State": node.state,
            "Vsn": node.versions,
        }
    )


def _encode_error(message: ErrorReply) -> bytes:
    return b"\x0d" + pack({"Error": message.text})


def _check_node(node: Alive | NodeState) -> None:
    """Refuse what crashes or poisons Go peers that learn it from us.

    Without six version bytes they die, or fail every push-pull from then on; with an address that
    is none they log an error at each probe.
    """
    if len(node.versions) != VERSIONS_SIZE:
        raise ValueError(f"{len(node.versions)} version bytes, {VERSIONS_SIZE} needed")
    if len(node.address) not in ADDRESS_SIZES:
        raise ValueError(f"an address of {len(node.address)} bytes")
    _check_numbers(node.incarnation, node.port)


def _check_numbers(wide: int, port: int) -> None:
    """Refuse what peers could not decode: `wide` has 32 bits there, `port` 16."""
    if not 0 <= wide <= U32_MAX or not 0 <= port <= U16_MAX:
        raise ValueError(f"{wide} does not fit 32 bits, or {port} not 16")


_ENCODERS: Final[dict[type, Callable[..., bytes]]] = {
    Ping: _encode_ping,
    IndirectPing: _encode_indirect_ping,
    Ack: _encode_ack,
    Nack: _encode_nack,
    Suspect: _encode_accusation,
    Dead: _encode_accusation,
    Alive: _encode_alive,
    User: _encode_user,
    PushPull: _encode_push_pull,
    ErrorReply: _encode_error,
}
