"""The latest events, and readers at any place in them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from rookery.agent.event_ring import EVENTS_KEPT_MAX, EventFeed, EventRing

pytestmark = pytest.mark.usefixtures("autojump_clock")


def filled(count: int) -> EventRing:
    """Return a ring that has seen this many events."""
    ring = EventRing()
    for number in range(1, count + 1):
        ring.add({"Type": "user-event", "Name": f"e{number}"})
    return ring


def indexes(documents: list[dict[str, Any]]) -> list[int]:
    return [document["Index"] for document in documents]


async def read(feed: EventFeed, count: int) -> list[dict[str, Any]]:
    return [await anext(feed) for _ in range(count)]


@pytest.mark.parametrize(("since", "expected"), [(0, [1, 2, 3]), (2, [3]), (3, []), (None, [])])
async def test_reader_gets_what_came_after_its_number(
    since: int | None, expected: list[int]
) -> None:
    """Without a number it gets only what is still to come."""
    ring = filled(3)
    feed = ring.feed(since)
    assert indexes(feed.ready()) == expected
    assert feed.ready() == []
    ring.add({"Type": "user-event", "Name": "e4"})
    assert feed.ready() == [{"Index": 4, "Type": "user-event", "Name": "e4"}]


async def test_reader_follows_until_the_end() -> None:
    """It waits for events, and ends with the ring once it has read all."""
    ring = filled(1)

    async def go_on() -> None:
        await trio.sleep(1)
        ring.add({"Type": "user-event", "Name": "e2"})
        ring.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        assert indexes([document async for document in ring.feed(0)]) == [1, 2]


async def test_ring_keeps_the_latest() -> None:
    """As many as the limit says; who is further behind hears how many are missing."""
    at_limit = filled(EVENTS_KEPT_MAX).feed(0).ready()
    assert indexes(at_limit) == list(range(1, 1025))
    beyond = filled(EVENTS_KEPT_MAX + 3)
    lost, *kept = beyond.feed(1).ready()
    assert lost == {"Index": 3, "Type": "lost", "Count": 2}
    assert indexes(kept) == list(range(4, EVENTS_KEPT_MAX + 4))
    assert beyond.feed(3).ready() == kept


async def test_slow_reader_hears_what_it_has_missed() -> None:
    """While it reads one event the ring goes round."""
    ring = filled(1)
    feed = ring.feed(0)
    assert indexes(await read(feed, 1)) == [1]
    for _ in range(EVENTS_KEPT_MAX + 5):
        ring.add({"Type": "user-event", "Name": "e"})
    documents = await read(feed, 2)
    assert documents[0] == {"Index": 6, "Type": "lost", "Count": 5}
    assert documents[1]["Index"] == 7


async def test_events_lost_before_the_ring_are_told_to_all() -> None:
    """They have numbers like all others, so no reader's place shifts."""
    ring = filled(2)
    ring.skip(10)
    ring.add({"Type": "user-event", "Name": "e13"})
    assert ring.newest == 13
    documents = ring.feed(1).ready()
    assert indexes(documents) == [2, 12, 13]
    assert documents[1] == {"Index": 12, "Type": "lost", "Count": 10}
    assert ring.feed(12).ready() == documents[2:]


async def test_gap_at_the_start_of_the_ring_is_counted_once() -> None:
    """A record of lost events that is itself the oldest kept one begins where they began."""
    ring = EventRing()
    ring.skip(5)
    assert ring.feed(0).ready() == [{"Index": 5, "Type": "lost", "Count": 5}]


@pytest.mark.parametrize("count", [0, 3])
async def test_number_of_an_earlier_life_gets_all_there_is(count: int) -> None:
    """And first that something is missing; how much nobody knows."""
    lost, *rest = filled(count).feed(99).ready()
    assert lost == {"Index": 0, "Type": "lost", "Count": 0}
    assert indexes(rest) == list(range(1, count + 1))
