"""Serf's messages against recorded ones, what is refused, and what the state may cost."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from rookery.gossip.serf.messages import (
    KEY_CHANGES,
    QUERY_ACK,
    QUERY_NO_BROADCAST,
    RESPONSE_ACK,
    ConflictMember,
    ConflictResponse,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    NodeFilter,
    PushPullState,
    Query,
    QueryResponse,
    RecentEvents,
    Relay,
    SerfMessageType,
    TagFilter,
    UserEvent,
    decode_filter_untrusted,
    decode_serf_message_untrusted,
    encode_filter,
    encode_serf_message,
)
from rookery.gossip.wire.codec import pack
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.limits import (
    EVENT_SLOTS_MAX,
    MEMO_MESSAGE_SIZE_MAX,
    STATE_FIELDS_MAX,
    STATUS_LTIMES_MAX,
    USER_STATE_SIZE_MAX,
)

from ..vector_files import MESSAGES, REACTIONS, STREAMS, Recorded


def hexed(data: bytes | None) -> str | None:
    """Return bytes as the vectors write them."""
    return None if data is None else data.hex()


def body(message: object) -> dict[str, Any] | None:
    """Return a decoded Serf message as the vectors write it."""
    match message:
        case LeaveIntent(ltime, node, prune):
            return {"LTime": ltime, "Node": node, "Prune": prune}
        case JoinIntent(ltime, node):
            return {"LTime": ltime, "Node": node}
        case UserEvent(ltime, name, payload, coalesce):
            return {"LTime": ltime, "Name": name, "Payload": hexed(payload), "CC": coalesce}
        case Query():
            return {
                "LTime": message.ltime,
                "ID": message.id,
                "Addr": message.address.hex(),
                "Port": message.port,
                "SourceNode": message.source_node,
                "Filters": [item.hex() for item in message.filters] or None,
                "Flags": message.flags,
                "RelayFactor": message.relay_factor,
                "Timeout": message.timeout_ns,
                "Name": message.name,
                "Payload": hexed(message.payload),
            }
        case QueryResponse(ltime, number, sender, flags, payload):
            return {
                "LTime": ltime,
                "ID": number,
                "From": sender,
                "Flags": flags,
                "Payload": hexed(payload),
            }
        case KeyRequest(key):
            return {"Key": key.hex()}
        case KeyResponse(result, text, keys, primary_key):
            return {
                "Result": result,
                "Message": text,
                "Keys": None if keys is None else list(keys),
                "PrimaryKey": primary_key,
            }
        case ConflictResponse(None):
            return None
        case ConflictResponse(ConflictMember() as member):
            return {
                "Name": member.name,
                "Addr": member.address.hex(),
                "Port": member.port,
                "Tags": dict(member.tags),
                "Status": member.status,
                "ProtocolMin": member.protocol_min,
                "ProtocolMax": member.protocol_max,
                "ProtocolCur": member.protocol_cur,
                "DelegateMin": member.delegate_min,
                "DelegateMax": member.delegate_max,
                "DelegateCur": member.delegate_cur,
            }
    raise AssertionError(message)


SERF = [case for case in MESSAGES if "serf" in case.vector]
WITH_PAYLOAD = [case for case in SERF if "payload_decoded" in case.vector]
STATES = [case for case in STREAMS if "user_state" in case.vector[case.side]]


def by_name(cases: list[Recorded]) -> Any:
    """Parametrize over recorded things."""
    assert cases
    return pytest.mark.parametrize("recorded", cases, ids=[case.name for case in cases])


@by_name(SERF)
def test_message_decodes_to_its_body(recorded: Recorded) -> None:
    """Each recorded message decodes to the stated fields and encodes to the same bytes again."""
    data = bytes.fromhex(recorded.vector["hex"])[1:]
    message = decode_serf_message_untrusted(data)
    assert data[0] == recorded.vector["serf_type"]
    assert SerfMessageType(data[0]).name.lower() == recorded.vector["serf"]
    if isinstance(message, Relay):
        check_relay(message, recorded.vector)
    else:
        assert body(message) == recorded.vector["body"]
    assert encode_serf_message(message) == data


def check_relay(message: Relay, stated: dict[str, Any]) -> None:
    """Compare a relay's header and the message in it."""
    header = {"IP": message.address.hex(), "Port": message.port, "Zone": message.zone}
    assert {"DestAddr": header, "DestName": message.node} == stated["header"]
    assert message.inner[0] == stated["inner"]["serf_type"]
    assert body(decode_serf_message_untrusted(message.inner)) == stated["inner"]["body"]


@by_name(WITH_PAYLOAD)
def test_payload_decodes_to_its_body(recorded: Recorded) -> None:
    """Key requests and responses, and conflict answers, are Serf messages inside a payload."""
    outer = decode_serf_message_untrusted(bytes.fromhex(recorded.vector["hex"])[1:])
    assert isinstance(outer, Query | QueryResponse)
    assert outer.payload is not None
    inner = decode_serf_message_untrusted(outer.payload)
    stated = recorded.vector["payload_decoded"]
    assert outer.payload[0] == stated["serf_type"]
    assert body(inner) == stated["body"]
    again = encode_serf_message(inner)
    assert decode_serf_message_untrusted(again) == inner
    if not isinstance(inner, ConflictResponse):  # its tags are a Go map, in any order
        assert again == outer.payload


@by_name([case for case in SERF if case.vector.get("filters")])
def test_filters_decode_as_stated(recorded: Recorded) -> None:
    """Each recorded filter decodes to names or a tag and an expression, and encodes again."""
    query = decode_serf_message_untrusted(bytes.fromhex(recorded.vector["hex"])[1:])
    assert isinstance(query, Query)
    assert len(query.filters) == len(recorded.vector["filters"])
    for data, stated in zip(query.filters, recorded.vector["filters"], strict=True):
        wanted = decode_filter_untrusted(data)
        assert encode_filter(wanted) == data
        if isinstance(wanted, NodeFilter):
            assert list(wanted.names) in stated.values()
        else:
            assert {"Tag": wanted.tag, "Expr": wanted.expression}.items() <= flattened(stated)


def flattened(value: Any) -> Any:
    """Return the items of the innermost dict with a tag in it."""
    if "Tag" in value:
        return value.items()
    return flattened(next(inner for inner in value.values() if isinstance(inner, dict)))


@by_name(STATES)
def test_state_decodes_to_its_body(recorded: Recorded) -> None:
    """Each recorded user state decodes as stated and encodes to the same bytes again."""
    side = recorded.vector[recorded.side]
    data = bytes.fromhex(side["user_state_hex"])
    state = decode_serf_message_untrusted(data)
    assert isinstance(state, PushPullState)
    stated = side["user_state"]["body"]
    assert state.ltime == stated["LTime"]
    assert state.event_ltime == stated["EventLTime"]
    assert state.query_ltime == stated["QueryLTime"]
    assert state.status_ltimes == stated["StatusLTimes"]
    assert list(state.left_members) == stated["LeftMembers"]
    assert state.event_slots == stated["Events.slots"]
    events = [
        {
            "LTime": recent.ltime,
            "Events": [
                {"Name": name, "Payload": hexed(payload)} for name, payload in recent.events
            ],
        }
        for recent in state.events
    ]
    stated_events = [{k: v for k, v in e.items() if k != "slot"} for e in stated["Events"]]
    assert events == stated_events
    assert encode_serf_message(state) == data


# --- single messages ---

QUERY = Query(5, 1, bytes(4), 7946, "n", (), QUERY_ACK, 0, 10**9, "load", None)


def query(**changes: Any) -> Query:
    """Return a lawful query with some fields changed."""
    fields = {name: getattr(QUERY, name) for name in Query.__slots__}
    return Query(**(fields | changes))


def test_flags_are_the_wire_s_bits() -> None:
    """The numbers are fixed by the protocol."""
    assert (QUERY_ACK, QUERY_NO_BROADCAST, RESPONSE_ACK) == (1, 2, 1)


def test_old_leave_has_no_prune() -> None:
    """Old peers leave the field out; it is false then."""
    data = b"\x00" + pack({"LTime": 501, "Node": "victim"})
    assert decode_serf_message_untrusted(data) == LeaveIntent(501, "victim", prune=False)


def test_unknown_member_is_nil() -> None:
    """A conflict answer about a name nobody knows is just `06 c0`."""
    assert encode_serf_message(ConflictResponse(None)) == b"\x06\xc0"
    assert decode_serf_message_untrusted(b"\x06\xc0") == ConflictResponse(None)


def test_member_of_a_conflict_answer_goes_both_ways() -> None:
    """All fields, the tags in sorted order."""
    member = ConflictMember("nu", bytes(16), 1, {"b": "2", "a": "1"}, 1, 1, 5, 2, 2, 5, 4)
    data = encode_serf_message(ConflictResponse(member))
    assert decode_serf_message_untrusted(data) == ConflictResponse(member)
    assert data.index(b"\xa1a") < data.index(b"\xa1b")


def test_keys_do_not_show() -> None:
    """Key messages do not print their keys: they may end up in a log."""
    shown = repr(KeyRequest(b"secret")) + repr(KeyResponse(True, "", ("secret",), "secret"))
    assert "secret" not in shown


def test_empty_address_is_written_as_nil() -> None:
    """Absent, as Go writes it; no peer sends an empty one that is not nil."""
    assert b"\xa4Addr\xc0" in encode_serf_message(query(address=b""))


@pytest.mark.parametrize("name", sorted(KEY_CHANGES))
@pytest.mark.parametrize("payload", [None, b""])
def test_key_query_without_payload_is_not_encoded(name: str, payload: bytes | None) -> None:
    """It kills every Go agent that it reaches; with a payload it is fine."""
    with pytest.raises(ValueError, match="crashes Go agents"):
        encode_serf_message(query(name=name, payload=payload))
    assert encode_serf_message(query(name=name, payload=b"\x07\x80"))
    assert encode_serf_message(query(name="_serf_list-keys", payload=payload))


@pytest.mark.parametrize("filters", [(b"",), (b"\x00\x90", b"")])
def test_empty_filter_is_not_encoded(filters: tuple[bytes, ...]) -> None:
    """It kills every Go agent that it reaches."""
    with pytest.raises(ValueError, match="crashes Go agents"):
        encode_serf_message(query(filters=filters))


def test_relay_of_nothing_is_not_encoded_but_read() -> None:
    """A peer's relay may hold nothing; ours may not."""
    header = b"\x09" + pack({"DestAddr": {"IP": bytes(4), "Port": 1, "Zone": ""}, "DestName": "d"})
    assert decode_serf_message_untrusted(header) == Relay(bytes(4), 1, "", "d", b"")
    with pytest.raises(ValueError, match="empty"):
        encode_serf_message(Relay(bytes(4), 1, "", "d", b""))


@pytest.mark.parametrize(
    "message",
    [
        query(ltime=-1),
        query(ltime=2**64),
        query(id=2**32),
        query(flags=-1),
        query(port=65536),
        query(relay_factor=256),
        query(timeout_ns=2**63),
        query(timeout_ns=-(2**63) - 1),
        JoinIntent(2**64, "n"),
        LeaveIntent(-1, "n"),
        UserEvent(2**64, "e", None, False),
        QueryResponse(1, 2**32, "n", 0, None),
        QueryResponse(1, 1, "n", 2**32, None),
        Relay(bytes(4), 65536, "", "d", b"\x05"),
        PushPullState(0, {}, (), 2**64, (), 0),
    ],
    ids=str,
)
def test_numbers_that_peers_could_not_read_are_not_encoded(message: Any) -> None:
    """A number over its field's range would be dropped by every peer."""
    with pytest.raises(ValueError, match="is not from"):
        encode_serf_message(message)


def test_numbers_at_their_limit_go_both_ways() -> None:
    """The last number of each range is written and read."""
    for message in (
        query(ltime=2**64 - 1, id=2**32 - 1, port=65535, relay_factor=255, timeout_ns=2**63 - 1),
        query(timeout_ns=-(2**63)),
        Relay(bytes(4), 65535, "", "d", b"\x05"),
    ):
        assert decode_serf_message_untrusted(encode_serf_message(message)) == message


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"\x0a\x80", Reason.UNKNOWN_TYPE),
        (b"\x4dhello", Reason.UNKNOWN_TYPE),
        (b"\x03", Reason.BAD_MSGPACK),
        (b"\x03\x07", Reason.BAD_FIELD),
        (b"\x09\x82", Reason.TRUNCATED),
        (b"\x09" + pack({"DestAddr": {"Port": -1}}), Reason.BAD_FIELD),
        (b"\x09" + pack({"DestAddr": {"Port": 65536}}), Reason.BAD_FIELD),
        (b"\x09" + pack({"DestAddr": 7}), Reason.BAD_FIELD),
        (b"\x06\x07", Reason.BAD_FIELD),
        (b"\x08\x81\xa4Keys\xa1a", Reason.BAD_FIELD),
        (b"\x04\x81\xa7Filters\xa1a", Reason.BAD_FIELD),
        (b"\x04\x81\xa7Filters\x91\x05", Reason.BAD_FIELD),
    ],
)
def test_unreadable_message_is_malformed(data: bytes, reason: str) -> None:
    """Each way of being unreadable has its reason."""
    with pytest.raises(MalformedInput) as caught:
        decode_serf_message_untrusted(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"\x02\x90", Reason.UNKNOWN_TYPE),
        (b"\x00", Reason.BAD_MSGPACK),
        (b"\x00\x05", Reason.BAD_FIELD),
        (b"\x00\x91\x05", Reason.BAD_FIELD),
        (b"\x01\x05", Reason.BAD_FIELD),
    ],
)
def test_unreadable_filter_is_malformed(data: bytes, reason: str) -> None:
    """An empty filter above all, which kills Go agents."""
    with pytest.raises(MalformedInput) as caught:
        decode_filter_untrusted(data)
    assert caught.value.reason == reason


def test_filters_are_read_in_every_encoding() -> None:
    """Nil for no names, a struct as an array, unknown keys."""
    assert decode_filter_untrusted(b"\x00\xc0") == NodeFilter(())
    assert decode_filter_untrusted(b"\x00\x92\xc4\x01a\xd9\x01b") == NodeFilter(("a", "b"))
    assert decode_filter_untrusted(b"\x01\x92\xa4role\xa2^a") == TagFilter("role", "^a")
    assert decode_filter_untrusted(b"\x01\x80") == TagFilter("", "")


@pytest.mark.parametrize(
    "packet",
    [packet for packet in REACTIONS if packet["bytes"].startswith("08")],
    ids=lambda packet: packet["kind"],
)
def test_crafted_user_message_is_survived(packet: dict[str, Any]) -> None:
    """Queries that kill Go agents decode (judging them is the engine's) or are malformed."""
    data = bytes.fromhex(packet["bytes"])[1:]
    if packet["transport"] == "tcp":
        data = data[data.index(b"\x03\x84") :]
    try:
        message = decode_serf_message_untrusted(data)
    except MalformedInput:
        assert packet["kind"] in ("unknown-serf-type", "empty-user")
        return
    if not packet["agent_survived"]:
        with pytest.raises(ValueError, match="crashes Go agents"):
            encode_serf_message(message)


def test_repeated_gossip_is_decoded_once() -> None:
    """Equal bytes give the same immutable object; up to the size limit, and no further."""

    def event(size: int) -> bytes:
        empty = len(encode_serf_message(UserEvent(1, "e", b"x" * 300, False))) - 300
        data = encode_serf_message(UserEvent(1, "e", b"x" * (size - empty), False))
        assert len(data) == size
        return data

    largest, larger = event(MEMO_MESSAGE_SIZE_MAX), event(MEMO_MESSAGE_SIZE_MAX + 1)
    again = bytes(bytearray(largest))
    assert decode_serf_message_untrusted(largest) is decode_serf_message_untrusted(again)
    assert decode_serf_message_untrusted(larger) is not decode_serf_message_untrusted(larger)


# --- the state of a push-pull ---


def state(body: bytes) -> PushPullState:
    """Decode a state's body."""
    message = decode_serf_message_untrusted(b"\x02" + body)
    assert isinstance(message, PushPullState)
    return message


EVENT = RecentEvents(5, (("e", None), ("f", b"")))


def test_event_buffer_may_be_whole_or_only_what_is_occupied() -> None:
    """Both forms are written and read; a whole one keeps its length and places."""
    events = (RecentEvents(513, (("a", b"1"),)), RecentEvents(5, (("b", None),)))
    for slots in (0, 512):
        whole = PushPullState(3, {"n": 1}, ("n",), 4, events, 5, event_slots=slots)
        assert decode_serf_message_untrusted(encode_serf_message(whole)) == whole
    misplaced = b"\x81\xa6Events\x93\xc0\xc0" + pack({"LTime": 9, "Events": []})
    assert (state(misplaced).events, state(misplaced).event_slots) == ((RecentEvents(9, ()),), 0)


def test_two_events_cannot_have_one_slot() -> None:
    """The caller's error: one of them would be lost."""
    events = (RecentEvents(1, ()), RecentEvents(513, ()))
    with pytest.raises(ValueError, match="slot 1"):
        encode_serf_message(PushPullState(0, {}, (), 0, events, 0, event_slots=512))


EMPTY_STATE = PushPullState(0, {}, (), 0, (), 0)

READ_AS_IN_GO = {
    "nil": (b"\xc0", EMPTY_STATE),
    "empty map": (b"\x80", EMPTY_STATE),
    "empty array": (b"\x90", EMPTY_STATE),
    "array of fields": (
        b"\x97\x05\x81\xa1a\x01\x91\xa1b\x06\x91\x92\x05\x92\x92\xa1e\xc0\x92\xa1f\xa0\x07\xc3",
        PushPullState(5, {"a": 1}, ("b",), 6, (EVENT,), 7),
    ),
    "nil for lists and maps": (
        b"\x83\xa6Events\xc0\xabLeftMembers\xc0\xacStatusLTimes\xc0",
        EMPTY_STATE,
    ),
    "nil inside": (
        b"\x83\xa6Events\x92\xc0\xc0\xabLeftMembers\x91\xc0\xacStatusLTimes\x81\xc0\xc0",
        PushPullState(0, {"": 0}, ("",), 0, (), 0, event_slots=2),
    ),
    "unknown and nil keys": (b"\x83\xc0\x01\xa1x\x93\x01\x02\x03\xa5LTime\x05", PushPullState(
        5, {}, (), 0, (), 0
    )),
    "bin and str8": (
        b"\x82\xc4\x0bLeftMembers\x91\xd9\x01a\xacStatusLTimes\x81\xc4\x01a\xcc\x05",
        PushPullState(0, {"a": 5}, ("a",), 0, (), 0),
    ),
    "map for a list": (
        b"\x81\xabLeftMembers\x81\xa1a\xa1b",
        PushPullState(0, {}, ("a", "b"), 0, (), 0),
    ),
    "bytes behind": (b"\x80\xff\xff", EMPTY_STATE),
}  # fmt: skip


@pytest.mark.parametrize("name", READ_AS_IN_GO)
def test_state_is_read_in_every_encoding(name: str) -> None:
    """What go-msgpack accepts for the state (tried with 0.5 and 2) is accepted."""
    body, wanted = READ_AS_IN_GO[name]
    assert state(body) == wanted


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.TRUNCATED),
        (b"\x81", Reason.TRUNCATED),
        (b"\x81\xa5LTime", Reason.TRUNCATED),
        (b"\x81\xacStatusLTimes\x82\xa1a\x01", Reason.TRUNCATED),
        (b"\x07", Reason.BAD_FIELD),
        (b"\xa1a", Reason.BAD_FIELD),
        (b"\x81\x05\x05", Reason.BAD_FIELD),
        (b"\x81\xa5LTime\xff", Reason.BAD_FIELD),
        (b"\x81\xacStatusLTimes\x90", Reason.BAD_FIELD),
        (b"\x81\xacStatusLTimes\xa1a", Reason.BAD_FIELD),
        (b"\x81\xacStatusLTimes\x81\x05\x05", Reason.BAD_FIELD),
        (b"\x81\xacStatusLTimes\x81\xa1a\xff", Reason.BAD_FIELD),
        (b"\x81\xabLeftMembers\xa1a", Reason.BAD_FIELD),
        (b"\x81\xabLeftMembers\x91\x05", Reason.BAD_FIELD),
        (b"\x81\xa6Events\x91\x05", Reason.BAD_FIELD),
        (b"\x81\xa6Events\xc1", Reason.BAD_FIELD),
        (b"\x81\xa5LTime\xc1", Reason.BAD_MSGPACK),
    ],
)
def test_unreadable_state_is_malformed(body: bytes, reason: str) -> None:
    """What Go refuses in the state is refused, with its reason."""
    with pytest.raises(MalformedInput) as caught:
        state(body)
    assert caught.value.reason == reason


DECLARED = {
    "StatusLTimes": (b"\x81\xacStatusLTimes\xdf", STATUS_LTIMES_MAX),
    "LeftMembers": (b"\x81\xabLeftMembers\xdd", STATUS_LTIMES_MAX),
    "Events": (b"\x81\xa6Events\xdd", EVENT_SLOTS_MAX),
    "fields": (b"\xdf", STATE_FIELDS_MAX),
}


@pytest.mark.parametrize("name", DECLARED)
def test_declared_number_ends_at_its_limit_and_reserves_nothing(name: str) -> None:
    """Just the limit is read on (and found cut off), one more is refused; neither costs memory."""
    start, maximum = DECLARED[name]
    tracemalloc.start()
    try:
        for number, reason in (
            (maximum, Reason.TRUNCATED),
            (maximum + 1, Reason.TOO_MANY),
            (2**31, Reason.TOO_MANY),
        ):
            with pytest.raises(MalformedInput) as caught:
                state(start + number.to_bytes(4, "big"))
            assert caught.value.reason == reason
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000  # the decoders themselves


@pytest.mark.slow
def test_what_is_over_the_limits_is_not_encoded() -> None:
    """Members and event slots: the limit is written and read, one more is the caller's error."""
    members = {f"{number:x}": number for number in range(STATUS_LTIMES_MAX)}
    full = PushPullState(1, members, (), 1, (), 1)
    assert decode_serf_message_untrusted(encode_serf_message(full)) == full
    with pytest.raises(ValueError, match="at most"):
        encode_serf_message(PushPullState(1, members | {"one more": 1}, (), 1, (), 1))
    event = (RecentEvents(1, ()),)
    slots = PushPullState(1, {}, (), 1, event, 1, event_slots=EVENT_SLOTS_MAX)
    assert decode_serf_message_untrusted(encode_serf_message(slots)) == slots
    with pytest.raises(ValueError, match="slots"):
        encode_serf_message(PushPullState(1, {}, (), 1, event, 1, event_slots=EVENT_SLOTS_MAX + 1))


def test_state_ends_at_the_size_of_a_user_state() -> None:
    """A state of just the limit is read, one byte more is refused."""
    data = b"\x02\x80" + bytes(USER_STATE_SIZE_MAX - 2)
    assert decode_serf_message_untrusted(data) == EMPTY_STATE
    with pytest.raises(MalformedInput) as caught:
        decode_serf_message_untrusted(data + b"x")
    assert caught.value.reason == Reason.TOO_LARGE


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xa5LTime" + b"\x91" * 900 + b"\xdd\x00\x00\x08\x00" * 5000,
        b"\x81\xa5LTime\xdd\x00\x0f\x00\x00" + b"\x80" * 983_040,
        b"\x81\xabLeftMembers\xdd\x00\x01\x00\x00" + b"\xdc\x08\x00" * 10_000,
        b"\x81\xa6Events\x91\x82\xa5LTime\x01\xa6Events\xdd\x00\x0f\x00\x00" + b"\x80" * 983_040,
    ],
    ids=["deep", "empty maps", "unfinished lists", "empty events"],
)
def test_state_cannot_be_blown_up(body: bytes) -> None:
    """A megabyte that would become a hundred as one msgpack object is refused early."""
    tracemalloc.start()
    try:
        with pytest.raises(MalformedInput):
            state(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
