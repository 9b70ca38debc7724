"""A subscriber's bounded view of the notices."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from rookery.gossip.notices import LeaveFinished, Notice, PingFinished, Remark
from rookery.gossip.subscriptions import EVENT_BUFFER_NOTICES_MAX, EventStream, Lost


def numbered(number: int) -> Notice:
    """Return a notice that can be told from others."""
    return PingFinished(number, None)


async def test_notices_come_in_order_and_end_with_the_pool() -> None:
    """What was offered before the close is still read; then the iteration ends."""
    stream = EventStream(())
    for number in range(3):
        assert stream.offer(numbered(number))
    stream.close()
    assert stream.offer(numbered(3))
    assert [notice async for notice in stream] == [numbered(number) for number in range(3)]


async def test_waiting_subscriber_is_woken() -> None:
    """A notice, and the end, wake whoever waits."""
    stream = EventStream(())
    seen: list[object] = []

    async def read() -> None:
        async for notice in stream:
            seen.append(notice)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        stream.offer(LeaveFinished())
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [LeaveFinished()]
        stream.close()


async def test_only_the_kinds_asked_for_are_kept() -> None:
    """Others take no room in the buffer."""
    stream = EventStream((Remark,))
    for number in range(EVENT_BUFFER_NOTICES_MAX + 1):
        assert stream.offer(numbered(number))
    assert stream.offer(Remark("word"))
    stream.close()
    assert [notice async for notice in stream] == [Remark("word")]


@pytest.mark.parametrize("dropped", [0, 1, 5])
async def test_slow_subscriber_is_told_how_much_it_lost(dropped: int) -> None:
    """The buffer holds exactly its limit; what is over it becomes one `Lost` in its place."""
    stream = EventStream(())
    accepted = [
        stream.offer(numbered(number)) for number in range(EVENT_BUFFER_NOTICES_MAX + dropped)
    ]
    assert accepted.count(False) == dropped
    assert await anext(stream) == numbered(0)
    assert stream.offer(Remark("after the gap"))
    stream.close()
    rest = [notice async for notice in stream]
    gap = [Lost(dropped)] if dropped else []
    assert rest == [
        *(numbered(number) for number in range(1, EVENT_BUFFER_NOTICES_MAX)),
        *gap,
        Remark("after the gap"),
    ]


async def test_loss_at_the_very_end_is_told() -> None:
    """Even when nothing came after the gap, its reader learns of it before the end."""
    stream = EventStream(())
    for number in range(EVENT_BUFFER_NOTICES_MAX + 2):
        stream.offer(numbered(number))
    stream.close()
    notices = [notice async for notice in stream]
    assert notices[-1] == Lost(2)
    assert len(notices) == EVENT_BUFFER_NOTICES_MAX + 1


async def test_block_ends_the_subscription() -> None:
    """Outside its `with` block a stream takes nothing more."""
    with EventStream(()) as stream:
        stream.offer(numbered(1))
    stream.offer(numbered(2))
    assert [notice async for notice in stream] == [numbered(1)]
