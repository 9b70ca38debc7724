"""Coalesced events on the clock: told when their wait is over, at once when the pool ends."""

from __future__ import annotations

import pytest
import trio
from rookery.gossip import CoalescedStream, CoalesceSettings, MemberEvents, notices
from rookery.gossip.serf.members import MemberStatus, make_member
from rookery.gossip.subscriptions import EVENT_BUFFER_NOTICES_MAX, EventStream, Lost

pytestmark = pytest.mark.usefixtures("autojump_clock")

A, B = (make_member(name, bytes(4), 1, {}, MemberStatus.ALIVE, b"") for name in "ab")
SETTINGS = CoalesceSettings(period=3.0, quiescence=1.0)


async def test_burst_is_told_once_it_is_over() -> None:
    """One second after its last event, while the reader waits."""
    source = EventStream(())
    stream = CoalescedStream(source, SETTINGS)

    async def burst() -> None:
        for member in (A, B):
            await trio.sleep(0.5)
            source.offer(notices.MemberJoined(member))

    async with trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(burst)
        assert await anext(stream) == MemberEvents(notices.MemberJoined, (A, B))
        assert trio.current_time() - start == 2.0


async def test_other_notices_do_not_wait_for_a_burst() -> None:
    """They overtake what is held back."""
    source = EventStream(())
    source.offer(notices.MemberJoined(A))
    source.offer(notices.LeaveFinished())
    stream = CoalescedStream(source, SETTINGS)
    start = trio.current_time()
    assert await anext(stream) == notices.LeaveFinished()
    assert trio.current_time() == start


async def test_end_of_the_pool_ends_the_wait() -> None:
    """What is held back is told at once, and then nothing more."""
    source = EventStream(())
    with CoalescedStream(source, SETTINGS) as stream:
        source.offer(notices.MemberFailed(A))
    start = trio.current_time()
    assert [one async for one in stream] == [MemberEvents(notices.MemberFailed, (A,))]
    assert trio.current_time() == start


async def test_gaps_are_told() -> None:
    """A subscriber that did not keep up hears so here as well."""
    source = EventStream(())
    for _ in range(EVENT_BUFFER_NOTICES_MAX + 1):
        source.offer(notices.MemberJoined(A))
    source.close()
    stream = CoalescedStream(source, SETTINGS)
    assert [one async for one in stream] == [Lost(1), MemberEvents(notices.MemberJoined, (A,))]
