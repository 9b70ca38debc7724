"""The packets that real agents were tried with, replayed: we survive all, and answer as they did.

The engine is what the agent was: "tgt" at 127.0.0.80:7946 on the local profile, without compression
and key; the other end is 127.0.0.81:7946. Some of these packets killed the agent; none of what
harms Go peers may come out of us again.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.serf.messages import JoinIntent, QueryResponse
from rookery.gossip.swim.versions import OUR_VERSIONS
from rookery.gossip.wire.messages import Ack, Alive, ErrorReply, Ping, PushPull

from .benches import SerfBench
from .harm import check_packet, check_table
from .vector_files import REACTIONS

PROBER = Address("127.0.0.81", 7946)
PROBER_BYTES, VICTIM_BYTES, OWN_BYTES = (bytes((127, 0, 0, last)) for last in (81, 82, 80))
KINDS = [packet["kind"] for packet in REACTIONS]

REJECTED = {
    "ping-wrongnode": "ping_for_another_node",
    "ping-badcrc": "bad_checksum",
    "empty-type": "bad_msgpack",
    "unknown-type": "unknown_type",
    "unknown-serf-type": "unknown_type",
    "empty-user": "empty_user_message",
    "err-udp": "unexpected_type",
    "bad-msgpack": "bad_msgpack",
    "alive-short-vsn": "bad_versions",
    "alive-no-vsn": "bad_versions",
    "alive-zero-vsn": "bad_versions",
    "alive-bad-addr": "bad_address",
    "alive-big-meta": "meta_too_large",
    "compound-trunc": "bad_compound",
    "compound-nolens": "bad_compound",
    "compound-empty-part": "empty",
    "compress-badalgo": "bad_compression",
    "compress-garbage": "bad_compression",
    "compress-noeof": "bad_compression",
    "compress-empty": "empty",
    "crc-short": "empty",
    "query-empty-filter": "query_empty_filter",
    "query-key-nopayload": "key_query_without_payload",
    "relay-short": "bad_relay",
    "label": "wrong_label",
    "label-empty": "wrong_label",
    "tcp-ping-wrongnode": "ping_for_another_node",
    "tcp-pushpull-badversion": "incompatible_versions",
    "tcp-pushpull-noversion": "incompatible_versions",
    "tcp-pushpull-neg": "bad_field",
    "tcp-pushpull-huge": "too_many",
    "tcp-unknown": "unknown_type",
    "tcp-compress-empty": "empty",
}
"""What we refuse, and the reason it is counted under; all other packets are taken."""

OTHERWISE = {
    # The agent acked, and died of the rest of the message.
    "query-key-nopayload": [],
    # The agent passed an empty message on.
    "relay-short": [],
    # The agent died; the other part of the compound is a ping.
    "compound-empty-part": ["ack"],
}
"""Where our direct replies differ from the agent's, on purpose."""

PASSED_ON = {
    "suspect",
    "suspect-self",
    "dead-self",
    "dead",
    "dead-left",
    "leave-self",
    "leave",
    "leave-noprune-field",
    "event",
    "query",
    "query-filter-no",
    "query-filter-yes",
    "query-conflict",
    "query-list-keys",
    "query-bad-regex",
    "alive-array",
    "tcp-user",
}
"""What makes news: it is passed on, or answered by gossip."""


def target() -> SerfBench:
    """Return the engine, which knows the two that the packets speak of."""
    bench = SerfBench(node_name="tgt", address=OWN_BYTES, profile="local")
    bench.receive(Alive(1, "prober", PROBER_BYTES, 7946, b"", OUR_VERSIONS), PROBER)
    bench.receive(Alive(1, "victim", VICTIM_BYTES, 7946, b"", OUR_VERSIONS), PROBER)
    bench.forget_output()
    return bench


def play(bench: SerfBench, packet: dict[str, Any]) -> Any:
    """Hand over one packet or stream; return the stream's answer."""
    data = bytes.fromhex(packet["bytes"])
    if packet["transport"] == "udp":
        bench.receive(data, PROBER)
        return None
    return bench.dial(data, Address(PROBER.host, 52591))


def named(kind: str) -> dict[str, Any]:
    """Return the packet of a kind."""
    return next(packet for packet in REACTIONS if packet["kind"] == kind)


def test_every_recorded_packet_has_its_expectation() -> None:
    """New vectors must not slip through these tables."""
    assert set(REJECTED) <= set(KINDS)
    assert set(KINDS) >= PASSED_ON
    assert len(KINDS) == len(set(KINDS)) == 63


@pytest.mark.parametrize(
    "kind",
    [
        "alive-short-vsn",
        "alive-no-vsn",
        "alive-zero-vsn",
        "alive-bad-addr",
        "alive-big-meta",
        "compound-empty-part",
        "query-empty-filter",
        "query-key-nopayload",
        "relay-short",
        "empty-user",
        "unknown-type",
        "unknown-serf-type",
        "err-udp",
    ],
)
def test_check_for_harm_finds_what_killed_or_poisoned_the_agent(kind: str) -> None:
    """Otherwise the tests below would not mean anything."""
    with pytest.raises((AssertionError, KeyError)):
        check_packet(bytes.fromhex(named(kind)["bytes"]))


@pytest.mark.parametrize("kind", KINDS)
def test_packet_is_answered_as_the_agent_answered(kind: str) -> None:
    """Acks and query answers straight to the other end; gossip apart."""
    packet = named(kind)
    bench = target()
    answer = play(bench, packet)
    words = {Ack: "ack", QueryResponse: "user/query_response"}
    replies = [words[type(sent.first)] for sent in bench.take_sent() if sent.destination == PROBER]
    by_agent = [reply for reply in packet["replies_udp"] if reply in words.values()]
    assert replies == OTHERWISE.get(kind, by_agent)
    if packet["transport"] == "tcp":
        assert answer.is_closed
        kinds = {"ack": Ack, "push_pull": PushPull, None: ErrorReply | None}
        assert isinstance(answer.message, kinds[packet["reply_tcp"]])


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_are_counted_and_nothing_else_is(kind: str) -> None:
    """One count under one reason, or none."""
    bench = target()
    play(bench, named(kind))
    assert bench.rejected == ({REJECTED[kind]: 1} if kind in REJECTED else {})


@pytest.mark.parametrize("kind", KINDS)
def test_only_sound_news_is_passed_on(kind: str) -> None:
    """What is refused, and what is no news, goes nowhere."""
    bench = target()
    play(bench, named(kind))
    assert bool(bench.news()) is (kind in PASSED_ON)


@pytest.mark.parametrize("kind", KINDS)
def test_engine_lives_on_and_sends_nothing_harmful(kind: str) -> None:
    """Half a minute later it still answers, and no packet since then would hurt anybody."""
    bench = target()
    play(bench, named(kind))
    bench.run_for(30.0)
    bench.receive(Ping(4711, "tgt"), PROBER)
    sent = bench.take_sent()
    assert isinstance(sent[-1].first, Ack)
    for packet in sent:
        check_packet(packet.data)
    message = bench.dial(PushPull((), b"", False)).message
    check_table(message.nodes)
    assert bench.state_of("tgt") is not None
    assert bench.statuses["tgt"] == "alive"


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("suspect-self", Alive(2, "tgt", OWN_BYTES, 7946, b"\xff\x80", OUR_VERSIONS)),
        ("dead-self", Alive(2, "tgt", OWN_BYTES, 7946, b"\xff\x80", OUR_VERSIONS)),
        ("leave-self", JoinIntent(501, "tgt")),
    ],
)
def test_claims_about_us_are_refuted(kind: str, answer: object) -> None:
    """With the next incarnation, or the next Lamport time."""
    bench = target()
    play(bench, named(kind))
    assert bench.news() == [answer]


def test_all_packets_one_after_the_other_and_in_any_order() -> None:
    """One engine takes everything, repeatedly, and stays sound."""
    for seed in range(3):
        bench = target()
        order = REACTIONS * 2
        if seed:
            random.Random(seed).shuffle(order)
        for packet in order:
            play(bench, packet)
            bench.run_for(0.05)
        bench.run_for(5.0)
        for sent in bench.take_sent():
            check_packet(sent.data)
        check_table(bench.dial(PushPull((), b"", False)).message.nodes)
        assert set(bench.statuses) == {"tgt", "prober", "victim", "arr"}
        assert bench.statuses["tgt"] == "alive"
        assert set(bench.rejected) == set(REJECTED.values())
