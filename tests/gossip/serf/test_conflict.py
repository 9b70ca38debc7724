"""The vote about our own name."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from rookery.gossip.notices import NameConflictLost
from rookery.gossip.serf.engine import SerfEngine
from rookery.gossip.serf.messages import (
    ConflictMember,
    ConflictResponse,
    Query,
    QueryResponse,
    encode_serf_message,
)

from ..benches import OWN, PORT, SerfBench, alive, at, ip

TIMEOUT = 3.2


def contested(*names: str) -> tuple[SerfBench, Query]:
    """Return a bench whose name is claimed from peer 9, and the vote it holds."""
    bench = SerfBench(*names)
    bench.answering |= set(names)
    bench.receive(alive(OWN, 9, 5))
    (query,) = [news for news in bench.news() if isinstance(news, Query)]
    return bench, query


def vote(bench: SerfBench, query: Query, sender: str, number: int | None, port: int = PORT) -> None:
    member = None
    if number is not None:
        member = ConflictMember(OWN, ip(number), port, {}, 1, 1, 5, 2, 2, 5, 5)
    payload = encode_serf_message(ConflictResponse(member))
    bench.hear(QueryResponse(query.ltime, query.id, sender, 0, payload), at(2))


@pytest.mark.parametrize(
    ("votes", "is_lost"),
    [
        ([1], False),
        ([9], True),
        ([1, 1, 9], False),
        ([1, 9, 9], True),
        # A majority of the answers, not half of them.
        ([1, 9], True),
        ([None, 1, 1], False),
        ([None, None, 1], True),
        # Nobody's silence is a majority against us: here we differ from Go.
        ([], False),
    ],
)
def test_majority_decides_at_the_deadline(votes: list[int | None], is_lost: bool) -> None:
    """Matching answers must be at least answers // 2 + 1; the owner hears of a defeat."""
    bench, query = contested("b", "c", "d")
    for sender, number in zip("bcd", votes, strict=False):
        vote(bench, query, sender, number)
    bench.run_until(TIMEOUT - 0.01)
    assert bench.take_notice(NameConflictLost) == []
    bench.run_until(TIMEOUT)
    lost = bench.take_notice(NameConflictLost)
    expected = [NameConflictLost(OWN, votes.count(1), len(votes))] if is_lost else []
    assert lost == expected
    assert bench.statuses[OWN] == "alive", "what to do about it is the owner's decision"


def test_address_and_port_must_both_be_ours() -> None:
    """Another port is another node."""
    bench, query = contested("b")
    vote(bench, query, "b", 1, port=7000)
    bench.run_until(TIMEOUT)
    assert len(bench.take_notice(NameConflictLost)) == 1


@pytest.mark.parametrize("payload", [b"", b"\x06\xc1", b"\x4d"])
def test_unreadable_votes_do_not_count(payload: bytes) -> None:
    """Neither for nor against."""
    bench, query = contested("b")
    bench.hear(QueryResponse(query.ltime, query.id, "b", 0, payload), at(2))
    bench.run_until(TIMEOUT)
    assert bench.take_notice(NameConflictLost) == []


def test_one_vote_is_held_at_a_time() -> None:
    """Claims repeat; after the deadline a new claim is a new vote."""
    bench, _ = contested("b")
    for _ in range(5):
        bench.receive(alive(OWN, 9, 6))
    assert [news for news in bench.news() if isinstance(news, Query)] == []
    bench.run_until(TIMEOUT)
    bench.receive(alive(OWN, 9, 7))
    assert len([news for news in bench.news() if isinstance(news, Query)]) == 1


def test_conflict_about_others_is_not_put_to_a_vote() -> None:
    """That is theirs to do."""
    bench = SerfBench("b")
    bench.receive(alive("b", 9, 5))
    assert bench.news() == []


def test_vote_can_be_switched_off_and_is_not_held_while_leaving() -> None:
    """Nomad has it off; who leaves gives the name up anyway."""
    bench = SerfBench("b")
    settings = replace(bench.engine.settings, resolves_conflicts=False)
    rng = random.Random(1)
    bench.engine = SerfEngine(settings, rng=rng, nonce=rng.randbytes)
    bench.engine.start(now=0.0)
    bench.know("b")
    bench.forget_output()
    bench.receive(alive(OWN, 9, 5))
    assert bench.news() == []
    leaving = SerfBench("b")
    leaving.engine.leave(now=0.0)
    leaving.receive(alive(OWN, 9, 5))
    assert [news for news in leaving.news() if isinstance(news, Query)] == []
