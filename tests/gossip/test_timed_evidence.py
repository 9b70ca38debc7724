"""Engine seconds as times of day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rookery.gossip.evidence import Evidence, EvidenceKind
from rookery.gossip.timed_evidence import TimedEvidence, utc_now, with_wall_clock

NOON = datetime(2024, 5, 6, 12, 0, 0, tzinfo=UTC)


def test_time_of_day_is_how_long_ago_it_was() -> None:
    """All else is taken over as it is."""
    records = [
        Evidence(70.0, EvidenceKind.SUSPECTED, "b", incarnation=4, detail="d"),
        Evidence(99.5, EvidenceKind.LEAVE_INTENT, ltime=8),
    ]
    assert with_wall_clock(records, now=100.0, wall_clock=NOON) == [
        TimedEvidence(
            datetime(2024, 5, 6, 11, 59, 30, tzinfo=UTC), EvidenceKind.SUSPECTED, "b", 4, None, "d"
        ),
        TimedEvidence(
            datetime(2024, 5, 6, 11, 59, 59, 500000, tzinfo=UTC),
            EvidenceKind.LEAVE_INTENT,
            "",
            None,
            8,
            "",
        ),
    ]


def test_wall_clock_knows_its_zone() -> None:
    """A time without one could not be compared, nor written as RFC 3339."""
    assert utc_now().utcoffset() == timedelta(0)
