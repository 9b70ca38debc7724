"""Settings of the SWIM layer, with memberlist's three profiles.

All members of a pool should run the same profile: suspicion times follow from it, and a member
that is quicker than the others accuses healthy ones. Source: memberlist config.go
(DefaultLANConfig, DefaultWANConfig, DefaultLocalConfig).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..wire.keyring import Keyring
from ..wire.limits import LABEL_SIZE_MAX, META_SIZE_MAX, NODE_NAME_SIZE_MAX
from .versions import OUR_VERSIONS, versions_defect

NODES_MAX = 65536
"""Entries a table holds. No pool of this protocol is that large (the state of one push-pull would
pass 8 MiB), and a stranger on an unencrypted network must not fill our memory with invented
nodes."""

PROFILES: Mapping[str, Mapping[str, float | int]] = {
    "lan": {},
    "wan": {
        "stream_timeout": 30.0,
        "suspicion_mult": 6,
        "push_pull_interval": 60.0,
        "probe_interval": 5.0,
        "probe_timeout": 3.0,
        "gossip_nodes": 4,
        "gossip_interval": 0.5,
        "gossip_to_the_dead_time": 60.0,
    },
    "local": {
        "stream_timeout": 1.0,
        "indirect_checks": 1,
        "retransmit_mult": 2,
        "suspicion_mult": 3,
        "push_pull_interval": 15.0,
        "probe_interval": 1.0,
        "probe_timeout": 0.2,
        "gossip_nodes": 3,
        "gossip_interval": 0.1,
        "gossip_to_the_dead_time": 15.0,
    },
}
"""What each profile sets differently from the defaults of `SwimSettings`, which are memberlist's
LAN ones."""


NAME_SHOWN_MAX = 40
"""Characters of a wrong name that an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimSettings:
    """How one node takes part. Times are seconds.

    Raises:
        ValueError: A value is out of its range; the text names it.
    """

    node_name: str
    """Who we are. The name alone identifies a node; it must be unique in the pool."""

    address: bytes
    """The address others reach us at: 4 raw bytes for IPv4, 16 for IPv6."""

    port: int
    """The port others reach us at, UDP and TCP alike."""

    versions: bytes = OUR_VERSIONS
    """Six bytes: lowest, highest, current protocol of memberlist; the same of the layer above."""

    keyring: Keyring | None = None
    """Keys of the pool; None or an empty one means no encryption."""

    verify_incoming: bool = True
    """Refuse plaintext when there are keys. Off only while encryption is introduced to a running
    pool."""

    verify_outgoing: bool = True
    """Send sealed when there are keys. Off only while encryption is introduced to a running
    pool."""

    label: str = ""
    """Name of the pool on the wire, 1 to 255 bytes; packets of another label are dropped. Real
    serf agents have none."""

    compression: bool = True
    """Compress what gets smaller by it. Everybody reads both, so this is only a choice of CPU
    against bytes."""

    stream_timeout: float = 10.0
    """Longest a whole TCP conversation may take, the dial included."""

    indirect_checks: int = 3
    """Helpers asked when a direct probe fails. More find more, and cost more packets for each slow
    node."""

    retransmit_mult: int = 4
    """Messages are sent `retransmit_mult * ceil(log10(n + 1))` times. Higher survives more loss at
    more traffic."""

    suspicion_mult: int = 4
    """Shortest suspicion: `suspicion_mult * max(1, log10(n)) * probe_interval`. Lower declares
    dead sooner, and wrongly more often."""

    suspicion_timeout_max_mult: int = 6
    """Longest suspicion, as a multiple of the shortest: what a lone accuser has to wait."""

    push_pull_interval: float = 30.0
    """How often whole tables are exchanged with one random node; stretched in pools of more than
    32."""

    settling_delay: float = 1.0
    """How long after the table has grown one exchange with somebody looks for what gossip missed;
    up to as much again is added at random, and all of it is stretched like the push-pull interval.
    Long enough for gossip to have come round. 0: never, as in Go, where who joins in a bad moment
    waits for the next period."""

    probe_interval: float = 1.0
    """Time between probes. Detection takes about this, plus the suspicion."""

    probe_timeout: float = 0.5
    """How long a direct ack may take: a little over the slowest round trip of the network."""

    awareness_score_max: int = 8
    """Bound of the health score: probes are at most this many times slower when we doubt
    ourselves."""

    gossip_nodes: int = 3
    """Nodes that get news at each gossip tick."""

    gossip_interval: float = 0.2
    """Time between gossip ticks while there is news; without news there are none."""

    gossip_to_the_dead_time: float = 30.0
    """How long a dead node still gets gossip, so that it may refute; later it is forgotten."""

    packet_budget: int = 1400
    """Bytes a gossip packet may have before compression: what fits the smallest usual MTU."""

    dead_node_reclaim_time: float = 0.0
    """After this long a failed node's name may come back under another address; 0: never (as Serf
    has it)."""

    stream_pings: bool = True
    """Try TCP when UDP probes fail, so that a firewall that blocks UDP is told from a dead
    node."""

    nodes_max: int = NODES_MAX
    """Entries the table may hold; further new names are refused and counted."""

    def __post_init__(self) -> None:
        """Refuse what could not work, or would hurt peers."""
        name_size = len(self.node_name.encode("utf-8", "surrogateescape"))
        if not 1 <= name_size <= NODE_NAME_SIZE_MAX:
            raise ValueError(
                f"node_name must have 1 to {NODE_NAME_SIZE_MAX} bytes, "
                f"{self.node_name[:NAME_SHOWN_MAX]!r} has {name_size}"
            )
        if len(self.address) not in (4, 16):
            raise ValueError(f"address must have 4 or 16 bytes, not {len(self.address)}")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port must be 1 to 65535, not {self.port}")
        if defect := versions_defect(self.versions):
            raise ValueError(f"versions: {defect}")
        if len(self.label.encode()) > LABEL_SIZE_MAX:
            raise ValueError(f"label must have at most {LABEL_SIZE_MAX} bytes")
        for field in (
            "stream_timeout",
            "push_pull_interval",
            "probe_interval",
            "probe_timeout",
            "gossip_interval",
        ):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be more than 0 seconds, not {getattr(self, field)}")
        for field in (
            "retransmit_mult",
            "suspicion_mult",
            "suspicion_timeout_max_mult",
            "awareness_score_max",
            "gossip_nodes",
        ):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)}")
        for field in (
            "indirect_checks",
            "gossip_to_the_dead_time",
            "dead_node_reclaim_time",
            "settling_delay",
        ):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} must not be negative, it is {getattr(self, field)}")
        if not META_SIZE_MAX < self.packet_budget <= 65000:
            raise ValueError(f"packet_budget must be above {META_SIZE_MAX} and at most 65000 bytes")
        if self.nodes_max < 1:
            raise ValueError("nodes_max must be at least 1")

    @classmethod
    def profile(cls, name: str, **values: Any) -> SwimSettings:
        """Return the settings of a profile (`lan`, `wan`, `local`), with `values` over them.

        Raises:
            ValueError: No such profile, or a value out of range.
        """
        if name not in PROFILES:
            raise ValueError(f"profile must be one of {', '.join(PROFILES)}, not {name!r}")
        return cls(**{**PROFILES[name], **values})
