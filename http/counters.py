"""What the HTTP server has counted: how busy it is, and what it turned away and why.

`Counters` is the one mutable record its parts add to; `HttpStatistics` is what others see of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class HttpStatistics:
    """A snapshot.

    Attributes:
        connections_open: Connections open now.
        connections_accepted: Connections served since the start.
        connections_refused: Connections closed unserved because a limit was reached.
        requests: Requests answered, whatever the answer.
        streams_open: Streamed answers that are being written now.
        refusals: `dict[status, count]` of requests not worked on: malformed, too large, too slow.
        crashes: Connections that ended by a defect of ours.
    """

    connections_open: int
    connections_accepted: int
    connections_refused: int
    requests: int
    streams_open: int
    refusals: Mapping[int, int]
    crashes: int


def statistics_section(statistics: HttpStatistics) -> dict[str, str]:
    """Return the counts as a section of the self document's `stats`: texts all."""
    section: dict[str, str] = {}
    for field_ in fields(statistics):
        value = getattr(statistics, field_.name)
        if isinstance(value, Mapping):
            section.update({f"{field_.name}.{key}": str(count) for key, count in value.items()})
        else:
            section[field_.name] = str(value)
    return section


@dataclass(slots=True)
class Counters:
    """The counts behind `HttpStatistics`, by the same names."""

    connections_open: int = 0
    connections_accepted: int = 0
    connections_refused: int = 0
    requests: int = 0
    streams_open: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    crashes: int = 0

    def snapshot(self) -> HttpStatistics:
        """Return the counts of this moment."""
        return HttpStatistics(
            connections_open=self.connections_open,
            connections_accepted=self.connections_accepted,
            connections_refused=self.connections_refused,
            requests=self.requests,
            streams_open=self.streams_open,
            refusals=dict(self.refusals),
            crashes=self.crashes,
        )
