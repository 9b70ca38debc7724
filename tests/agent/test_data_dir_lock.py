"""The lock that keeps a second agent out of a data directory."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from rookery.agent.data_dir_lock import data_dir_lock
from rookery.agent.settings_sources import SettingsError


def test_second_agent_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    """The message names the directory and what to change; nothing is left behind."""
    directory = tmp_path / "data" / "server"
    with data_dir_lock(directory):
        with (
            pytest.raises(SettingsError, match=r"data/server: another agent .*-data-dir"),
            data_dir_lock(directory),
        ):
            pytest.fail("two agents in one directory")
        with data_dir_lock(tmp_path / "other" / "server"):
            pass
    with data_dir_lock(directory):
        assert os.listdir(directory) == []


def test_nothing_is_locked_where_nothing_is_kept() -> None:
    """Any number of dev agents run side by side."""
    with data_dir_lock(None), data_dir_lock(None):
        pass


def test_file_system_without_locks_keeps_no_agent_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS may be; it is only less safe there, and leaves no open descriptor."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    with data_dir_lock(tmp_path / "server"):
        pass
    after = os.listdir("/proc/self/fd") if before else []
    assert len(after) == len(before)


def test_directory_that_cannot_be_made_is_left_to_who_needs_it(tmp_path: Path) -> None:
    """The keyring and the id say what is wrong with it, in words of their own."""
    (tmp_path / "file").write_text("")
    with data_dir_lock(tmp_path / "file" / "server"):
        pass
