"""Gossip ticks and piggybacking: when, to whom, how much. LAN: every 0.2 s to three nodes."""

from __future__ import annotations

from collections import Counter

import pytest
from rookery.gossip.swim.dissemination import COMPOUND_HEADER_SIZE, COMPOUND_PART_OVERHEAD
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.limits import COMPOUND_PARTS_SENT_MAX
from rookery.gossip.wire.messages import Ack, Alive, Dead, Ping, Suspect, User

from ..benches import OWN, Sent, SwimBench, alive, at

CRC_SIZE = 5
"""Bytes of the CRC header, which Go does not count against the budget either."""

INTERVAL = 0.2


def gossip(bench: SwimBench) -> list[Sent]:
    """Return the packets that were sent for nothing but news."""
    return [sent for sent in bench.take_sent() if not isinstance(sent.first, Ping | Ack)]


def quiet_bench(*names: str, **settings: object) -> SwimBench:
    """Return a bench that hardly probes, so that news travels by ticks alone."""
    return SwimBench(*names, **{"probe_interval": 1000.0, "probe_timeout": 500.0, **settings})


# --- ticks ------------------------------------------------------------------------------


def test_ticks_lie_on_a_grid_with_a_random_phase() -> None:
    """News waits for the next point of the grid; the grid differs from node to node."""
    phases = set()
    for seed in range(5):
        bench = quiet_bench("b", seed=seed)
        times: list[float] = []
        for start in (1.0, 5.03, 9.17):
            bench.run_until(start)
            bench.receive(alive("c", 3, int(start * 100)))
            bench.run_until(start + 2.0)
            sent = gossip(bench)
            assert start < sent[0].at <= start + INTERVAL + 1e-9
            times += [packet.at for packet in sent]
        offsets = {round(time / INTERVAL % 1.0, 6) % 1.0 for time in times}
        assert len(offsets) == 1
        phases |= offsets
    assert len(phases) == 5


def test_without_news_there_is_no_tick() -> None:
    """A pool at rest sends nothing and wakes for nothing but probes."""
    bench = quiet_bench("b", "c")
    bench.run_for(1.0)
    ticks = bench.engine.statistics().gossip_ticks
    bench.run_for(100.0)
    assert bench.engine.statistics().gossip_ticks == ticks
    assert gossip(bench) == []


def test_ticks_end_when_everything_is_told() -> None:
    """After the last transmission no further tick is waited for."""
    bench = quiet_bench("b")
    bench.receive(alive("c", 3))
    bench.run_for(5.0)
    ticks = bench.engine.statistics().gossip_ticks
    bench.run_for(100.0)
    assert bench.engine.statistics().gossip_ticks == ticks


def test_each_tick_tells_up_to_three_different_others() -> None:
    """GossipNodes distinct random nodes, not us; over time everybody."""
    bench = quiet_bench("b", "c", "d", "e", "f")
    told: Counter[object] = Counter()
    for number in range(40):
        bench.receive(alive("x", 50, number + 1))
        bench.run_for(INTERVAL)
        by_time: dict[float, list[object]] = {}
        for sent in gossip(bench):
            by_time.setdefault(sent.at, []).append(sent.destination)
        for destinations in by_time.values():
            assert len(destinations) == len(set(destinations)) <= 3
            told.update(destinations)
    assert at(1) not in told
    assert {at(n) for n in range(2, 7)} <= set(told)


@pytest.mark.parametrize(
    ("settings", "names", "times"),
    [({}, "b", 4), ({}, "bcdefgh", 6), ({}, "bcdefghijk", 8), ({"retransmit_mult": 2}, "bc", 2)],
)
def test_message_is_sent_its_number_of_times_and_no_more(
    settings: dict[str, object], names: str, times: int
) -> None:
    """RetransmitMult * ceil(log10(n + 1)), and once to each other node of a small pool."""
    bench = quiet_bench(*names, **settings)
    claim = alive("b", 2, 7)
    bench.receive(claim)
    bench.run_for(20.0)
    assert bench.take_messages(Alive).count(claim) == times


@pytest.mark.parametrize(
    ("state", "is_told"), [("alive", True), ("suspect", True), ("dead", True), ("left", False)]
)
def test_news_goes_to_all_but_those_who_left(state: str, is_told: bool) -> None:
    """The suspect and the lately dead are told, so that they may refute."""
    bench = quiet_bench("b")
    claims = {"suspect": Suspect(1, "b", "x"), "dead": Dead(1, "b", "x"), "left": Dead(1, "b", "b")}
    if state in claims:
        bench.receive(claims[state])
    bench.forget_output()
    bench.receive(alive("b2", 2, 1, port=0) if state == "alive" else alive("c", 3))
    bench.run_for(1.0)
    assert (at(2) in {sent.destination for sent in gossip(bench)}) is is_told


def test_dead_are_told_for_gossip_to_the_dead_time() -> None:
    """At 30 s after the death still, later not any more."""
    bench = quiet_bench("b", "c", gossip_to_the_dead_time=30.0)
    bench.receive(Dead(1, "b", "c"))
    bench.run_until(29.5)
    bench.take_sent()
    bench.receive(alive("c", 3, 2))
    bench.run_until(30.0)
    assert at(2) in {sent.destination for sent in gossip(bench)}
    bench.forget_output()
    bench.run_until(30.2)
    bench.receive(alive("c", 3, 3))
    bench.run_until(40.0)
    destinations = [sent.destination for sent in gossip(bench)]
    assert destinations
    assert at(2) not in destinations


def test_news_waits_for_somebody_to_tell() -> None:
    """With nobody to tell the tick stops; who joins later is told."""
    bench = quiet_bench("b")
    bench.receive(Dead(1, "b", "b"))
    bench.run_for(10.0)
    assert gossip(bench) == []
    ticks = bench.engine.statistics().gossip_ticks
    bench.run_for(100.0)
    assert bench.engine.statistics().gossip_ticks == ticks
    bench.receive(alive("c", 3))
    bench.run_for(1.0)
    assert Dead(1, "b", "b") in [message for sent in gossip(bench) for message in sent.messages]


def test_node_that_comes_back_is_told_what_waited() -> None:
    """A dead node that is alive again makes the ticks start again."""
    bench = quiet_bench("b", gossip_to_the_dead_time=0.0)
    bench.receive(Dead(1, "b", "x"))
    bench.run_for(10.0)
    assert gossip(bench) == []
    bench.receive(alive("b", 2, 2))
    bench.run_for(1.0)
    assert {sent.destination for sent in gossip(bench)} == {at(2)}


def test_single_news_is_sent_bare_and_several_as_compound() -> None:
    """A compound of one would be a waste."""
    bench = quiet_bench("b")
    bench.receive(alive("c", 3))
    bench.run_for(INTERVAL)
    (first, *_) = gossip(bench)
    assert len(first.messages) == 1
    assert first.data[CRC_SIZE] == 4
    bench.receive(alive("d", 4))
    bench.run_for(INTERVAL)
    (second, *_) = gossip(bench)
    assert len(second.messages) == 2
    assert second.data[CRC_SIZE] == 7


@pytest.mark.parametrize(("highest", "has_crc"), [(4, False), (5, True)])
def test_gossip_carries_a_checksum_for_who_understands_it(highest: int, has_crc: bool) -> None:
    """CRC exists since protocol 5."""
    bench = quiet_bench()
    bench.receive(alive("b", 2, versions=bytes((1, highest, 2, 2, 5, 5))))
    bench.run_for(1.0)
    for sent in gossip(bench):
        assert (sent.data[0] == 12) is has_crc


def test_stopped_node_tells_nothing() -> None:
    """After `stop` news stays where it is."""
    bench = quiet_bench("b")
    bench.engine.stop(now=bench.now)
    bench.receive(alive("c", 3))
    bench.run_for(5.0)
    assert bench.take_sent() == []


# --- budgets ----------------------------------------------------------------------------


def crowd(bench: SwimBench, count: int = 150) -> None:
    """Queue news about many nodes, of many sizes."""
    for number in range(count):
        meta = bytes(number * 7 % 500)
        bench.receive(alive(f"node-{number}", 1000 + number, meta=meta))


@pytest.mark.parametrize("budget", [1400, 600, 5000])
def test_gossip_packets_keep_to_the_budget(budget: int) -> None:
    """No packet of news is larger, and they are well filled."""
    bench = quiet_bench("b", packet_budget=budget)
    crowd(bench)
    bench.take_sent()
    bench.run_for(3.0)
    sizes = [len(sent.data) for sent in gossip(bench)]
    assert sizes
    assert max(sizes) <= budget + CRC_SIZE
    assert max(sizes) > budget * 0.8


@pytest.mark.parametrize("message_size", [0, 1000, 1300, 1390, 1396, 1400, 3000])
def test_piggybacked_news_keeps_to_the_budget(message_size: int) -> None:
    """What rides on an ack fits what the ack leaves; a large ack goes alone."""
    bench = quiet_bench("b")
    crowd(bench)
    bench.take_sent()
    bench.delegate.payload = bytes(message_size)
    bench.receive(Ping(1, OWN), at(2))
    (sent,) = bench.take_sent()
    assert isinstance(sent.first, Ack)
    alone = len(sent.parts[0])
    assert len(sent.data) <= max(1400, alone)
    assert (len(sent.messages) > 1) is (message_size <= 1300)


@pytest.mark.parametrize("others", ["bcdef", "bcdefg"])
def test_small_pool_leaves_nobody_out_whoever_asks(others: str) -> None:
    """One member probes us again and again; what rides on our acks is on top of the gossip."""
    bench = quiet_bench(*others)
    bench.run_for(5.0)
    bench.take_sent()
    bench.receive(alive("b", 2, 9))
    for number in range(20):
        bench.receive(Ping(number, OWN), at(2))
    bench.run_for(2.0)
    told = Counter(sent.destination for sent in gossip(bench))
    assert set(told) == {at(number) for number in range(2, len(others) + 2)}


@pytest.mark.parametrize(
    "settings",
    [
        {"keyring": Keyring([bytes(16)])},
        {"keyring": Keyring([bytes(32)]), "label": "pool"},
        {"label": "l" * 255},
        {"keyring": Keyring([bytes(24)]), "versions": bytes((1, 5, 1, 2, 5, 5))},
    ],
)
def test_label_and_encryption_count_against_the_budget(settings: dict[str, object]) -> None:
    """With all layers a packet keeps to 1400 bytes."""
    bench = quiet_bench("b", **settings)
    crowd(bench)
    bench.take_sent()
    bench.run_for(5.0)
    bench.delegate.payload = bytes(300)
    for _ in range(20):
        bench.receive(Ping(1, OWN), at(2))
    sizes = [len(sent.data) for sent in bench.take_sent()]
    assert len(sizes) > 10
    assert max(sizes) <= 1400 + CRC_SIZE
    assert max(sizes) > 1300


def test_own_news_comes_first_then_that_of_the_layer_above() -> None:
    """The layer above gets what is left, and costs three bytes a message."""
    bench = quiet_bench("b")
    bench.receive(alive("c", 3))
    bench.delegate.gossip = [b"one", b"two"]
    bench.delegate.budgets.clear()
    bench.receive(Ping(1, OWN), at(2))
    (sent,) = bench.take_sent()
    assert sent.messages == [Ack(1, None), alive("c", 3), User(b"one"), User(b"two")]
    ack, claim = len(sent.parts[0]), len(sent.parts[1])
    left = 1400 - COMPOUND_HEADER_SIZE - ack - claim - 2 * COMPOUND_PART_OVERHEAD
    assert bench.delegate.budgets == [(3, left)]


def test_layer_above_is_not_asked_for_a_message_of_no_bytes() -> None:
    """With three bytes or less left nothing would fit."""
    bench = quiet_bench("b")
    bench.delegate.gossip = [b"one"]
    for left in (5, 4, 3, 2, 0, -100):
        bench.delegate.budgets.clear()
        bench.engine.dissemination.take(left)
        assert bench.delegate.budgets == ([(3, left)] if left > 3 else [])


def test_news_of_the_layer_above_alone_makes_ticks() -> None:
    """An event needs no membership news to ride on."""
    bench = quiet_bench("b")
    bench.delegate.gossip = [b"event"]
    bench.engine.dissemination.wake(bench.now)
    bench.run_for(1.0)
    (sent,) = gossip(bench)
    assert sent.messages == [User(b"event")]


def test_compounds_have_at_most_127_parts() -> None:
    """Older memberlist misreads more; the rest goes in a second packet, nothing is lost."""
    bench = quiet_bench("b", packet_budget=60_000)
    bench.delegate.gossip = [b"%03d" % number for number in range(300)]
    bench.engine.dissemination.wake(bench.now)
    bench.run_for(1.0)
    sent = gossip(bench)
    counts = [len(packet.messages) for packet in sent]
    assert counts == [COMPOUND_PARTS_SENT_MAX, COMPOUND_PARTS_SENT_MAX, 300 - 2 * 127]
    messages = [message.payload for packet in sent for message in packet.messages]
    assert messages == [b"%03d" % number for number in range(300)]


def test_compressed_gossip_unpacks_to_the_same() -> None:
    """With compression on, packets get smaller and say the same."""
    bench = quiet_bench("b", compression=True)
    crowd(bench, 20)
    bench.take_sent()
    bench.run_for(INTERVAL)
    (sent, *_) = gossip(bench)
    assert sent.data[CRC_SIZE] == 9
    assert len(sent.data) < sum(map(len, sent.parts)) / 2
    assert all(isinstance(message, Alive) for message in sent.messages)
