"""msgpack as Go peers write and read it: what is accepted, what is refused, what it may cost."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from rookery.gossip.serf.messages import (
    ConflictMember,
    ConflictResponse,
    LeaveIntent,
    PushPullState,
    Query,
    RecentEvents,
    Relay,
    decode_serf_message_untrusted,
    encode_serf_message,
)
from rookery.gossip.serf.tags import decode_tags_untrusted, encode_tags
from rookery.gossip.wire.codec import (
    NeedMore,
    ObjectReader,
    Shape,
    pack,
    pack_struct,
    to_float,
    to_i64,
    to_list,
    to_u8,
    to_u16,
    to_u32,
    to_u64,
    unpack_struct_untrusted,
    unpack_untrusted,
)
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.limits import (
    ARRAY_ELEMENTS_MAX,
    ARRAY_RESERVE_MAX,
    MAP_PAIRS_MAX,
    OBJECT_SIZE_MAX,
)
from rookery.gossip.wire.messages import (
    NODE_STATE,
    PING,
    PUSH_PULL_HEADER,
    Ack,
    NodeState,
    Ping,
    decode_message_untrusted,
    encode_message,
)

from ..vector_files import load

TABLE = load("msgpack.json")
ENCODINGS = {entry["id"]: entry for entry in TABLE["encodings"]}
GENERATIONS = ("v0.5.5", "v1.1.5", "v2.1.5")
VERSIONS = bytes((1, 5, 2, 2, 5, 5))


def ping(body: bytes) -> object:
    """Decode a ping's body."""
    return decode_message_untrusted(b"\x00" + body)


def to_vector(value: object) -> list[float]:
    """Read a list of floats."""
    return list(to_list(value, to_float))


COORDINATE: Shape = ((b"Vec", to_vector), (b"Error", to_float), (b"Height", to_float))

# What the Go codec encodes, decoded; by the id in the table.
DECODED: dict[str, tuple[Any, Any]] = {
    "pphdr": (PUSH_PULL_HEADER, [300, 70000, True]),
    "node": (NODE_STATE, ["n1", bytes((127, 0, 0, 1)), 7946, b"m" * 40, 5, 1, VERSIONS]),
    "node-empty": (NODE_STATE, ["", b"", 0, b"", 0, 0, b""]),
    "node-200meta": (NODE_STATE, ["", b"", 0, b"\x01" * 200, 0, 0, b""]),
    "ack-nil": (2, Ack(200, None)),
    "ack-empty": (2, Ack(200, b"")),
    "ping-omit": (0, Ping(70000, "x")),
    "query": (
        "serf 4",
        Query(5, 4000000000, b"\x7f\0\0\1", 1, "", (b"ab",), 0, 0, 5000000000, "", None),
    ),
    "query-neg": ("serf 4", Query(0, 0, b"", 0, "", (), 0, 0, -1, "", None)),
    "relay": ("serf 9", Relay(b"\x7f\0\0\1", 40000, "", "d", b"")),
    "pp": (
        "serf 2",
        PushPullState(0, {"a": 300}, (), 0, (RecentEvents(5, (("e", None),)),), 0, event_slots=2),
    ),
    "member": (
        "serf 6",
        ConflictResponse(ConflictMember("m", b"\x7f\0\0\1", 300, {"a": "b"}, 1, 0, 0, 0, 0, 0, 0)),
    ),
    "member-nil": ("serf 6", ConflictResponse(None)),
    "coord": (COORDINATE, [[0.0, 1.5], 1.5, 1e-05]),
    "tags": ("tags", {"role": "a23456789012345678901234567890123456789"}),
}


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("case", DECODED)
def test_every_generation_of_the_go_encoder_is_read(case: str, generation: str) -> None:
    """What three versions of the Go codec write for one value decodes to that value."""
    how, wanted = DECODED[case]
    data = bytes.fromhex(ENCODINGS[case][generation])
    if isinstance(how, tuple):
        assert unpack_struct_untrusted(data, how) == wanted
    elif isinstance(how, int):
        assert decode_message_untrusted(bytes((how,)) + data) == wanted
    elif how == "tags":
        assert decode_tags_untrusted(b"\xff" + data) == wanted
    else:
        assert decode_serf_message_untrusted(bytes((int(how[5:]),)) + data) == wanted


@pytest.mark.parametrize("case", ["ack-nil", "ack-empty", "ping-omit", "query", "query-neg"])
def test_encoding_equals_the_oldest_go_encoder(case: str) -> None:
    """Nil, empty and omitted fields, wide and negative numbers are written as by go-msgpack 0.5."""
    how, value = DECODED[case]
    data = encode_message(value) if isinstance(how, int) else encode_serf_message(value)
    assert data[1:].hex() == ENCODINGS[case]["v0.5.5"]


def test_tags_and_long_meta_equal_the_go_encoder() -> None:
    """A 39 byte text takes the 16 bit length form: str8 is never written."""
    tags = DECODED["tags"][1]
    assert encode_tags(tags)[1:].hex() == ENCODINGS["tags"]["v0.5.5"]
    assert pack(b"x" * 40)[:3] == b"\xda\x00\x28"
    assert pack("x" * 70000)[:5] == b"\xdb\x00\x01\x11\x70"


def decode_as_described(what: str, data: bytes) -> object:
    """Decode an entry of the table of foreign encodings."""
    shape = {
        "push node state": NODE_STATE,
        "push-pull header": PUSH_PULL_HEADER,
        "ping": PING,
        "coordinate": COORDINATE,
    }
    kind = what.partition(":")[0]
    if kind == "ack":
        return decode_message_untrusted(b"\x02" + data)
    return unpack_struct_untrusted(data, shape[kind])


@pytest.mark.parametrize("entry", TABLE["decodings"], ids=lambda entry: entry["what"])
def test_foreign_encoding_is_taken_as_by_the_newer_go_codecs(entry: dict[str, str]) -> None:
    """What go-msgpack v1.1 and v2 accept is accepted, what they refuse is refused."""
    data = bytes.fromhex(entry["bytes"])
    if entry["v1.1.5 and v2.1.5"].startswith("ok"):
        decode_as_described(entry["what"], data)
    else:
        with pytest.raises(MalformedInput) as caught:
            decode_as_described(entry["what"], data)
        assert caught.value.reason == Reason.BAD_FIELD


S, N, A = b"\xa5SeqNo", b"\xa4Node", b"\xaaSourceAddr"

ACCEPTED = {
    "wide form of a small number": (b"\x81" + S + b"\xcf" + bytes(7) + b"\x05", Ping(5, "")),
    "number at its limit": (b"\x81" + S + b"\xce\xff\xff\xff\xff", Ping(0xFFFFFFFF, "")),
    "text as list of numbers": (b"\x81" + N + b"\x92\x61\x62", Ping(0, "ab")),
    "bytes as list of numbers": (b"\x81" + A + b"\x94\x7f\xc0\x00\x01", Ping(0, "", b"\x7f\0\0\1")),
    "bytes as map": (b"\x81" + A + b"\x81\x01\x02", Ping(0, "", b"\x01\x02")),
    "empty list for bytes": (b"\x81" + A + b"\x90", Ping(0, "")),
    "unknown key with nested value": (b"\x82\xa1x\x81\xa1a\x92\x01\xc0" + S + b"\x07", Ping(7, "")),
    "unknown key with extension": (b"\x82\xa1x\xd4\x05\x00" + S + b"\x07", Ping(7, "")),
    "unknown key with timestamp": (b"\x81\xa1x\xd6\xff\x00\x00\x00\x01", Ping(0, "")),
    "repeated key: the last counts": (b"\x82" + S + b"\x01" + S + b"\x02", Ping(2, "")),
    "surplus array elements": (b"\x97\x07\xa1a\xc0\xc0\xc0\x01\x02", Ping(7, "a")),
    "short array": (b"\x92\x07\xa1a", Ping(7, "a")),
    "empty array": (b"\x90", Ping(0, "")),
    "empty map": (b"\x80", Ping(0, "")),
    "nil": (b"\xc0", Ping(0, "")),
    "nil fields": (b"\x82" + S + b"\xc0" + N + b"\xc0", Ping(0, "")),
    "nil key": (b"\x82\xc0\x01" + S + b"\x07", Ping(7, "")),
    "bytes behind the object": (b"\x81" + S + b"\x07\xff\xff", Ping(7, "")),
    "text that is no UTF-8": (b"\x81" + N + b"\xa2\xff\xfe", Ping(0, "\udcff\udcfe")),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_as_in_go(name: str) -> None:
    """Encodings that Go readers take (tried with go-msgpack 0.5 and 2) are taken."""
    data, wanted = ACCEPTED[name]
    assert ping(data) == wanted


REFUSED = {
    "number for a key": b"\x82\x05\x01" + S + b"\x07",
    "boolean for a key": b"\x82\xc3\x01" + S + b"\x07",
    "boolean for a number": b"\x81" + S + b"\xc3",
    "text for a number": b"\x81" + S + b"\xa11",
    "float for a number": b"\x81" + S + b"\xcb" + bytes(8),
    "number over its limit": b"\x81" + S + b"\xcf\x00\x00\x00\x01" + bytes(4),
    "negative number": b"\x81" + S + b"\xd0\xff",
    "timestamp for a number": b"\x81" + S + b"\xd6\xff\x00\x00\x00\x01",
    "number for text": b"\x81" + N + b"\x07",
    "boolean for text": b"\x81" + N + b"\xc3",
    "map for text": b"\x81" + N + b"\x80",
    "list of text for text": b"\x81" + N + b"\x91\xa1a",
    "extension for text": b"\x81" + N + b"\xd4\x05a",
    "number for bytes": b"\x81" + A + b"\x07",
    "list with a number over a byte": b"\x81" + A + b"\x91\xcd\x01\x00",
    "list with a negative number": b"\x81" + A + b"\x91\xff",
    "list of text for bytes": b"\x81" + A + b"\x91\xa1a",
    "number for a struct": b"\x07",
    "text for a struct": b"\xa1a",
    "boolean for a struct": b"\xc3",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_in_go(name: str) -> None:
    """Encodings that every Go reader refuses are refused as bad fields."""
    with pytest.raises(MalformedInput) as caught:
        ping(REFUSED[name])
    assert caught.value.reason == Reason.BAD_FIELD


BROKEN = {
    "nothing": b"",
    "missing value": b"\x81" + S,
    "missing pair": b"\x82" + S + b"\x07",
    "invalid code": b"\x81" + S + b"\xc1",
    "invalid code in an unknown field": b"\x81\xa1x\xc1",
    "list for a key": b"\x81\x91\x01\x01",
    "map for a key": b"\x81\x80\x01",
    "timestamp of one byte": b"\x81\xa1x\xd4\xff\x00",
    "timestamp with too many nanoseconds": b"\x81\xa1x\xd7\xff" + b"\xff" * 8,
    "nested 1100 deep": b"\x81\xa1x" + b"\x91" * 1100 + b"\x01",
    "maps nested 1100 deep": b"\x81\xa1x" + b"\x81\xa1x" * 1100 + b"\x01",
    "array of 2**32 - 1": b"\xdd\xff\xff\xff\xff",
    "map of 2**32 - 1": b"\xdf\xff\xff\xff\xff",
    "text of 2**31": b"\x81" + N + b"\xdb\x80\x00\x00\x00",
    "bin of 2**31": b"\x81" + N + b"\xc6\x80\x00\x00\x00",
    "extension of 2**31": b"\x81\xa1x\xc9\x80\x00\x00\x00\x05",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_msgpack_is_malformed(name: str) -> None:
    """Bytes that are no msgpack, cut off, too deep or too much raise just the one error."""
    with pytest.raises(MalformedInput) as caught:
        ping(BROKEN[name])
    assert caught.value.reason == Reason.BAD_MSGPACK


def test_a_thousand_levels_of_nesting_are_survived() -> None:
    """Depth below the decoder's bound decodes; the field is unknown and ignored."""
    assert ping(b"\x81\xa1x" + b"\x91" * 900 + b"\x01") == Ping(0, "")


def test_error_names_the_field_and_stays_short() -> None:
    """The detail says which field was wrong, and never repeats a peer's long value."""
    with pytest.raises(MalformedInput, match=r"^bad_field: Node: list is not") as caught:
        ping(b"\x81" + N + b"\xdc\x04\x00" + b"\x92\xa1a\xa1b" * 1024)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("convert", "low", "high"),
    [
        (to_u8, 0, 2**8 - 1),
        (to_u16, 0, 2**16 - 1),
        (to_u32, 0, 2**32 - 1),
        (to_u64, 0, 2**64 - 1),
        (to_i64, -(2**63), 2**63 - 1),
    ],
)
def test_number_ranges_end_where_they_say(convert: Any, low: int, high: int) -> None:
    """Each integer converter takes its whole range, nil as zero, and nothing beyond."""
    assert (convert(low), convert(high), convert(None)) == (low, high, 0)
    for value in (low - 1, high + 1, True, 1.0, b"1"):
        with pytest.raises(MalformedInput):
            convert(value)


@pytest.mark.parametrize(("value", "wanted"), [(1.5, 1.5), (7, 7.0), (-1, -1.0), (None, 0.0)])
def test_float_takes_whole_numbers(value: object, wanted: float) -> None:
    """Ints and nil count as floats, as in Go."""
    assert to_float(value) == wanted


@pytest.mark.parametrize("value", [True, b"1.5", [1.5]])
def test_float_takes_nothing_else(value: object) -> None:
    """Booleans, text and lists are no floats."""
    with pytest.raises(MalformedInput):
        to_float(value)


@pytest.mark.parametrize(
    ("value", "wanted"), [(b"\x01", True), (b"\x00", False), (b"\xc3", True), (b"\xc0", False)]
)
def test_boolean_takes_zero_and_one(value: bytes, wanted: bool) -> None:
    """0, 1 and nil count as booleans, as in Go."""
    assert unpack_struct_untrusted(b"\x81\xa4Join" + value, PUSH_PULL_HEADER) == [0, 0, wanted]


@pytest.mark.parametrize("value", [b"\x02", b"\xff", b"\xa0", b"\xca\x00\x00\x00\x00"])
def test_boolean_takes_nothing_else(value: bytes) -> None:
    """Other numbers, text and floats are no booleans, as in Go."""
    with pytest.raises(MalformedInput):
        unpack_struct_untrusted(b"\x81\xa4Join" + value, PUSH_PULL_HEADER)


def test_foreign_bytes_in_a_name_survive_a_round_trip() -> None:
    """A name that is no UTF-8 is passed on byte for byte."""
    raw = bytes(range(256))
    message = b"\x01" + pack_struct({"Node": raw, "LTime": 5})
    intent = decode_serf_message_untrusted(message)
    assert encode_serf_message(intent) == message
    assert decode_serf_message_untrusted(b"\x00" + message[1:]) == LeaveIntent(
        5, raw.decode("utf-8", "surrogateescape")
    )


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800"])
def test_what_cannot_be_written_is_the_callers_error(value: object) -> None:
    """Numbers over 64 bits, and surrogates that stand for no byte, are ValueErrors."""
    with pytest.raises(ValueError, match=r"."):
        pack(value)
    assert pack(1) == b"\x01"  # nothing of the failed value is left in the packer


# --- limits ---


def test_array_length_ends_at_its_limit() -> None:
    """An array of just the limit is read, one element more is refused."""
    for length, is_fine in ((ARRAY_ELEMENTS_MAX, True), (ARRAY_ELEMENTS_MAX + 1, False)):
        data = b"\xdc" + length.to_bytes(2, "big") + b"\xc0" * length
        if is_fine:
            assert unpack_untrusted(data) == [None] * length
        else:
            with pytest.raises(MalformedInput):
                unpack_untrusted(data)


def test_map_length_ends_at_its_limit() -> None:
    """A map of just the limit is read, one pair more is refused."""
    for length, is_fine in ((MAP_PAIRS_MAX, True), (MAP_PAIRS_MAX + 1, False)):
        pairs = b"".join(b"\xcd" + key.to_bytes(2, "big") + b"\xc0" for key in range(length))
        data = b"\xde" + length.to_bytes(2, "big") + pairs
        if is_fine:
            assert unpack_untrusted(data) == dict.fromkeys(range(length))
        else:
            with pytest.raises(MalformedInput):
                unpack_untrusted(data)


def test_array_headers_together_reserve_no_more_than_their_limit() -> None:
    """A thousand nested headers get less each: at most half a megabyte is reserved for them."""
    headers = b"\xdc" + ARRAY_ELEMENTS_MAX.to_bytes(2, "big")
    tracemalloc.start()
    try:
        with pytest.raises(MalformedInput):
            unpack_untrusted(headers * 1000 + bytes(60000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * ARRAY_RESERVE_MAX + 200_000


def test_array_limit_shrinks_only_where_headers_could_be_many() -> None:
    """Up to the reserve divided by the limit, headers keep the full limit."""
    most = ARRAY_RESERVE_MAX // ARRAY_ELEMENTS_MAX
    array = b"\xdc" + ARRAY_ELEMENTS_MAX.to_bytes(2, "big") + b"\xc0" * ARRAY_ELEMENTS_MAX
    filler = b"\xda" + (most - 1).to_bytes(2, "big") + b"\xdc" * (most - 1)
    assert isinstance(unpack_untrusted(b"\x92" + filler + array), list)
    filler = b"\xda" + most.to_bytes(2, "big") + b"\xdc" * most
    with pytest.raises(MalformedInput):
        unpack_untrusted(b"\x92" + filler + array)


@pytest.mark.parametrize("piece", [13, 1000, 10**6])
def test_stream_object_ends_at_its_limit(piece: int) -> None:
    """One object of just the limit is read from a stream, one byte more is refused."""
    for surplus in (0, 1):
        text = b"x" * (OBJECT_SIZE_MAX - 5 + surplus)
        data = b"\xdb" + len(text).to_bytes(4, "big") + text + b"\x07"
        reader = ObjectReader()
        seen: list[object] = []
        error = None
        for start in range(0, len(data), piece):
            reader.feed(data[start : start + piece])
            try:
                while True:
                    seen.append(reader.read_object())
            except NeedMore:
                continue
            except MalformedInput as malformed:
                error = malformed
                break
        if surplus:
            assert error is not None
            assert (error.reason, seen) == (Reason.TOO_LARGE, [])
        else:
            assert (error, seen) == (None, [text, 7])


def test_reader_mixes_objects_headers_and_raw_bytes() -> None:
    """Objects, container headers, byte strings and raw bytes follow each other in any order."""
    data = b"\x01\x92raw\xc4\x03bin\x82\xdc\x00\x02\xc0\xa1z\x05rest"
    whole = ObjectReader(data)
    pieces = ObjectReader()
    for reader, unfed in ((whole, b""), (pieces, data)):
        feed = iter([unfed[i : i + 1] for i in range(len(unfed))])

        def read(
            method: str, *arguments: int, reader: ObjectReader = reader, feed: Any = feed
        ) -> Any:
            while True:
                try:
                    return getattr(reader, method)(*arguments)
                except NeedMore:
                    reader.feed(next(feed))

        assert read("read_object") == 1
        assert read("read_header", 2)[1] == 2
        assert read("read_raw", 3) == b"raw"
        assert read("read_octets", 3) == b"bin"
        assert read("read_header", 2)[1] == 2
        assert read("read_octets", 9) is None
        assert read("read_header", 2)[1] == 2
        assert read("read_header", 2)[1] == 0
        assert read("read_object") == b"z"
        assert read("peek") == 5
        assert read("read_object") == 5
        assert read("read_raw", 4) == b"rest"
        assert reader.read_rest() == b""


@pytest.mark.parametrize(
    ("data", "method", "reason"),
    [
        (b"\xdd\x80\x00\x00\x00", "read_header", Reason.TOO_MANY),
        (b"\xdf\x80\x00\x00\x00", "read_header", Reason.TOO_MANY),
        (b"\x93", "read_header", Reason.TOO_MANY),
        (b"\x07", "read_header", Reason.BAD_FIELD),
        (b"\xc1", "read_header", Reason.BAD_FIELD),
        (b"\xdb\x80\x00\x00\x00", "read_octets", Reason.TOO_LARGE),
        (b"\xc6\x80\x00\x00\x00", "read_octets", Reason.TOO_LARGE),
        (b"\xa3", "read_octets", Reason.TOO_LARGE),
    ],
)
def test_reader_refuses_a_declared_length_at_once(data: bytes, method: str, reason: str) -> None:
    """A length over the caller's limit is refused before any of the bytes have come."""
    with pytest.raises(MalformedInput) as caught:
        getattr(ObjectReader(data), method)(2)
    assert caught.value.reason == reason


def test_node_states_of_a_stream_are_let_go_of() -> None:
    """Reading many objects holds on to none of their bytes."""
    node = NodeState("n" * 100, bytes(4), 7946, b"m" * 400, 1, 0, VERSIONS)
    data = pack_struct({"Name": node.name, "Meta": node.meta, "Addr": node.address})
    reader = ObjectReader()
    tracemalloc.start()
    try:
        for _ in range(2000):
            reader.feed(data)
            reader.read_struct(NODE_STATE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2000 * len(data) > 1_000_000
    assert peak < 300_000
