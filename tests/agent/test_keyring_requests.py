"""Key operations: what is sent round, and the texts of failures."""

from __future__ import annotations

from typing import Any

import pytest
from rookery.agent.keyring_requests import KeyringRequestError, change_keys
from rookery.gossip.serf.asking import QueryRefused
from rookery.gossip.serf.key_outcome import KeyOutcome
from rookery.gossip.serf.members import Member, MemberStatus

from .members import make_member

KEY = "cg8StVXbQJ0gPvMd9o7yrg=="


class Pool:
    """Three members, one of them failed."""

    def __init__(self, outcome: KeyOutcome | Exception | None = None) -> None:
        self.outcome = outcome or KeyOutcome(2, 2, 0)
        self.asked: list[tuple[str, bytes]] = []

    def members(self) -> list[Member]:
        return [make_member("a"), make_member("b"), make_member("c", status=MemberStatus.FAILED)]

    async def change_keys(self, operation: str, key: bytes = b"") -> KeyOutcome:
        self.asked.append((operation, key))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("operation", ["install", "use", "remove"])
async def test_key_is_sent_round_as_its_bytes(operation: str) -> None:
    """And what the members said comes back."""
    pool = Pool()
    assert await change_keys(pool, operation, KEY) is pool.outcome
    ((asked, key),) = pool.asked
    assert (asked, len(key)) == (operation, 16)


async def test_list_needs_no_key() -> None:
    """Whatever was given is not looked at."""
    pool = Pool()
    await change_keys(pool, "list", "!")
    assert pool.asked == [("list", b"")]


@pytest.mark.parametrize("operation", ["install", "use", "remove"])
async def test_text_that_is_no_base64_is_told_in_gos_words(operation: str) -> None:
    """Nobody is asked."""
    pool = Pool()
    with pytest.raises(KeyringRequestError, match=r"^illegal base64 data at input byte 4$"):
        await change_keys(pool, operation, "AAAA!")
    assert pool.asked == []


async def test_key_of_a_wrong_size_fails_as_if_all_had_refused_it() -> None:
    """Which they would have; failed members are not among those asked."""
    pool = Pool()
    with pytest.raises(KeyringRequestError, match=r"^2/2 nodes reported failure$"):
        await change_keys(pool, "install", "AAAA")
    assert pool.asked == []


async def test_removing_what_nobody_can_have_is_left_to_the_members() -> None:
    """Removing an absent key succeeds, of whatever size."""
    pool = Pool()
    await change_keys(pool, "remove", "AAAA")
    assert pool.asked == [("remove", bytes(3))]


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (KeyOutcome(3, 3, 1), "1/3 nodes reported failure"),
        (KeyOutcome(3, 2, 0), "2/3 nodes reported success"),
        (QueryRefused("256 queries are open already"), "256 queries are open already"),
    ],
)
async def test_failure_is_told_in_one_text(outcome: Any, text: str) -> None:
    """Of the members or of our own."""
    with pytest.raises(KeyringRequestError) as caught:
        await change_keys(Pool(outcome), "use", KEY)
    assert str(caught.value) == text
