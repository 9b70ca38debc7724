"""The health score and its bounds."""

from __future__ import annotations

import pytest
from rookery.gossip.swim.awareness import Awareness


@pytest.mark.parametrize(
    ("deltas", "score"),
    [
        ([], 0),
        ([1], 1),
        ([-1], 0),
        ([1, 1, -1], 1),
        ([3], 3),
        ([7], 7),
        ([8], 7),
        ([100], 7),
        ([100, -1], 6),
        ([-100, 1], 1),
        ([0], 0),
    ],
)
def test_score_stays_from_0_to_one_below_the_multiplier(deltas: list[int], score: int) -> None:
    """Nothing takes the score below 0 or to AwarenessMaxMultiplier (8)."""
    awareness = Awareness(8)
    for delta in deltas:
        awareness.apply(delta)
    assert awareness.score == score


@pytest.mark.parametrize(("score", "seconds"), [(0, 1.0), (1, 2.0), (3, 4.0), (7, 8.0)])
def test_interval_is_stretched_by_score_plus_one(score: int, seconds: float) -> None:
    """A healthy node probes at its interval, one that doubts itself up to eight times slower."""
    awareness = Awareness(8)
    awareness.apply(score)
    assert awareness.scale(1.0) == seconds
