"""Exchanging whole tables over TCP: the repair of what gossip missed, and the way into a pool.

Periodically with one random alive node, and with each address of a join. The period stretches with
the size of the pool so that the sum of all exchanges stays bearable. Both sides send everything
they know, the dead and the left included; the answer is sent before the peer's part is merged. A
node that a peer calls dead is only suspected here, which gives it the chance to refute.

Sources: memberlist state.go (pushPull, mergeState, sendAndReceiveState), util.go (pushPullScale),
net.go (readRemoteState, mergeRemoteState).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from ..addresses import Address
from ..wire.messages import Alive, Dead, PushPull, Suspect
from ..wire.messages import NodeState as NodeRecord
from .delegate import SwimDelegate
from .membership import Membership
from .nodes import Node, NodeState, NodeTable
from .outbox import Outbox
from .settings import SwimSettings
from .timers import Timer, TimerHeap
from .versions import incompatibility

SCALE_THRESHOLD = 32
"""Up to this many nodes the period is not stretched."""


def push_pull_period(interval: float, nodes: int) -> float:
    """Return the time between exchanges, for a table of `nodes` entries.

    `interval` up to 32 nodes, then `interval * (ceil(log2(nodes) - log2(32)) + 1)`.
    """
    if nodes <= SCALE_THRESHOLD:
        return interval
    return interval * (math.ceil(math.log2(nodes) - math.log2(SCALE_THRESHOLD)) + 1)


class PushPullSchedule:
    """Starts the periodic exchanges, while there is anybody to exchange with."""

    def __init__(
        self,
        settings: SwimSettings,
        table: NodeTable,
        timers: TimerHeap,
        rng: random.Random,
        exchange: Callable[[Node, float], None],
    ) -> None:
        self._settings = settings
        self._table = table
        self._timers = timers
        self._rng = rng
        self._exchange = exchange
        self._is_running = False
        self._timer: Timer | None = None
        self._settling: Timer | None = None
        self._known_size = 1

    def start(self, now: float) -> None:
        """Allow exchanges.

        The first comes a random delay and one period after somebody is there.
        """
        self._is_running = True
        self.wake(now)

    def stop(self) -> None:
        """Exchange no more on our own account; peers are still answered."""
        self._is_running = False
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self, now: float) -> None:
        """See to it that an exchange is coming: call it when the table has another size."""
        size = len(self._table)
        has_grown = size > self._known_size
        self._known_size = size
        if not self._is_running or size <= 1:
            return
        if self._timer is None:
            stagger = self._rng.random() * self._settings.push_pull_interval
            self._schedule(now + stagger)
        delay = push_pull_period(self._settings.settling_delay, size)
        if has_grown and self._settling is None and delay > 0:
            deadline = now + delay * (1.0 + self._rng.random())
            self._settling = self._timers.schedule(deadline, self._settle)

    def _settle(self, now: float) -> None:
        """Exchange once with somebody, soon after the pool has grown.

        News is sent a limited number of times to those whom the sender knows, and whoever joins in
        that moment may miss it; with Go it then takes until the next period, minutes in a large
        pool. The delay is stretched like the period, so that a storm of joins costs no more.
        """
        self._settling = None
        self._exchange_with_somebody(now)

    def _schedule(self, start: float) -> None:
        period = push_pull_period(self._settings.push_pull_interval, len(self._table))
        self._timer = self._timers.schedule(start + period, self._tick)

    def _tick(self, now: float) -> None:
        self._timer = None
        if len(self._table) <= 1:
            return  # wake() starts again
        self._exchange_with_somebody(now)
        self._schedule(now)

    def _exchange_with_somebody(self, now: float) -> None:
        own_name = self._settings.node_name
        for node in self._table.random_nodes(
            1, lambda node: node.state is NodeState.ALIVE and node.name != own_name
        ):
            self._exchange(node, now)


class PushPullMerge:
    """Builds our side of an exchange and takes in the other."""

    def __init__(
        self,
        settings: SwimSettings,
        table: NodeTable,
        outbox: Outbox,
        membership: Membership,
        delegate: SwimDelegate,
    ) -> None:
        self._settings = settings
        self._table = table
        self._outbox = outbox
        self._membership = membership
        self._delegate = delegate

    def local_state(self, *, join: bool) -> PushPull:
        """Return everything we know."""
        records = tuple(_record_of(node) for node in self._table)
        return PushPull(records, self._delegate.user_state(join=join), join)

    def refusal(self, remote: PushPull) -> tuple[str, str] | None:
        """Return reason and text why a peer's table must not be merged, None when it may."""
        ours = ((node.name, node.versions, node.state is NodeState.ALIVE) for node in self._table)
        theirs = (
            (record.name, record.versions, record.state == NodeState.ALIVE)
            for record in remote.nodes
        )
        if problem := incompatibility([*theirs, *ours]):
            return "incompatible_versions", problem
        if problem := self._delegate.refuses_pool(remote.nodes, join=remote.join):
            return "pool_refused", problem
        return None

    def merge(
        self, remote: PushPull, source: Address, *, operation: int | None = None, now: float
    ) -> None:
        """Take in a peer's table and the layer above's part; `refusal` was asked before.

        `operation` is that of the join which this answers, None for any other exchange.
        """
        if remote.user_state:
            self._delegate.prepare_merge(remote.user_state, now=now)
        for record in remote.nodes:
            self._merge_record(record, source, now)
        if remote.user_state:
            self._delegate.merge_user_state(remote.user_state, operation=operation, now=now)

    def _merge_record(self, record: NodeRecord, source: Address, now: float) -> None:
        membership = self._membership
        if record.state == NodeState.ALIVE:
            alive = Alive(
                record.incarnation,
                record.name,
                record.address,
                record.port,
                record.meta,
                record.versions,
            )
            membership.handle_alive(alive, source, now=now)
        elif record.state == NodeState.LEFT:
            membership.handle_dead(
                Dead(record.incarnation, record.name, record.name), source, now=now
            )
        elif record.state in (NodeState.DEAD, NodeState.SUSPECT):
            accusation = Suspect(record.incarnation, record.name, self._settings.node_name)
            membership.handle_suspect(accusation, source, now=now)
        else:
            self._outbox.rejections.record(
                "unknown_node_state", source, f"{record.name!r}: state {record.state}", now=now
            )


def _record_of(node: Node) -> NodeRecord:
    return NodeRecord(
        node.name,
        node.address,
        node.port,
        node.meta,
        node.incarnation,
        int(node.state),
        node.versions,
    )
