"""Log lines for an engine's notices: an event name and keys, no sentences built from values.

The core logs nothing itself; it returns notices, and how often one of a kind comes is limited there
(see `swim.rejections`). Here they only get a name and a level. What a peer wrote (names, details)
is escaped, so that it can neither forge a log line nor break the log's encoding.
"""

from __future__ import annotations

from typing import Any

from .addresses import Address
from .notices import (
    InputRejected,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    NameConflict,
    Notice,
    Remark,
)

_MEMBER_EVENTS: dict[type, str] = {
    MemberJoined: "member_joined",
    MemberUpdated: "member_updated",
    MemberLeft: "member_left",
    MemberFailed: "member_failed",
    MemberReaped: "member_reaped",
}


def log_notice(log: Any, notice: Notice) -> None:
    """Write the line of a notice, if it deserves one, to a structlog logger."""
    if isinstance(notice, Remark):
        fields = {key: printable(value) for key, value in notice.fields.items()}
        getattr(log, notice.level)(notice.name, **fields)
    elif isinstance(notice, InputRejected):
        log.warning(
            "input_rejected",
            reason=notice.reason,
            source=str(notice.source) if notice.source is not None else None,
            detail=printable(notice.detail),
            count=notice.count,
        )
    elif isinstance(notice, NameConflict):
        log.error(
            "name_conflict",
            name=printable(notice.name),
            existing=str(notice.existing),
            claimed=str(notice.claimed),
        )
    elif isinstance(
        notice, MemberJoined | MemberUpdated | MemberLeft | MemberFailed | MemberReaped
    ):
        member = notice.member
        log.info(
            _MEMBER_EVENTS[type(notice)],
            member=printable(member.name),
            address=str(Address(member.host, member.port)),
        )


def printable(value: object) -> object:
    """Return a peer's text with everything escaped that is not plainly visible."""
    if isinstance(value, str) and not value.isprintable():
        return ascii(value)
    return value
