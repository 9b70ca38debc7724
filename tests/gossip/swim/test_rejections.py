"""Refusals are all counted, and told without flooding."""

from __future__ import annotations

from collections import deque

from rookery.gossip.notices import InputRejected, Notice
from rookery.gossip.swim.rejections import DETAIL_SIZE_MAX, NOTICE_INTERVAL, Rejections

from ..benches import SwimBench, at


def test_first_of_a_reason_is_told_at_once() -> None:
    """Each reason has its own first notice."""
    notices: deque[Notice] = deque()
    rejections = Rejections(notices)
    rejections.record("one", at(2), "detail", now=5.0)
    rejections.record("two", None, "", now=5.0)
    assert list(notices) == [
        InputRejected("one", at(2), "detail", 1),
        InputRejected("two", None, "", 1),
    ]


def test_later_ones_are_summed_up_once_an_interval() -> None:
    """The summary says how many were refused since the last notice."""
    notices: deque[Notice] = deque()
    rejections = Rejections(notices)
    for number in range(1000):
        rejections.record("one", None, "", now=number / 1000)
    assert len(notices) == 1
    rejections.record("one", None, "last", now=NOTICE_INTERVAL)
    assert list(notices)[1:] == [InputRejected("one", None, "last", 1000)]
    assert rejections.counts == {"one": 1001}


def test_detail_is_cut() -> None:
    """What a peer sent may have 64 KiB."""
    notices: deque[Notice] = deque()
    Rejections(notices).record("one", None, "x" * 65536, now=0.0)
    (notice,) = notices
    assert isinstance(notice, InputRejected)
    assert len(notice.detail) == DETAIL_SIZE_MAX + 1


def test_flood_of_garbage_is_counted_and_makes_a_handful_of_notices() -> None:
    """Ten thousand bad packets within a second: every one counted, a few lines told."""
    bench = SwimBench("b")
    for number in range(10_000):
        bench.receive(bytes((number % 256, 0xC1)) + number.to_bytes(3, "big"))
    assert sum(bench.rejected.values()) >= 10_000 * 0.9
    assert len(bench.take_notices()) == len(bench.rejected) < 10
