"""What is logged of a notice."""

from __future__ import annotations

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.notice_log import log_notice, printable
from rookery.gossip.notices import (
    InputRejected,
    LeaveFinished,
    MemberFailed,
    MemberJoined,
    NameConflict,
    Notice,
    Remark,
)
from rookery.gossip.serf.members import Member, MemberStatus
from structlog.testing import CapturingLogger

MEMBER = Member("a\nforged line", b"\x7f\0\0\1", 7946, {}, MemberStatus.ALIVE, 1, 5, 2, 2, 5, 4)


@pytest.mark.parametrize(
    ("notice", "level", "event", "fields"),
    [
        (
            MemberJoined(MEMBER),
            "info",
            "member_joined",
            {"member": "'a\\nforged line'", "address": "127.0.0.1:7946"},
        ),
        (
            MemberFailed(MEMBER),
            "info",
            "member_failed",
            {"member": "'a\\nforged line'", "address": "127.0.0.1:7946"},
        ),
        (
            NameConflict("a", Address("127.0.0.1", 1), Address("::1", 2)),
            "error",
            "name_conflict",
            {"name": "a", "existing": "127.0.0.1:1", "claimed": "[::1]:2"},
        ),
        (
            InputRejected("crc_mismatch", Address("127.0.0.1", 1), "a\tb", 3),
            "warning",
            "input_rejected",
            {
                "reason": "crc_mismatch",
                "source": "127.0.0.1:1",
                "detail": "'a\\tb'",
                "count": 3,
            },
        ),
        (
            Remark("refuted", {"incarnation": 3}, "warning"),
            "warning",
            "refuted",
            {"incarnation": 3},
        ),
    ],
)
def test_notice_becomes_an_event_with_keys(
    notice: Notice, level: str, event: str, fields: dict[str, object]
) -> None:
    """A name, a level and values; what a peer wrote cannot forge a second line."""
    log = CapturingLogger()
    log_notice(log, notice)
    (call,) = log.calls
    assert (call.method_name, call.args, call.kwargs) == (level, (event,), fields)


def test_ends_of_operations_are_not_logged() -> None:
    """Who started them says what came of them."""
    log = CapturingLogger()
    log_notice(log, LeaveFinished())
    assert log.calls == []


@pytest.mark.parametrize("text", ["\udc80", "\x1b[31m", "a\u2028b", "\n"])
def test_unprintable_text_is_escaped_to_ascii(text: str) -> None:
    """Undecodable bytes, escape sequences and line ends come out as plain ASCII."""
    shown = printable(text)
    assert isinstance(shown, str)
    assert shown.isascii()
    assert shown.isprintable()


def test_plain_values_are_left_alone() -> None:
    """Readable text in any script and other types stay what they are."""
    for value in ("grün-1.global", 3, None, ("a",)):
        assert printable(value) is value
