"""The stream of answers to one query: order, end, limit, and giving up."""

from __future__ import annotations

import pytest
import trio
from rookery.gossip.notices import QueryAcked, QueryAnswered, QueryFinished
from rookery.gossip.query_stream import (
    ANSWERS_BUFFERED_BYTES_MAX,
    ANSWERS_BUFFERED_MAX,
    QueryStream,
)

FINISHED = QueryFinished(3, 9, 1, 1)


class Stream:
    """A stream, and how often it asked for its query to be ended."""

    def __init__(self) -> None:
        self.ended = 0
        self.stream = QueryStream(3, 9, self._end)

    def _end(self, stream: QueryStream) -> None:
        assert stream is self.stream
        self.ended += 1


async def test_answers_come_in_order_up_to_the_deadline() -> None:
    """What was buffered before the end can still be read, and the counts are there."""
    made = Stream()
    answers = [QueryAcked(3, 9, "a"), QueryAnswered(3, 9, "a", b"x")]
    for notice in (*answers, FINISHED):
        made.stream.offer(notice)
    assert [notice async for notice in made.stream] == answers
    assert made.stream.finished is FINISHED
    made.stream.close()
    assert made.ended == 0


async def test_reader_that_waits_is_woken(autojump_clock: trio.abc.Clock) -> None:
    """By an answer, and by the end."""
    made = Stream()

    async def answer() -> None:
        await trio.sleep(1)
        made.stream.offer(QueryAcked(3, 9, "a"))
        await trio.sleep(1)
        made.stream.offer(FINISHED)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        times = [trio.current_time() async for _ in made.stream]
        assert [trio.current_time() - time for time in times] == [1]


async def test_leaving_the_block_ends_the_query_once() -> None:
    """What comes afterwards is not kept."""
    made = Stream()
    with made.stream as stream:
        stream.offer(QueryAcked(3, 9, "a"))
    stream.close()
    stream.offer(QueryAcked(3, 9, "b"))
    assert made.ended == 1
    assert [notice.sender async for notice in stream] == ["a"]
    assert stream.finished is None


@pytest.mark.parametrize(("beyond", "lost"), [(0, 0), (2, 2)])
async def test_slow_reader_loses_what_is_beyond_the_limit(beyond: int, lost: int) -> None:
    """The end is told all the same, with the counts of all that came."""
    made = Stream()
    for number in range(ANSWERS_BUFFERED_MAX + beyond):
        made.stream.offer(QueryAcked(3, 9, str(number)))
    made.stream.offer(FINISHED)
    assert len([notice async for notice in made.stream]) == ANSWERS_BUFFERED_MAX == 4096
    assert made.stream.lost == lost
    assert made.stream.finished is FINISHED


async def test_large_answers_have_a_limit_in_bytes() -> None:
    """What was read makes room for more."""
    made = Stream()
    answer = QueryAnswered(3, 9, "a", bytes(64 * 1024))
    for _ in range(ANSWERS_BUFFERED_BYTES_MAX // len(answer.payload)):
        made.stream.offer(answer)
    assert made.stream.lost == 0
    made.stream.offer(answer)
    assert made.stream.lost == 1
    assert await anext(made.stream) is answer
    made.stream.offer(answer)
    assert made.stream.lost == 1
