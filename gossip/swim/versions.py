"""The six version bytes of every node, and whether a set of nodes can work together.

A node announces `Vsn`: lowest, highest and current version of the memberlist protocol, then the
same of the layer above (Serf calls it delegate version). A push-pull is merged only when every
node's current versions lie inside the range that all alive nodes share; one node without the bytes
would make every push-pull of its believers fail for good. Sources: memberlist state.go
(aliveNode), memberlist.go (verifyProtocol).
"""

from __future__ import annotations

from collections.abc import Iterable

VERSIONS_SIZE = 6
"""Bytes of a complete `Vsn`; a Go peer dies of 1 to 5 and is poisoned by none."""

OUR_VERSIONS = bytes((1, 5, 2, 2, 5, 5))
"""What we speak, the same as serf 0.9.4 and 0.10: highest memberlist version 5 because nacks, TCP
pings and CRC are done."""

PROTOCOL_STREAM_PING = 3
"""From this highest version on, a node understands a ping over TCP."""
PROTOCOL_NACK = 4
"""From this highest version on, a node answers an indirect ping with a nack."""
PROTOCOL_CRC = 5
"""From this highest version on, a node understands the CRC header."""


def versions_defect(versions: bytes) -> str | None:
    """Return why a `Vsn` must not be taken nor passed on, None when it is sound."""
    if len(versions) != VERSIONS_SIZE:
        return f"{len(versions)} version bytes instead of {VERSIONS_SIZE}"
    if versions[0] == 0 or versions[1] == 0 or versions[0] > versions[1]:
        return f"impossible protocol range {versions[0]} to {versions[1]}"
    return None


def incompatibility(nodes: Iterable[tuple[str, bytes, bool]]) -> str | None:
    """Return why these nodes cannot be merged into one pool, None when they can.

    Args:
        nodes: Name, `Vsn`, and whether the node is alive; our own table and the peer's together.
    """
    everyone = list(nodes)
    protocol_min, protocol_max, delegate_min, delegate_max = 0, 255, 0, 255
    for _, versions, is_alive in everyone:
        if is_alive and len(versions) == VERSIONS_SIZE:
            protocol_min = max(protocol_min, versions[0])
            protocol_max = min(protocol_max, versions[1])
            delegate_min = max(delegate_min, versions[3])
            delegate_max = min(delegate_max, versions[4])
    for name, versions, _ in everyone:
        protocol, delegate = (
            (versions[2], versions[5]) if len(versions) == VERSIONS_SIZE else (0, 0)
        )
        if not protocol_min <= protocol <= protocol_max:
            return _outside(name, "protocol", protocol, protocol_min, protocol_max)
        if not delegate_min <= delegate <= delegate_max:
            return _outside(name, "delegate protocol", delegate, delegate_min, delegate_max)
    return None


def _outside(name: str, kind: str, version: int, minimum: int, maximum: int) -> str:
    """Say it in the words of a Go peer's log."""
    return f"Node '{name}' {kind} version ({version}) is incompatible: [{minimum}, {maximum}]"
