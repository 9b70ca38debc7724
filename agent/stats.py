"""The `stats` of the self document: sections of texts, measured at the moment of asking.

`runtime` and `serf` have Nomad's keys (public API: `Server.Stats` in Nomad's `nomad/server.go`,
`Stats` in Serf's `serf/serf.go`); `gossip` is ours: every counter of the running pool, what was
rejected by reason as `rejected.<reason>`, errors of the sockets as `send_errors.<name>`. A section
appears with the role that measures it, and no number is made up: what is not counted is not there.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from ..gossip.pool import PoolStatistics

Section = dict[str, str]

_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
"""Machine names as Nomad's tools know them."""

_SERF_KEYS = (
    "members",
    "failed",
    "left",
    "member_time",
    "event_time",
    "query_time",
    "intent_queue",
    "event_queue",
    "query_queue",
    "encrypted",
)
"""Keys of the `serf` section that the engine counts under the same name."""

_RENAMED = {"swim.streams_open": "conversations_open"}
"""Counters below the pool whose own names say something else at the pool's height."""

_PREFIXED = {"streams": "streams_"}
"""Layers whose counters are named after them: `accepted` alone would say nothing."""


def runtime_section() -> Section:
    """Return what this process runs on. `goroutines` are its trio tasks."""
    machine = platform.machine()
    return {
        "kernel.name": platform.system().lower(),
        "arch": _GO_ARCHITECTURES.get(machine, machine),
        "version": f"python{platform.python_version()}",
        "max_procs": str(_usable_cores()),
        "goroutines": str(trio.lowlevel.current_statistics().tasks_living),
        "cpu_count": str(os.cpu_count() or 1),
    }


def serf_section(statistics: PoolStatistics) -> Section:
    """Return Serf's own statistics of the pool."""
    engine = statistics.engine
    section = {key: _text(getattr(engine, key)) for key in _SERF_KEYS}
    section["health_score"] = _text(engine.swim.health_score)
    return section


def gossip_section(statistics: PoolStatistics) -> Section:
    """Return every counter of the pool, its transport and its SWIM engine."""
    section: Section = {}
    _flatten(statistics, "", section)
    return section


def _flatten(statistics: Any, layer: str, section: Section) -> None:
    """Put a dataclass's counters into `section`, those of a mapping as `name.key`."""
    for field in dataclasses.fields(statistics):
        value = getattr(statistics, field.name)
        name = _PREFIXED.get(layer, "") + field.name
        name = _RENAMED.get(f"{layer}.{field.name}", name)
        if dataclasses.is_dataclass(value):
            _flatten(value, field.name, section)
        elif isinstance(value, Mapping):
            section.update({f"{name}.{key}": _text(count) for key, count in value.items()})
        elif not (layer == "engine" and field.name in _SERF_KEYS):  # the `serf` section has it
            section[name] = _text(value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _usable_cores() -> int:
    """Return how many cores this process may use, which a container may have cut down."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
