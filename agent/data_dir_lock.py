"""One agent at a time in a data directory.

Two agents there would be one server to the pool, having one id, would rotate each other's keys away
and mix their snapshots. Starting the same settings twice on other ports is enough for that, so an
agent holds a lock on `<data_dir>/server` for as long as it runs. It is a lock of the system (flock
on the directory itself), not a file whose being there says something: it ends with the process,
however that ends, and a killed agent can be started again at once. Nomad has the same guard from
its Raft store's file lock.

Some network file systems have no locks. That is logged and keeps no agent from starting.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from .settings_sources import SettingsError
from .state_files import DIRECTORY_MODE


@contextmanager
def data_dir_lock(server_directory: Path | None) -> Iterator[None]:
    """Hold the lock of a server's state directory, making the directory when there is none.

    Args:
        server_directory: `<data_dir>/server`, or None when nothing is kept.

    Raises:
        SettingsError: Another agent holds it.
    """
    descriptor = None if server_directory is None else _lock(server_directory)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(directory: Path) -> int | None:
    """Return the open directory that the lock hangs on; None if it cannot be locked."""
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
    except BlockingIOError:
        raise SettingsError(
            f"{directory}: another agent is running with this data_dir; stop it,"
            " or give this one a directory of its own (-data-dir, or data_dir)"
        ) from None
    except OSError as error:
        # A directory that cannot be made or read is told by those who need its files.
        structlog.get_logger("agent").warning(
            "data_dir_not_locked", path=str(directory), error=str(error.strerror).lower()
        )
        return None
    return descriptor
