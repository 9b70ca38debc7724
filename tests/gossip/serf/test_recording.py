"""What is recorded of a running pool, and that a replay of it says the same."""

from __future__ import annotations

import pytest
from rookery.gossip.addresses import Address, ip_bytes
from rookery.gossip.notices import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    Notice,
    QueryReceived,
    UserEventReceived,
)
from rookery.gossip.serf import recording
from rookery.gossip.serf.members import Member, MemberStatus, make_member
from rookery.gossip.serf.recording import SnapshotRecorder
from rookery.gossip.serf.snapshot import Remembered, compact_size, replay_untrusted

ALIVE = "alive: a 10.0.0.1:7946"


class Sink:
    """Keeps everything, and what the whole file would be at that moment."""

    def __init__(self, remembered: Remembered | None = None) -> None:
        self.appended: list[bytes] = []
        self.recorder = SnapshotRecorder(self, remembered)

    def append_nowait(self, records: bytes, recorder: SnapshotRecorder) -> None:
        assert recorder is self.recorder
        self.appended.append(records)

    def hear(self, *notices: Notice, clock: int = 1) -> list[str]:
        """Return the lines that the notices and the clock make."""
        self.appended.clear()
        for notice in notices:
            self.recorder.note(notice)
        self.recorder.flush(clock)
        return b"".join(self.appended).decode().splitlines()


def member(name: str = "a", host: str = "10.0.0.1") -> Member:
    return make_member(name, ip_bytes(host), 7946, {}, MemberStatus.ALIVE, b"")


def fired(ltime: int) -> UserEventReceived:
    return UserEventReceived(ltime, "deploy", b"", True)


def asked(ltime: int) -> QueryReceived:
    return QueryReceived(ltime, 1, "uptime", b"", "b", 9.0)


@pytest.mark.parametrize(
    ("happened", "lines"),
    [
        ([MemberJoined(member())], [ALIVE]),
        ([MemberJoined(member("a b", "::1"))], ["alive: a b [::1]:7946"]),
        ([MemberJoined(member()), MemberLeft(member())], [ALIVE, "not-alive: a"]),
        ([MemberJoined(member()), MemberFailed(member())], [ALIVE, "not-alive: a"]),
        ([MemberJoined(member()), MemberUpdated(member())], [ALIVE]),
        ([MemberJoined(member()), MemberReaped(member())], [ALIVE]),
        ([MemberFailed(member())], []),
        ([MemberJoined(member("a\nleave"))], []),
        ([fired(4), fired(3), fired(4), fired(5)], ["event-clock: 4", "event-clock: 5"]),
        ([asked(4), asked(4)], ["query-clock: 4"]),
    ],
)
def test_what_makes_which_record(happened: list[Notice], lines: list[str]) -> None:
    """Joins, leaves and failures by member; times only when they grew; the rest nothing."""
    assert Sink().hear(*happened) == lines


def test_member_clock_is_recorded_when_it_grew() -> None:
    """As the last time it has seen, one less than what it stands at."""
    sink = Sink()
    assert sink.hear(clock=1) == []
    assert sink.hear(clock=5) == ["clock: 4"]
    assert sink.hear(clock=5) == []
    assert sink.appended == []


def test_after_our_leave_only_the_clock_is_recorded() -> None:
    """The next life starts alone, unless it wants to rejoin."""
    sink = Sink()
    sink.hear(MemberJoined(member()))
    sink.recorder.note_leave()
    sink.recorder.note_leave()
    assert sink.hear(clock=3) == ["leave", "clock: 2"]
    assert sink.hear(MemberFailed(member()), fired(3), asked(4), clock=4) == ["clock: 3"]
    assert replay_untrusted(sink.recorder.whole()).has_left


def test_recording_goes_on_from_what_is_remembered() -> None:
    """Known times are not written again; members not heard of yet stay in the whole file."""
    remembered = Remembered({"old": Address("10.0.0.9", 1)}, 7, 8, 9)
    sink = Sink(remembered)
    assert sink.hear(MemberJoined(member()), fired(8), asked(9), clock=8) == [ALIVE]
    assert replay_untrusted(sink.recorder.whole()).members == {
        "old": Address("10.0.0.9", 1),
        "a": Address("10.0.0.1", 7946),
    }
    assert remembered.members == {"old": Address("10.0.0.9", 1)}


def test_whole_file_says_what_the_records_said() -> None:
    """Whenever it is written, before a leave and after."""
    sink = Sink()
    lines: list[str] = []

    def check() -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        for rejoin in (False, True):
            appended = replay_untrusted(data, rejoin_after_leave=rejoin)
            whole = replay_untrusted(sink.recorder.whole(), rejoin_after_leave=rejoin)
            assert whole == appended

    for happened, clock in (
        ([MemberJoined(member("a")), MemberJoined(member("b"))], 3),
        ([fired(2), MemberFailed(member("a"))], 5),
        ([MemberJoined(member("a", "10.0.0.2")), asked(6)], 5),
    ):
        lines += sink.hear(*happened, clock=clock)
        check()
    sink.recorder.note_leave()
    lines += sink.hear(clock=5)
    check()
    lines += sink.hear(clock=6)
    check()


def test_members_recorded_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a replay takes; a known one may still move."""
    monkeypatch.setattr(recording, "MEMBERS_MAX", 2)
    sink = Sink()
    sink.hear(MemberJoined(member("a")), MemberJoined(member("b")))
    assert sink.hear(MemberJoined(member("c"))) == []
    assert sink.hear(MemberJoined(member("b", "10.0.0.2"))) == ["alive: b 10.0.0.2:7946"]


def test_size_for_compacting_follows_the_members() -> None:
    """See `snapshot.compact_size`."""
    members = {str(number): Address("10.0.0.1", 1) for number in range(1000)}
    assert Sink(Remembered(members)).recorder.size_max == compact_size(1000)
