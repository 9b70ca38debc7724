"""Operating the pool as the HTTP layer does: what is asked of the pool, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from rookery.agent.event_ring import EventRing
from rookery.agent.own_tags import OwnTags, TagRefused
from rookery.agent.service import AgentService, GossipUnavailable
from rookery.gossip.evidence import EvidenceKind
from rookery.gossip.notices import QueryAcked, QueryAnswered, QueryFinished
from rookery.gossip.serf.asking import Question
from rookery.gossip.serf.coordinates import Coordinate
from rookery.gossip.serf.members import MemberStatus
from rookery.gossip.timed_evidence import TimedEvidence

from .fakes import FakePool
from .members import make_member

KEY = "cg8StVXbQJ0gPvMd9o7yrg=="


def make_service(pool: FakePool, **changes: Any) -> AgentService:
    """Return the service of an agent in a pool."""
    values: dict[str, Any] = {
        "node_name": "me",
        "region": "global",
        "datacenter": "dc1",
        "has_server": True,
        "has_client": True,
        "response_headers": {},
        "config": {},
        "tags": OwnTags({"role": "nomad"}, {"rack": "7"}),
    }
    return AgentService(**{**values, "pool": pool, **changes})


async def collect(documents: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [document async for document in documents]


async def test_requests_reach_the_pool_as_they_are() -> None:
    """With what the pool says to them."""
    pool = FakePool()
    service = make_service(pool)
    await service.force_leave("x", prune=True)
    assert (await service.keyring("list")).nodes == 1
    service.respond(3, 4, b"x")
    assert service.fire_event("deploy", b"\xff", False) == {
        "LTime": 7,
        "Name": "deploy",
        "Payload": "/w==",
        "Coalesce": False,
    }
    assert pool.asked == [
        ("force_leave", "x", True),
        ("change_keys", "list", b""),
        ("respond", 3, 4, b"x"),
        ("user_event", "deploy", b"\xff", False),
    ]


async def test_pool_that_does_not_run_is_told_in_one_way() -> None:
    """Whatever was asked."""
    pool = FakePool()
    pool.is_closed = True
    service = make_service(pool)
    calls: list[Callable[[], Any]] = [
        lambda: service.fire_event("e", b"", True),
        lambda: service.query(Question(name="q")),
        lambda: service.reachability(),
        lambda: service.respond(1, 2, b""),
        lambda: service.set_tags({"a": "1"}, []),
    ]
    for call in calls:
        with pytest.raises(GossipUnavailable, match="not running"):
            call()
    with pytest.raises(GossipUnavailable):
        await service.force_leave("x", prune=False)
    with pytest.raises(GossipUnavailable):
        await service.keyring("install", KEY)
    assert "a" not in service.tags()


async def test_query_yields_what_comes_back_and_the_counts() -> None:
    """The query itself is asked at once, not when somebody reads."""
    pool = FakePool()
    pool.answers = [
        QueryAcked(7, 9, "a\udcff"),
        QueryAnswered(7, 9, "a\udcff", b"\xff"),
        QueryFinished(7, 9, 2, 1),
    ]
    question = Question(name="who")
    answers = make_service(pool).query(question)
    assert pool.asked == [("query", question)]
    assert await collect(answers) == [
        {"Type": "ack", "From": "a\ufffd"},
        {"Type": "response", "From": "a\ufffd", "Payload": "/w=="},
        {"Type": "done", "Acks": 2, "Responses": 1},
    ]
    assert pool.ended == []


async def test_leaving_a_query_ends_it() -> None:
    """As long as it is open it takes a place in the pool."""
    pool = FakePool()
    pool.answers = [QueryAcked(7, 9, "a")]
    async with aclosing(make_service(pool).query(Question(name="who"))) as answers:
        await anext(answers)
    assert pool.ended == [9]


@pytest.mark.parametrize(
    ("acked", "missing", "ended"), [(["a", "me.global"], [], [9]), (["a"], ["me.global"], [])]
)
async def test_reachability_ends_when_all_live_members_have_acked(
    acked: list[str], missing: list[str], ended: list[int]
) -> None:
    """Or at the deadline, with the names of those who have not; failed members do not count."""
    pool = FakePool()
    pool.table += [make_member("a"), make_member("gone", status=MemberStatus.FAILED)]
    pool.answers = [QueryAcked(7, 9, name) for name in ("stranger", *acked)]
    if missing:
        pool.answers.append(QueryFinished(7, 9, 2, 0))
    *acks, done = await collect(make_service(pool).reachability())
    assert [document["From"] for document in acks] == ["stranger", *acked]
    assert done == {"Type": "done", "Members": 2, "Acks": len(acked), "Missing": missing}
    assert pool.ended == ended
    assert pool.asked == [("query", Question(name="_serf_ping", wants_acks=True))]


async def test_events_are_those_of_the_ring() -> None:
    """From any number on."""
    ring = EventRing()
    service = make_service(FakePool(), events=ring)
    ring.add({"Type": "user-event"})
    assert [event["Index"] for event in service.events_since(0).ready()] == [1]
    assert service.events_since(None).ready() == []


def test_coordinates_are_listed_by_name_as_far_as_known() -> None:
    """And round trips estimated from them."""
    pool = FakePool()
    pool.table += [make_member("b"), make_member("a")]
    pool.coordinates = {"b": Coordinate(), "a": Coordinate()}
    service = make_service(pool)
    assert [document["Node"] for document in service.coordinates()] == ["a", "b"]
    assert service.rtt("a", "b") == {"From": "a", "To": "b", "RTT": 0.25}
    assert service.rtt("a", "me.global")["RTT"] is None


def test_evidence_is_about_members() -> None:
    """A stranger has none, which is an error of who asks."""
    pool = FakePool()
    pool.evidence = {
        "me.global": [
            TimedEvidence(datetime(2024, 1, 1, tzinfo=UTC), EvidenceKind.JOINED, "", None, None, "")
        ]
    }
    service = make_service(pool)
    (record,) = service.evidence("me.global")["Evidence"]
    assert record["Kind"] == "joined"
    with pytest.raises(LookupError, match="no member named 'x'"):
        service.evidence("x")


def test_tags_are_changed_everywhere_or_not_at_all() -> None:
    """What the pool shows is what the service says."""
    pool = FakePool()
    service = make_service(pool)
    assert service.set_tags({"row": "1"}, ["rack"]) == {"role": "nomad", "row": "1"}
    assert pool.asked == [("set_tags", {"role": "nomad", "row": "1"})]
    with pytest.raises(TagRefused):
        service.set_tags({"row": "2", "role": "x"}, [])
    assert service.tags() == {"role": "nomad", "row": "1"}
    assert service.reload_tags({"rack": "8", "shelf": "2"}) == {
        "role": "nomad",
        "row": "1",
        "shelf": "2",
    }


async def test_settings_shown_can_be_replaced() -> None:
    """After a reload they are those in force."""
    service = make_service(FakePool(), config={"LogLevel": "INFO"})
    service.show_config({"LogLevel": "ERROR"})
    assert service.self_document()["config"] == {"LogLevel": "ERROR"}
