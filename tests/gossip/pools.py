"""Running pools on a network in memory, and how tests wait for what they list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from rookery.gossip import Pool, PoolSettings
from rookery.gossip.serf.recording import SnapshotSink

from .fake_network import FakeNetwork

FAIL_SECONDS_MAX = 60.0
"""Virtual seconds in which a small pool has surely noticed a dead member (LAN profile)."""


class Pools:
    """Pools of one test on one network, each at an address of its own, seeded by its number."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.network = FakeNetwork()
        self.nursery = nursery
        self._count = 0

    def settings(self, name: str, **over: Any) -> PoolSettings:
        """Return settings for the next pool."""
        self._count += 1
        defaults = {
            "node_name": name,
            "bind": f"127.0.0.{self._count}",
            "seed": self._count,
            "tags": {"name": name},
        }
        return PoolSettings(**{**defaults, **over})

    def make(self, name: str, *, snapshot: SnapshotSink | None = None, **over: Any) -> Pool:
        """Return a pool that does not run yet."""
        settings = self.settings(name, **over)
        return Pool(settings, open_transport=self.network.open, snapshot=snapshot)

    async def start(self, name: str, **over: Any) -> Pool:
        """Return a running pool."""
        pool = self.make(name, **over)
        await self.nursery.start(pool.run)
        return pool

    async def start_joined(self, *names: str, **over: Any) -> list[Pool]:
        """Return running pools that list each other."""
        pools = [await self.start(name, **over) for name in names]
        for pool in pools[1:]:
            await pool.join([str(pools[0].address)])
        await until(lambda: all(len(pool.members()) == len(pools) for pool in pools))
        return pools


def statuses(pool: Pool) -> dict[str, str]:
    """Return what a pool lists: name to status."""
    return {member.name: str(member.status) for member in pool.members()}


async def until(claim: Callable[[], bool], seconds: float = FAIL_SECONDS_MAX) -> None:
    """Wait in virtual time until a claim holds."""
    with trio.fail_after(seconds):
        # The claims are about engines, which tell nobody; virtual time makes looking again free.
        while not claim():  # noqa: ASYNC110
            await trio.sleep(0.1)
