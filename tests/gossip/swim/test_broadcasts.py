"""The transmit-limited queue: order of choice, replacing, limits, waiters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.gossip.swim.broadcasts import (
    BROADCASTS_MAX,
    BroadcastQueue,
    is_told_to_all,
    transmit_limit,
)


@pytest.mark.parametrize(
    ("mult", "nodes", "limit"),
    [
        (4, 1, 4),
        (4, 9, 4),
        (4, 10, 8),
        (4, 99, 8),
        (4, 100, 12),
        (4, 999, 12),
        (4, 1000, 16),
        (2, 4, 2),
        (3, 99, 6),
    ],
)
def test_transmit_limit_grows_with_logarithm_of_pool(mult: int, nodes: int, limit: int) -> None:
    """RetransmitMult * ceil(log10(n + 1))."""
    assert transmit_limit(mult, nodes) == limit


@pytest.mark.parametrize(
    ("nodes", "limit"), [(1, 4), (2, 4), (5, 4), (6, 5), (7, 6), (8, 6), (9, 6), (10, 8), (100, 12)]
)
def test_small_pool_transmits_to_each_other_node(nodes: int, limit: int) -> None:
    """As far as two ticks of three nodes reach; larger pools do as Go does."""
    assert transmit_limit(4, nodes, 3) == limit


@pytest.mark.parametrize(("nodes", "is_small"), [(2, True), (7, True), (8, False)])
def test_pool_is_small_while_two_ticks_reach_all(nodes: int, is_small: bool) -> None:
    """Each of two ticks tells three others."""
    assert is_told_to_all(nodes, 3) is is_small


def test_packet_on_top_leaves_the_count_as_it_is() -> None:
    """The message is sent its number of times besides."""
    queue = BroadcastQueue()
    queue.queue(b"news")
    for _ in range(5):
        assert queue.take(100, 2, 2, is_counted=False) == [b"news"]
    assert [take(queue, limit=2) for _ in range(3)] == [[b"news"], [b"news"], []]


def take(
    queue: BroadcastQueue, budget: int = 1000, overhead: int = 2, limit: int = 99
) -> list[bytes]:
    return queue.take(budget, overhead, limit)


def test_least_sent_messages_go_first() -> None:
    """A new message is chosen before one that was sent already."""
    queue = BroadcastQueue()
    queue.queue(b"old")
    assert take(queue) == [b"old"]
    queue.queue(b"new")
    assert take(queue, budget=5) == [b"new"]
    assert take(queue, budget=5) in ([b"old"], [b"new"])


def test_largest_that_fits_goes_first_and_newest_among_equals() -> None:
    """Within equal counts by size, then by age."""
    queue = BroadcastQueue()
    for data in (b"aa", b"1111", b"bb", b"2222", b"c"):
        queue.queue(data)
    assert take(queue) == [b"2222", b"1111", b"bb", b"aa", b"c"]


def test_what_does_not_fit_is_passed_over() -> None:
    """A large message does not block smaller ones; it stays for a packet with room."""
    queue = BroadcastQueue()
    queue.queue(b"x" * 50)
    queue.queue(b"small")
    assert take(queue, budget=20) == [b"small"]
    assert take(queue, budget=60) == [b"x" * 50, b"small"]


def test_budget_counts_the_overhead_of_each_message() -> None:
    """A message of n bytes needs n + overhead; one byte less and it waits."""
    queue = BroadcastQueue()
    queue.queue(b"12345")
    assert take(queue, budget=6, overhead=2) == []
    assert take(queue, budget=7, overhead=2) == [b"12345"]
    queue.queue(b"67890")
    assert len(take(queue, budget=13, overhead=2)) == 1
    assert len(take(queue, budget=14, overhead=2)) == 2


def test_message_is_once_in_a_packet() -> None:
    """A large budget does not make a message repeat within one packet."""
    queue = BroadcastQueue()
    queue.queue(b"a")
    assert take(queue, budget=10_000) == [b"a"]


def test_message_is_gone_after_its_number_of_transmissions() -> None:
    """At the limit it leaves the queue; the limit is looked at when it is sent."""
    queue = BroadcastQueue()
    queue.queue(b"a")
    sent = [take(queue, limit=3) for _ in range(5)]
    assert sent == [[b"a"], [b"a"], [b"a"], [], []]
    assert len(queue) == 0


def test_limit_that_shrank_drops_at_the_next_transmission() -> None:
    """Messages sent more often than a new, smaller limit are sent once more and dropped."""
    queue = BroadcastQueue()
    queue.queue(b"a")
    for _ in range(6):
        take(queue, limit=8)
    assert take(queue, limit=4) == [b"a"]
    assert len(queue) == 0


def test_newer_message_about_a_node_replaces_the_older() -> None:
    """Only the latest word about a node is told, with a fresh count."""
    queue = BroadcastQueue()
    queue.queue(b"suspect n1", name="n1")
    queue.queue(b"about n2", name="n2")
    take(queue)
    queue.queue(b"alive n1", name="n1")
    assert len(queue) == 2
    assert take(queue, budget=10) == [b"alive n1"]
    assert sorted(take(queue)) == [b"about n2", b"alive n1"]


def test_messages_without_name_never_replace_each_other() -> None:
    """Serf's messages are all kept, equal ones too."""
    queue = BroadcastQueue()
    queue.queue(b"event")
    queue.queue(b"event")
    assert take(queue) == [b"event", b"event"]


def test_waiter_is_told_once_when_all_is_sent() -> None:
    """`finished` comes with the last transmission, not before."""
    queue = BroadcastQueue()
    told: list[str] = []
    queue.queue(b"a", finished=lambda: told.append("a"))
    take(queue, limit=2)
    assert told == []
    take(queue, limit=2)
    assert told == ["a"]
    take(queue, limit=2)
    assert told == ["a"]


def test_waiter_is_told_when_its_message_is_replaced_or_cleared() -> None:
    """Nobody waits for ever for a message that will not be sent any more."""
    queue = BroadcastQueue()
    told: list[str] = []
    queue.queue(b"a", name="n", finished=lambda: told.append("a"))
    queue.queue(b"b", name="n", finished=lambda: told.append("b"))
    assert told == ["a"]
    queue.clear()
    assert told == ["a", "b"]
    assert len(queue) == 0
    assert take(queue) == []


def test_replacing_after_the_old_one_was_sent_out_keeps_the_new() -> None:
    """A message that is done does not take its successor's name with it."""
    queue = BroadcastQueue()
    queue.queue(b"one", name="n")
    take(queue, limit=1)
    queue.queue(b"two", name="n")
    queue.queue(b"three", name="n")
    assert take(queue, limit=1) == [b"three"]


def test_queue_holds_its_limit_and_the_most_sent_gives_way_beyond() -> None:
    """At BROADCASTS_MAX nothing is lost; one more drops one of those sent most, and counts it."""
    queue = BroadcastQueue()
    told: list[int] = []
    queue.queue(b"sent", finished=lambda: told.append(1))
    take(queue)
    for number in range(BROADCASTS_MAX - 1):
        queue.queue(b"%d" % number)
    assert len(queue) == BROADCASTS_MAX
    assert queue.dropped == 0
    queue.queue(b"one more")
    assert len(queue) == BROADCASTS_MAX
    assert queue.dropped == 1
    assert told == [1], "whoever waits for a dropped message is told"
    assert b"one more" in take(queue, budget=12)


def test_among_equally_sent_the_smallest_and_oldest_gives_way() -> None:
    """Dropping takes the small and old first, as Go's Prune does."""
    queue = BroadcastQueue(size_max=3)
    for data in (b"big one", b"old", b"new", b"big two"):
        queue.queue(data)
    assert sorted(take(queue)) == [b"big one", b"big two", b"new"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("queue"), st.integers(0, 40), st.sampled_from([None, "a", "b", "c"])),
            st.tuples(st.just("take"), st.integers(0, 200), st.integers(1, 4)),
        ),
        max_size=60,
    )
)
def test_any_use_keeps_to_budget_limit_and_count(steps: list[tuple[str, int, object]]) -> None:
    """Whatever is queued and taken: packets fit, counts agree, nothing is sent over its limit."""
    queue = BroadcastQueue(size_max=8)
    sent: dict[bytes, int] = {}
    for number, (step, size, extra) in enumerate(steps):
        if step == "queue":
            data = b"%04d" % number + b"." * size
            queue.queue(data, name=extra)  # type: ignore[arg-type]
            sent[data] = 0
        else:
            chosen = queue.take(size, 2, extra)  # type: ignore[arg-type]
            assert sum(len(data) + 2 for data in chosen) <= size
            assert len(set(chosen)) == len(chosen)
            for data in chosen:
                sent[data] += 1
                assert sent[data] <= 4
        assert len(queue) <= 8
    remaining = len(queue)
    assert len(queue.take(10**6, 2, 1)) == remaining
    assert len(queue) == 0
