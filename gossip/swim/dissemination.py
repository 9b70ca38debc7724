"""Spreading news: gossip ticks, and news that rides on other packets.

Go runs its gossip tick for ever. Here the ticks lie on the same grid (a random phase, then every
`gossip_interval`), but one is only scheduled while there is something to say and somebody to say
it to: a pool at rest sends nothing and does not wake up. Sources: SWIM, section 4.1; memberlist
state.go (gossip), broadcast.go (getBroadcasts), net.go (sendMsg).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from ..addresses import Address
from ..wire.messages import MessageType
from .broadcasts import BroadcastQueue, is_told_to_all, transmit_limit
from .delegate import SwimDelegate
from .nodes import Node, NodeState, NodeTable
from .outbox import Outbox
from .settings import SwimSettings
from .timers import Timer, TimerHeap
from .versions import PROTOCOL_CRC

COMPOUND_HEADER_SIZE = 2
"""Type byte and count of a compound."""
COMPOUND_PART_OVERHEAD = 2
"""The 16-bit length of each part."""
USER_MESSAGE_OVERHEAD = 1
"""The type byte in front of each message of the layer above."""

_USER_TYPE = bytes((MessageType.USER,))


class Dissemination:
    """The queue of memberlist's own news, and the packing of packets."""

    def __init__(
        self,
        settings: SwimSettings,
        table: NodeTable,
        timers: TimerHeap,
        outbox: Outbox,
        delegate: SwimDelegate,
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._table = table
        self._timers = timers
        self._outbox = outbox
        self._delegate = delegate
        self._rng = rng
        self._phase: float | None = None
        self._timer: Timer | None = None
        self.queue = BroadcastQueue()
        self.ticks = 0

    def start(self, now: float) -> None:
        """Choose the phase of the ticks; until then nothing is gossiped."""
        self._phase = now + self._rng.random() * self._settings.gossip_interval
        self.wake(now)

    def stop(self) -> None:
        """Gossip no more."""
        self._phase = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def broadcast(
        self,
        data: bytes,
        *,
        name: str | None,
        now: float,
        finished: Callable[[], None] | None = None,
    ) -> None:
        """Queue a memberlist message about the node `name`, in place of an older one about it.

        One that no packet can hold is dropped with a remark.
        """
        if len(data) > self.message_size_max + USER_MESSAGE_OVERHEAD:
            self._outbox.remark("too_large_to_gossip", "warning", size_bytes=len(data))
            if finished is not None:
                finished()
            return
        self.queue.queue(data, name=name, finished=finished)
        self.wake(now)

    @property
    def message_size_max(self) -> int:
        """Bytes of the largest message that a gossip packet can hold.

        One beyond would wait in a queue for ever.
        """
        return (
            self._settings.packet_budget
            - COMPOUND_HEADER_SIZE
            - self._outbox.codec.overhead
            - COMPOUND_PART_OVERHEAD
            - USER_MESSAGE_OVERHEAD
        )

    def wake(self, now: float) -> None:
        """See to it that a tick is coming, if there is news and anybody to tell it to.

        Call it when there may be some, or somebody new to tell.
        """
        if self._timer is not None or self._phase is None or len(self._table) <= 1:
            return
        if not self._has_news():
            return
        # The next point of the grid, a little past `now` so that rounding cannot name the same
        # point twice.
        interval = self._settings.gossip_interval
        steps = math.floor((now - self._phase) / interval + 1e-6) + 1
        self._timer = self._timers.schedule(self._phase + steps * interval, self._tick)

    def send(self, destination: Address, message: bytes) -> None:
        """Send a message with as much news as fits behind it (memberlist's piggybacking).

        In a small pool that comes on top of the gossip. There each message has just as many
        transmissions as there are others to tell; were one spent on whoever happens to be probed
        or answered, somebody would be left out.
        """
        budget = (
            self._settings.packet_budget
            - len(message)
            - COMPOUND_HEADER_SIZE
            - COMPOUND_PART_OVERHEAD  # of the message itself, which Go forgets here
            - self._outbox.codec.overhead
        )
        settings = self._settings
        is_counted = not is_told_to_all(len(self._table), settings.gossip_nodes)
        news = self.take(budget, is_counted=is_counted)
        self._outbox.send(destination, [message, *news])

    def take(self, budget: int, *, is_counted: bool = True) -> list[bytes]:
        """Choose news for `budget` bytes: our own first, then the layer above's.

        What is chosen counts as sent, unless this comes on top.
        """
        messages: list[bytes] = []
        if len(self.queue):
            settings = self._settings
            limit = transmit_limit(
                settings.retransmit_mult, len(self._table), settings.gossip_nodes
            )
            messages = self.queue.take(budget, COMPOUND_PART_OVERHEAD, limit, is_counted=is_counted)
            budget -= sum(map(len, messages)) + COMPOUND_PART_OVERHEAD * len(messages)
        overhead = COMPOUND_PART_OVERHEAD + USER_MESSAGE_OVERHEAD
        if budget > overhead and self._delegate.has_broadcasts():
            news = self._delegate.broadcasts(overhead, budget, is_counted=is_counted)
            messages += [_USER_TYPE + message for message in news]
        return messages

    def _has_news(self) -> bool:
        return len(self.queue) > 0 or self._delegate.has_broadcasts()

    def _tick(self, now: float) -> None:
        self._timer = None
        self.ticks += 1
        targets = self._table.next_to_tell(
            self._settings.gossip_nodes, lambda node: self._is_told(node, now)
        )
        if not targets:
            return  # whoever comes or comes back wakes us
        budget = self._settings.packet_budget - COMPOUND_HEADER_SIZE - self._outbox.codec.overhead
        for node in targets:
            news = self.take(budget)
            if not news:
                return
            self._outbox.send(node.destination, news, crc=node.protocol_max >= PROTOCOL_CRC)
        self.wake(now)

    def _is_told(self, node: Node, now: float) -> bool:
        """Whether gossip goes to a node.

        The dead get it for a while so that they may refute, the left never.
        """
        if node.name == self._settings.node_name or node.state is NodeState.LEFT:
            return False
        if node.state is NodeState.DEAD:
            return now - node.changed <= self._settings.gossip_to_the_dead_time
        return True
