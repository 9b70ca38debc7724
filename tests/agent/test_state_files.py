"""Small files: whole or not at all, and for their owner only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from rookery.agent import state_files
from rookery.agent.settings_sources import SettingsError
from rookery.agent.state_files import SIZE_MAX, read_text, write_atomically


def test_written_text_is_read_back_and_private(tmp_path: Path) -> None:
    """A file has mode 0600 in a directory of mode 0700."""
    path = tmp_path / "server" / "file"
    write_atomically(path, "héllo")
    assert read_text(path) == "héllo"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_failed_write_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails, the old file is whole and nothing is left beside it."""
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_files.os, "fsync", fail)
    with pytest.raises(SettingsError, match="file: cannot be written: no space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_missing_file_is_none(tmp_path: Path) -> None:
    """No file is no error."""
    assert read_text(tmp_path / "nothing") is None


def test_file_at_the_limit_is_read_and_a_larger_one_refused(tmp_path: Path) -> None:
    """Something else of that name does not fill memory."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * SIZE_MAX)
    assert read_text(path) == "x" * SIZE_MAX
    path.write_bytes(b"x" * (SIZE_MAX + 1))
    with pytest.raises(SettingsError, match="larger than 64 KiB"):
        read_text(path)


def test_what_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    """Bytes, directories and unwritable places end with the path in the line."""
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="bytes: holds no text"):
        read_text(tmp_path / "bytes")
    with pytest.raises(SettingsError, match="cannot be read: is a directory"):
        read_text(tmp_path)
    with pytest.raises(SettingsError, match="cannot be written: "):
        write_atomically(tmp_path / "bytes" / "below", "x")
