"""Settings read again while the agent runs (SIGHUP): what differs, and what can be applied.

Only a few settings can change in a running agent; the rest needs a restart, and is said to. What
the agent shows as its settings is what it runs with, never what a file has come to say meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

RELOADABLE = ("log_level", "gossip.tags", "gossip.query_responses")
"""Settings that are applied to a running agent."""

Section = TypeVar("Section", bound=msgspec.Struct)


def changed_settings(old: msgspec.Struct, new: msgspec.Struct) -> list[str]:
    """Return the names of the settings that differ, those in sections as `section.name`."""
    changed: list[str] = []
    for field in msgspec.structs.fields(new):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if isinstance(after, msgspec.Struct):
            changed += [f"{field.name}.{name}" for name in changed_settings(before, after)]
        elif before != after:
            changed.append(field.name)
    return changed


def take_over(old: Section, new: Section, names: Iterable[str]) -> Section:
    """Return the old settings with the named ones of the new."""
    for name in names:
        old = _take_over_one(old, new, name)
    return old


def _take_over_one(old: Section, new: Section, name: str) -> Section:
    key, _, rest = name.partition(".")
    value = getattr(new, key)
    if rest:
        value = _take_over_one(getattr(old, key), value, rest)
    return msgspec.structs.replace(old, **{key: value})
