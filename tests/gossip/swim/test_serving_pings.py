"""Answering pings, probing for others, and the owner's own pings."""

from __future__ import annotations

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.notices import PingFinished
from rookery.gossip.swim.probe import RELAYED_PINGS_MAX
from rookery.gossip.wire.messages import Ack, IndirectPing, Nack, Ping

from ..benches import OWN, PORT, SwimBench, alive, at, ip, raw

# --- pings ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [OWN, ""])
def test_ping_for_us_is_acked_at_once_where_it_came_from(name: str) -> None:
    """An empty name is for whoever gets it; without source fields the packet's source counts."""
    bench = SwimBench()
    bench.receive(Ping(42, name), at(7, 5555))
    assert bench.take_first(Ack) == [(0.0, at(7, 5555), Ack(42, None))]


def test_ping_for_another_name_is_not_answered() -> None:
    """Otherwise a node that took over an address would keep its predecessor alive."""
    bench = SwimBench()
    bench.receive(Ping(42, "somebody"), at(7))
    assert bench.take_sent() == []
    assert bench.rejected == {"ping_for_another_node": 1}


@pytest.mark.parametrize(
    ("source_address", "source_port", "destination"),
    [
        (ip(8), 7000, at(8, 7000)),
        (bytes(15) + b"\1", 7000, Address("::1", 7000)),
        (b"", 7000, at(7)),
        (ip(8), 0, at(7)),
        (b"\1\2\3", 7000, at(7)),
    ],
)
def test_ack_goes_to_the_source_fields_if_both_are_set(
    source_address: bytes, source_port: int, destination: Address
) -> None:
    """Half an address, or one that is none, is as good as no address."""
    bench = SwimBench()
    bench.receive(Ping(42, OWN, source_address, source_port, "x"), at(7))
    assert bench.take_first(Ack) == [(0.0, destination, Ack(42, None))]


def test_ack_carries_the_payload_of_the_layer_above() -> None:
    """Serf puts its coordinate there."""
    bench = SwimBench()
    bench.delegate.payload = b"\1coordinate"
    bench.receive(Ping(42, OWN), at(7))
    assert bench.take_first(Ack) == [(0.0, at(7), Ack(42, b"\1coordinate"))]


def test_two_pings_of_one_packet_get_two_acks() -> None:
    """Each message of a compound is answered."""
    bench = SwimBench()
    first, second = raw(0, SeqNo=1, Node=OWN), raw(0, SeqNo=2, Node=OWN)
    sizes = len(first).to_bytes(2, "big") + len(second).to_bytes(2, "big")
    bench.receive(b"\x07\x02" + sizes + first + second, at(7))
    assert [ack.sequence_number for _, _, ack in bench.take_first(Ack)] == [1, 2]


# --- indirect pings ---------------------------------------------------------------------


def ask(
    bench: SwimBench, *, wants_nack: bool = True, port: int = PORT, sequence: int = 500
) -> Ping:
    """Let peer 3 ask for a ping of "x" at peer 9; return the ping that was sent."""
    request = IndirectPing(sequence, ip(9), port, "x", wants_nack, ip(3), 7003, "c")
    bench.receive(request, at(4))
    ((_, destination, ping),) = bench.take_first(Ping)
    assert destination == at(9, port or PORT)
    return ping


def test_indirect_ping_is_a_ping_of_our_own() -> None:
    """With our number and our address to answer to, and the target's name."""
    bench = SwimBench()
    ping = ask(bench)
    assert ping == Ping(1, "x", ip(1), PORT, OWN)


def test_ack_of_the_target_is_relayed_without_payload() -> None:
    """Under the requester's number, to the source fields of its request."""
    bench = SwimBench()
    ping = ask(bench)
    bench.run_until(0.4)
    bench.receive(Ack(ping.sequence_number, b"\1coordinate"), at(9))
    assert bench.take_first(Ack) == [(0.4, at(3, 7003), Ack(500, None))]
    bench.run_until(2.0)
    assert bench.take_sent() == [], "no nack after an ack"


def test_requester_without_source_fields_is_answered_where_it_asked_from() -> None:
    """As with pings."""
    bench = SwimBench()
    bench.receive(IndirectPing(500, ip(9), PORT, "x", True), at(4, 1234))
    ((_, _, ping),) = bench.take_first(Ping)
    bench.receive(Ack(ping.sequence_number, None), at(9))
    assert bench.take_first(Ack) == [(0.0, at(4, 1234), Ack(500, None))]


def test_silence_of_the_target_is_a_nack_at_the_time_out() -> None:
    """At 0.5 s, if one was asked for."""
    bench = SwimBench()
    ask(bench)
    bench.run_until(0.499)
    assert bench.take_sent() == []
    bench.run_until(0.5)
    assert bench.take_first(Nack) == [(0.5, at(3, 7003), Nack(500))]
    bench.run_until(5.0)
    assert bench.take_sent() == []


def test_no_nack_is_sent_where_none_was_asked_for() -> None:
    """Old requesters do not know them."""
    bench = SwimBench()
    ask(bench, wants_nack=False)
    bench.run_until(5.0)
    assert bench.take_sent() == []


def test_ack_after_the_nack_is_ignored() -> None:
    """The requester was told already."""
    bench = SwimBench()
    ping = ask(bench)
    bench.run_until(0.6)
    bench.take_sent()
    bench.receive(Ack(ping.sequence_number, None), at(9))
    assert bench.take_sent() == []


def test_port_0_of_an_indirect_ping_is_our_own_port() -> None:
    """As in alive messages."""
    ask(SwimBench(), port=0)


@pytest.mark.parametrize("size", [0, 3, 5, 17])
def test_indirect_ping_to_no_address_is_refused(size: int) -> None:
    """Nothing is sent, and it is counted."""
    bench = SwimBench()
    bench.receive(raw(1, SeqNo=1, Target=bytes(size), Port=1, Node="x", Nack=True), at(4))
    bench.run_until(2.0)
    assert bench.take_sent() == []
    assert bench.rejected == {"bad_address": 1}


def test_indirect_ping_with_an_endless_name_is_refused() -> None:
    """We would send it on; it would not even fit a packet of ours."""
    bench = SwimBench()
    request = raw(1, SeqNo=1, Target=ip(9), Port=1, Node="x" * 60_000, Nack=True)
    bench.receive(request, at(4))
    bench.run_until(2.0)
    assert bench.take_sent() == []
    assert bench.rejected == {"node_name_too_long": 1}


def test_indirect_pings_are_served_up_to_a_limit() -> None:
    """RELAYED_PINGS_MAX at once, one more is counted; time makes room again."""
    bench = SwimBench()
    for number in range(RELAYED_PINGS_MAX):
        bench.receive(IndirectPing(number + 1, ip(9), PORT, "x", True), at(4))
    assert len(bench.take_first(Ping)) == RELAYED_PINGS_MAX
    bench.receive(IndirectPing(9999, ip(9), PORT, "x", True), at(4))
    assert bench.take_sent() == []
    assert bench.rejected == {"too_many_indirect_pings": 1}
    bench.run_until(0.5)
    assert len(bench.take_first(Nack)) == RELAYED_PINGS_MAX
    ask(bench)


def test_indirect_pings_do_not_disturb_our_own_probe() -> None:
    """Numbers are shared, so an ack belongs to exactly one of them."""
    bench = SwimBench("b")
    bench.run_until(1.0)
    ((_, _, own_ping),) = bench.take_first(Ping)
    relayed = ask(bench)
    assert relayed.sequence_number != own_ping.sequence_number
    bench.receive(Ack(relayed.sequence_number, None), at(9))
    assert len(bench.take_first(Ack)) == 1
    assert bench.engine.statistics().probes_succeeded == 0
    bench.receive(Ack(own_ping.sequence_number, None), at(2))
    assert bench.engine.statistics().probes_succeeded == 1


# --- the owner's pings ------------------------------------------------------------------


def test_manual_ping_tells_the_round_trip() -> None:
    """One packet, one notice."""
    bench = SwimBench()
    operation = bench.engine.ping("x", at(9), now=bench.now)
    ((_, destination, ping),) = bench.take_first(Ping)
    assert destination == at(9)
    assert ping == Ping(1, "x", ip(1), PORT, OWN)
    bench.run_until(0.125)
    bench.receive(Ack(1, None), at(9))
    assert bench.take_notice(PingFinished) == [PingFinished(operation, 0.125)]


def test_manual_ping_ends_at_the_time_out_without_consequences() -> None:
    """Nobody is suspected for it, and our health stays as it is."""
    bench = SwimBench()
    bench.receive(alive("b", 2))
    bench.answering.add("b")
    operation = bench.engine.ping("x", at(9), now=bench.now)
    bench.run_until(0.5)
    assert bench.take_notice(PingFinished) == [PingFinished(operation, None)]
    bench.run_until(5.0)
    assert bench.state_of("b") == ("alive", 1)
    assert bench.engine.statistics().health_score == 0
