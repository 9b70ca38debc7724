"""Evidence with the time of day: what the core knows in its own seconds, for people to read.

The core counts monotonic seconds. Wall-clock time is attached when somebody asks, from how long ago
a thing happened: so a clock that was set meanwhile shows the corrected time, and all records of one
answer agree with each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .evidence import Evidence, EvidenceKind


@dataclass(frozen=True, slots=True)
class TimedEvidence:
    """One record of why a member has its status; see `evidence.Evidence`.

    Attributes:
        time: When, in UTC.
        kind: What happened.
        by: Who said so; empty where nobody can be named.
        incarnation: The incarnation it was about, if it was about one.
        ltime: The Lamport time of the intent, if it was one.
        detail: What else there is to say.
    """

    time: datetime
    kind: EvidenceKind
    by: str
    incarnation: int | None
    ltime: int | None
    detail: str


def with_wall_clock(
    records: Iterable[Evidence], *, now: float, wall_clock: datetime
) -> list[TimedEvidence]:
    """Return the records with the times of day.

    Args:
        records: What the core knows.
        now: Engine seconds at this moment.
        wall_clock: The time of day at this moment, in UTC.
    """
    return [
        TimedEvidence(
            wall_clock - timedelta(seconds=now - record.time),
            record.kind,
            record.by,
            record.incarnation,
            record.ltime,
            record.detail,
        )
        for record in records
    ]


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)
