"""Stand-ins for what the agent talks to."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from rookery.gossip.pool import JoinError, JoinResult, PoolClosed, PoolStatistics
from rookery.gossip.serf.engine import SerfStatistics
from rookery.gossip.serf.members import Member
from rookery.gossip.stream_tasks import StreamStatistics
from rookery.gossip.swim.engine import SwimStatistics
from rookery.gossip.transport import TransportStatistics

from .members import make_member


def make_statistics() -> PoolStatistics:
    """Return statistics in which every number is another one."""
    numbers = iter(range(100, 200))

    def fill(kind: type, **known: object) -> object:
        names = [name for name in kind.__dataclass_fields__ if name not in known]  # type: ignore[attr-defined]
        return kind(**known, **{name: next(numbers) for name in names})

    rejected = {"bad_crc": 7, "undecryptable": 8}
    swim = fill(SwimStatistics, rejected=rejected)
    statistics = fill(
        PoolStatistics,
        engine=fill(SerfStatistics, encrypted=True, swim=swim),
        transport=fill(TransportStatistics, send_errors={"ENETUNREACH": 3}, receive_errors={}),
        streams=fill(StreamStatistics),
        rejected=MappingProxyType(rejected),
    )
    assert isinstance(statistics, PoolStatistics)
    return statistics


class FakePool:
    """A pool that is whatever the test says."""

    def __init__(self) -> None:
        self.table: list[Member] = [make_member("me.global")]
        self.is_closed = False
        self.joined: list[tuple[str, ...]] = []
        self.result = JoinResult(1, ())

    def members(self) -> list[Member]:
        return list(self.table)

    def local_member(self) -> Member:
        return self.table[0]

    def statistics(self) -> PoolStatistics:
        return make_statistics()

    async def join(self, addresses: Sequence[str]) -> JoinResult:
        if self.is_closed:
            raise PoolClosed("Serf can't Join after Leave or Shutdown")
        self.joined.append(tuple(addresses))
        return self.result


__all__ = ["FakePool", "JoinError", "JoinResult", "make_statistics"]
