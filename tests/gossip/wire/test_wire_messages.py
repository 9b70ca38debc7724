"""memberlist's messages: what is refused on either side, and what is remembered."""

from __future__ import annotations

from typing import Any

import pytest
from rookery.gossip.wire import messages
from rookery.gossip.wire.codec import pack, pack_struct
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.limits import MEMO_ENTRIES_MAX, MEMO_MESSAGE_SIZE_MAX
from rookery.gossip.wire.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    MessageType,
    Nack,
    NodeState,
    Ping,
    PushPull,
    Suspect,
    User,
    decode_message_untrusted,
    encode_message,
)

VERSIONS = bytes((1, 5, 2, 2, 5, 5))
ADDRESS = bytes((127, 0, 0, 1))
ALIVE = {"incarnation": 1, "node": "n", "address": ADDRESS, "port": 7946, "meta": b""}


def alive(**changes: Any) -> Alive:
    """Return a lawful alive message with some fields changed."""
    return Alive(**({"versions": VERSIONS} | ALIVE | changes))


def state(**changes: Any) -> NodeState:
    """Return a lawful node state with some fields changed."""
    fields: dict[str, Any] = {
        "name": "n",
        "address": ADDRESS,
        "port": 7946,
        "meta": b"",
        "incarnation": 1,
        "state": 0,
        "versions": VERSIONS,
    }
    return NodeState(**(fields | changes))


POISON = [
    {"versions": b""},
    {"versions": VERSIONS[:1]},
    {"versions": VERSIONS[:5]},
    {"versions": VERSIONS + b"\x00"},
    {"address": b""},
    {"address": ADDRESS[:3]},
    {"address": bytes(15)},
    {"port": -1},
    {"port": 65536},
    {"incarnation": -1},
    {"incarnation": 2**32},
]


@pytest.mark.parametrize("changes", POISON, ids=str)
def test_what_harms_go_peers_is_not_encoded(changes: dict[str, Any]) -> None:
    """Short versions kill peers, bad addresses poison them; neither leaves us in any message."""
    with pytest.raises(ValueError, match=r"."):
        encode_message(alive(**changes))
    with pytest.raises(ValueError, match=r"."):
        encode_message(PushPull((state(), state(**changes)), b"", join=True))


def test_incarnation_0_is_not_announced() -> None:
    """It would leave a dead entry at peers; a node state may still report it."""
    with pytest.raises(ValueError, match="incarnation 0"):
        encode_message(alive(incarnation=0))
    assert encode_message(PushPull((state(incarnation=0),), b"", join=False))


@pytest.mark.parametrize(
    "message",
    [
        Ping(2**32, "n"),
        Ping(-1, "n"),
        Ping(1, "n", ADDRESS, 65536),
        IndirectPing(1, ADDRESS, 65536, "n", True),
        IndirectPing(2**32, ADDRESS, 1, "n", True),
        IndirectPing(1, ADDRESS, 1, "n", True, ADDRESS, -1),
        Ack(2**32, None),
        Nack(-1),
        Suspect(2**32, "n", "m"),
        Dead(-1, "n", "m"),
    ],
    ids=str,
)
def test_numbers_that_peers_could_not_read_are_not_encoded(message: Any) -> None:
    """A number over its field's range would be dropped by every peer."""
    with pytest.raises(ValueError, match="does not fit"):
        encode_message(message)


def test_numbers_at_their_limit_are_encoded() -> None:
    """The last number of each range goes through."""
    for message in (
        Ping(2**32 - 1, "n", ADDRESS, 65535, "m"),
        IndirectPing(2**32 - 1, bytes(16), 65535, "n", False, ADDRESS, 65535, "m"),
        alive(incarnation=2**32 - 1, port=65535, address=bytes(16)),
    ):
        assert decode_message_untrusted(encode_message(message)) == message


def test_absent_source_fields_are_left_out() -> None:
    """Omitempty, as in Go: an empty field has no key at all."""
    assert encode_message(Ping(7, "n")) == b"\x00" + pack({"Node": "n", "SeqNo": 7})
    assert b"Source" not in encode_message(IndirectPing(7, ADDRESS, 1, "n", True))


@pytest.mark.parametrize("number", [6, 7, 9, 10, 12, 13, 244])
def test_type_that_is_not_for_datagrams_is_unexpected(number: int) -> None:
    """Wrappers have been taken off before, and streams' messages may not come by datagram."""
    with pytest.raises(MalformedInput, match=MessageType(number).name) as caught:
        decode_message_untrusted(bytes((number,)) + b"\x80")
    assert caught.value.reason == Reason.UNEXPECTED_TYPE


@pytest.mark.parametrize("number", [14, 99, 243, 245, 255])
def test_type_that_nobody_defined_is_unknown(number: int) -> None:
    """The number is in the detail, for the log."""
    with pytest.raises(MalformedInput, match=str(number)) as caught:
        decode_message_untrusted(bytes((number,)) + b"\x80")
    assert caught.value.reason == Reason.UNKNOWN_TYPE


def test_nothing_is_no_message() -> None:
    """An empty part is malformed, not a crash."""
    with pytest.raises(MalformedInput) as caught:
        decode_message_untrusted(b"")
    assert caught.value.reason == Reason.EMPTY


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 11])
def test_missing_fields_are_zero(number: int) -> None:
    """A struct without any field decodes to zero values, as in Go; judging it is the engine's."""
    empty = decode_message_untrusted(bytes((number,)) + b"\x80")
    assert decode_message_untrusted(bytes((number,)) + b"\xc0") == empty
    assert decode_message_untrusted(bytes((number,)) + b"\x90") == empty


def test_user_message_may_be_empty() -> None:
    """Peers ignore it; so it decodes, to an empty payload."""
    assert decode_message_untrusted(b"\x08") == User(b"")


def gossip_of(size: int) -> bytes:
    """Return an alive message of exactly that many bytes."""
    fields = {"Node": "n", "Vsn": VERSIONS, "Meta": b""}
    padding = size - len(b"\x04" + pack_struct(fields)) - 2
    message = b"\x04" + pack_struct(fields | {"Meta": bytes(padding)})
    assert len(message) == size
    return message


def test_repeated_gossip_is_decoded_once() -> None:
    """Equal bytes give the same immutable object; up to the size limit, and no further."""
    assert decode_message_untrusted(gossip_of(1000)) is decode_message_untrusted(gossip_of(1000))
    largest = gossip_of(MEMO_MESSAGE_SIZE_MAX)
    assert decode_message_untrusted(largest) is decode_message_untrusted(bytes(bytearray(largest)))
    larger = gossip_of(MEMO_MESSAGE_SIZE_MAX + 1)
    assert decode_message_untrusted(larger) is not decode_message_untrusted(larger)
    assert decode_message_untrusted(larger) == decode_message_untrusted(larger)


def test_memory_of_decoded_gossip_is_bounded() -> None:
    """However many different messages come, no more than the limit is remembered."""
    for incarnation in range(MEMO_ENTRIES_MAX + 10):
        decode_message_untrusted(encode_message(Suspect(incarnation, "memory", "m")))
    assert messages._decode_gossip_remembered.cache_info().currsize == MEMO_ENTRIES_MAX


def test_messages_are_values() -> None:
    """Frozen, comparable, hashable: they may be shared and remembered."""
    with pytest.raises(AttributeError):
        alive().port = 1  # type: ignore[misc]
    assert len({alive(), alive(), alive(port=1)}) == 2
