"""How a log line is written: for people, or as JSON.

    2022-02-10T03:26:34.123Z [INFO]  agent: member_joined: name=web-1.global address=10.0.0.1:4648

The forms are those of the logger Nomad uses, hclog, because tools and people know them and the
monitor endpoint streams them (public API: `intlogger.go` in hashicorp/go-hclog). A value of unusual
characters is quoted; one of several lines stands below, indented, so that nothing a peer sent can
look like a line of its own.
"""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Mapping
from typing import Any

from .quoting import escape_character, quote, readable

LEVEL_NUMBERS = {"trace": 0, "debug": 1, "info": 2, "warn": 3, "error": 4}
"""Levels by name, the least important first."""

_LEVEL_TEXTS = {name: f"[{name.upper()}]".ljust(7) for name in LEVEL_NUMBERS}

# What needs no quotes: `-` to `~`, the same range as hclog's.
_BARE = re.compile(r"[-.-~]+")


def format_line(
    level: str, logger: str, event: str, fields: Mapping[str, Any], seconds: float
) -> str:
    """Return a line for people, with its line break.

    Args:
        level: A key of `LEVEL_NUMBERS`.
        logger: Who logs: `agent`, `gossip`, `http`.
        event: What happened.
        fields: Its particulars.
        seconds: Wall-clock time since the epoch.
    """
    head = f"{_stamp(seconds)} {_LEVEL_TEXTS[level]} {logger}: {event}"
    texts = {name: value_text(value) for name, value in fields.items()}
    inline = [
        f" {name}={text if _BARE.fullmatch(text) else quote(text)}"
        for name, text in texts.items()
        if "\n" not in text
    ]
    below = [f"\n  {name}=\n{_indented(text)}" for name, text in texts.items() if "\n" in text]
    return head + (":" if texts else "") + "".join(inline) + "".join(below) + "\n"


def format_json(
    level: str, logger: str, event: str, fields: Mapping[str, Any], seconds: float
) -> str:
    """Return a line as one JSON object, keys sorted, with its line break. Arguments as above."""
    record = {name: _json_value(value) for name, value in fields.items()}
    record.update(
        {
            "@level": level,
            "@message": event,
            "@module": logger,
            "@timestamp": _json_stamp(seconds),
        }
    )
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n"


def value_text(value: Any) -> str:
    """Return a field's value as text."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value)).rstrip("\n")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return ",".join(f"{key}={value_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(value_text(item) for item in value)
    return str(value)


def _json_value(value: Any) -> Any:
    """Return what JSON can write of a value: numbers and truth as such, all else as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return readable(value_text(value))


def _indented(text: str) -> str:
    """Return the lines of `text` behind a margin, control characters escaped."""
    return "\n".join(
        "  | "
        + "".join(c if c.isprintable() or c in '"\\\t' else escape_character(c) for c in line)
        for line in text.split("\n")
    )


def _stamp(seconds: float) -> str:
    """Return local time with milliseconds and the offset, `Z` for UTC."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    local = time.localtime(whole)
    offset = "Z" if local.tm_gmtoff == 0 else time.strftime("%z", local)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{milliseconds:03d}{offset}"


def _json_stamp(seconds: float) -> str:
    """Return local time with microseconds and an RFC 3339 offset."""
    whole, microseconds = divmod(int(seconds * 1_000_000), 1_000_000)
    local = time.localtime(whole)
    offset = time.strftime("%z", local)
    offset = "Z" if local.tm_gmtoff == 0 else f"{offset[:3]}:{offset[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{microseconds:06d}{offset}"
