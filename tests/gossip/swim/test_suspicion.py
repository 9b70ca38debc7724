"""Tables for the formulas of a suspicion, and the record that counts confirmations."""

from __future__ import annotations

import pytest
from rookery.gossip.swim.suspicion import (
    Suspicion,
    confirmations_wanted,
    suspicion_timeout,
    suspicion_timeout_min,
)


@pytest.mark.parametrize(
    ("mult", "nodes", "k"),
    [
        (4, 1, 0),
        (4, 2, 0),
        (4, 3, 0),
        (4, 4, 2),
        (4, 5, 2),
        (4, 1000, 2),
        (3, 2, 0),
        (3, 3, 1),
        (6, 5, 0),
        (6, 6, 4),
        (2, 2, 0),
        (2, 100, 0),
    ],
)
def test_pool_too_small_to_confirm_wants_no_confirmations(mult: int, nodes: int, k: int) -> None:
    """K is `suspicion_mult - 2`, and 0 as soon as there are fewer than k others."""
    assert confirmations_wanted(mult, nodes) == k


@pytest.mark.parametrize(
    ("mult", "nodes", "interval", "seconds"),
    [
        (4, 0, 1.0, 4.0),
        (4, 1, 1.0, 4.0),
        (4, 4, 1.0, 4.0),
        (4, 10, 1.0, 4.0),
        (4, 11, 1.0, 4 * 1.041),
        (4, 50, 1.0, 4 * 1.698),
        (4, 100, 1.0, 8.0),
        (4, 10_000, 1.0, 16.0),
        (6, 4, 5.0, 30.0),
        (6, 100, 5.0, 60.0),
        (3, 4, 1.0, 3.0),
    ],
)
def test_shortest_suspicion_grows_with_logarithm_of_pool(
    mult: int, nodes: int, interval: float, seconds: float
) -> None:
    """The minimum is mult * max(1, log10(n)) * interval, the factor cut to a thousandth."""
    assert suspicion_timeout_min(mult, nodes, interval) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("confirmations", "seconds"),
    [(0, 24.0), (1, 11.381), (2, 4.0)],
)
def test_lan_pool_of_four_waits_24_then_11_38_then_4_seconds(
    confirmations: int, seconds: float
) -> None:
    """The times that were measured at real agents: 24.00, 11.38 (11.39 seen), 4.00 (4.01 seen)."""
    assert suspicion_timeout(confirmations, 2, 4.0, 24.0) == seconds


@pytest.mark.parametrize(
    ("confirmations", "k", "timeout_min", "timeout_max", "seconds"),
    [
        # Without anybody to confirm there is nothing to wait for.
        (0, 0, 4.0, 24.0, 4.0),
        (0, -1, 4.0, 24.0, 4.0),
        (5, 0, 4.0, 24.0, 4.0),
        (0, 1, 3.0, 18.0, 18.0),
        (1, 1, 3.0, 18.0, 3.0),
        # memberlist's own table (suspicion_test.go): k = 3, 2 s to 30 s.
        (0, 3, 2.0, 30.0, 30.0),
        (1, 3, 2.0, 30.0, 16.0),
        (2, 3, 2.0, 30.0, 7.81),
        (3, 3, 2.0, 30.0, 2.0),
        (4, 3, 2.0, 30.0, 2.0),
        (9, 3, 2.0, 30.0, 2.0),
    ],
)
def test_confirmations_shorten_suspicion_on_a_logarithm(
    confirmations: int, k: int, timeout_min: float, timeout_max: float, seconds: float
) -> None:
    """The total is max - (max - min) * log(c + 1) / log(k + 1), whole ms, at least min."""
    assert suspicion_timeout(confirmations, k, timeout_min, timeout_max) == seconds


def suspicion(k: int = 2) -> Suspicion:
    return Suspicion(started=100.0, k=k, timeout_min=4.0, timeout_max=24.0, accuser="first")


def test_first_accuser_does_not_confirm_itself() -> None:
    """The accuser that started a suspicion is no confirmation of it."""
    record = suspicion()
    assert not record.confirm("first")
    assert record.deadline == 124.0


def test_each_other_accuser_counts_once() -> None:
    """A repeated confirmation is no news and does not shorten anything."""
    record = suspicion()
    assert record.confirm("second")
    assert record.deadline == 111.381
    assert not record.confirm("second")
    assert record.deadline == 111.381


def test_accusers_beyond_k_are_no_news() -> None:
    """With k confirmations the suspicion is at its minimum and takes, and keeps, no more."""
    record = suspicion()
    assert record.confirm("second")
    assert record.confirm("third")
    assert record.deadline == 104.0
    assert not record.confirm("fourth")
    assert record.confirmers == ["second", "third"]


def test_suspicion_without_confirmations_wanted_takes_none() -> None:
    """In a pool too small to confirm the suspicion runs for its minimum from the start."""
    record = suspicion(k=0)
    assert record.deadline == 104.0
    assert not record.confirm("second")
    assert record.deadline == 104.0
