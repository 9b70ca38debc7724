"""Membership by gossip: memberlist and Serf, usable as a library of its own.

    async with open_pool(PoolSettings(node_name="a", bind="127.0.0.1", port=0)) as pool:
        await pool.join(["127.0.0.1:7946"])
        async for notice in pool.events(notices.MemberJoined):
            ...

What is where: `wire` turns bytes into messages and back, `swim` decides who is alive (memberlist's
part), `serf` adds tags, intents and logical time (Serf's part); these are pure. `pool`, `transport`
and their helpers beside them are the shell that runs an engine on trio; `simulation` runs many in
virtual time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import notices
    from .coalesced_stream import CoalescedStream
    from .host_addresses import AdvertiseError
    from .pool import (
        ForceLeaveError,
        JoinError,
        JoinResult,
        Pool,
        PoolClosed,
        PoolStatistics,
        open_pool,
    )
    from .pool_settings import PoolSettings
    from .query_stream import QueryStream
    from .serf.asking import QueryRefused, Question
    from .serf.coalescing import CoalesceSettings, MemberEvents
    from .serf.engine import EventRefused
    from .serf.key_outcome import KeyOutcome
    from .serf.members import Member, MemberStatus
    from .serf.recording import SnapshotSink
    from .serf.snapshot import Remembered
    from .subscriptions import EventStream, Lost
    from .timed_evidence import TimedEvidence
    from .transport import BindError
    from .wire.keyring import Keyring

__all__ = [
    "AdvertiseError",
    "BindError",
    "CoalesceSettings",
    "CoalescedStream",
    "EventRefused",
    "EventStream",
    "ForceLeaveError",
    "JoinError",
    "JoinResult",
    "KeyOutcome",
    "Keyring",
    "Lost",
    "Member",
    "MemberEvents",
    "MemberStatus",
    "Pool",
    "PoolClosed",
    "PoolSettings",
    "PoolStatistics",
    "QueryRefused",
    "QueryStream",
    "Question",
    "Remembered",
    "SnapshotSink",
    "TimedEvidence",
    "notices",
    "open_pool",
]

_HOMES = {
    "AdvertiseError": ".host_addresses",
    "BindError": ".transport",
    "CoalesceSettings": ".serf.coalescing",
    "CoalescedStream": ".coalesced_stream",
    "EventRefused": ".serf.engine",
    "EventStream": ".subscriptions",
    "ForceLeaveError": ".pool",
    "JoinError": ".pool",
    "JoinResult": ".pool",
    "KeyOutcome": ".serf.key_outcome",
    "Keyring": ".wire.keyring",
    "Lost": ".subscriptions",
    "Member": ".serf.members",
    "MemberEvents": ".serf.coalescing",
    "MemberStatus": ".serf.members",
    "Pool": ".pool",
    "PoolClosed": ".pool",
    "PoolSettings": ".pool_settings",
    "PoolStatistics": ".pool",
    "QueryRefused": ".serf.asking",
    "QueryStream": ".query_stream",
    "Question": ".serf.asking",
    "Remembered": ".serf.snapshot",
    "SnapshotSink": ".serf.recording",
    "TimedEvidence": ".timed_evidence",
    "open_pool": ".pool",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used.

    The core below this package must be importable without the shell: it has no use for trio, and
    who only decodes a packet, or simulates, should not pay for it.
    """
    if name == "notices":
        return importlib.import_module(".notices", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
