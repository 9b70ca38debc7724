"""Exchanging tables: the schedule, what each state does, what is refused, what is answered."""

from __future__ import annotations

import itertools

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.effects import CloseStream, OpenStream, SendStream
from rookery.gossip.notices import NameConflict
from rookery.gossip.swim.conversations import Purpose
from rookery.gossip.swim.nodes import NodeState
from rookery.gossip.swim.push_pull import push_pull_period
from rookery.gossip.swim.versions import OUR_VERSIONS
from rookery.gossip.wire.messages import (
    Alive,
    Dead,
    ErrorReply,
    PushPull,
    Suspect,
    encode_message,
)
from rookery.gossip.wire.messages import NodeState as NodeRecord
from rookery.gossip.wire.streams import StreamCodec

from ..benches import (
    OWN,
    PORT,
    SwimBench,
    alive,
    at,
    ip,
    raw_push_pull,
    raw_record,
    record,
)


def read_request(action: OpenStream) -> PushPull:
    message = StreamCodec(nonce=bytes).request_reader().feed(action.data)
    assert isinstance(message, PushPull)
    return message


def healthy_bench(*names: str, **settings: object) -> SwimBench:
    bench = SwimBench(*names, **settings)
    bench.answering |= set(names)
    return bench


# --- schedule ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "seconds"),
    [(1, 30), (32, 30), (33, 60), (64, 60), (65, 90), (128, 90), (129, 120), (1000, 180)],
)
def test_period_stretches_with_the_pool(nodes: int, seconds: int) -> None:
    """Up to 32 nodes the interval, then ceil(log2(n) - log2(32)) + 1 times it."""
    assert push_pull_period(30.0, nodes) == seconds


def test_exchanges_come_after_a_delay_and_one_period_then_once_a_period() -> None:
    """The first between one and two periods after the start, with one random alive node."""
    firsts = set()
    for seed in range(4):
        bench = healthy_bench("b", "c", seed=seed)
        times = []
        for _ in range(600):
            bench.run_for(0.5)
            for action in bench.take_opened():
                times.append(bench.now)
                assert action.destination in {at(2), at(3)}
                request = read_request(action)
                assert not request.join
                assert {node.name for node in request.nodes} == {OWN, "b", "c"}
                bench.answer(action.stream, PushPull((), b"", False))
        assert 30.0 <= times[0] <= 60.5
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(gap == pytest.approx(30.0, abs=0.51) for gap in gaps)
        firsts.add(times[0])
    assert len(firsts) == 4


def test_large_pool_exchanges_less_often() -> None:
    """With 65 nodes every 90 s instead of 30."""
    bench = SwimBench(probe_interval=10_000.0, probe_timeout=5000.0)
    for number in range(2, 66):
        bench.receive(alive(f"n{number}", number))
    bench.run_until(1000.0)
    bench.take_actions()
    bench.run_until(1000.0 + 900.0)
    assert len(bench.take_opened()) == 10


def test_only_alive_nodes_are_exchanged_with() -> None:
    """Neither suspects nor the dead or left; with none of them nothing is opened."""
    bench = healthy_bench("b", "c", "d", "e", gossip_to_the_dead_time=1e6)
    bench.receive(Dead(1, "c", "b"))
    bench.receive(Dead(1, "d", "d"))
    bench.run_until(200.0)
    bench.receive(Suspect(1, "e", "b"))
    assert {action.destination for action in bench.take_opened()} <= {at(2), at(5)}
    bench.receive(Dead(1, "b", "e"))
    bench.receive(Dead(1, "e", "b"))
    bench.run_until(400.0)
    assert bench.take_opened() == []


def test_failed_exchange_is_a_remark_only() -> None:
    """It is only logged; the next one comes a period later."""
    bench = healthy_bench("b")
    bench.run_until(60.0)
    (action, *_) = bench.take_opened()
    bench.engine.fail_stream(
        action.stream, "dial tcp 10.0.0.2:7946: connect: connection refused", now=bench.now
    )
    assert "push_pull_failed" in bench.remarks()
    assert bench.state_of("b") == ("alive", 1)
    assert bench.finished == []
    bench.run_for(31.0)
    assert len(bench.take_opened()) == 1


def test_who_leaves_starts_no_exchange_but_answers() -> None:
    """A peer may still learn from us."""
    bench = healthy_bench("b")
    bench.engine.leave(now=bench.now, finished=lambda: None)
    bench.run_for(120.0)
    assert bench.take_opened() == []
    message = bench.dial(PushPull((), b"", False)).message
    assert record(OWN, 1, 1, NodeState.LEFT, meta=b"own meta") in message.nodes


# --- what is answered -------------------------------------------------------------------


def test_everything_known_is_answered_the_dead_and_left_too() -> None:
    """All entries, ourselves included, each with its six version bytes."""
    bench = SwimBench("b", "c", "d", "e")
    bench.receive(Suspect(1, "c", "b"))
    bench.receive(Dead(1, "d", "b"))
    bench.receive(Dead(1, "e", "e"))
    reply = bench.dial(PushPull((), b"", False))
    assert reply.is_closed
    assert sorted(reply.message.nodes, key=lambda node: node.name) == [
        record("b", 2),
        record("c", 3, state=NodeState.SUSPECT),
        record("d", 4, state=NodeState.DEAD),
        record("e", 5, state=NodeState.LEFT),
        record(OWN, 1, meta=b"own meta"),
    ]


@pytest.mark.parametrize("join", [True, False])
def test_answer_echoes_join_and_carries_the_layer_aboves_state(join: bool) -> None:
    """Both sides say whether it is a join."""
    bench = SwimBench()
    bench.delegate.state = b"\2state"
    message = bench.dial(PushPull((), b"", join)).message
    assert message.join is join
    assert message.user_state == b"\2state"


def test_answer_is_sent_before_the_request_is_merged() -> None:
    """What the peer told us is not told back, and the answer does not say that it was taken."""
    bench = SwimBench()
    reply = bench.dial(PushPull((record("b", 2),), b"", True))
    assert [node.name for node in reply.message.nodes] == [OWN]
    assert bench.state_of("b") == ("alive", 1)


def test_empty_request_is_answered_and_changes_nothing() -> None:
    """A way to read a table without joining."""
    bench = SwimBench("b")
    reply = bench.dial(bytes.fromhex("0683a44a6f696ec2a54e6f64657300ac5573657253746174654c656e00"))
    assert {node.name for node in reply.message.nodes} == {OWN, "b"}
    assert bench.delegate.heard() == []
    assert bench.news() == []
    assert bench.rejected == {}


# --- merging ----------------------------------------------------------------------------


@pytest.mark.parametrize("as_answer", [False, True])
@pytest.mark.parametrize(
    ("remote", "known", "then", "news"),
    [
        (NodeState.ALIVE, None, ("alive", 5), [alive("b", 2, 5)]),
        (NodeState.SUSPECT, None, None, []),
        (NodeState.DEAD, None, None, []),
        (NodeState.LEFT, None, None, []),
        (NodeState.ALIVE, 5, ("alive", 5), []),
        (NodeState.ALIVE, 4, ("alive", 5), [alive("b", 2, 5)]),
        (NodeState.SUSPECT, 5, ("suspect", 5), [Suspect(5, "b", OWN)]),
        (NodeState.SUSPECT, 6, ("alive", 6), []),
        # The dead gets the chance to refute.
        (NodeState.DEAD, 5, ("suspect", 5), [Suspect(5, "b", OWN)]),
        (NodeState.DEAD, 6, ("alive", 6), []),
        (NodeState.LEFT, 5, ("left", 5), [Dead(5, "b", "b")]),
        (NodeState.LEFT, 6, ("alive", 6), []),
    ],
)
def test_remote_states_are_taken_as_the_messages_they_stand_for(
    remote: NodeState,
    known: int | None,
    then: tuple[str, int] | None,
    news: list[object],
    as_answer: bool,
) -> None:
    """Alive as alive, left as left, dead and suspect as suspect in our own name."""
    bench = SwimBench("c")
    if known is not None:
        bench.receive(alive("b", 2, known))
        bench.forget_output()
    message = PushPull((record("b", 2, 5, remote),), b"", False)
    if as_answer:
        bench.engine.push_pull(Purpose.JOIN, at(9), now=bench.now)
        (dial,) = bench.take_opened()
        bench.answer(dial.stream, message)
    else:
        bench.dial(message)
    assert bench.state_of("b") == then
    assert bench.news() == news


def test_remote_suspicion_confirms_ours_in_our_name() -> None:
    """A peer's table counts as our own word, once."""
    bench = SwimBench("b", "c", "d")
    bench.answering |= {"b", "c", "d"}
    bench.run_until(10.0)
    bench.receive(Suspect(1, "b", "c"))
    bench.dial(PushPull((record("b", 2, 1, NodeState.DEAD),), b"", False))
    bench.dial(PushPull((record("b", 2, 1, NodeState.DEAD),), b"", False))
    bench.run_until(10.0 + 11.380)
    assert bench.state_of("b") == ("suspect", 1)
    bench.run_until(10.0 + 11.382)
    assert bench.state_of("b") == ("dead", 1)


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.DEAD, NodeState.LEFT])
def test_we_refute_our_old_entry_in_a_table(state: NodeState) -> None:
    """So a restarted node gets back in: it outbids what peers remember of it."""
    bench = SwimBench()
    bench.engine.push_pull(Purpose.JOIN, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    remembered = record(OWN, 1, 17, state, meta=b"old")
    bench.answer(dial.stream, PushPull((record("b", 2), remembered), b"", True))
    assert bench.state_of(OWN) == ("alive", 18)
    assert alive(OWN, 1, 18, meta=b"own meta") in bench.news()


def test_alive_entry_about_us_that_differs_is_refuted_and_one_that_agrees_is_not() -> None:
    """An old life's higher incarnation is outbid."""
    bench = SwimBench("b")
    bench.dial(PushPull((record(OWN, 1, 1, meta=b"own meta"),), b"", False))
    assert bench.state_of(OWN) == ("alive", 1)
    bench.dial(PushPull((record(OWN, 1, 9, meta=b"own meta"),), b"", False))
    assert bench.state_of(OWN) == ("alive", 10)


def test_port_0_in_a_table_is_our_own_port() -> None:
    """As in alive messages."""
    bench = SwimBench(port=7000)
    bench.dial(PushPull((record("b", 2, port=0),), b"", False))
    assert bench.node("b").destination == at(2, 7000)


def test_conflict_in_a_table_is_told() -> None:
    """A second node of a name that a peer shows is reported like a gossiped one."""
    bench = SwimBench("b")
    bench.dial(PushPull((record("b", 9), record("c", 3)), b"", False))
    assert bench.take_notice(NameConflict) == [NameConflict("b", at(2), at(9))]
    assert bench.state_of("c") == ("alive", 1), "the others are merged all the same"


def test_unknown_state_in_a_table_is_counted_and_skipped() -> None:
    """Numbers beyond left mean nothing to us."""
    bench = SwimBench("b")
    bench.dial(PushPull((record("b", 2, 9, 4), record("c", 3)), b"", False))
    assert bench.state_of("b") == ("alive", 1)
    assert bench.state_of("c") == ("alive", 1)
    assert bench.rejected == {"unknown_node_state": 1}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Addr": b"\1\2\3"}, "bad_address"),
        ({"Meta": bytes(513)}, "meta_too_large"),
        ({"Incarnation": 0}, "incarnation_zero"),
        ({"Incarnation": 2**32 - 1}, "incarnation_out_of_range"),
        ({"Name": ""}, "alive_without_name"),
        ({"Name": "n" * 513}, "node_name_too_long"),
    ],
)
def test_poison_in_a_table_is_skipped_and_the_rest_merged(
    fields: dict[str, object], reason: str
) -> None:
    """One bad entry does not cost us the others."""
    bench = SwimBench()
    bench.dial(raw_push_pull(raw_record("x", 9, **fields), raw_record("b", 2)))
    assert [node.name for node in bench.engine.table] == [OWN, "b"]
    assert bench.rejected == {reason: 1}
    assert bench.news() == [alive("b", 2)]


# --- refusing ---------------------------------------------------------------------------

INCOMPATIBLE = [
    ({"Vsn": bytes((9, 9, 9, 2, 5, 5))}, "protocol version (9) is incompatible: [9, 5]"),
    ({"Vsn": None}, "protocol version (0) is incompatible: [1, 5]"),
    ({"Vsn": b"\1\5\2"}, "protocol version (0) is incompatible: [1, 5]"),
    ({"Vsn": b""}, "protocol version (0) is incompatible: [1, 5]"),
    ({"Vsn": None, "State": 2}, "protocol version (0) is incompatible: [1, 5]"),
    ({"Vsn": None, "State": 3}, "protocol version (0) is incompatible: [1, 5]"),
    ({"Vsn": bytes((1, 5, 2, 2, 5, 9))}, "delegate protocol version (9) is incompatible: [2, 5]"),
]


@pytest.mark.parametrize(("fields", "text"), INCOMPATIBLE)
def test_incompatible_table_is_answered_and_not_merged(
    fields: dict[str, object], text: str
) -> None:
    """One node out of range, in any state, and nothing of the table counts."""
    bench = SwimBench("c")
    request = raw_push_pull(raw_record("b", 2), raw_record("x", 9, **fields), state=b"\2state")
    reply = bench.dial(request)
    assert isinstance(reply.message, PushPull)
    assert [node.name for node in bench.engine.table] == [OWN, "c"]
    assert bench.rejected == {"incompatible_versions": 1}
    assert bench.delegate.heard() == []
    assert bench.news() == []


@pytest.mark.parametrize(("fields", "text"), INCOMPATIBLE)
def test_incompatible_answer_fails_the_join(fields: dict[str, object], text: str) -> None:
    """The owner hears why, in the words of a Go peer."""
    bench = SwimBench()
    operation = bench.engine.push_pull(Purpose.JOIN, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    bench.answer(dial.stream, raw_push_pull(raw_record("x", 9, **fields)))
    ((finished, error, _),) = bench.finished
    assert finished == operation
    assert error == f"Node 'x' {text}"
    assert bench.state_of("x") is None


def test_our_own_table_takes_part_in_the_check() -> None:
    """A peer that narrows the range below what one of ours speaks is refused."""
    bench = SwimBench()
    bench.receive(alive("b", 2, versions=bytes((1, 2, 1, 2, 5, 5))))
    bench.dial(PushPull((record("x", 9, versions=bytes((2, 5, 2, 2, 5, 5))),), b"", False))
    assert bench.state_of("x") is None
    assert bench.rejected == {"incompatible_versions": 1}


def test_delegate_refuses_a_pool_and_shows_it_nothing() -> None:
    """The peer gets an error instead of our table, and nothing is merged."""
    bench = SwimBench("b")
    bench.delegate.refused_pool = "another region"
    reply = bench.dial(PushPull((record("x", 9),), b"\2state", True))
    assert reply.message == ErrorReply("another region")
    assert bench.state_of("x") is None
    assert bench.delegate.heard() == []
    assert bench.rejected == {"pool_refused": 1}


def test_delegate_refuses_the_pool_of_an_answer() -> None:
    """A join that meets such a pool fails with the reason and merges nothing."""
    bench = SwimBench()
    bench.delegate.refused_pool = "another region"
    bench.engine.push_pull(Purpose.JOIN, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    bench.answer(dial.stream, PushPull((record("x", 9),), b"\2state", True))
    assert [(error, [node.name for node in nodes]) for _, error, nodes in bench.finished] == [
        ("another region", ["x"])
    ]
    assert bench.state_of("x") is None
    assert bench.delegate.heard() == []


# --- the layer above's part -------------------------------------------------------------


def test_state_of_the_layer_above_is_handed_over_after_the_nodes() -> None:
    """Serf's part may speak of nodes that came with the table."""
    bench = SwimBench()
    bench.dial(PushPull((record("b", 2),), b"\2state", False))
    heard = bench.delegate.heard()
    assert [call[:2] for call in heard] == [("joined", "b"), ("state", b"\2state")]


def test_absent_state_is_not_handed_over() -> None:
    """Plain memberlist, without a layer above, sends none."""
    bench = SwimBench()
    bench.dial(PushPull((record("b", 2),), b"", False))
    assert bench.delegate.heard() == [("joined", "b")]


# --- joins and looks --------------------------------------------------------------------


def test_join_shows_everything_and_merges_the_answer() -> None:
    """One stream, one request; the notice names what the peer showed."""
    bench = SwimBench("c")
    bench.delegate.state = b"\2ours"
    operation = bench.engine.push_pull(Purpose.JOIN, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    assert dial.destination == at(2)
    request = read_request(dial)
    assert request.join
    assert request.user_state == b"\2ours"
    assert {node.name for node in request.nodes} == {OWN, "c"}
    assert bench.finished == []
    bench.answer(dial.stream, PushPull((record("b", 2),), b"\2theirs", True))
    assert bench.finished == [(operation, None, (record("b", 2),))]
    assert bench.delegate.heard() == [("joined", "b"), ("state", b"\2theirs", operation)]
    assert bench.take_actions() == [CloseStream(dial.stream)]
    assert bench.state_of("b") == ("alive", 1)


def test_look_shows_nothing_of_us_and_changes_nothing() -> None:
    """The request is empty, the answer is only handed to the owner."""
    bench = SwimBench("c")
    bench.delegate.state = b"\2ours"
    operation = bench.engine.push_pull(Purpose.LOOK, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    assert read_request(dial) == PushPull((), b"", False)
    bench.delegate.refused_pool = "not asked on a look"
    nodes = (record("b", 2), record("c", 9, 50), record(OWN, 1, 9, NodeState.DEAD))
    bench.answer(dial.stream, PushPull(nodes, b"\2theirs", False))
    assert bench.finished == [(operation, None, nodes)]
    assert bench.delegate.heard() == []
    assert [node.name for node in bench.engine.table] == [OWN, "c"]
    assert bench.state_of(OWN) == ("alive", 1)
    assert bench.take_notices() == []
    assert bench.news() == []
    bench.run_for(0.01)
    assert bench.take_sent() == []


def test_look_at_incompatible_nodes_still_shows_them() -> None:
    """Who looks wants to know what is there, sound or not."""
    bench = SwimBench()
    bench.engine.push_pull(Purpose.LOOK, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    bench.answer(dial.stream, raw_push_pull(raw_record("x", 9, Vsn=None, Addr=b"\1\2\3")))
    ((_, error, nodes),) = bench.finished
    assert error is None
    assert nodes == (NodeRecord("x", b"\1\2\3", PORT, b"", 1, 0, b""),)
    assert bench.rejected == {}


@pytest.mark.parametrize("purpose", [Purpose.JOIN, Purpose.LOOK])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ErrorReply("No installed keys could decrypt the message"), "remote error: No installed"),
        (b"\2\x82\xa7Payload\xc0\xa5SeqNo\1", "push-pull"),
        (b"garbage", ""),
    ],
)
def test_other_answers_fail_the_operation(purpose: Purpose, answer: object, error: str) -> None:
    """An err answer is told in its words; others as what they are. The stream is closed."""
    bench = SwimBench()
    operation = bench.engine.push_pull(purpose, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    bench.answer(dial.stream, answer)
    ((finished, text, nodes),) = bench.finished
    assert finished == operation
    assert text is not None
    assert error in text
    assert nodes == ()
    assert bench.take_actions() == [CloseStream(dial.stream)]


@pytest.mark.parametrize("purpose", [Purpose.JOIN, Purpose.LOOK])
def test_failed_dial_closed_stream_and_silence_end_the_operation(purpose: Purpose) -> None:
    """Each end is told once, silence after TCPTimeout."""
    refused = "dial tcp 10.0.0.2:7946: connect: connection refused"
    bench = SwimBench()
    for _ in range(3):
        bench.engine.push_pull(purpose, at(2), now=bench.now)
    first, second, third = bench.take_opened()
    bench.engine.fail_stream(first.stream, refused, now=bench.now)
    bench.engine.receive_stream_eof(second.stream, now=bench.now)
    assert [error for _, error, _ in bench.finished] == [refused, "EOF"]
    bench.run_until(9.999)
    assert len(bench.finished) == 2
    bench.run_until(10.0)
    assert [error for _, error, _ in bench.finished[2:]] == ["dial tcp 10.0.0.2:7946: i/o timeout"]
    bench.answer(third.stream, PushPull((record("b", 2),), b"", True))
    bench.engine.fail_stream(third.stream, "late", now=bench.now)
    assert len(bench.finished) == 3
    assert bench.state_of("b") is None


def test_stop_ends_what_is_under_way() -> None:
    """Nobody waits for ever for a join of a stopped engine."""
    bench = SwimBench()
    bench.engine.push_pull(Purpose.JOIN, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    bench.engine.stop(now=bench.now)
    assert [error for _, error, _ in bench.finished] == ["shutting down"]
    assert bench.take_actions() == [CloseStream(dial.stream)]


def test_answer_may_come_in_pieces() -> None:
    """A stream has no message boundaries."""
    bench = SwimBench()
    bench.engine.push_pull(Purpose.JOIN, at(2), now=bench.now)
    (dial,) = bench.take_opened()
    for byte in encode_message(PushPull((record("b", 2),), b"\2state", True)):
        bench.engine.receive_stream_data(dial.stream, bytes((byte,)), now=bench.now)
    assert len(bench.finished) == 1
    assert bench.state_of("b") == ("alive", 1)


def test_ipv6_peers_are_dialled_and_shown() -> None:
    """Sixteen raw bytes are an address like any other."""
    loopback = bytes(15) + b"\1"
    bench = SwimBench(address=loopback)
    bench.engine.push_pull(Purpose.JOIN, Address("::1", 7000), now=bench.now)
    (dial,) = bench.take_opened()
    assert read_request(dial).nodes == (
        NodeRecord(OWN, loopback, PORT, b"own meta", 1, 0, OUR_VERSIONS),
    )
    bench.answer(
        dial.stream,
        PushPull((NodeRecord("b", loopback, 7000, b"", 1, 0, OUR_VERSIONS),), b"", True),
    )
    assert bench.node("b").destination == Address("::1", 7000)
    assert Alive(1, "b", loopback, 7000, b"", OUR_VERSIONS) in bench.news()


# --- a table that fits no answer --------------------------------------------------------


def test_table_too_large_to_be_sent_ends_the_conversation_and_nothing_else() -> None:
    """A stranger that fills our table must not be able to make us fall over our own answer."""
    bench = SwimBench("b")
    bench.delegate.state = bytes(21 * 1024 * 1024)
    reply = bench.dial(PushPull((), b"", False))
    assert reply.is_closed
    assert not reply.data
    assert "state_too_large" in bench.remarks()
    operation = bench.engine.push_pull(Purpose.JOIN, at(2), now=bench.now)
    assert bench.finished == []
    bench.run_for(0.0)
    ((finished, error, _),) = bench.finished
    assert finished == operation
    assert error is not None
    assert not any(isinstance(action, OpenStream | SendStream) for action in bench.take_actions())
    bench.delegate.state = b""
    assert isinstance(bench.dial(PushPull((), b"", False)).message, PushPull)


def test_address_bytes_go_into_tables_as_they_came() -> None:
    """The mapped form of an IPv4 address is shown as 16 bytes."""
    mapped = bytes(10) + b"\xff\xff" + ip(2)
    bench = SwimBench()
    bench.receive(Alive(1, "b", mapped, PORT, b"", OUR_VERSIONS))
    message = bench.dial(PushPull((), b"", False)).message
    assert mapped in {node.address for node in message.nodes}


def test_large_pool_settles_in_a_time_stretched_like_the_period() -> None:
    """Three times as long for 66 nodes: a storm of joins costs no more."""
    bench = SwimBench(settling_delay=1.0, probe_interval=10_000.0, probe_timeout=5000.0)
    for number in range(2, 66):
        bench.receive(alive(f"n{number}", number))
    bench.run_until(3.0)
    assert len(bench.take_opened()) == 1, "the timer of the first that came"
    bench.receive(alive("n66", 66))
    bench.run_until(5.99)
    assert bench.take_opened() == []
    bench.run_until(9.01)
    assert len(bench.take_opened()) == 1


def test_small_pool_settles_by_one_exchange_after_it_has_grown() -> None:
    """One exchange, one to two seconds after the growth, however many came; none without growth."""
    bench = SwimBench(settling_delay=1.0)
    for number, name in enumerate("bcd", 2):
        bench.receive(alive(name, number, 1))
    bench.answering |= {"b", "c", "d"}
    bench.run_for(0.99)
    assert bench.take_opened() == []
    bench.run_for(1.02)
    assert len(bench.take_opened()) == 1
    bench.run_for(20.0)
    assert bench.take_opened() == []
