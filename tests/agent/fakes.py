"""Stand-ins for what the agent talks to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rookery.gossip.notices import QueryAcked, QueryAnswered, QueryFinished
from rookery.gossip.pool import JoinError, JoinResult, PoolClosed, PoolStatistics
from rookery.gossip.query_stream import QueryStream
from rookery.gossip.serf.asking import Question
from rookery.gossip.serf.coordinates import Coordinate
from rookery.gossip.serf.engine import SerfStatistics
from rookery.gossip.serf.key_outcome import KeyOutcome
from rookery.gossip.serf.members import Member
from rookery.gossip.stream_tasks import StreamStatistics
from rookery.gossip.swim.engine import SwimStatistics
from rookery.gossip.timed_evidence import TimedEvidence
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
    """A pool that is whatever the test says, and writes down what it was asked."""

    def __init__(self) -> None:
        self.table: list[Member] = [make_member("me.global")]
        self.is_closed = False
        self.joined: list[tuple[str, ...]] = []
        self.result = JoinResult(1, ())
        self.asked: list[Any] = []
        self.answers: list[QueryAcked | QueryAnswered | QueryFinished] = []
        """What comes back on a query, at once."""
        self.ended: list[int] = []
        """Queries that were ended by who asked them."""
        self.evidence: dict[str, list[TimedEvidence]] = {}
        self.coordinates: dict[str, Coordinate] = {}

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

    async def force_leave(self, name: str, *, prune: bool = False) -> None:
        self._take("force_leave", name, prune)

    async def change_keys(self, operation: str, key: bytes = b"") -> KeyOutcome:
        self._take("change_keys", operation, key)
        return KeyOutcome(1, 1, 0)

    def user_event(self, name: str, payload: bytes, *, coalesce: bool = True) -> int:
        self._take("user_event", name, payload, coalesce)
        return 7

    def query(self, question: Question) -> QueryStream:
        self._take("query", question)
        stream = QueryStream(7, 9, lambda stream: self.ended.append(stream.id))
        for answer in self.answers:
            stream.offer(answer)
        return stream

    def respond(self, ltime: int, query_id: int, payload: bytes) -> None:
        self._take("respond", ltime, query_id, payload)

    def evidence_of(self, name: str) -> list[TimedEvidence]:
        return self.evidence.get(name, [])

    def coordinate_of(self, name: str) -> Coordinate | None:
        return self.coordinates.get(name)

    def estimated_rtt(self, one: str, other: str) -> float | None:
        return 0.25 if {one, other} <= set(self.coordinates) else None

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._take("set_tags", dict(tags))

    def _take(self, *asked: Any) -> None:
        if self.is_closed:
            raise PoolClosed("the pool is not running")
        self.asked.append(asked)


__all__ = ["FakePool", "JoinError", "JoinResult", "make_statistics"]
