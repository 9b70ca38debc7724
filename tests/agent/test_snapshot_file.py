"""The snapshot file on a real disk, in virtual time: written, replaced, damaged, and in trouble.

Trouble is made by links to /dev/full, where every write fails as on a full disk.
"""

# ruff: noqa: ASYNC240 -- small files on a local disk, looked at by the test itself

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import structlog.testing
import trio
from rookery.agent import snapshot_file
from rookery.agent.snapshot_file import (
    CLOSE_SECONDS_MAX,
    FLUSH_INTERVAL,
    PENDING_BYTES_MAX,
    RETRY_INTERVAL,
    LoadedSnapshot,
    RunInThread,
    SnapshotFile,
    load_snapshot,
    snapshot_path,
)
from rookery.gossip.addresses import Address
from rookery.gossip.notices import MemberFailed, MemberJoined
from rookery.gossip.serf.members import MemberStatus, make_member
from rookery.gossip.serf.recording import SnapshotRecorder
from rookery.gossip.serf.snapshot import COMPACT_SIZE_MIN, Remembered, replay_untrusted

VECTORS = Path(__file__).parents[1] / "vectors" / "snapshot"
RECORDINGS = sorted(VECTORS.glob("*.snap"))
FULL = Path("/dev/full")

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def at_once(job: Callable[[], None]) -> None:
    """Do a disk's work without a thread, whose waiting the virtual clock could not see."""
    await trio.lowlevel.checkpoint()
    job()


def is_at_rest() -> bool:
    """Whether nothing will wake up by itself; what is left is the time limit of the test."""
    return trio.lowlevel.current_statistics().seconds_to_next_deadline > 24 * 3600


class Writer:
    """A recorder and the file behind it."""

    def __init__(
        self,
        path: Path,
        loaded: LoadedSnapshot | None = None,
        run_in_thread: RunInThread = at_once,
    ) -> None:
        self.path = path
        loaded = loaded or load_snapshot(path, rejoin_after_leave=False)
        self.file = SnapshotFile(path, loaded, run_in_thread=run_in_thread)
        self.recorder = SnapshotRecorder(self.file, loaded.remembered)
        self.clock = 1

    def join(self, *names: str) -> None:
        """Let members join."""
        for name in names:
            member = make_member(name, bytes((10, 0, 0, 1)), 1, {}, MemberStatus.ALIVE, b"")
            self.recorder.note(MemberJoined(member))
        self.recorder.flush(self.clock)

    def fail(self, name: str) -> None:
        """Let a member fail."""
        member = make_member(name, bytes((10, 0, 0, 1)), 1, {}, MemberStatus.FAILED, b"")
        self.recorder.note(MemberFailed(member))
        self.recorder.flush(self.clock)

    def lines(self) -> list[str]:
        """Return what is in the file."""
        return self.path.read_text().splitlines() if self.path.exists() else []

    def names(self) -> list[str]:
        """Return who would be remembered."""
        return list(replay_untrusted(self.path.read_bytes()).members)


@asynccontextmanager
async def writing(
    path: Path, loaded: LoadedSnapshot | None = None, run_in_thread: RunInThread = at_once
) -> AsyncIterator[Writer]:
    """Write to a file until the end of the block."""
    writer = Writer(path, loaded, run_in_thread)
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.file.run)
        yield writer
        nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of a fresh agent is; its directory is not there yet."""
    return snapshot_path(tmp_path / "server")


# Writing.


async def test_records_are_in_the_file_at_once_and_then_every_half_second(path: Path) -> None:
    """The first is not held back; those that follow are collected."""
    async with writing(path) as writer:
        writer.join("a")
        await trio.sleep(0.01)
        assert writer.lines() == ["alive: a 10.0.0.1:1"]
        writer.join("b")
        writer.fail("a")
        await trio.sleep(FLUSH_INTERVAL - 0.02)
        assert len(writer.lines()) == 1
        await trio.sleep(0.02)
        assert writer.lines()[1:] == ["alive: b 10.0.0.1:1", "not-alive: a"]


async def test_file_is_for_its_user_only(path: Path) -> None:
    """Names and addresses of a pool are nobody else's business."""
    async with writing(path) as writer:
        writer.join("a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert str(path).endswith("/server/serf/snapshot")


async def test_nothing_runs_while_nothing_happens(path: Path) -> None:
    """No wake-ups at rest: the only deadline is the one after a write, and it passes."""
    async with writing(path) as writer:
        writer.join("a")
        await trio.sleep(2 * FLUSH_INTERVAL)
        assert is_at_rest()


async def test_end_writes_the_rest_and_waits_for_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came within the last half second is in the file, flushed to the disk."""
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (flushed.append(1), real(descriptor)))
    async with writing(path) as writer:
        writer.join("a")
        await trio.sleep(0.01)
        assert not flushed
        writer.join("b")
    assert writer.names() == ["a", "b"]
    assert flushed == [1]


async def test_next_life_appends(path: Path) -> None:
    """What was there stays."""
    for name in ("a", "b"):
        async with writing(path) as writer:
            writer.join(name)
    assert writer.names() == ["a", "b"]


async def test_grown_file_is_replaced_by_a_compact_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the documented size: one line a member and three clocks, on the disk before the rename."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("rename"), replace(*names)))
    async with writing(path) as writer:
        writer.join("a", "b")
        await trio.sleep(1)
        line = "alive: b 10.0.0.1:1\n"
        fitting = (COMPACT_SIZE_MIN - path.stat().st_size) // len(line)
        writer.join(*["b"] * fitting)
        await trio.sleep(1)
        assert steps == []
        assert len(writer.lines()) == fitting + 2
        writer.clock = 9
        writer.join("b")
        await trio.sleep(1)
        assert steps == ["fsync", "rename", "fsync"]
        assert writer.lines() == [
            "alive: a 10.0.0.1:1",
            "alive: b 10.0.0.1:1",
            "clock: 8",
            "event-clock: 0",
            "query-clock: 0",
        ]
        writer.join("c")
        await trio.sleep(1)
        assert writer.lines()[-1] == "alive: c 10.0.0.1:1"
    assert os.listdir(path.parent) == ["snapshot"]


# Reading.


async def test_no_file_is_no_news(path: Path) -> None:
    """The first start of an agent says nothing about it."""
    with structlog.testing.capture_logs() as logs:
        assert load_snapshot(path, rejoin_after_leave=True) == LoadedSnapshot(Remembered())
    assert logs == []


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda one: one.stem)
async def test_file_cut_anywhere_loads_and_can_be_appended_to(
    recording: Path, tmp_path: Path
) -> None:
    """A torn line is gone from the file, a warning says so, and the next record is whole."""
    data = recording.read_bytes()
    path = tmp_path / "snapshot"
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        with structlog.testing.capture_logs() as logs:
            loaded = load_snapshot(path, rejoin_after_leave=True)
        sound = data[:size].rfind(b"\n") + 1
        assert path.read_bytes() == data[:sound]
        warned = [one["event"] for one in logs if one["log_level"] == "warning"]
        assert warned == (["snapshot_cut"] if sound < size else [])
        async with writing(path, loaded) as writer:
            writer.join("new")
        after = replay_untrusted(path.read_bytes(), rejoin_after_leave=True)
        assert after.members == {**loaded.remembered.members, "new": Address("10.0.0.1", 1)}
        assert (after.clock, after.unknown, after.is_torn) == (
            loaded.remembered.clock,
            0,
            False,
        )
    assert len(RECORDINGS) == 3


@pytest.mark.parametrize(
    ("tail", "damaged"), [(b"\0" * 100, 100), (b"\xff\xfe\nnonsense\n\n", 13), (b"alive: b", 8)]
)
async def test_damaged_end_is_cut_off(path: Path, tail: bytes, damaged: int) -> None:
    """Whole lines that make no sense as well as torn ones."""
    path.parent.mkdir(parents=True)
    path.write_bytes(b"alive: a 1.2.3.4:5\n" + tail)
    with structlog.testing.capture_logs() as logs:
        loaded = load_snapshot(path, rejoin_after_leave=False)
    assert path.read_bytes() == b"alive: a 1.2.3.4:5\n"
    assert loaded.remembered.members == {"a": Address("1.2.3.4", 5)}
    assert logs[0]["damaged_bytes"] == damaged


async def test_damage_in_the_middle_is_skipped_and_told(path: Path) -> None:
    """The file is left alone; it will go with the next compaction."""
    path.parent.mkdir(parents=True)
    path.write_bytes(b"alive: a 1.2.3.4:5\n\0\0\nclock: 4\n")
    with structlog.testing.capture_logs() as logs:
        loaded = load_snapshot(path, rejoin_after_leave=False)
    assert logs[0]["event"] == "snapshot_has_unknown_records"
    assert (loaded.remembered.clock, loaded.must_replace) == (4, False)


@pytest.mark.parametrize("rejoin", [False, True])
async def test_leave_counts_unless_rejoining(path: Path, rejoin: bool) -> None:
    """When it does not, the file is written anew, so that it reads the same by either rule."""
    path.parent.mkdir(parents=True)
    path.write_bytes((VECTORS / "alpha-after-leave.snap").read_bytes())
    loaded = load_snapshot(path, rejoin_after_leave=rejoin)
    assert list(loaded.remembered.members) == (
        ["alpha", "probe-one", "probe-old"] if rejoin else []
    )
    async with writing(path, loaded) as writer:
        writer.join("me")
    assert writer.names() == [*loaded.remembered.members, "me"]


async def test_of_an_endless_file_the_end_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the start of a line; then it is replaced, and short again."""
    monkeypatch.setattr(snapshot_file, "FILE_SIZE_MAX", 60)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(b"alive: n%d 1.2.3.4:5\n" % number for number in range(10)))
    with structlog.testing.capture_logs() as logs:
        loaded = load_snapshot(path, rejoin_after_leave=False)
    assert list(loaded.remembered.members) == ["n8", "n9"]
    assert logs[0]["event"] == "snapshot_too_long"
    async with writing(path, loaded) as writer:
        writer.join("me")
    assert writer.names() == ["n8", "n9", "me"]
    assert len(writer.lines()) == 6


# Trouble.


async def test_full_disk_is_told_once_and_once_more_when_it_works_again(path: Path) -> None:
    """Meanwhile it is tried every 30 s at most; then nothing of what happened is missing."""
    path.parent.mkdir(parents=True)
    compact = path.with_name("snapshot.compact")
    for name in (path, compact):
        name.symlink_to(FULL)
    with structlog.testing.capture_logs() as logs:
        async with writing(path, LoadedSnapshot(Remembered())) as writer:
            writer.join("a")
            await trio.sleep(RETRY_INTERVAL - 1)
            writer.join("b")
            writer.fail("a")
            await trio.sleep(1)
            assert [one["event"] for one in logs] == ["snapshot_not_written"]
            assert logs[0]["error"] == "no space left on device"
            compact.unlink()
            await trio.sleep(1)
            writer.join("c")
            await trio.sleep(RETRY_INTERVAL)
            assert [one["event"] for one in logs[1:]] == ["snapshot_written_again"]
            assert writer.names() == ["b", "c"]
            assert not path.is_symlink()
            writer.join("d")
            await trio.sleep(1)
            assert writer.lines()[-1] == "alive: d 10.0.0.1:1"
    assert len(logs) == 2


async def test_full_disk_is_tried_again_though_nothing_happens(path: Path) -> None:
    """The file comes up to date by itself; at rest afterwards."""
    path.parent.mkdir(parents=True)
    compact = path.with_name("snapshot.compact")
    for name in (path, compact):
        name.symlink_to(FULL)
    async with writing(path, LoadedSnapshot(Remembered())) as writer:
        writer.join("a")
        await trio.sleep(10 * RETRY_INTERVAL)
        compact.unlink()
        await trio.sleep(RETRY_INTERVAL + 1)
        assert writer.names() == ["a"]
        assert is_at_rest()


async def test_disk_that_was_full_for_a_moment_loses_nothing(path: Path) -> None:
    """An append fails, half a second later the whole file is written."""
    path.parent.mkdir(parents=True)
    path.symlink_to(FULL)
    async with writing(path, LoadedSnapshot(Remembered())) as writer:
        writer.join("a")
        await trio.sleep(0.01)
        writer.join("b")
        await trio.sleep(2 * FLUSH_INTERVAL)
        assert writer.names() == ["a", "b"]


async def test_unwritable_directory_keeps_the_agent_up(tmp_path: Path) -> None:
    """Here a file stands where the directory should be; once it is gone all is well."""
    obstacle = tmp_path / "serf"
    obstacle.write_text("in the way")
    path = obstacle / "snapshot"
    with structlog.testing.capture_logs() as logs:
        async with writing(path) as writer:
            writer.join("a")
            await trio.sleep(100)
            obstacle.unlink()
            await trio.sleep(RETRY_INTERVAL + 1)
            assert writer.names() == ["a"]
    assert [one["event"] for one in logs] == [
        "snapshot_not_read",
        "snapshot_not_written",
        "snapshot_written_again",
    ]


async def test_file_that_cannot_be_compacted_is_still_appended_to(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sound, only long; compacting is tried every 30 s at most."""
    tries = []
    async with writing(path) as writer:
        writer.join("a")
        await trio.sleep(1)
        path.with_name("snapshot.compact").mkdir()
        replace = writer.file._disk.replace
        monkeypatch.setattr(
            writer.file._disk, "replace", lambda whole: (tries.append(1), replace(whole))
        )
        writer.join(*["b"] * (COMPACT_SIZE_MIN // 19))
        for name in "cdefg":
            await trio.sleep(1)
            writer.join(name)
        await trio.sleep(1)
        assert writer.names() == list("abcdefg")
        assert len(tries) == 1
        path.with_name("snapshot.compact").rmdir()
        await trio.sleep(RETRY_INTERVAL)
        writer.join("h")
        await trio.sleep(1)
        assert len(tries) == 2
        assert len(writer.lines()) == 8 + 3


async def test_hanging_disk_costs_bounded_memory_and_loses_nothing(path: Path) -> None:
    """Records are dropped beyond the limit; when the disk answers, all is written at once."""
    may_go_on = trio.Event()

    async def hang(job: Callable[[], None]) -> None:
        await may_go_on.wait()
        job()

    async with writing(path, run_in_thread=hang) as writer:
        writer.join("first")
        await trio.sleep(1)
        for number in range(3 * PENDING_BYTES_MAX // 19):
            writer.join(f"n{number % 9}")
            assert writer.file._pending_size <= PENDING_BYTES_MAX
        may_go_on.set()
        await trio.sleep(1)
        assert writer.names() == ["first", *(f"n{number}" for number in range(9))]


async def test_hanging_disk_does_not_hold_up_the_end(path: Path) -> None:
    """The agent waits two seconds for it, says so, and goes."""

    async def hang(job: Callable[[], None]) -> None:
        await trio.sleep_forever()

    with structlog.testing.capture_logs() as logs:
        async with writing(path, run_in_thread=hang) as writer:
            writer.join("a")
            await trio.sleep(1)
            start = trio.current_time()
        assert trio.current_time() - start == CLOSE_SECONDS_MAX == 2.0
    assert [one["event"] for one in logs] == ["snapshot_not_closed"]
