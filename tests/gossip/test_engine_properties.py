"""Whatever comes, in whatever order: the engine lives, stays itself, and harms nobody."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rookery.gossip.addresses import Address
from rookery.gossip.effects import OpenStream
from rookery.gossip.serf.asking import QueryRefused, Question
from rookery.gossip.serf.engine import EventRefused
from rookery.gossip.swim.conversations import INCOMING_STREAMS_MAX
from rookery.gossip.swim.versions import OUR_VERSIONS
from rookery.gossip.wire.messages import PushPull

from .benches import OWN, PORT, SerfBench, at, ip, raw, raw_alive, raw_push_pull, raw_record
from .harm import check_packet, check_table
from .vector_files import DATAGRAMS, REACTIONS, STREAMS

NODES_MAX = 8

names: st.SearchStrategy[str | bytes] = st.sampled_from(
    [OWN, "b", "c", "d", "e", "x", "y", "z", "v", "w", "", "n" * 600, "\u00e9", b"\xff\xfe", b"a\n"]
)
incarnations = st.sampled_from([0, 1, 2, 3, 4, 5, 9, 2**31 - 1, 2**31, 2**31 + 5, 2**32 - 1])
numbers = st.integers(1, 6)
addresses = st.one_of(
    numbers.map(ip), st.sampled_from([b"", b"\1\2\3", bytes(16), bytes(10) + b"\xff\xff" + ip(2)])
)
versions = st.sampled_from(
    [OUR_VERSIONS] * 6
    + [b"", b"\1", b"\1\5\2", bytes(6), bytes((9, 9, 9, 2, 5, 5)), bytes((1, 5, 2, 2, 5, 4))]
)
metas = st.one_of(
    st.sampled_from([b"", b"\xff\x80", b"\xff\xc1", bytes(513)]), st.binary(max_size=9)
)
ports = st.sampled_from([PORT, PORT, PORT, 0, 1, 65535])
ltimes = st.sampled_from([0, 1, 2, 5, 9, 600, 2**24, 2**24 + 9, 2**48, 2**63, 2**64 - 1])
octets = st.binary(max_size=20)

parts = st.sampled_from([0.0, 0.1, -1.5, 1e-300, 1e6, 1e200, -1e308, math.inf, math.nan])
coordinates = st.builds(
    lambda vec, error, height: raw(1, Vec=vec, Error=error, Adjustment=error, Height=height),
    st.lists(parts, min_size=7, max_size=9),
    parts,
    parts,
)
tag_filters = st.sampled_from([b"", b"(", b"own", b"\xff", b"(?i)X", b"a{1,1000}{1,1000}"]).map(
    lambda expression: raw(1, Tag=b"role", Expr=expression)
)

alives = st.builds(
    lambda name, number, incarnation, address, port, meta, vsn: raw_alive(
        name, number, incarnation, Addr=address, Port=port, Meta=meta, Vsn=vsn
    ),
    names,
    numbers,
    incarnations,
    addresses,
    ports,
    metas,
    versions,
)
accusations = st.builds(
    lambda kind, name, incarnation, accuser: raw(
        kind, Node=name, Incarnation=incarnation, From=accuser
    ),
    st.sampled_from([3, 5]),
    names,
    incarnations,
    names,
)
pings = st.builds(
    lambda kind, sequence, name, source, port: raw(
        kind,
        SeqNo=sequence,
        Node=name,
        Target=source,
        Port=port,
        Nack=True,
        SourceAddr=source,
        SourcePort=port,
    ),
    st.sampled_from([0, 1]),
    st.integers(0, 9),
    names,
    addresses,
    ports,
)
acks = st.builds(
    lambda kind, sequence, payload: raw(kind, SeqNo=sequence, Payload=payload),
    st.sampled_from([2, 11]),
    st.integers(0, 12),
    st.one_of(octets, coordinates),
)
intents = st.builds(
    lambda kind, ltime, name, prune: raw(kind, LTime=ltime, Node=name, Prune=prune),
    st.sampled_from([0, 1]),
    ltimes,
    names,
    st.booleans(),
)
user_events = st.builds(
    lambda ltime, name, payload: raw(3, LTime=ltime, Name=name, Payload=payload, CC=False),
    ltimes,
    names,
    octets,
)
queries = st.builds(
    lambda ltime, number, address, port, filters, flags, factor, name, payload: raw(
        4,
        LTime=ltime,
        ID=number,
        Addr=address,
        Port=port,
        SourceNode="b",
        Filters=filters,
        Flags=flags,
        RelayFactor=factor,
        Timeout=10**9,
        Name=name,
        Payload=payload,
    ),
    ltimes,
    st.integers(0, 5),
    addresses,
    ports,
    st.lists(
        st.one_of(
            st.sampled_from([b"", None, [], b"\x00\x91\xa3own", b"\x00\xc1", b"\x01\x82", b"\x07"]),
            tag_filters,
        ),
        max_size=2,
    ),
    st.integers(0, 3),
    st.integers(0, 4),
    st.sampled_from(
        ["q", "_serf_ping", "_serf_conflict", "_serf_list-keys", "_serf_use-key", "_serf_x"]
    ),
    st.one_of(
        st.none(), octets, st.sampled_from([b"b", b"own", b"\x07\x81\xa3Key\xb0" + bytes(16)])
    ),
)
responses = st.builds(
    lambda ltime, number, name: raw(5, LTime=ltime, ID=number, From=name, Flags=0, Payload=b"x"),
    ltimes,
    st.integers(0, 5),
    names,
)
relays = st.builds(
    lambda address, port, inner: (
        raw(9, DestAddr={"IP": address, "Port": port, "Zone": ""}, DestName="b") + inner
    ),
    addresses,
    ports,
    st.one_of(octets, responses, queries),
)
serf_messages = st.one_of(
    intents, user_events, queries, responses, relays, octets, octets.map(lambda b: b"\x02" + b)
).map(lambda payload: b"\x08" + payload)
messages = st.one_of(alives, accusations, pings, acks, serf_messages, octets)


def compound(parts: list[bytes]) -> bytes:
    lengths = b"".join(len(part).to_bytes(2, "big") for part in parts)
    return bytes((7, len(parts))) + lengths + b"".join(parts)


packets = st.one_of(messages, st.lists(messages, max_size=4).map(compound))
records = st.builds(
    lambda name, number, incarnation, address, port, meta, vsn, state: raw_record(
        name, number, incarnation, Addr=address, Port=port, Meta=meta, Vsn=vsn, State=state
    ),
    names,
    numbers,
    incarnations,
    addresses,
    ports,
    metas,
    versions,
    st.integers(0, 4),
)
states = st.one_of(
    octets,
    st.builds(
        lambda ltime, statuses, left: raw(
            2,
            LTime=ltime,
            StatusLTimes=statuses,
            LeftMembers=left,
            EventLTime=ltime,
            Events=[{"LTime": ltime, "Events": [{"Name": "e", "Payload": b""}]}],
            QueryLTime=1,
        ),
        ltimes,
        st.dictionaries(names, ltimes, max_size=4),
        st.lists(names, max_size=3),
    ),
)
tables = st.builds(
    lambda nodes, state, join: raw_push_pull(*nodes, state=state, Join=join),
    st.lists(records, max_size=4),
    states,
    st.booleans(),
)
streams = st.one_of(tables, tables.map(lambda data: data[:-3]), messages, octets)

steps = st.one_of(
    st.tuples(st.just("packet"), packets),
    st.tuples(st.just("packet"), packets),
    st.tuples(st.just("packet"), packets),
    st.tuples(st.just("stream"), streams),
    st.tuples(st.just("answer"), streams),
    st.tuples(st.just("time"), st.sampled_from([0.0, 0.1, 0.6, 2.0, 30.0, 400.0])),
    st.tuples(
        st.just("call"), st.sampled_from(["join", "look", "tags", "event", "query", "force"])
    ),
)


class Watched:
    """An engine that is looked at after every step."""

    def __init__(self, seed: int = 1) -> None:
        self.bench = SerfBench("b", "c", seed=seed, nodes_max=NODES_MAX)
        self.dials: list[int] = []
        self.incarnation = 1

    def step(self, kind: str, value: Any) -> None:
        bench, engine = self.bench, self.bench.engine
        if kind == "packet":
            bench.receive(value, at(2))
        elif kind == "stream":
            stream = engine.accept_stream(at(3, 40000), now=bench.now)
            if stream is not None:
                engine.receive_stream_data(stream, value[:7], now=bench.now)
                engine.receive_stream_data(stream, value[7:], now=bench.now)
                engine.receive_stream_eof(stream, now=bench.now)
        elif kind == "answer" and self.dials:
            dial = self.dials.pop()
            engine.receive_stream_data(dial, value, now=bench.now)
            engine.receive_stream_eof(dial, now=bench.now)
        elif kind == "time":
            bench.run_for(value)
        elif kind == "call":
            self._call(value)
        bench.drain()
        self.check()

    def _call(self, what: str) -> None:
        engine, now = self.bench.engine, self.bench.now
        if what == "join":
            engine.join(at(2), now=now)
        elif what == "look":
            engine.look(at(2), now=now)
        elif what == "tags":
            engine.set_tags({"t": str(now)}, now=now)
        elif what == "force":
            engine.force_leave("b", prune=bool(int(now) % 2), now=now)
        else:
            try:
                if what == "event":
                    engine.user_event("e", b"x", coalesce=False, now=now)
                else:
                    engine.query(Question(name="q", wants_acks=True, relay_factor=2), now=now)
            except (EventRefused, QueryRefused):
                return  # an answer to the caller, as documented

    def check(self) -> None:
        """Look at everything that must always hold."""
        bench, engine = self.bench, self.bench.engine
        own = bench.node(OWN)
        assert own.state.name == "ALIVE"
        assert own.incarnation >= self.incarnation
        self.incarnation = own.incarnation
        local = engine.local_member()
        assert (local.address, local.port) == (ip(1), PORT)
        assert bench.statuses[OWN] == "alive"
        statistics = engine.statistics()
        assert statistics.swim.nodes <= NODES_MAX
        assert 0 <= statistics.swim.health_score <= 7
        assert len(bench.swim.conversations) <= 2 * INCOMING_STREAMS_MAX
        for sent in bench.take_sent():
            check_packet(sent.data)
        check_table(bench.swim.table)
        self.dials += [a.stream for a in bench.take_actions() if isinstance(a, OpenStream)]
        bench.take_notices()
        deadline = engine.next_deadline()
        assert deadline is None or deadline < bench.now + 90_000.0

    def finish(self) -> None:
        """A quiet minute later it must still answer."""
        for seconds in (1.0, 10.0, 60.0):
            self.step("time", seconds)
        message = self.bench.dial(PushPull((), b"", False)).message
        assert isinstance(message, PushPull)
        check_table(message.nodes)
        assert OWN in self.bench.user_state().status_ltimes


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=30))
def test_no_sequence_of_messages_breaks_the_engine(sequence: list[tuple[str, Any]]) -> None:
    """Any messages, streams, calls and pauses: nothing raises, and the engine stays itself."""
    watched = Watched()
    for kind, value in sequence:
        watched.step(kind, value)
    watched.finish()


def mutations(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with a flipped bit, cut short, or with a piece doubled."""
    how = rng.randrange(4)
    if not data or how == 0:
        return data[: rng.randrange(len(data) + 1)]
    position = rng.randrange(len(data))
    if how == 1:
        return data[:position] + data[position : position + 9] + data[position:]
    flipped = bytearray(data)
    for _ in range(how):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_recorded_traffic_bent_and_broken_does_no_harm(seed: int) -> None:
    """Thousands of flipped and cut packets and streams of real agents, at one engine."""
    rng = random.Random(seed)
    datagrams = [bytes.fromhex(recorded.vector["packet"]) for recorded in DATAGRAMS]
    datagrams += [bytes.fromhex(p["bytes"]) for p in REACTIONS if p["transport"] == "udp"]
    conversations = [
        bytes.fromhex(recorded.vector[recorded.side]["stream"])
        for recorded in STREAMS
        if recorded.side == "client_to_server"
    ]
    # Own name of the recordings' agent, so that much of it is meant for us.
    bench = SerfBench("b", node_name="tgt", seed=seed, nodes_max=200)
    for number in range(10_000):
        if rng.random() < 0.9:
            bench.receive(mutations(rng.choice(datagrams), rng), Address("127.0.0.81", 7946))
        else:
            stream = bench.engine.accept_stream(at(9), now=bench.now)
            assert stream is not None
            data = mutations(rng.choice(conversations), rng)
            bench.engine.receive_stream_data(stream, data, now=bench.now)
            bench.engine.receive_stream_eof(stream, now=bench.now)
        if number % 10 == 0:
            bench.run_for(0.05)
        for sent in bench.take_sent():
            check_packet(sent.data)
        for action in bench.take_opened():
            bench.engine.fail_stream(action.stream, "refused", now=bench.now)
    assert bench.statuses["tgt"] == "alive"
    assert sum(bench.rejected.values()) > 500
    assert len(bench.take_notices()) < 1000
    check_table(bench.swim.table)
    bench.run_for(60.0)
    assert isinstance(bench.dial(PushPull((), b"", False)).message, PushPull)
