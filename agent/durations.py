"""Durations as Go writes and reads them: `30s`, `1m30s`, `105.3µs`.

Settings, the API's statistics and log lines all use this form, because it is the one Nomad's
documentation, files and tools use (public API: Go's `time.ParseDuration` and `Duration.String`).
Inside rookery a duration is a float of seconds; only its text has units.
"""

from __future__ import annotations

import re

_SECONDS_PER_UNIT = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # micro sign
    "μs": 1e-6,  # the Greek letter, which Go takes too
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")

SECONDS_MAX = (2**63 - 1) / 1e9
"""Go counts nanoseconds in 64 bits, some 292 years; what does not fit there is refused here too."""


def parse_duration(text: str) -> float:
    """Return the seconds that `text` stands for, such as 90.0 for `1m30s`.

    Raises:
        ValueError: It is no duration; a number without a unit is none, except `0`.
    """
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    seconds, position = 0.0, 0
    while position < len(rest) and (part := _PART.match(rest, position)):
        seconds += float(part[1]) * _SECONDS_PER_UNIT[part[2]]
        position = part.end()
    if not rest or position < len(rest):
        raise ValueError(f"{text!r} is not a duration")
    if seconds > SECONDS_MAX:
        raise ValueError(f"{text!r} is over 292 years")
    return sign * seconds


def format_duration(seconds: float) -> str:
    """Return Go's text for a duration: the largest fitting unit below a second, else h, m and s."""
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanoseconds else ""
    if nanoseconds == 0:
        return "0s"
    for limit, unit, digits in ((1_000, "ns", 0), (1_000_000, "µs", 3), (1_000_000_000, "ms", 6)):
        if nanoseconds < limit:
            return f"{sign}{_decimal(nanoseconds, digits)}{unit}"
    whole, fraction = divmod(nanoseconds, 1_000_000_000)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = _decimal(whole * 1_000_000_000 + fraction, 9) + "s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _decimal(value: int, digits: int) -> str:
    """Write `value` / 10**`digits` without trailing zeros."""
    whole, fraction = divmod(value, 10**digits)
    tail = f"{fraction:0{digits}d}".rstrip("0") if digits else ""
    return f"{whole}.{tail}" if tail else str(whole)
