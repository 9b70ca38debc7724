"""Serf's three queues of gossip: intents, queries, user events.

Each is a transmit-limited queue like memberlist's own; a packet's room goes to intents first, then
queries, then events. Serf messages never replace each other. Source: serf delegate.go
(GetBroadcasts), serf.go (broadcast queues and MaxQueueDepth).
"""

from __future__ import annotations

from collections.abc import Callable

from ..swim.broadcasts import BroadcastQueue, transmit_limit
from ..swim.dissemination import Dissemination
from ..swim.outbox import Outbox


class SerfBroadcasts:
    """The three queues, gossiped by SWIM's dissemination."""

    def __init__(
        self,
        retransmit_mult: int,
        gossip_nodes: int,
        members: Callable[[], int],
        dissemination: Dissemination,
        outbox: Outbox,
    ) -> None:
        self._retransmit_mult = retransmit_mult
        self._gossip_nodes = gossip_nodes
        self._members = members
        self._dissemination = dissemination
        self._outbox = outbox
        self.intents = BroadcastQueue()
        self.queries = BroadcastQueue()
        self.events = BroadcastQueue()

    def __len__(self) -> int:
        return len(self.intents) + len(self.queries) + len(self.events)

    def queue(
        self,
        queue: BroadcastQueue,
        message: bytes,
        *,
        now: float,
        finished: Callable[[], None] | None = None,
    ) -> None:
        """Put a Serf message into one of the queues.

        One that no packet can hold is dropped with a remark.

        Go keeps such a message in its queue and never sends it.
        """
        if len(message) > self._dissemination.message_size_max:
            self._outbox.remark("too_large_to_gossip", "warning", size_bytes=len(message))
            if finished is not None:
                finished()
            return
        queue.queue(message, finished=finished)
        self._dissemination.wake(now)

    def take(self, overhead: int, budget: int, *, is_counted: bool = True) -> list[bytes]:
        """Return messages that together, each plus `overhead`, fit `budget`.

        They count as sent if `is_counted`.
        """
        limit = transmit_limit(self._retransmit_mult, self._members(), self._gossip_nodes)
        chosen: list[bytes] = []
        for queue in (self.intents, self.queries, self.events):
            if len(queue):
                taken = queue.take(budget, overhead, limit, is_counted=is_counted)
                budget -= sum(map(len, taken)) + overhead * len(taken)
                chosen += taken
        return chosen
