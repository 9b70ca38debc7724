"""Waiting for an operation of the engine: ended by its notice or by the pool, never missed."""

from __future__ import annotations

import trio
from rookery.gossip.notices import ForceLeaveFinished, LeaveFinished, PushPullFinished
from rookery.gossip.operations import Operations


async def test_notice_that_comes_at_once_is_not_missed() -> None:
    """The engine may end an operation in the call that starts it."""
    operations = Operations()
    finished = ForceLeaveFinished(7, None)
    with operations.expect(7) as operation:
        operations.take(finished)
        assert await operation.outcome(ForceLeaveFinished) is finished


async def test_each_waiter_gets_the_notice_of_its_number(
    autojump_clock: trio.abc.Clock,
) -> None:
    """Others' notices, and notices that end nothing, wake nobody."""
    operations = Operations()
    mine = PushPullFinished(2, None, ())
    with operations.expect(1) as other, operations.expect(2) as operation:
        operations.take(LeaveFinished())
        operations.take(mine)
        operations.take(PushPullFinished(2, "late", ()))
        operations.take(PushPullFinished(3, None, ()))
        assert await operation.outcome(PushPullFinished) is mine
        with trio.move_on_after(1) as limit:
            await other.outcome(PushPullFinished)
        assert limit.cancelled_caught


async def test_closing_lets_all_go() -> None:
    """Nobody waits for a pool that is gone."""
    operations = Operations()
    with operations.expect(1) as one, operations.expect(2) as two:
        operations.close()
        assert await one.outcome(PushPullFinished) is None
        assert await two.outcome(ForceLeaveFinished) is None
        assert operations._waiting
    assert not operations._waiting
