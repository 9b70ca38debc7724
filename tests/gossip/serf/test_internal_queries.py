"""Serf's own queries, which every member must answer, with the exact answers."""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace
from typing import Any

import pytest
from rookery.gossip.notices import KeyringChanged, NameConflict, QueryReceived
from rookery.gossip.serf.internal_queries import NO_KEYRING, NO_KEYRING_LIST
from rookery.gossip.serf.messages import (
    QUERY_ACK,
    RESPONSE_ACK,
    ConflictMember,
    ConflictResponse,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    Query,
    QueryResponse,
    decode_serf_message_untrusted,
    encode_serf_message,
)
from rookery.gossip.serf.queries import QUERY_RESPONSE_SIZE_MAX
from rookery.gossip.serf.tags import encode_tags
from rookery.gossip.wire.errors import MalformedInput
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.messages import Dead
from rookery.gossip.wire.packets import PacketCodec

from ..benches import OWN, PORT, SerfBench, alive, at, ip

A, B, C = bytes(range(16)), bytes(range(24)), bytes(range(32))


QUERY_IDS = itertools.count(1)


def question(name: str, payload: bytes | None = None, flags: int = 0) -> Query:
    """Return a new query of peer 8."""
    return Query(
        ltime=5,
        id=next(QUERY_IDS),
        address=ip(8),
        port=7008,
        source_node="asker",
        filters=(),
        flags=flags,
        relay_factor=0,
        timeout_ns=5_000_000_000,
        name=name,
        payload=payload,
    )


def ask(bench: SerfBench, name: str, payload: bytes | None = None, flags: int = 0) -> list[Any]:
    """Let peer 8 ask; return the decoded responses that it got."""
    asked = question(name, payload, flags)
    bench.take_sent()
    bench.hear(asked)
    responses = []
    for sent in bench.take_sent():
        response = sent.first
        if isinstance(response, QueryResponse):
            assert sent.destination == at(8, 7008)
            assert (response.ltime, response.id, response.sender) == (5, asked.id, OWN)
            assert len(sent.parts[0]) - 1 <= QUERY_RESPONSE_SIZE_MAX
            responses.append(response)
    assert bench.take_notice(QueryReceived) == [], "not shown to the application"
    return responses


def answer(bench: SerfBench, name: str, payload: bytes | None = None) -> Any:
    """Return the one decoded answer to a question."""
    (response,) = ask(bench, name, payload)
    assert response.flags == 0
    return decode_serf_message_untrusted(response.payload)


# --- ping, and what nobody knows --------------------------------------------------------


def test_ping_is_answered_by_its_ack_alone() -> None:
    """There is nothing more to say."""
    bench = SerfBench("b")
    (ack,) = ask(bench, "_serf_ping", flags=QUERY_ACK)
    assert (ack.flags, ack.payload) == (RESPONSE_ACK, None)
    assert ask(bench, "_serf_ping") == []


def test_unknown_internal_query_is_a_remark() -> None:
    """A later Serf may have more; no answer, but the ack and the passing on."""
    bench = SerfBench("b")
    assert len(ask(bench, "_serf_future", b"x", flags=QUERY_ACK)) == 1
    bench = SerfBench("b")
    bench.hear(question("_serf_future", b"x"))
    assert "unknown_internal_query" in bench.remarks()
    assert len(bench.news()) == 1


# --- conflicts --------------------------------------------------------------------------


def test_conflict_is_answered_with_the_member_as_we_know_it() -> None:
    """Address, tags, status and versions from our own table."""
    bench = SerfBench("c")
    tags = {"role": "web", "dc": "eu"}
    bench.receive(alive("b", 2, meta=encode_tags(tags), port=7000))
    assert answer(bench, "_serf_conflict", b"b") == ConflictResponse(
        ConflictMember("b", ip(2), 7000, tags, 1, 1, 5, 2, 2, 5, 5)
    )


@pytest.mark.parametrize(("status", "number"), [("failed", 4), ("left", 3), ("leaving", 2)])
def test_conflict_answer_tells_the_status(status: str, number: int) -> None:
    """Also members that are gone are known."""
    bench = SerfBench("b", "c")
    bench.hear(JoinIntent(5, "b") if status == "failed" else LeaveIntent(5, "b"))
    if status != "leaving":
        bench.receive(Dead(1, "b", "c"))
    response = answer(bench, "_serf_conflict", b"b")
    assert response.member.status == number


def test_conflict_about_somebody_unknown_is_answered_with_nil() -> None:
    """The payload is 06 c0; silence would count against the asker."""
    bench = SerfBench("c")
    (response,) = ask(bench, "_serf_conflict", b"nobody")
    assert response.payload == b"\x06\xc0"


def test_party_to_a_conflict_has_no_vote() -> None:
    """Everybody answers except a node of that very name."""
    assert ask(SerfBench("c"), "_serf_conflict", OWN.encode()) == []


def test_vote_of_a_namesake_tells_of_the_conflict_without_a_vote_of_ours() -> None:
    """Often the only news of it: members between know the name by one address alone."""
    bench = SerfBench("c")
    bench.answering.add("c")
    for _ in range(3):
        asked = replace(question("_serf_conflict", OWN.encode()), source_node=OWN)
        bench.hear(asked)
    assert bench.take_notice(NameConflict) == [NameConflict(OWN, at(1), at(8, 7008))]
    assert bench.engine.statistics().swim.conflicts == 3
    news = [query for query in bench.news() if isinstance(query, Query)]
    assert {query.source_node for query in news} == {OWN}
    assert {query.address for query in news} == {ip(8)}, "passed on, none of our own"


@pytest.mark.parametrize(
    ("source_node", "number", "port"), [(OWN, 1, PORT), ("b", 8, 7008), ("", 8, 7008)]
)
def test_conflict_query_of_nobody_else_of_our_name_tells_of_no_conflict(
    source_node: str, number: int, port: int
) -> None:
    """Our own vote comes back to us, and others may ask about our name."""
    bench = SerfBench("c")
    asked = replace(
        question("_serf_conflict", OWN.encode()),
        source_node=source_node,
        address=ip(number),
        port=port,
    )
    bench.hear(asked)
    assert bench.take_notice(NameConflict) == []


@pytest.mark.parametrize("payload", [None, b"", b"\xff\xfe"])
def test_conflict_about_odd_names_is_answered_with_nil(payload: bytes | None) -> None:
    """No name, and a name that is no text, are names we do not know."""
    (response,) = ask(SerfBench("c"), "_serf_conflict", payload)
    assert response.payload == b"\x06\xc0"


def test_conflict_answer_for_a_member_of_the_largest_tags_fits_or_is_left_out() -> None:
    """It must not be larger than a response may be, and must not fail the engine."""
    bench = SerfBench("c")
    bench.receive(alive("b", 2, meta=encode_tags({"k": "v" * 500})))
    assert len(ask(bench, "_serf_conflict", b"b")) == 1
    name = "n" * 500
    bench.receive(alive(name, 2, meta=encode_tags({"k": "v" * 500}), port=1))
    assert ask(bench, "_serf_conflict", name.encode()) == []


# --- keys -------------------------------------------------------------------------------


def key_request(key: bytes) -> bytes:
    return encode_serf_message(KeyRequest(key))


def b64(key: bytes) -> str:
    return base64.b64encode(key).decode()


def key_bench() -> tuple[SerfBench, Keyring]:
    keyring = Keyring([A, B])
    bench = SerfBench("b", keyring=keyring)
    return bench, keyring


OK = KeyResponse(True, "", None, "")


def refused(message: str) -> KeyResponse:
    return KeyResponse(False, message, None, "")


@pytest.mark.parametrize("key", [bytes(16), bytes(24), bytes(32)])
def test_installed_key_is_the_last_of_the_ring(key: bytes) -> None:
    """It is not primary; the owner hears of the change."""
    bench, keyring = key_bench()
    bench.take_notices()
    assert answer(bench, "_serf_install-key", key_request(key)) == OK
    assert keyring.keys == (A, B, key)


def test_key_changes_are_told_to_the_owner() -> None:
    """So that it can write its file; what changed nothing is not told."""
    bench, _ = key_bench()

    def changes(name: str, key: bytes) -> int:
        bench.hear(question(name, key_request(key)))
        return len(bench.take_notice(KeyringChanged))

    assert changes("_serf_install-key", C) == 1
    assert changes("_serf_install-key", C) == 0
    assert changes("_serf_use-key", C) == 1
    assert changes("_serf_use-key", C) == 0
    assert changes("_serf_remove-key", A) == 1
    assert changes("_serf_remove-key", A) == 0
    assert changes("_serf_remove-key", C) == 0


def test_used_key_is_primary_and_seals_what_follows() -> None:
    """The others keep their order. The answer may already be under the new one."""
    bench, keyring = key_bench()
    assert answer(bench, "_serf_use-key", key_request(B)) == OK
    assert keyring.keys == (B, A)


def test_removed_key_is_gone_and_an_unknown_one_is_no_error() -> None:
    """As in Go."""
    bench, keyring = key_bench()
    assert answer(bench, "_serf_remove-key", key_request(B)) == OK
    assert answer(bench, "_serf_remove-key", key_request(C)) == OK
    assert keyring.keys == (A,)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("_serf_install-key", bytes(15), "key size must be 16, 24 or 32 bytes"),
        ("_serf_install-key", b"", "key size must be 16, 24 or 32 bytes"),
        ("_serf_use-key", C, "Requested key is not in the keyring"),
        ("_serf_use-key", b"", "Requested key is not in the keyring"),
        ("_serf_remove-key", A, "Removing the primary key is not allowed"),
    ],
)
def test_impossible_key_changes_are_refused_in_serfs_words(
    name: str, key: bytes, message: str
) -> None:
    """Result false with the message; the ring is unchanged."""
    bench, keyring = key_bench()
    assert answer(bench, name, key_request(key)) == refused(message)
    assert keyring.keys == (A, B)


@pytest.mark.parametrize("name", ["_serf_install-key", "_serf_use-key", "_serf_remove-key"])
def test_without_a_keyring_key_changes_are_answered_all_the_same(name: str) -> None:
    """The asker waits for everybody; silence would fail the whole operation."""
    assert answer(SerfBench("b"), name, key_request(A)) == refused(NO_KEYRING)


@pytest.mark.parametrize("payload", [b"\x07", b"\x07\xc1", b"\x4d", b"rubbish"])
def test_unreadable_key_request_is_answered_with_a_failure(payload: bytes) -> None:
    """It is a question of the pool, so it gets an answer."""
    bench, keyring = key_bench()
    response = answer(bench, "_serf_install-key", payload)
    assert response.result is False
    assert response.message.startswith("Failed to decode key request")
    assert keyring.keys == (A, B)


def test_key_request_of_another_kind_is_refused() -> None:
    """A readable message that is no key request."""
    bench, _ = key_bench()
    response = answer(bench, "_serf_use-key", encode_serf_message(JoinIntent(1, "b")))
    assert response.result is False


def test_list_has_all_keys_primary_first() -> None:
    """In base64, the primary named besides."""
    bench, _ = key_bench()
    assert answer(bench, "_serf_list-keys") == KeyResponse(True, "", (b64(A), b64(B)), b64(A))
    assert answer(bench, "_serf_list-keys", key_request(b"")).keys == (b64(A), b64(B))


def test_list_without_a_keyring_says_so() -> None:
    """In its own words, as in serf 0.9.4."""
    assert answer(SerfBench("b"), "_serf_list-keys") == refused(NO_KEYRING_LIST)
    assert NO_KEYRING_LIST == "Keyring is empty (encryption not enabled)"
    assert NO_KEYRING == "No keyring to modify (encryption not enabled)"


def test_list_that_is_too_long_is_cut_to_what_fits() -> None:
    """Result true, the first keys, and how many there are; one more would not have fitted."""
    keys = [bytes((number,)) * 32 for number in range(40)]
    bench = SerfBench("b", keyring=Keyring(keys))
    response = answer(bench, "_serf_list-keys")
    shown = len(response.keys)
    assert 10 < shown < 40
    assert response.result is True
    assert response.keys == tuple(map(b64, keys[:shown]))
    assert response.primary_key == b64(keys[0])
    assert response.message == f"truncated key list response, showing first {shown} of 40 keys"
    larger = KeyResponse(True, response.message, tuple(map(b64, keys[: shown + 1])), b64(keys[0]))
    whole = QueryResponse(5, 2**31, OWN, 0, encode_serf_message(larger))
    assert len(encode_serf_message(whole)) > QUERY_RESPONSE_SIZE_MAX


@pytest.mark.parametrize("count", [1, 15, 16])
def test_list_that_fits_is_not_cut(count: int) -> None:
    """No message then."""
    keys = [bytes((number,)) * 32 for number in range(count)]
    response = answer(SerfBench("b", keyring=Keyring(keys)), "_serf_list-keys")
    assert response.keys == tuple(map(b64, keys))
    assert response.message == ""


def test_answers_are_sealed_with_the_primary_of_the_moment() -> None:
    """The answer to use-key is under the new key already; both are in the ring at that time."""
    bench, _ = key_bench()
    bench.take_sent()
    bench.hear(question("_serf_use-key", key_request(B)))
    (sent, *_) = bench.take_sent()
    opened = PacketCodec(keyring=Keyring([B]), nonce=bytes).open_untrusted(sent.data)
    assert opened.parts == sent.parts
    with pytest.raises(MalformedInput):
        PacketCodec(keyring=Keyring([A]), nonce=bytes).open_untrusted(sent.data)


def test_own_port_is_what_peers_know() -> None:
    """Our own conflict answers name others by the port they announced."""
    bench = SerfBench("b")
    assert answer(bench, "_serf_conflict", b"b").member.port == PORT
