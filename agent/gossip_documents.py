"""Documents of the pool as the API writes them: members, events, coordinates, evidence.

Keys are CamelCase as in Nomad's documents; a member's are those of `/v1/agent/members`, the others
are ours. Payloads are base64, for they may be any bytes; names and texts that a peer sent are made
fit for JSON. Times of day are RFC 3339 in UTC.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..gossip.notices import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberNotice,
    MemberReaped,
    MemberUpdated,
    QueryReceived,
    UserEventReceived,
)
from .quoting import readable

if TYPE_CHECKING:
    from ..gossip.serf.coordinates import Coordinate
    from ..gossip.serf.members import Member
    from ..gossip.timed_evidence import TimedEvidence

Document = dict[str, Any]

MEMBER_EVENT_TYPES: dict[type[MemberNotice], str] = {
    MemberJoined: "member-join",
    MemberLeft: "member-leave",
    MemberFailed: "member-failed",
    MemberUpdated: "member-update",
    MemberReaped: "member-reap",
}
"""Serf's names of the member events."""

EventNotice = MemberNotice | UserEventReceived | QueryReceived
"""The notices that are events for an operator."""


def member_document(member: Member) -> Document:
    """Return a member as the API writes it (an element of `Members`, and `member` of self)."""
    return {
        "Addr": member.host,
        "DelegateCur": member.delegate_cur,
        "DelegateMax": member.delegate_max,
        "DelegateMin": member.delegate_min,
        "Name": readable(member.name),
        "Port": member.port,
        "ProtocolCur": member.protocol_cur,
        "ProtocolMax": member.protocol_max,
        "ProtocolMin": member.protocol_min,
        "Status": member.status.name.lower(),
        "Tags": {readable(key): readable(value) for key, value in member.tags.items()},
    }


def event_document(notice: EventNotice, time: datetime) -> Document:
    """Return an event, without its number."""
    document: Document = {"Time": time_text(time)}
    if isinstance(notice, UserEventReceived):
        return document | {
            "Type": "user-event",
            "LTime": notice.ltime,
            "Name": readable(notice.name),
            "Payload": base64_text(notice.payload),
            "Coalesce": notice.coalesce,
        }
    if isinstance(notice, QueryReceived):
        return document | {
            "Type": "query",
            "LTime": notice.ltime,
            "ID": notice.id,
            "Name": readable(notice.name),
            "Payload": base64_text(notice.payload),
            "From": readable(notice.source),
        }
    kind = MEMBER_EVENT_TYPES[type(notice)]
    return document | {"Type": kind, "Member": member_document(notice.member)}


def coordinate_document(name: str, coordinate: Coordinate) -> Document:
    """Return where a member stands; all but `Error` are seconds."""
    return {
        "Node": readable(name),
        "Vec": list(coordinate.vec),
        "Error": coordinate.error,
        "Adjustment": coordinate.adjustment,
        "Height": coordinate.height,
    }


def evidence_document(member: Member, records: Sequence[TimedEvidence]) -> Document:
    """Return why a member has its status."""
    return {
        "Name": readable(member.name),
        "Status": member.status.name.lower(),
        "Evidence": [
            {
                "Time": time_text(record.time),
                "Kind": record.kind.value,
                "By": readable(record.by),
                "Incarnation": record.incarnation,
                "LTime": record.ltime,
                "Detail": readable(record.detail),
            }
            for record in records
        ],
    }


def base64_text(data: bytes) -> str:
    """Return bytes as standard base64."""
    return base64.b64encode(data).decode("ascii")


def time_text(time: datetime) -> str:
    """Return a time of day as RFC 3339, in UTC, with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
