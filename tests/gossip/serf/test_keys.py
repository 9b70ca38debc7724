"""Key operations over the pool: who is asked, whose answers count, the outcome in Go's words."""

from __future__ import annotations

import base64

import pytest
from rookery.gossip.notices import KeyOperationFinished
from rookery.gossip.serf.key_outcome import KeyOutcome
from rookery.gossip.serf.messages import (
    JoinIntent,
    KeyRequest,
    KeyResponse,
    Query,
    QueryResponse,
    encode_serf_message,
)
from rookery.gossip.wire.keyring import Keyring

from ..benches import OWN, SerfBench, at

A, B = bytes(16), bytes(range(32))
OK = KeyResponse(True, "", None, "")


def b64(key: bytes) -> str:
    return base64.b64encode(key).decode()


def start(bench: SerfBench, operation: str, key: bytes = b"") -> Query:
    bench.engine.change_keys(operation, key, now=bench.now)
    (query,) = [news for news in bench.news() if isinstance(news, Query)]
    return query


def answer(bench: SerfBench, query: Query, sender: str, payload: KeyResponse | bytes) -> None:
    data = payload if isinstance(payload, bytes) else encode_serf_message(payload)
    bench.hear(QueryResponse(query.ltime, query.id, sender, 0, data), at(2))


def take_own_answer(bench: SerfBench, query: Query) -> None:
    """Deliver the answer that we sent to ourselves."""
    for sent in bench.take_sent():
        if isinstance(sent.first, QueryResponse) and sent.destination == at(1):
            bench.hear(sent.first, at(1))


def outcomes(bench: SerfBench) -> list[KeyOutcome]:
    return [notice.outcome for notice in bench.take_notice(KeyOperationFinished)]


@pytest.mark.parametrize(
    ("operation", "name", "key"),
    [
        ("install", "_serf_install-key", B),
        ("use", "_serf_use-key", B),
        ("remove", "_serf_remove-key", B),
        ("list", "_serf_list-keys", b""),
    ],
)
def test_operation_is_a_query_to_everybody(operation: str, name: str, key: bytes) -> None:
    """With the raw key as payload, empty for a list; never without a payload."""
    bench = SerfBench("b", keyring=Keyring([A, B]))
    query = start(bench, operation, key)
    assert query.name == name
    assert query.payload == encode_serf_message(KeyRequest(key))
    assert query.filters == ()


def test_operation_is_over_when_all_live_members_have_answered() -> None:
    """At once, without waiting for the deadline; ours is one of them."""
    keyring = Keyring([A])
    bench = SerfBench("b", "c", keyring=keyring)
    query = start(bench, "install", B)
    assert keyring.keys == (A, B)
    take_own_answer(bench, query)
    answer(bench, query, "b", OK)
    assert outcomes(bench) == []
    answer(bench, query, "c", OK)
    (outcome,) = outcomes(bench)
    assert (outcome.nodes, outcome.responses, outcome.failures) == (3, 3, 0)
    assert outcome.error is None
    bench.run_for(10.0)
    assert outcomes(bench) == []


def test_silent_member_fails_the_operation_at_the_deadline() -> None:
    """In Go's words."""
    bench = SerfBench("b", "c", keyring=Keyring([A]))
    query = start(bench, "install", B)
    take_own_answer(bench, query)
    answer(bench, query, "b", OK)
    bench.run_until(3.19)
    assert outcomes(bench) == []
    bench.run_until(3.2)
    (outcome,) = outcomes(bench)
    assert outcome.error == "2/3 nodes reported success"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (KeyResponse(False, "no room", None, ""), "no room"),
        (encode_serf_message(JoinIntent(1, "b")), "Invalid key query response type"),
        (b"\x08\xc1", "Failed to decode key query response"),
        (b"", "Failed to decode key query response"),
    ],
)
def test_member_that_says_no_or_nonsense_is_a_failure(
    payload: KeyResponse | bytes, message: str
) -> None:
    """Its words are kept with its name."""
    bench = SerfBench("b", keyring=Keyring([A]))
    query = start(bench, "install", B)
    take_own_answer(bench, query)
    answer(bench, query, "b", payload)
    (outcome,) = outcomes(bench)
    assert outcome.error == "1/2 nodes reported failure"
    assert outcome.messages["b"].startswith(message)


def test_list_counts_who_holds_what() -> None:
    """Keys and primary keys, each with the number of members."""
    bench = SerfBench("b", keyring=Keyring([A, B]))
    query = start(bench, "list")
    take_own_answer(bench, query)
    answer(bench, query, "b", KeyResponse(True, "truncated", (b64(B),), b64(B)))
    (outcome,) = outcomes(bench)
    assert outcome.keys == {b64(A): 1, b64(B): 2}
    assert outcome.primary_keys == {b64(A): 1, b64(B): 1}
    assert outcome.messages == {"b": "truncated"}
    assert outcome.error is None


@pytest.mark.parametrize(
    ("operation", "key"), [("rotate", A), ("install", b""), ("install", bytes(15))]
)
def test_impossible_operations_are_refused(operation: str, key: bytes) -> None:
    """A key of a wrong size is not sent round."""
    bench = SerfBench("b", keyring=Keyring([A]))
    with pytest.raises(ValueError, match="key"):
        bench.engine.change_keys(operation, key, now=bench.now)
    assert bench.news() == []


def test_what_else_is_wrong_with_a_key_each_member_says_itself() -> None:
    """Using a key of an odd size is asked, and refused by all, ourselves included."""
    bench = SerfBench("b", keyring=Keyring([A]))
    query = start(bench, "use", bytes(15))
    take_own_answer(bench, query)
    answer(bench, query, "b", KeyResponse(False, "not in my ring", None, ""))
    (outcome,) = outcomes(bench)
    assert outcome.error == "2/2 nodes reported failure"
    assert outcome.messages == {
        OWN: "Requested key is not in the keyring",
        "b": "not in my ring",
    }


def test_lone_member_asks_itself() -> None:
    """The pool is us: one of one."""
    keyring = Keyring([A])
    bench = SerfBench(keyring=keyring)
    bench.engine.change_keys("install", B, now=bench.now)
    (sent,) = [s for s in bench.take_sent() if isinstance(s.first, QueryResponse)]
    assert sent.first.sender == OWN
    bench.hear(sent.first, at(1))
    (outcome,) = outcomes(bench)
    assert outcome.error is None
    assert keyring.keys == (A, B)
