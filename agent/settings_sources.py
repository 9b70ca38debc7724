"""Where settings come from: a file in HCL or JSON, or the flags; and how an error names the place.

A `Source` is one of them: nested values as they were written, and where each key stands. HCL and
JSON are told apart by content, as Nomad does, so a file may be called anything. Nothing here knows
which keys there are; that is `settings_merging.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .hcl import HclError, HclReader

KeyPath = tuple[str, ...]
"""Where a value stands: `("server", "server_join", "retry_join")`."""

FILE_SIZE_MAX = 1024 * 1024
"""Largest settings file read. Real ones have a few kilobytes; a device or a log given by mistake is
refused before it fills memory."""

FILE_SUFFIXES = (".hcl", ".json")
"""What counts as a settings file inside a directory. A file named itself may be called anything."""


class SettingsError(Exception):
    """The settings are no good; `str()` is one line: where, what, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Source:
    """Values from one file, or from the flags.

    Attributes:
        name: The file's path; empty for flags.
        values: The values, nested like the sections.
        labels: Where a key stands, such as `line 3` or `-bind`; keys may be missing.
    """

    name: str
    values: Mapping[str, Any]
    labels: Mapping[KeyPath, str] = field(default_factory=dict)

    def error(self, path: KeyPath, problem: str) -> SettingsError:
        """Return the error for a value of this source."""
        label, key = self.labels.get(path, ""), ".".join(path)
        if not self.name:
            return SettingsError(f"{label or key}: {problem}")
        where = ": ".join(part for part in (label, key, problem) if part)
        return SettingsError(f"Error loading configuration from {self.name}: {where}")

    def sets(self, path: KeyPath) -> bool:
        """Whether this source has a value at `path`."""
        values: Any = self.values
        for key in path:
            if not isinstance(values, Mapping) or key not in values:
                return False
            values = values[key]
        return True


def list_files(path: str) -> list[str]:
    """Return `path` itself, or the settings files in it when it is a directory, sorted by name.

    Not recursive; editors' temporary files (`.#x.hcl`, `#x.hcl#`, `x.hcl~`) are skipped.

    Raises:
        SettingsError: There is no such file or directory.
    """
    try:
        if not Path(path).is_dir():
            return [path]
        names = sorted(entry.name for entry in Path(path).iterdir() if entry.is_file())
    except OSError as error:
        raise _unreadable(path, error) from None
    return [
        str(Path(path) / name)
        for name in names
        if name.endswith(FILE_SUFFIXES) and not name.startswith((".#", "#"))
    ]


def read_sources(paths: Sequence[str]) -> list[Source]:
    """Read files and directories of files, in order. An empty path stands for nothing.

    Raises:
        SettingsError: One cannot be read, or is neither HCL nor JSON.
    """
    reader = HclReader()  # loads what it needs with the first text
    return [_read_file(file, reader) for path in paths if path for file in list_files(path)]


def _read_file(path: str, reader: HclReader) -> Source:
    """Read one file: it is JSON when it begins with a brace, which HCL cannot."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_SIZE_MAX + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    source = Source(path, {})
    if len(data) > FILE_SIZE_MAX:
        raise source.error((), f"larger than {FILE_SIZE_MAX // 1024} KiB; is this a settings file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise source.error(
            (), f"byte {error.start} is no UTF-8; is this a settings file?"
        ) from None
    if text.lstrip().startswith("{"):
        return Source(path, _read_json(source, text))
    try:
        values, lines = reader.read(text)
    except HclError as error:
        problem = f"line {error.line}: {error}" if error.line else str(error)
        raise source.error((), problem) from None
    return Source(path, values, {key: f"line {line}" for key, line in lines.items()})


def _read_json(source: Source, text: str) -> Mapping[str, Any]:
    """Return a JSON object's values; a key given twice in one object is an error."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise source.error((), f'"{key}" is given twice; keep one')
            values[key] = value
        return values

    try:
        values = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}: this is not JSON: {error.msg}"
        raise source.error((), problem) from None
    except RecursionError:
        raise source.error((), "the file is nested too deeply") from None
    assert isinstance(values, dict), "a text that begins with a brace is an object"
    return values


def _unreadable(path: str, error: OSError) -> SettingsError:
    reason = (error.strerror or str(error)).lower()
    return SettingsError(f"Error loading configuration from {path}: {reason}")
