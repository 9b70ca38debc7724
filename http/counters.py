"""What the HTTP server has counted: how busy it is, and what it turned away and why.

`Counters` is the one mutable record its parts add to; `HttpStatistics` is what others see of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpStatistics:
    """A snapshot.

    Attributes:
        connections_open: Connections open now.
        connections_accepted: Connections served since the start.
        connections_refused: Connections closed unserved because a limit was reached.
        requests: Requests answered, whatever the answer.
        refusals: `dict[status, count]` of requests not worked on: malformed, too large, too slow.
        crashes: Connections that ended by a defect of ours.
    """

    connections_open: int
    connections_accepted: int
    connections_refused: int
    requests: int
    refusals: Mapping[int, int]
    crashes: int


@dataclass(slots=True)
class Counters:
    """The counts behind `HttpStatistics`, by the same names."""

    connections_open: int = 0
    connections_accepted: int = 0
    connections_refused: int = 0
    requests: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    crashes: int = 0

    def snapshot(self) -> HttpStatistics:
        """Return the counts of this moment."""
        return HttpStatistics(
            connections_open=self.connections_open,
            connections_accepted=self.connections_accepted,
            connections_refused=self.connections_refused,
            requests=self.requests,
            refusals=dict(self.refusals),
            crashes=self.crashes,
        )
