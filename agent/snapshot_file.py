"""The snapshot file: what the pool knows, kept over a restart, in Serf's own format.

`<data_dir>/server/serf/snapshot` (the path is Nomad's; public API: `setupSerf` in Nomad's
`nomad/server.go`). A real agent reads our file and we read its. What the lines mean is
`gossip.serf.snapshot`, which lines are written when is `gossip.serf.recording`; here they get to
the disk and back:

    append_nowait ─► pending ─► at most every 500 ms: appended, in a thread
                                 │ grown to twice what it needs: replaced by a compact one
                                 └ failed: replaced by a whole one, tried every 30 s until it works

- Records are flushed to the system, not to the disk: a killed agent loses half a second at most, a
  power cut what the system had not written yet. The disk is waited for when the file is replaced,
  and when the agent ends.
- A file is replaced by writing `snapshot.compact`, flushing it to the disk, renaming it over the
  old one and flushing the directory. After a crash at any point there is one of the two.
- A file may end anywhere. What is damaged at its end is cut off, so that new records start a line
  of their own; damage in the middle is skipped. Neither keeps an agent from starting.
- A disk that is full, read-only or gone is no reason to stop, either. It is told once, and once
  more when it works again; then the file is written whole, so nothing is missing in it.

Writing is done in a thread, though a write of fifty bytes takes microseconds: a network disk that
hangs, or one that flushes for seconds, must not hold up the answers to probes. The memory a hanging
disk costs is bounded: beyond `PENDING_BYTES_MAX` records are dropped, and the file is written whole
when the disk is back. At rest nothing runs here.

Source of the rules: Serf's `serf/snapshot.go` (NewSnapshotter, tryAppend, compact). We differ in
cutting damage off, in not waiting for the next event to flush, and in writing all that was missed.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

from ..gossip.serf.recording import SnapshotRecorder
from ..gossip.serf.snapshot import Remembered, replay_untrusted
from .state_files import DIRECTORY_MODE, FILE_MODE, flush_directory

DIRECTORY = "serf"
FILE_NAME = "snapshot"
COMPACT_SUFFIX = ".compact"
"""What the name of a file ends in that is about to replace the snapshot."""

FLUSH_INTERVAL = 0.5
"""Seconds between two writes (Serf: flushInterval)."""

RETRY_INTERVAL = 30.0
"""Seconds between two tries to replace the file when that failed (Serf:
snapshotErrorRecoveryInterval)."""

CLOSE_SECONDS_MAX = 2.0
"""How long the end of the agent waits for the disk."""

PENDING_BYTES_MAX = 1024 * 1024
"""Records kept while a write hangs; some twenty thousand."""

FILE_SIZE_MAX = 64 * 1024 * 1024
"""Bytes of a file that are read: its end, if it is longer. That is four times what the largest
table needs before it is compacted."""


@dataclass(frozen=True, slots=True)
class LoadedSnapshot:
    """What was read at the start.

    Attributes:
        remembered: What the file says; nothing if there is none.
        size_bytes: How long its sound part is.
        must_replace: Whether the file cannot simply be appended to.
    """

    remembered: Remembered
    size_bytes: int = 0
    must_replace: bool = False


def snapshot_path(server_directory: Path) -> Path:
    """Return where the snapshot of a server with this state directory is."""
    return server_directory / DIRECTORY / FILE_NAME


def load_snapshot(path: Path, *, rejoin_after_leave: bool) -> LoadedSnapshot:
    """Read the file, and cut off what is damaged at its end. Problems are logged, never raised.

    Args:
        path: Where it is.
        rejoin_after_leave: Remember the members also when the agent had left.
    """
    log = structlog.get_logger("snapshot").bind(path=str(path))
    try:
        data, size = _read_end(path)
    except FileNotFoundError:
        return LoadedSnapshot(Remembered())
    except OSError as error:
        log.warning("snapshot_not_read", error=_reason(error), note="nobody is remembered")
        return LoadedSnapshot(Remembered(), must_replace=True)
    remembered = replay_untrusted(data, rejoin_after_leave=rejoin_after_leave)
    is_whole = len(data) == size
    if not is_whole:
        log.warning("snapshot_too_long", size=size, read=len(data), note="its end was read")
    damaged = len(data) - remembered.sound_size_bytes
    if damaged:
        log.warning("snapshot_cut", damaged_bytes=damaged, note="the damaged end was cut off")
    elif remembered.unknown:
        log.warning("snapshot_has_unknown_records", count=remembered.unknown, note="skipped")
    sound_size = size - damaged
    is_cut = not damaged or _cut(path, sound_size)
    log.info("snapshot_read", members=len(remembered.members), clock=remembered.clock)
    # After a leave that is not to count, the file is replaced: whoever reads it by the other rule
    # would forget the members above the `leave`, though we go on from them.
    is_misleading = remembered.has_left and bool(remembered.members)
    return LoadedSnapshot(
        remembered, sound_size, must_replace=not (is_cut and is_whole) or is_misleading
    )


def _read_end(path: Path) -> tuple[bytes, int]:
    """Return the file's last bytes, from the start of a line, and its size."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - FILE_SIZE_MAX, 0))
        data = file.read(FILE_SIZE_MAX)
    if size > FILE_SIZE_MAX:
        data = data[data.find(b"\n") + 1 :]
    return data, size


def _cut(path: Path, size: int) -> bool:
    """Shorten the file; return whether that worked."""
    try:
        os.truncate(path, size)
    except OSError:
        return False  # the file will be replaced, or the trouble told when it is
    return True


RunInThread = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs a job that waits for the disk. When cancelled it returns at once, and the job goes on."""


async def run_in_thread(job: Callable[[], None]) -> None:
    """Run a job in a thread, and leave it alone when cancelled."""
    await trio.to_thread.run_sync(job, abandon_on_cancel=True)


class SnapshotFile:
    """Writes the file of a running pool: its `SnapshotSink`. `run` it around the pool."""

    def __init__(
        self,
        path: Path,
        loaded: LoadedSnapshot,
        *,
        run_in_thread: RunInThread = run_in_thread,
    ) -> None:
        """Go on where the loaded file ends; nothing is opened before there is something to write.

        Args:
            path: Where it is.
            loaded: What `load_snapshot` has found there.
            run_in_thread: How to wait for the disk.
        """
        self._disk = SnapshotDisk(path, loaded.size_bytes)
        self._log = structlog.get_logger("snapshot").bind(path=str(path))
        self._run_in_thread = run_in_thread
        self._recorder: SnapshotRecorder | None = None
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._must_replace = loaded.must_replace
        self._replace_not_before = -math.inf
        self._trouble: str | None = None
        self._arrived = trio.Event()

    def append_nowait(self, records: bytes, recorder: SnapshotRecorder) -> None:
        """Take records to be written soon."""
        self._recorder = recorder
        self._pending.append(records)
        self._pending_size += len(records)
        if self._pending_size > PENDING_BYTES_MAX:
            self._drop_pending()
            self._must_replace = True
        self._arrived.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what comes, until cancelled; then write the rest and wait for the disk."""
        task_status.started()
        try:
            while True:
                await self._arrived.wait()
                await self._write()
                await trio.sleep(FLUSH_INTERVAL)
                if self._must_replace:
                    await trio.sleep_until(self._replace_not_before)
                elif not self._pending:
                    self._arrived = trio.Event()
        finally:
            await self._close()

    async def _close(self) -> None:
        with trio.move_on_after(CLOSE_SECONDS_MAX, shield=True) as limit:
            if self._pending or self._must_replace:
                self._replace_not_before = -math.inf
                await self._write()
            with contextlib.suppress(OSError):  # told already, when the write itself failed
                await self._run_in_thread(self._disk.close)
        if limit.cancelled_caught:
            self._log.error("snapshot_not_closed", note="the disk does not answer")

    async def _write(self) -> None:
        """Bring the file up to date, as far as the disk lets us."""
        recorder = self._recorder
        if recorder is None:
            return
        records = b"".join(self._pending)
        may_replace = trio.current_time() >= self._replace_not_before
        is_long = self._disk.size_bytes + len(records) > recorder.size_max
        self._drop_pending()
        if self._must_replace or (is_long and may_replace):
            await self._replace(recorder.whole(), records)
        else:
            await self._append(records)

    async def _append(self, records: bytes) -> None:
        """Append; if that fails, the next write replaces the whole file."""
        try:
            await self._in_thread(lambda: self._disk.append(records))
        except OSError as error:
            self._must_replace = True
            self._tell_trouble(error)
        else:
            self._tell_success()

    async def _replace(self, whole: bytes, records: bytes) -> None:
        """Replace the file; if that fails, a sound one is appended to."""
        # Before and not after: what is dropped while we wait for the disk is not in `whole`.
        is_sound, self._must_replace = not self._must_replace, False
        try:
            await self._in_thread(lambda: self._disk.replace(whole))
        except OSError as error:
            self._replace_not_before = trio.current_time() + RETRY_INTERVAL
            self._tell_trouble(error)
            if is_sound:
                await self._append_quietly(records)
            else:
                self._must_replace = True
        else:
            self._tell_success()

    async def _append_quietly(self, records: bytes) -> None:
        """Append though the file could not be made shorter, of which was told."""
        try:
            await self._in_thread(lambda: self._disk.append(records))
        except OSError:
            self._must_replace = True

    async def _in_thread(self, job: Callable[[], None]) -> None:
        try:
            await self._run_in_thread(job)
        except trio.Cancelled:
            # The thread goes on without us; nobody knows what will be in the file.
            self._must_replace = True
            raise

    def _drop_pending(self) -> None:
        self._pending.clear()
        self._pending_size = 0

    def _tell_trouble(self, error: OSError) -> None:
        reason = _reason(error)
        if self._trouble is None:
            self._log.error(
                "snapshot_not_written",
                error=reason,
                note="the agent goes on; after a restart it would not know the latest members",
            )
        self._trouble = reason

    def _tell_success(self) -> None:
        if self._trouble is not None:
            self._log.info("snapshot_written_again", was=self._trouble)
            self._trouble = None


class SnapshotDisk:
    """The file itself: plain blocking calls, one at a time, each of them whole or undone."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        """Nothing is opened yet; `size_bytes` is how long the file is."""
        self.size_bytes = size_bytes
        self._path = path
        self._descriptor: int | None = None
        # A thread that was given up on may still be at it when the next one comes.
        self._lock = threading.Lock()

    def append(self, records: bytes) -> None:
        """Write records to the file's end.

        Raises:
            OSError: Not all of it was written; the file may end within a record.
        """
        with self._lock:
            if self._descriptor is None:
                self._descriptor = self._open()
            _write_all(self._descriptor, records)
            self.size_bytes += len(records)

    def replace(self, whole: bytes) -> None:
        """Put another file in the place of this one.

        Raises:
            OSError: The old one is still there, untouched; or the new one, but a power cut could
                bring the old one back.
        """
        with self._lock:
            self._make_directory()
            compact = self._path.with_name(self._path.name + COMPACT_SUFFIX)
            descriptor = os.open(compact, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            try:
                _write_all(descriptor, whole)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._close_descriptor()
            os.replace(compact, self._path)
            self.size_bytes = len(whole)
            flush_directory(self._path.parent)

    def close(self) -> None:
        """Wait until all is on the disk, and close.

        Raises:
            OSError: The disk failed.
        """
        with self._lock:
            try:
                if self._descriptor is not None:
                    os.fsync(self._descriptor)
            finally:
                self._close_descriptor()

    def _open(self) -> int:
        self._make_directory()
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)

    def _make_directory(self) -> None:
        self._path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)

    def _close_descriptor(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: a disk that fills up takes a part first, and refuses the rest."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
