"""Local health: how much this node doubts itself (Lifeguard, section "Self-Awareness").

A node whose own probes fail, whose helpers stay silent, or that has to refute, is probably slow
itself. Its score rises and stretches its probe interval, so that it accuses others less.
memberlist: awareness.go.
"""

from __future__ import annotations


class Awareness:
    """The health score, from 0 (healthy) to `score_max` - 1."""

    __slots__ = ("_score_max", "score")

    def __init__(self, score_max: int) -> None:
        self._score_max = score_max
        self.score = 0

    def apply(self, delta: int) -> None:
        """Add `delta` to the score, within its bounds."""
        self.score = min(max(self.score + delta, 0), self._score_max - 1)

    def scale(self, seconds: float) -> float:
        """Return `seconds` stretched by the score: times (score + 1)."""
        return seconds * (self.score + 1)
