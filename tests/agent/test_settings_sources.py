"""Settings files: found, read, told apart, and refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from rookery.agent.settings_sources import (
    FILE_SIZE_MAX,
    SettingsError,
    Source,
    list_files,
    read_sources,
)


def write(path: Path, content: str | bytes) -> str:
    """Write a file and return its path."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ('region = "eu"', {"region": "eu"}),
        ('{"region": "eu"}', {"region": "eu"}),
        ('\n\t {"ports": {"http": 1}}', {"ports": {"http": 1}}),
        ('\ufeff{"region": "eu"}', {"region": "eu"}),
        ("", {}),
    ],
)
def test_hcl_and_json_are_told_apart_by_content(
    tmp_path: Path, content: str, values: dict[str, object]
) -> None:
    """The file's name does not matter; what begins with a brace is JSON."""
    (source,) = read_sources([write(tmp_path / "settings.conf", content)])
    assert source.values == values


def test_directory_gives_its_settings_files_sorted(tmp_path: Path) -> None:
    """Of a directory only *.hcl and *.json count, by name, without editors' leftovers."""
    for name in ("b.json", "a.hcl", "c.txt", "a.hcl~", ".#d.hcl", "#e.hcl#"):
        write(tmp_path / name, "{}" if name == "b.json" else "")
    (tmp_path / "sub.hcl").mkdir()
    write(tmp_path / "sub.hcl" / "x.hcl", "")
    assert list_files(str(tmp_path)) == [str(tmp_path / "a.hcl"), str(tmp_path / "b.json")]
    assert [source.name for source in read_sources([str(tmp_path)])] == list_files(str(tmp_path))


def test_empty_path_loads_nothing() -> None:
    """An empty -config is no error."""
    assert read_sources([""]) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"a": 1', "line 1: this is not JSON"),
        ('{"a": 1,\n"b": x}', "line 2: this is not JSON"),
        ('{"a": 1, "a": 2}', '"a" is given twice'),
        ('{"s": {"a": 1, "a": 2}}', '"a" is given twice'),
        ("a = 1\na = 2", 'line 2: "a" is given twice'),
        ("a =", "line 1: this is not HCL"),
        ('{"a":' * 100_000, "nested too deeply"),
        (b"\xff\xfe", "no UTF-8"),
        (b"#" * (FILE_SIZE_MAX + 1), "larger than 1024 KiB"),
    ],
)
def test_unreadable_file_is_named_with_its_fault(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    """One line names the file, where possible the line, and the fault."""
    path = write(tmp_path / "bad", content)
    with pytest.raises(SettingsError) as caught:
        read_sources([path])
    assert str(caught.value).startswith(f"Error loading configuration from {path}: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    """The size limit itself is still read."""
    content = b'{"a": 1' + b" " * (FILE_SIZE_MAX - 8) + b"}"
    (source,) = read_sources([write(tmp_path / "large", content)])
    assert source.values == {"a": 1}


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    """A path that leads nowhere ends the start with its name."""
    with pytest.raises(SettingsError, match=r"nowhere\.hcl: no such file"):
        read_sources([str(tmp_path / "nowhere.hcl")])


def test_errors_of_flags_name_the_flag() -> None:
    """A value of the command line is told by its flag."""
    source = Source("", {"name": 1}, {("name",): "-node"})
    assert str(source.error(("name",), "bad")) == "-node: bad"


def test_source_knows_what_it_sets() -> None:
    """Only values that are written count as set, however deep."""
    source = Source("f", {"server": {"server_join": {"retry_max": 0}}})
    assert source.sets(("server", "server_join", "retry_max"))
    assert not source.sets(("server", "server_join", "retry_join"))
    assert not source.sets(("server", "server_join", "retry_max", "x"))
