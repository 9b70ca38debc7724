"""The queue of messages to gossip: each is sent a limited number of times, the least sent first.

How it works: messages stand in tiers by the number of times they were sent. A packet takes from
the lowest tier the largest message that still fits (newest first among equals), again and again,
then from the next tier. What was taken moves one tier up, and out of the queue at the limit. The
limit grows with the logarithm of the pool, which is what makes an epidemic reach everyone with
high probability.

Each tier is a list sorted by (-size, -sequence), so that "largest that still fits" is one
bisection.

Sources: SWIM, section 4.1 (infection-style dissemination); memberlist: queue.go
(TransmitLimitedQueue), util.go (retransmitLimit).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable

BROADCASTS_MAX = 4096
"""Messages one queue holds. Serf prunes its queues to this depth (MaxQueueDepth); beyond it a pool
is so far behind that the oldest news is worthless, and a flooding peer must not own our memory."""


def transmit_limit(retransmit_mult: int, nodes: int, gossip_nodes: int = 0) -> int:
    """Return how often a message is sent: `retransmit_mult * ceil(log10(nodes + 1))`, as in Go.

    In a pool so small that two gossip ticks reach everybody, often enough for that: one
    transmission to each other node, at most `2 * gossip_nodes`. Go's four of a pool of six leave
    one out now and then.
    """
    others_in_two_ticks = min(nodes - 1, 2 * gossip_nodes)
    return max(retransmit_mult * math.ceil(math.log10(nodes + 1)), others_in_two_ticks)


def is_told_to_all(nodes: int, gossip_nodes: int) -> bool:
    """Return whether `transmit_limit` is meant to reach every other node of a pool of that size."""
    return nodes - 1 <= 2 * gossip_nodes


class Broadcast:
    """One queued message. `name` is the node it is about.

    A newer one about the same node replaces it.
    """

    __slots__ = ("data", "finished", "key", "name", "transmits")

    def __init__(
        self, data: bytes, name: str | None, sequence: int, finished: Callable[[], None] | None
    ) -> None:
        self.data = data
        self.name = name
        self.key = (-len(data), -sequence)
        """Where it stands in its tier: the largest first, then the newest."""
        self.transmits = 0
        self.finished = finished


_Entry = tuple[int, int, Broadcast]


class BroadcastQueue:
    """Messages waiting to be gossiped, at most `size_max`; the most sent give way first."""

    __slots__ = ("_by_name", "_count", "_sequence", "_size_max", "_tiers", "dropped")

    def __init__(self, size_max: int = BROADCASTS_MAX) -> None:
        self._tiers: list[list[_Entry]] = [[]]
        self._by_name: dict[str, Broadcast] = {}
        self._sequence = 0
        self._count = 0
        self._size_max = size_max
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    def queue(
        self, data: bytes, *, name: str | None = None, finished: Callable[[], None] | None = None
    ) -> None:
        """Put a message in.

        Args:
            data: The whole message with its type byte.
            name: The node it is about; a queued message about the same node is replaced by it.
            finished: Called once, when the message was sent its number of times, or was replaced
            or dropped.
        """
        if name is not None and (old := self._by_name.get(name)) is not None:
            self._remove(old)
        self._sequence += 1
        broadcast = Broadcast(data, name, self._sequence, finished)
        self._insert(broadcast)
        if name is not None:
            self._by_name[name] = broadcast
        while self._count > self._size_max:
            self._drop_most_sent()

    def is_queued(self, name: str) -> bool:
        """Return whether a message about that node still waits to be sent its number of times."""
        return name in self._by_name

    def take(
        self, budget: int, overhead: int, limit: int, *, is_counted: bool = True
    ) -> list[bytes]:
        """Choose the messages for one packet and count them as sent once.

        Args:
            budget: Bytes there are.
            overhead: Bytes that each message costs beyond its own.
            limit: Transmissions after which a message is done (`transmit_limit`).
            is_counted: False for a packet that comes on top of these transmissions.

        Returns:
            The messages, in the order of choice; together at most `budget` with their overheads.
        """
        if not self._count:
            return []
        chosen: list[Broadcast] = []
        remaining = budget
        for tier in self._tiers:
            position = 0
            while tier:
                fitting = remaining - overhead
                if fitting <= 0:
                    break
                position = bisect_left(tier, (-fitting,), position)
                if position >= len(tier):
                    break
                broadcast = tier.pop(position)[2]
                chosen.append(broadcast)
                remaining -= len(broadcast.data) + overhead
        self._count -= len(chosen)
        for broadcast in chosen:
            broadcast.transmits += is_counted
            if broadcast.transmits >= limit:
                self._forget(broadcast)
            else:
                self._insert(broadcast)
        return [broadcast.data for broadcast in chosen]

    def clear(self) -> None:
        """Drop everything; waiters are told."""
        entries = [entry[2] for tier in self._tiers for entry in tier]
        self._tiers = [[]]
        self._count = 0
        for broadcast in entries:
            self._forget(broadcast)

    def _insert(self, broadcast: Broadcast) -> None:
        while len(self._tiers) <= broadcast.transmits:
            self._tiers.append([])
        insort(self._tiers[broadcast.transmits], (*broadcast.key, broadcast))
        self._count += 1

    def _remove(self, broadcast: Broadcast) -> None:
        tier = self._tiers[broadcast.transmits]
        del tier[bisect_left(tier, broadcast.key)]
        self._count -= 1
        self._forget(broadcast)

    def _drop_most_sent(self) -> None:
        """Drop one of the most sent.

        Of those the smallest, and of equals the oldest, as Go's Prune does.
        """
        tier = next(tier for tier in reversed(self._tiers) if tier)
        self.dropped += 1
        self._remove(tier[-1][2])

    def _forget(self, broadcast: Broadcast) -> None:
        if broadcast.name is not None and self._by_name.get(broadcast.name) is broadcast:
            del self._by_name[broadcast.name]
        if broadcast.finished is not None:
            finished, broadcast.finished = broadcast.finished, None
            finished()
