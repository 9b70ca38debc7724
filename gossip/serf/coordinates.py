"""Network coordinates: where each member stands, to estimate distances without asking.

Every ack of a direct probe carries the answering member's coordinate. From it and the measured
round trip the prober moves its own coordinate a little (Vivaldi: a spring between the two), keeps
a correction for what the model cannot express (adjustment), and drifts slowly towards the origin
(gravity). The distance of any two coordinates then estimates their round trip.

Sources: Dabek et al., "Vivaldi: A Decentralized Network Coordinate System"; Ledlie et al.,
"Network Coordinates in the Wild" (latency filter, gravity); serf coordinate/client.go,
coordinate.go, ping_delegate.go. Times are seconds; `error` has no unit.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..wire.codec import Shape, pack, to_float, to_list, unpack_struct_untrusted
from ..wire.errors import MalformedInput, Reason

DIMENSIONS = 8
ERROR_MAX = 1.5
CE = 0.25
CC = 0.25
ADJUSTMENT_WINDOW = 20
HEIGHT_MIN = 10.0e-6
LATENCY_FILTER_SIZE = 3
GRAVITY_RHO = 150.0
ZERO_THRESHOLD = 1.0e-6
RTT_MAX = 10.0
"""Round trips beyond this are a mistake of a clock or a machine that slept; they are not learnt
from."""

PART_MAX = 1.0e6
"""Largest part of a coordinate, in seconds: eleven days. Far above any distance, and far below
what overflows when squared: a stranger's ack must not end us."""

COORDINATE_VERSION = 1
"""First byte of an ack's payload."""


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A point of eight dimensions with a height above them (the access link)."""

    vec: tuple[float, ...] = (0.0,) * DIMENSIONS
    error: float = ERROR_MAX
    adjustment: float = 0.0
    height: float = HEIGHT_MIN

    @property
    def is_valid(self) -> bool:
        """Whether it can be calculated with: eight dimensions, all parts numbers in bounds."""
        return len(self.vec) == DIMENSIONS and all(
            abs(part) <= PART_MAX for part in (*self.vec, self.error, self.adjustment, self.height)
        )


ORIGIN = Coordinate()


def _magnitude(vec: Sequence[float]) -> float:
    total = 0.0
    for part in vec:
        total += part * part
    return math.sqrt(total)


def raw_distance(one: Coordinate, other: Coordinate) -> float:
    """Return the distance in the model alone, in seconds, without the adjustments."""
    difference = [a - b for a, b in zip(one.vec, other.vec, strict=True)]
    return _magnitude(difference) + one.height + other.height


def distance(one: Coordinate, other: Coordinate) -> float:
    """Return the estimated round trip between two members, in seconds, whole nanoseconds."""
    raw = raw_distance(one, other)
    adjusted = raw + one.adjustment + other.adjustment
    return int((adjusted if adjusted > 0.0 else raw) * 1.0e9) / 1.0e9


def encode_coordinate(coordinate: Coordinate) -> bytes:
    """Return a coordinate as an ack's payload."""
    return bytes((COORDINATE_VERSION,)) + pack(
        {
            "Adjustment": coordinate.adjustment,
            "Error": coordinate.error,
            "Height": coordinate.height,
            "Vec": list(coordinate.vec),
        }
    )


def _to_vec(value: object) -> tuple[float, ...]:
    return to_list(value, to_float)


_SHAPE: Shape = (
    (b"Vec", _to_vec),
    (b"Error", to_float),
    (b"Adjustment", to_float),
    (b"Height", to_float),
)


def decode_coordinate_untrusted(payload: bytes) -> Coordinate:
    """Return the coordinate of an ack's payload; whether it can be used, `is_valid` says.

    Raises:
        MalformedInput: Another version, or it cannot be read.
    """
    if not payload or payload[0] != COORDINATE_VERSION:
        raise MalformedInput(Reason.UNKNOWN_TYPE, f"coordinate version {payload[:1].hex()}")
    vec, error, adjustment, height = unpack_struct_untrusted(payload[1:], _SHAPE)
    return Coordinate(vec, error, adjustment, height)


class CoordinateClient:
    """Our own coordinate, and what is remembered of others to move it."""

    def __init__(self, rng: random.Random, start: Coordinate = ORIGIN) -> None:
        self._rng = rng
        self.coordinate = start
        self.resets = 0
        self._samples: dict[str, list[float]] = {}
        self._adjustments = [0.0] * ADJUSTMENT_WINDOW
        self._adjustment_index = 0

    def update(self, node: str, other: Coordinate, rtt: float) -> str | None:
        """Learn from one measured round trip.

        Args:
            node: Who answered; its last few round trips are filtered by their median.
            other: Where it says it stands.
            rtt: Seconds.

        Returns:
            Why nothing was learnt, None when something was.
        """
        if not other.is_valid:
            return "the coordinate is not valid"
        if not 0.0 <= rtt <= RTT_MAX:
            return f"round trip of {rtt} s is not between 0 and {RTT_MAX} s"
        rtt = self._filter(node, rtt)
        self._move(other, rtt)
        self._adjust(other, rtt)
        self._gravitate()
        if not self.coordinate.is_valid:
            self.coordinate = ORIGIN
            self.resets += 1
        return None

    def forget(self, node: str) -> None:
        """Drop what is remembered of a node."""
        self._samples.pop(node, None)

    def _filter(self, node: str, rtt: float) -> float:
        samples = self._samples.setdefault(node, [])
        samples.append(rtt)
        del samples[:-LATENCY_FILTER_SIZE]
        return sorted(samples)[len(samples) // 2]

    def _move(self, other: Coordinate, rtt: float) -> None:
        """The spring between us and the other."""
        own = self.coordinate
        estimated = distance(own, other)
        rtt = max(rtt, ZERO_THRESHOLD)
        wrongness = abs(estimated - rtt) / rtt
        total_error = max(own.error + other.error, ZERO_THRESHOLD)
        weight = own.error / total_error
        error = min(CE * weight * wrongness + own.error * (1.0 - CE * weight), ERROR_MAX)
        force = CC * weight * (rtt - estimated)
        moved = self._apply_force(own, force, other)
        self.coordinate = Coordinate(moved.vec, error, moved.adjustment, moved.height)

    def _adjust(self, other: Coordinate, rtt: float) -> None:
        own = self.coordinate
        self._adjustments[self._adjustment_index] = rtt - raw_distance(own, other)
        self._adjustment_index = (self._adjustment_index + 1) % ADJUSTMENT_WINDOW
        total = 0.0
        for sample in self._adjustments:
            total += sample
        adjustment = total / (2.0 * ADJUSTMENT_WINDOW)
        self.coordinate = Coordinate(own.vec, own.error, adjustment, own.height)

    def _gravitate(self) -> None:
        """A drift towards the origin, so that the whole pool does not wander off."""
        away = distance(ORIGIN, self.coordinate)
        force = -1.0 * (away / GRAVITY_RHO) ** 2.0
        self.coordinate = self._apply_force(self.coordinate, force, ORIGIN)

    def _apply_force(self, own: Coordinate, force: float, other: Coordinate) -> Coordinate:
        unit, magnitude = self._unit_vector(own.vec, other.vec)
        vec = tuple(a + force * b for a, b in zip(own.vec, unit, strict=True))
        height = own.height
        if magnitude > ZERO_THRESHOLD:
            height = max((height + other.height) * force / magnitude + height, HEIGHT_MIN)
        return Coordinate(vec, own.error, own.adjustment, height)

    def _unit_vector(
        self, to: Sequence[float], origin: Sequence[float]
    ) -> tuple[list[float], float]:
        """Return the direction from `origin` to `to`, and how far it is.

        Where they coincide any direction will do.
        """
        difference = [a - b for a, b in zip(to, origin, strict=True)]
        magnitude = _magnitude(difference)
        if magnitude > ZERO_THRESHOLD:
            return [part / magnitude for part in difference], magnitude
        while True:
            direction = [self._rng.random() - 0.5 for _ in range(DIMENSIONS)]
            length = _magnitude(direction)
            if length > ZERO_THRESHOLD:
                return [part / length for part in direction], 0.0
