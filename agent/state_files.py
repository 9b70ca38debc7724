"""Small files below the data directory: read whole, written atomically, for this user only.

Written means: a new file beside it, flushed to the disk, renamed over the old one, and the
directory flushed too. After a crash at any point there is the old text or the new one, never half
of either.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from .settings_sources import SettingsError

SIZE_MAX = 64 * 1024
"""Largest file read. A keyring of the most keys there may be has some kilobytes."""

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def read_text(path: Path) -> str | None:
    """Return the file's text, or None when there is no such file.

    Raises:
        SettingsError: It cannot be read, is too large, or is no text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {_reason(error)}") from None
    if len(data) > SIZE_MAX:
        raise SettingsError(f"{path}: larger than {SIZE_MAX // 1024} KiB; this is not our file")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: holds no text; this is not our file") from None


def write_atomically(path: Path, text: str) -> None:
    """Put `text` at `path`, mode 0600, making its directory (mode 0700) when there is none.

    Raises:
        SettingsError: It cannot be written; what was there is untouched.
    """
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        # mkstemp makes the file with mode 0600, so that nobody can open it before it is renamed.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        flush_directory(path.parent)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be written: {_reason(error)};"
            " let this user write there, or choose another data_dir"
        ) from None


def flush_directory(directory: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
