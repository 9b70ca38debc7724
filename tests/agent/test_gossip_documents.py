"""Documents of the pool: keys and forms, and that whatever a peer sent is fit for JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from rookery.agent.gossip_documents import (
    base64_text,
    coordinate_document,
    event_document,
    evidence_document,
    member_document,
    time_text,
)
from rookery.gossip.evidence import EvidenceKind
from rookery.gossip.notices import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberNotice,
    MemberReaped,
    MemberUpdated,
    QueryReceived,
    UserEventReceived,
)
from rookery.gossip.serf.coordinates import Coordinate
from rookery.gossip.serf.members import MemberStatus
from rookery.gossip.timed_evidence import TimedEvidence

from .members import make_member

NOON = datetime(2024, 5, 6, 12, 0, 0, 5, tzinfo=UTC)
NOON_TEXT = "2024-05-06T12:00:00.000005Z"
RAW = "\udcff"
"""A byte that is no UTF-8, as it travels inside us."""


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (MemberJoined, "member-join"),
        (MemberLeft, "member-leave"),
        (MemberFailed, "member-failed"),
        (MemberUpdated, "member-update"),
        (MemberReaped, "member-reap"),
    ],
)
def test_member_event_has_serfs_name(kind: type[MemberNotice], text: str) -> None:
    """And the whole member."""
    member = make_member()
    assert event_document(kind(member), NOON) == {
        "Time": NOON_TEXT,
        "Type": text,
        "Member": member_document(member),
    }


def test_user_event_and_query_have_their_payload_as_base64() -> None:
    """It may be any bytes."""
    assert event_document(UserEventReceived(7, f"n{RAW}", b"\xff", True), NOON) == {
        "Time": NOON_TEXT,
        "Type": "user-event",
        "LTime": 7,
        "Name": "n\ufffd",
        "Payload": "/w==",
        "Coalesce": True,
    }
    assert event_document(QueryReceived(7, 9, "who", b"", f"b{RAW}", 1.0), NOON) == {
        "Time": NOON_TEXT,
        "Type": "query",
        "LTime": 7,
        "ID": 9,
        "Name": "who",
        "Payload": "",
        "From": "b\ufffd",
    }


def test_coordinate_is_written_in_full() -> None:
    """All eight dimensions."""
    assert coordinate_document("a", Coordinate((1.0,) * 8, 0.5, -0.25, 1e-5)) == {
        "Node": "a",
        "Vec": [1.0] * 8,
        "Error": 0.5,
        "Adjustment": -0.25,
        "Height": 1e-5,
    }


def test_evidence_says_who_what_and_when() -> None:
    """Oldest first; what a record has not is null or empty."""
    records = [
        TimedEvidence(NOON, EvidenceKind.SUSPECTED, f"b{RAW}", 4, None, ""),
        TimedEvidence(NOON, EvidenceKind.LEAVE_INTENT, "", None, 9, f"d{RAW}"),
    ]
    document = evidence_document(make_member(status=MemberStatus.FAILED), records)
    assert document == {
        "Name": "web-1.global",
        "Status": "failed",
        "Evidence": [
            {
                "Time": NOON_TEXT,
                "Kind": "suspected",
                "By": "b\ufffd",
                "Incarnation": 4,
                "LTime": None,
                "Detail": "",
            },
            {
                "Time": NOON_TEXT,
                "Kind": "leave-intent",
                "By": "",
                "Incarnation": None,
                "LTime": 9,
                "Detail": "d\ufffd",
            },
        ],
    }
    assert json.dumps(document)


def test_times_are_told_in_utc() -> None:
    """Whatever zone they come in."""
    summer = timezone(timedelta(hours=2))
    assert time_text(NOON.astimezone(summer)) == NOON_TEXT


def test_base64_is_the_standard_one() -> None:
    """With padding, without line breaks."""
    assert base64_text(b"\xfb\xff" * 40).startswith("+//7//")
    assert "\n" not in base64_text(bytes(500))
