"""Durations as Go reads and writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.agent.durations import SECONDS_MAX, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("-5s", -5.0),
        ("+2m", 120.0),
        ("500ms", 0.5),
        (".5s", 0.5),
        ("1h1h", 7200.0),
        ("105µs", 105e-6),
        ("105us", 105e-6),
    ],
)
def test_duration_text_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    """Units in any sequence, decimals and a sign are understood."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-", "60", "5x", "s", "1 s", "1s ", "--1s", "1e3s", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A number without a unit is no duration, nor is anything else Go refuses."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_duration_beyond_64_bits_of_nanoseconds_is_refused() -> None:
    """The longest duration passes, a longer one does not."""
    assert parse_duration(f"{int(SECONDS_MAX)}s") == int(SECONDS_MAX)
    with pytest.raises(ValueError, match="292 years"):
        parse_duration(f"{int(SECONDS_MAX) + 1}s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1e-9, "1ns"),
        (105.3e-6, "105.3µs"),
        (1.5e-3, "1.5ms"),
        (0.25, "250ms"),
        (1, "1s"),
        (17.79568937, "17.79568937s"),
        (60, "1m0s"),
        (7380.5, "2h3m0.5s"),
        (3600, "1h0m0s"),
        (-1.5, "-1.5s"),
    ],
)
def test_duration_is_written_as_go_writes_it(seconds: float, text: str) -> None:
    """The largest fitting unit below a second, hours, minutes and seconds above."""
    assert format_duration(seconds) == text


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_reading_undoes_writing(microseconds: int) -> None:
    """What is written is read back as the same duration, to the microsecond."""
    seconds = microseconds / 1e6
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-6, rel=1e-12)
