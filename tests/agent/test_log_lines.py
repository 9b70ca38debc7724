"""The form of a log line."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.agent.log_lines import format_json, format_line

SECONDS = 1644463594.123456


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Change the local time zone."""

    def change(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    change("UTC0")
    yield change
    monkeypatch.undo()
    time.tzset()


def test_line_for_people_is_nomads(zone: Any) -> None:
    """Local time with milliseconds, level in brackets, logger, event, keys."""
    fields = {"method": "GET", "path": "/v1/agent/self", "duration": "1.2ms"}
    assert format_line("debug", "http", "request complete", fields, SECONDS) == (
        "2022-02-10T03:26:34.123Z [DEBUG] http: request complete:"
        " method=GET path=/v1/agent/self duration=1.2ms\n"
    )


@pytest.mark.parametrize(
    ("level", "text"),
    [
        ("trace", "[TRACE] x"),
        ("debug", "[DEBUG] x"),
        ("info", "[INFO]  x"),
        ("warn", "[WARN]  x"),
        ("error", "[ERROR] x"),
    ],
)
def test_levels_are_padded_to_one_width(zone: Any, level: str, text: str) -> None:
    """Lines of different levels align."""
    assert format_line(level, "x", "y", {}, 0.0) == f"1970-01-01T00:00:00.000Z {text}: y\n"


def test_offset_of_the_local_zone_is_shown(zone: Any) -> None:
    """Anything but UTC has its offset, with a colon in JSON only."""
    zone("XXX-1")
    assert format_line("info", "a", "b", {}, SECONDS).startswith("2022-02-10T04:26:34.123+0100 ")
    line = json.loads(format_json("info", "a", "b", {}, SECONDS))
    assert line["@timestamp"] == "2022-02-10T04:26:34.123456+01:00"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain-value_1:/~", "plain-value_1:/~"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"b', '"a\\"b"'),
        ("a,b", '"a,b"'),
        ("141µs", '"141µs"'),
        ("\x1b[2J", '"\\x1b[2J"'),
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (0.25, "0.25"),
        (b"\x01\xff", "01ff"),
        (["a", 1], '"a,1"'),
        ({"k": "v"}, "k=v"),
    ],
)
def test_values_are_quoted_where_needed(zone: Any, value: Any, text: str) -> None:
    """What is not plain is quoted, and no control character gets through."""
    assert format_line("info", "a", "b", {"k": value}, 0.0).endswith(f" a: b: k={text}\n")


def test_value_of_several_lines_stands_below(zone: Any) -> None:
    """It is indented, so that no line of it looks like a log line, and comes after the others."""
    line = format_line("info", "a", "b", {"k": "one\n\x1btwo", "n": 1}, 0.0)
    assert line.endswith(" a: b: n=1\n  k=\n  | one\n  | \\x1btwo\n")


def test_exception_is_written_with_its_traceback(zone: Any) -> None:
    """An exception as a value shows where it came from."""
    try:
        raise ValueError("boom")  # noqa: TRY301
    except ValueError as error:
        line = format_line("error", "a", "b", {"traceback": error}, 0.0)
    assert "  | Traceback (most recent call last):\n" in line
    assert line.endswith("  | ValueError: boom\n")


def test_json_line_has_hclogs_keys(zone: Any) -> None:
    """One object a line, keys sorted, numbers and truth as such."""
    line = format_json(
        "warn", "gossip", "event", {"count": 2, "ok": True, "name": "x\udcff"}, SECONDS
    )
    assert line == (
        '{"@level":"warn","@message":"event","@module":"gossip",'
        '"@timestamp":"2022-02-10T03:26:34.123456Z","count":2,"name":"x\\ufffd","ok":true}\n'
    )


LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4}) \[INFO\]  a: b: .*")


@given(st.dictionaries(st.sampled_from(["name", "detail"]), st.text(), min_size=1))
def test_nothing_a_peer_sends_forges_a_line(fields: dict[str, str]) -> None:
    """However the values look, there is one head, and every other line is indented."""
    first, *rest = format_line("info", "a", "b", fields, SECONDS).removesuffix("\n").split("\n")
    assert LINE.fullmatch(first) or first.endswith("a: b:")
    assert all(line.startswith("  ") for line in rest)
    assert all(character.isprintable() or character == "\t" for line in rest for character in line)
    (record,) = format_json("info", "a", "b", fields, SECONDS).splitlines()
    assert json.loads(record)["@message"] == "b"
