"""Snapshot records: recorded files, every kind of line, and whatever else may be in a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.gossip.addresses import Address
from rookery.gossip.serf import snapshot
from rookery.gossip.serf.snapshot import (
    COMPACT_SIZE_MIN,
    LINE_SIZE_MAX,
    MEMBERS_MAX,
    Remembered,
    alive_record,
    clock_record,
    compact_size,
    compacted,
    is_recordable,
    not_alive_record,
    parse_address,
    replay_untrusted,
)

from ..vector_files import VECTORS

FILES = VECTORS / "snapshot"


def local(last: int, port: int = 7946) -> Address:
    return Address(f"127.0.0.{last}", port)


def test_file_of_a_running_agent_says_who_was_alive() -> None:
    """In the order in which they came; clocks as they grew."""
    state = replay_untrusted((FILES / "alpha-running.snap").read_bytes())
    assert state == Remembered(
        {"alpha": local(10), "probe-one": local(20), "probe-old": local(22)}, 4, 3, 43
    )


def test_file_after_a_leave_says_nothing_but_the_later_clock() -> None:
    """Members are forgotten and the clocks are back at 0; the clock line after it counts again."""
    data = (FILES / "alpha-after-leave.snap").read_bytes()
    assert replay_untrusted(data) == Remembered({}, 5, 0, 0, has_left=True)


def test_with_rejoin_a_leave_forgets_nothing() -> None:
    """The members are looked for again."""
    data = (FILES / "alpha-after-leave.snap").read_bytes()
    state = replay_untrusted(data, rejoin_after_leave=True)
    assert list(state.members) == ["alpha", "probe-one", "probe-old"]
    assert (state.clock, state.event_clock, state.query_clock) == (5, 3, 43)


def test_compacted_file_reads_and_is_written_the_same() -> None:
    """A name may hold spaces: the last one parts it from the address."""
    data = (FILES / "mu-compacted.snap").read_bytes()
    state = replay_untrusted(data)
    assert state == Remembered(
        {"old-one": local(78), "with space": local(79), "mu": local(77)}, 500, 600, 700
    )
    assert compacted(state.members.items(), 500, 600, 700) == data


@pytest.mark.parametrize(
    ("line", "is_known"),
    [
        (b"alive: a 1.2.3.4:5", True),
        (b"alive: a [::1]:5", True),
        (b"alive: a b c 1.2.3.4:5", True),
        (b"not-alive: nobody", True),
        (b"clock: 7", True),
        (b"event-clock: 7", True),
        (b"query-clock: 281474976710656", True),
        (b"leave", True),
        (b"# a comment", True),
        (b"coordinate: {}", True),
        (b"alive: 1.2.3.4:5", False),
        (b"alive: a 1.2.3.4", False),
        (b"alive: a 1.2.3.4:0", False),
        (b"alive: a 1.2.3.4:65536", False),
        (b"alive: a 1.2.3.4:x", False),
        (b"clock: -1", False),
        (b"clock: x", False),
        (b"clock: 281474976710657", False),
        ("clock: \u0667".encode(), False),
        (b"nonsense", False),
        (b"", False),
        (b"\xff\xfe", False),
        (b"alive: " + b"n" * LINE_SIZE_MAX + b" 1.2.3.4:5", False),
    ],
)
def test_lines_are_understood_or_counted(line: bytes, is_known: bool) -> None:
    """What makes no sense is skipped; what follows counts."""
    state = replay_untrusted(line + b"\nalive: z 9.9.9.9:9\n")
    assert state.unknown == (not is_known)
    assert state.members["z"] == Address("9.9.9.9", 9)


def test_torn_last_line_is_left_out() -> None:
    """A record without its newline was not written in full."""
    state = replay_untrusted(b"alive: a 1.2.3.4:5\nalive: b 1.2.3.4:6")
    assert list(state.members) == ["a"]
    assert state.is_torn
    assert not replay_untrusted(b"alive: a 1.2.3.4:5\n").is_torn
    assert replay_untrusted(b"") == Remembered()


def test_members_of_a_file_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a node table holds; one more is counted as unknown."""
    assert MEMBERS_MAX == 65536
    monkeypatch.setattr(snapshot, "MEMBERS_MAX", 3)
    lines = b"".join(alive_record(f"n{number}", local(number + 1)) for number in range(4))
    state = replay_untrusted(lines)
    assert list(state.members) == ["n0", "n1", "n2"]
    assert state.unknown == 1


def test_known_member_moves_also_in_a_full_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its later address counts: the table does not grow by it."""
    monkeypatch.setattr(snapshot, "MEMBERS_MAX", 2)
    lines = b"".join(alive_record(f"n{number}", local(number + 1)) for number in range(2))
    state = replay_untrusted(lines + alive_record("n0", local(9)))
    assert state.members == {"n1": local(2), "n0": local(9)}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4:5", Address("1.2.3.4", 5)),
        ("[::1]:5", Address("::1", 5)),
        (":5", None),
        ("1.2.3.4", None),
        ("", None),
        ("example.org:5", None),
        ("[fe80::1%eth0]:5", None),
        ("1.2.3.4:65536", None),
    ],
)
def test_addresses_of_records(text: str, address: Address | None) -> None:
    """IPv6 in brackets; a name, which would have to be looked up, is no address."""
    assert parse_address(text) == address


def test_time_beyond_belief_is_left_out() -> None:
    """As from a peer: a damaged file must not push the clocks of a whole pool."""
    highest, beyond = snapshot.CLOCK_MAX, snapshot.CLOCK_MAX + 1
    assert replay_untrusted(clock_record("clock", highest)).clock == highest
    state = replay_untrusted(clock_record("clock", 5) + clock_record("clock", beyond))
    assert (state.clock, state.unknown) == (5, 1)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"", 0),
        (b"clock: 1\n", 9),
        (b"clock: 1\nclo", 9),
        (b"clock: 1\n\0\0\n\0", 9),
        (b"\0\nclock: 1\n", 11),
        (b"\0\0\0", 0),
    ],
)
def test_sound_part_ends_with_the_last_record_understood(data: bytes, size: int) -> None:
    """What follows is a torn or damaged tail; damage before it is in the middle."""
    assert replay_untrusted(data).sound_size_bytes == size


def test_file_is_compacted_when_it_is_twice_what_its_members_need() -> None:
    """But not below 128 KiB."""
    assert compact_size(0) == compact_size(512) == COMPACT_SIZE_MIN == 128 * 1024
    assert compact_size(1000) == 256_000


@pytest.mark.parametrize(("name", "is_sound"), [("a b", True), ("a\nleave", False), ("", False)])
def test_name_that_would_forge_a_record_is_not_recorded(name: str, is_sound: bool) -> None:
    """A newline in a name would be a line of its own."""
    assert is_recordable(name) is is_sound
    assert len(compacted([(name, local(1))], 0, 0, 0).splitlines()) == 3 + is_sound


@given(st.binary(max_size=300))
def test_no_file_makes_a_replay_fail(data: bytes) -> None:
    """Whatever is in it."""
    replay_untrusted(data)


@given(
    st.dictionaries(st.text("abc -é", min_size=1, max_size=9), st.integers(1, 65535), max_size=6),
    st.integers(0, snapshot.CLOCK_MAX),
)
def test_what_is_written_reads_the_same(members: dict[str, int], clock: int) -> None:
    """Records of any order and number."""
    data = b"".join(alive_record(name, Address("::1", port)) for name, port in members.items())
    data += clock_record("clock", clock) + not_alive_record("somebody else")
    state = replay_untrusted(data)
    assert state.members == {name: Address("::1", port) for name, port in members.items()}
    assert state.clock == clock
    assert state.unknown == 0
