"""Lamport clocks: they only grow, and not for a poisoned value."""

from __future__ import annotations

import pytest
from rookery.gossip.serf.lamport import GOSSIPED_JUMP_MAX, LamportClock


@pytest.mark.parametrize(
    ("time", "seen", "then"),
    [(1, 0, 1), (1, 1, 2), (5, 4, 5), (5, 5, 6), (5, 500, 501), (5, -1, 5)],
)
def test_witness_moves_past_what_was_seen(time: int, seen: int, then: int) -> None:
    """If v >= clock then clock = v + 1."""
    clock = LamportClock(time)
    clock.witness(seen)
    assert clock.time == then


def test_clock_starts_at_1_and_increments_by_1() -> None:
    """The first message of a fresh node carries 1."""
    clock = LamportClock()
    assert clock.time == 1
    assert clock.increment() == 2
    assert clock.time == 2


@pytest.mark.parametrize(
    ("seen", "is_plausible"),
    [(0, True), (1000, True), (1000 + GOSSIPED_JUMP_MAX, True), (1001 + GOSSIPED_JUMP_MAX, False)],
)
def test_gossiped_time_far_ahead_is_not_believed(seen: int, is_plausible: bool) -> None:
    """One poisoned message would push every clock of the pool up for good."""
    assert LamportClock(1000).is_plausible(seen) is is_plausible
