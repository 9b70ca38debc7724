"""Network coordinates: the recorded updates to the last digit, and no value that breaks us."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.gossip.serf.coordinates import (
    DIMENSIONS,
    ERROR_MAX,
    HEIGHT_MIN,
    ORIGIN,
    PART_MAX,
    RTT_MAX,
    Coordinate,
    CoordinateClient,
    decode_coordinate_untrusted,
    distance,
    encode_coordinate,
)
from rookery.gossip.wire.errors import MalformedInput
from rookery.gossip.wire.messages import Ack, Ping

from ..benches import OWN, SerfBench, at, raw
from ..vector_files import load

SEQUENCES = load("coordinates.json")["sequences"]


def coordinate(fields: dict[str, Any]) -> Coordinate:
    return Coordinate(tuple(fields["Vec"]), fields["Error"], fields["Adjustment"], fields["Height"])


def parts(value: Coordinate) -> tuple[float, ...]:
    return (*value.vec, value.error, value.adjustment, value.height)


@pytest.mark.parametrize("number", range(len(SEQUENCES)))
def test_updates_are_those_of_serf_to_the_last_digit(number: int) -> None:
    """Each step as the Go package calculated it; errors change nothing."""
    sequence = SEQUENCES[number]
    client = CoordinateClient(random.Random(1), coordinate(sequence["Start"]))
    for step in sequence["Steps"]:
        other = coordinate(step["Other"])
        before = client.coordinate
        problem = client.update(step["Node"], other, step["RTTns"] / 1e9)
        assert (problem is not None) == bool(step["Error"])
        if step["Error"]:
            assert client.coordinate == before
            continue
        after = parts(coordinate(step["After"]))
        assert parts(client.coordinate) == pytest.approx(after, rel=0, abs=1e-12)
        assert round(distance(client.coordinate, other) * 1e9) == pytest.approx(
            step["DistNs"], abs=1
        )


def test_fresh_coordinate_is_the_origin() -> None:
    """Zeros, error 1.5, height 10 µs."""
    assert Coordinate((0.0,) * 8, ERROR_MAX, 0.0, HEIGHT_MIN) == ORIGIN
    assert (DIMENSIONS, ERROR_MAX, HEIGHT_MIN) == (8, 1.5, 1e-5)


def test_payload_is_a_version_byte_and_the_parts() -> None:
    """What goes into acks reads back the same."""
    value = Coordinate((0.1,) * 8, 0.5, -0.001, 0.002)
    payload = encode_coordinate(value)
    assert payload[0] == 1
    assert decode_coordinate_untrusted(payload) == value


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x02\x80", b"\x01", b"\x01\xc1", b"\x01\x81\xa3Vec\x91\xa1x", raw(1, Vec="x")],
)
def test_unreadable_payloads_are_malformed(payload: bytes) -> None:
    """Another version, or no coordinate."""
    with pytest.raises(MalformedInput):
        decode_coordinate_untrusted(payload)


def vec(*first: float, size: int = 8) -> tuple[float, ...]:
    return (*first, *(0.0,) * (size - len(first)))


@pytest.mark.parametrize(
    "other",
    [
        Coordinate(vec(size=7)),
        Coordinate(vec(size=9)),
        Coordinate(()),
        Coordinate(vec(math.nan)),
        Coordinate(vec(math.inf)),
        Coordinate(error=math.nan),
        Coordinate(height=-math.inf),
        Coordinate(adjustment=math.inf),
        Coordinate(vec(1e200)),
        Coordinate(vec(PART_MAX * 1.001)),
        Coordinate(height=-1e300),
        Coordinate(error=1e308),
    ],
)
def test_impossible_coordinates_are_not_learnt_from(other: Coordinate) -> None:
    """Nothing changes; some of them would overflow the calculation."""
    client = CoordinateClient(random.Random(1))
    assert client.update("b", other, 0.01) is not None
    assert client.coordinate == ORIGIN


@pytest.mark.parametrize(
    ("rtt", "is_learnt"),
    [
        (0.0, True),
        (1e-9, True),
        (RTT_MAX, True),
        (10.001, False),
        (-0.001, False),
        (math.nan, False),
    ],
)
def test_round_trips_have_bounds(rtt: float, is_learnt: bool) -> None:
    """From 0 to 10 s; more is a machine that slept."""
    client = CoordinateClient(random.Random(1))
    other = Coordinate(vec(0.1))
    assert (client.update("b", other, rtt) is None) is is_learnt


finite = st.floats(-PART_MAX, PART_MAX, allow_nan=False)
coordinates = st.builds(
    Coordinate, st.lists(finite, min_size=8, max_size=8).map(tuple), finite, finite, finite
)


@pytest.mark.slow
@given(st.lists(st.tuples(coordinates, st.floats(0.0, RTT_MAX)), max_size=12))
def test_no_lawful_coordinates_break_ours(updates: list[tuple[Coordinate, float]]) -> None:
    """Whatever others claim, ours stays calculable: it is reset at worst."""
    client = CoordinateClient(random.Random(1))
    for number, (other, rtt) in enumerate(updates):
        assert client.update(f"n{number % 3}", other, rtt) is None
        assert client.coordinate.is_valid
        assert math.isfinite(distance(client.coordinate, other))
        decode_coordinate_untrusted(encode_coordinate(client.coordinate))


def test_pool_learns_its_distances() -> None:
    """Two that measure 50 ms again and again come to estimate about that."""
    one, other = (CoordinateClient(random.Random(seed)) for seed in (1, 2))
    for _ in range(200):
        one.update("other", other.coordinate, 0.05)
        other.update("one", one.coordinate, 0.05)
    assert distance(one.coordinate, other.coordinate) == pytest.approx(0.05, rel=0.05)


# --- in the engine ----------------------------------------------------------------------


def probe_with(payload: bytes) -> SerfBench:
    """Return a bench whose probe of "b" was acked with a payload after 20 ms."""
    bench = SerfBench("b")
    while not (pings := [s for s in bench.take_sent() if isinstance(s.first, Ping)]):
        bench.run_for(0.01)
    bench.run_for(0.02)
    bench.receive(Ack(pings[0].first.sequence_number, payload), at(2))
    return bench


def test_engine_learns_from_acks_of_direct_probes() -> None:
    """It moves its own coordinate, remembers the peer's, and estimates the round trip."""
    other = Coordinate(vec(0.01), 0.2, 0.0, 0.001)
    bench = probe_with(encode_coordinate(other))
    assert bench.engine.coordinate_of("b") == other
    assert bench.engine.coordinate_of(OWN) != ORIGIN
    estimate = bench.engine.estimated_rtt(OWN, "b")
    assert estimate is not None
    assert 0.0 < estimate < 1.0
    assert bench.engine.estimated_rtt(OWN, "nobody") is None


@pytest.mark.parametrize(
    "payload",
    [
        b"\x02\x80",
        b"\x01\xc1",
        encode_coordinate(Coordinate(vec(1e200))),
        encode_coordinate(Coordinate(vec(math.nan))),
        encode_coordinate(Coordinate(vec(size=3))),
    ],
)
def test_bad_coordinate_in_an_ack_is_counted_and_the_ack_counts(payload: bytes) -> None:
    """The member stays alive; nothing is learnt."""
    bench = probe_with(payload)
    assert bench.engine.coordinate_of("b") is None
    assert bench.engine.coordinate_of(OWN) == ORIGIN
    assert sum(bench.rejected.values()) == 1
    assert bench.engine.statistics().swim.probes_succeeded == 1
