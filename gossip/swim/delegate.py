"""What the layer above SWIM may take part in, and the default that takes part in nothing.

These calls stay inside the core: they are synchronous, do no I/O, and end before the engine call
that caused them returns. Source: memberlist delegate.go, alive_delegate.go, merge_delegate.go,
conflict_delegate.go, ping_delegate.go, event_delegate.go, joined into one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..addresses import Address
from ..evidence import EvidenceKind
from ..wire.messages import NodeState as NodeRecord
from .nodes import Node


class SwimDelegate:
    """The layer above. Every method here is the answer of a layer that wants nothing."""

    def broadcasts(self, overhead: int, budget: int, *, is_counted: bool) -> list[bytes]:
        """Return user messages (with their type byte) for a packet.

        Together, each plus `overhead`, at most `budget`. They count as sent if `is_counted`.
        """
        return []

    def has_broadcasts(self) -> bool:
        """Return whether `broadcasts` would have something to give."""
        return False

    def user_state(self, *, join: bool) -> bytes:
        """Return what to add to a push-pull."""
        return b""

    def prepare_merge(self, state: bytes, *, now: float) -> None:
        """Look at a peer's part before its nodes are merged.

        Who left should be known before who is gone.
        """

    def merge_user_state(self, state: bytes, *, operation: int | None, now: float) -> None:
        """Take what a peer added to its push-pull.

        `operation` is that of our own join which it answers, None for any other exchange.
        """

    def receive_user_message(self, payload: bytes, source: Address | None, *, now: float) -> None:
        """Take a user message, without memberlist's type byte."""

    def ack_payload(self) -> bytes | None:
        """Return what to put into an ack over UDP."""
        return None

    def ping_completed(self, node: Node, rtt: float, payload: bytes | None, *, now: float) -> None:
        """Hear of a direct probe that was answered after `rtt` seconds."""

    def refuses_node(self, record: NodeRecord) -> str | None:
        """Return why a node must not enter the table, None when it may."""
        return None

    def refuses_pool(self, records: Sequence[NodeRecord], *, join: bool) -> str | None:
        """Return why we must not be merged with the pool that these nodes are of.

        None when we may.
        """
        return None

    def node_joined(self, node: Node, *, now: float) -> None:
        """Hear of a node that is alive and was unknown, dead or left."""

    def node_updated(self, node: Node, *, now: float) -> None:
        """Hear of an alive node's new meta."""

    def node_gone(self, node: Node, *, now: float) -> None:
        """Hear of a node that is dead or left."""

    def node_forgotten(self, node: Node) -> None:
        """Hear of a node that was dropped from the table."""

    def observe(
        self, kind: EvidenceKind, name: str, *, by: str, incarnation: int, detail: str, now: float
    ) -> None:
        """Hear why the belief about a node changes, for the history of it."""

    def name_conflict(self, node: Node, claim: NodeRecord, *, now: float) -> None:
        """Hear of a second node that claims the name of `node`, which may be our own."""
