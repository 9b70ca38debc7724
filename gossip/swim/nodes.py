"""The node table: what this node believes of every other, and the order in which they are probed.

Names identify nodes. The probe list is shuffled at each wrap-around and new nodes enter at a
random place (SWIM, section 4.3: round-robin probing bounds the worst detection time).
`len(table)`, the estimated size that time-outs and transmit limits scale with, counts every entry,
ourselves and the dead included. Sources: memberlist state.go (nodeState, resetNodes), util.go
(kRandomNodes, shuffleNodes, moveDeadNodes).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from enum import IntEnum

from ..addresses import Address, address_of


class NodeState(IntEnum):
    """What memberlist believes of a node; the numbers are those of a push-pull."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Node:
    """One entry. `changed` is when `state` last changed, in engine seconds."""

    __slots__ = ("address", "changed", "incarnation", "meta", "name", "port", "state", "versions")

    def __init__(
        self,
        name: str,
        address: bytes,
        port: int,
        meta: bytes,
        versions: bytes,
        *,
        incarnation: int,
        state: NodeState,
        changed: float,
    ) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.meta = meta
        self.versions = versions
        self.incarnation = incarnation
        self.state = state
        self.changed = changed

    @property
    def destination(self) -> Address:
        """Where packets to it go."""
        return address_of(self.address, self.port)

    @property
    def protocol_max(self) -> int:
        """The highest memberlist protocol version it speaks."""
        return self.versions[1]

    @property
    def is_gone(self) -> bool:
        """Whether it is dead or left."""
        return self.state is NodeState.DEAD or self.state is NodeState.LEFT


class NodeTable:
    """Nodes by name, in a list that is probed round-robin."""

    __slots__ = ("_nodes", "_order", "_position", "_rng", "_to_tell", "_told")

    def __init__(self, rng: random.Random) -> None:
        self._nodes: dict[str, Node] = {}
        self._order: list[Node] = []
        self._position = 0
        self._rng = rng
        self._to_tell: list[Node] = []
        self._told: list[Node] = []

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def get(self, name: str) -> Node | None:
        """Return the entry of that name, None when there is none."""
        return self._nodes.get(name)

    def add(self, node: Node) -> None:
        """Enter a new node, at a random place of the probe list."""
        self._nodes[node.name] = node
        order = self._order
        order.append(node)
        place = self._rng.randrange(len(order))
        order[place], order[-1] = order[-1], order[place]

    def random_nodes(self, count: int, is_wanted: Callable[[Node], bool]) -> list[Node]:
        """Choose up to `count` distinct nodes that are wanted, in a random order.

        Small tables are searched exhaustively (memberlist does since 0.6.0: a few random tries
        often miss the only candidate of a tiny pool); in large ones three tries per entry wanted a
        match with near certainty.
        """
        order = self._order
        if len(order) <= 4 * count + 8:
            candidates = [node for node in order if is_wanted(node)]
            return self._rng.sample(candidates, min(count, len(candidates)))
        chosen: list[Node] = []
        size = len(order)
        draw = self._rng.random
        for _ in range(3 * size):
            if len(chosen) >= count:
                break
            node = order[int(draw() * size)]
            if node not in chosen and is_wanted(node):
                chosen.append(node)
        return chosen

    def next_to_tell(self, count: int, is_wanted: Callable[[Node], bool]) -> list[Node]:
        """Choose up to `count` distinct nodes that are wanted, everybody once before anybody twice.

        Go draws anew at each tick; in a pool of six it then happens (about once in a hundred) that
        somebody is never drawn while a message lives, and misses it until the next push-pull. A
        shuffled round has the same spread and leaves nobody out. Those told last come last in the
        next round, so that two calls on both sides of its start do not name the same nodes.
        """
        chosen: list[Node] = []
        is_refilled = False
        while len(chosen) < count:
            if not self._to_tell:
                if is_refilled:
                    break
                is_refilled = True
                self._to_tell = [node for node in self._order if node not in chosen]
                self._rng.shuffle(self._to_tell)
                self._to_tell.sort(key=lambda node: node not in self._told)
                continue
            node = self._to_tell.pop()
            if self._nodes.get(node.name) is node and node not in chosen and is_wanted(node):
                chosen.append(node)
        self._told = chosen
        return chosen

    def next_to_probe(
        self, is_wanted: Callable[[Node], bool], on_wrap: Callable[[], None]
    ) -> Node | None:
        """Return the next node of the round, None when nobody is wanted.

        Looks at the rest of the list and, after a wrap-around, at the whole of it once. Go stops
        after as many looks as there are entries, the wrap-around counted: a pool of two loses a
        third of its ticks to that.

        Args:
            is_wanted: Which nodes are probed at all.
            on_wrap: Called when the list is at its end, before it is shuffled: the time to
            `forget`.
        """
        has_wrapped = False
        while True:
            if self._position >= len(self._order):
                if has_wrapped:
                    return None
                on_wrap()
                self._rng.shuffle(self._order)
                self._position = 0
                has_wrapped = True
                continue
            node = self._order[self._position]
            self._position += 1
            if is_wanted(node):
                return node

    def forget(self, is_over: Callable[[Node], bool]) -> list[Node]:
        """Drop the entries that are over, and return them."""
        dropped = [node for node in self._order if is_over(node)]
        for node in dropped:
            del self._nodes[node.name]
        if dropped:
            self._order = [node for node in self._order if node.name in self._nodes]
        return dropped
