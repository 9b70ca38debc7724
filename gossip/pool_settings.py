"""What the user of a pool decides: who we are, where we listen, whom we are ready to join."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .serf.settings import Admission
from .serf.snapshot import Remembered
from .wire.keyring import Keyring


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Settings of one pool. Ranges are checked when the pool binds its sockets."""

    node_name: str
    """The name alone identifies a member; it must be unique in the pool."""

    bind: str = "0.0.0.0"
    """The IP address to listen on, UDP and TCP: IPv4 or IPv6, no name, no zone."""

    port: int = 7946
    """The port to listen on, UDP and TCP; 0 takes a number that is free for both."""

    advertise: str | None = None
    """The IP address others reach us at. None: `bind`, or when that is no particular address, the
    first private one of this machine (a public one is never given away unasked)."""

    advertise_port: int | None = None
    """The port others reach us at, when something in between maps ports. None: the bound one."""

    tags: Mapping[str, str] = field(default_factory=dict)
    """What members see of us besides name and address; at most 512 bytes encoded."""

    profile: str = "lan"
    """Timing: `lan`, `wan` or `local`. All members should have the same."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Single fields of `SwimSettings` that differ from the profile's."""

    keyring: Keyring | None = None
    """The pool's keys; None: no encryption. Shared: later changes of it take effect at once."""

    label: str = ""
    """Separates pools on the wire; real serf agents have none."""

    compression: bool = True
    """Compress what gets smaller by it."""

    dead_node_reclaim_time: float = 0.0
    """Seconds after which a failed name may come back under another address; 0: never, as Serf
    has it."""

    admit: Admission | None = None
    """Looks at members of a pool, and returns why we must not be one pool with them, or None. A
    join asks it before anything of us is shown; the engine asks it again about every exchange and
    every new member, because others may join us, too."""

    remembered: Remembered | None = None
    """What an earlier life of ours knew: clocks go on from there, its members are looked for."""

    reconnect_interval: float = 30.0
    """Seconds between tries to reach a member that is missing; more often heals sooner and dials
    more."""

    reconnect_timeout: float = 86400.0
    """Seconds a failed member stays listed before it is reaped."""

    tombstone_timeout: float = 86400.0
    """Seconds a member that left stays listed, so that old gossip about it is recognised."""

    user_event_size_limit: int = 512
    """Bytes of a user event that we send, name and payload; Serf's default. At most 9216."""

    resolves_conflicts: bool = True
    """Hold a vote when another node claims our name. Who loses is told by `NameConflictLost`."""

    seed: int | None = None
    """Makes the engine's choices repeatable; None: a different run each time."""
