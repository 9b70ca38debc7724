"""What the agent does on its pool's notices, with real pools on loopback."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
from rookery.agent.event_ring import EventRing
from rookery.agent.pool_watch import PoolWatch
from rookery.agent.query_responses import QueryResponses
from rookery.gossip import Keyring, Pool, PoolSettings, Question, notices
from rookery.gossip.notices import QueryAnswered
from rookery.gossip.subscriptions import EVENT_BUFFER_NOTICES_MAX

KEYS = [bytes(16), bytes(range(16))]


class Watched:
    """A pool of one, watched."""

    def __init__(self, directory: Path | None = None, **texts: str) -> None:
        self.keyring = Keyring([KEYS[0]])
        settings = PoolSettings(
            node_name="me", bind="127.0.0.1", port=0, profile="local", keyring=self.keyring
        )
        self.pool = Pool(settings)
        self.events = EventRing()
        self.gave_up = 0
        self.watch = PoolWatch(
            self.pool,
            events=self.events,
            responses=QueryResponses({}, texts),
            keyring=self.keyring,
            server_directory=directory,
            give_up=self._give_up,
        )

    def _give_up(self) -> None:
        self.gave_up += 1

    async def answers(self, name: str) -> list[bytes]:
        """Ask, and return what comes back in the time in which our own answer does."""
        with trio.move_on_after(0.2), self.pool.query(Question(name=name)) as stream:
            async for notice in stream:
                assert isinstance(notice, QueryAnswered)
                return [notice.payload]
        return []


@asynccontextmanager
async def watched(directory: Path | None = None, **texts: str) -> AsyncIterator[Watched]:
    """Run one until the end of the block."""
    one = Watched(directory, **texts)
    async with trio.open_nursery() as nursery:
        await nursery.start(one.watch.run)
        await nursery.start(one.pool.run)
        yield one
        nursery.cancel_scope.cancel()


def types(documents: list[dict[str, Any]]) -> list[str]:
    return [document["Type"] for document in documents]


async def test_events_are_kept_from_the_start() -> None:
    """Our own joining is the first; queries are among them, Serf's own are not."""
    async with watched() as one:
        feed = one.events.feed(0)
        one.pool.user_event("deploy", b"v2")
        one.pool.query(Question(name="who"))
        one.pool.query(Question(name="_serf_ping"))
        one.pool.set_tags({"rack": "7"})
        documents = [await anext(feed) for _ in range(4)]
        assert types(documents) == ["member-join", "user-event", "query", "member-update"]
        assert documents[1]["Payload"] == "djI="
        assert documents[3]["Member"]["Tags"] == {"rack": "7"}
    assert [document async for document in feed] == []


async def test_flood_of_events_leaves_a_gap_that_is_told() -> None:
    """The ring's numbers count also what was lost on the way to it."""
    async with watched() as one:
        feed = one.events.feed(None)
        for _ in range(EVENT_BUFFER_NOTICES_MAX + 100):
            one.watch._of_operators.offer(notices.UserEventReceived(1, "e", b"", True))
        await trio.testing.wait_all_tasks_blocked()
        documents = feed.ready()
        assert documents[-1]["Type"] == "lost"
        assert documents[-1]["Count"] >= 100


async def test_queries_are_answered_by_their_texts() -> None:
    """Others are left to readers of the events."""
    async with watched(uptime="3 days") as one:
        assert await one.answers("uptime") == [b"3 days"]
        assert await one.answers("load") == []


async def test_answer_that_does_not_fit_is_told_in_the_log() -> None:
    """It ends nothing; the next query is answered."""
    with structlog.testing.capture_logs() as logs:
        async with watched(long="x" * 65536, short="x") as one:
            assert await one.answers("long") == []
            assert await one.answers("short") == [b"x"]
    (line,) = [line for line in logs if line["event"] == "query_not_answered"]
    assert "the limit is 65536" in line["error"]


async def test_changed_keys_are_written(tmp_path: Path) -> None:
    """After each change, the primary first, for this user only."""
    path = tmp_path / "serf.keyring"
    async with watched(tmp_path) as one:
        assert not path.exists()
        await one.pool.change_keys("install", KEYS[1])
        await one.pool.change_keys("use", KEYS[1])
    assert json.loads(path.read_text()) == [
        base64.b64encode(key).decode() for key in reversed(KEYS)
    ]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_change_just_before_the_end_is_written(tmp_path: Path) -> None:
    """Also when the task that writes had no turn any more."""
    async with watched(tmp_path) as one:
        one.keyring.install(KEYS[1])
    assert len(json.loads((tmp_path / "serf.keyring").read_text())) == 2


async def test_keys_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    """The agent goes on with them."""
    directory = tmp_path / "a file"
    directory.write_text("")
    with structlog.testing.capture_logs() as logs:
        async with watched(directory) as one:
            await one.pool.change_keys("install", KEYS[1])
    assert "keyring_not_written" in [line["event"] for line in logs]
    assert one.keyring.keys == tuple(KEYS)


async def test_unchanged_keys_are_not_written(tmp_path: Path) -> None:
    """Nor anything in dev mode, where there is no directory."""
    async with watched(tmp_path) as one:
        await one.pool.change_keys("list")
    async with watched(None) as one:
        await one.pool.change_keys("install", KEYS[1])
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 -- as above


@pytest.mark.parametrize("times", [1, 2])
async def test_lost_name_is_told_and_given_up(times: int) -> None:
    """In a line that says what to do."""
    with structlog.testing.capture_logs() as logs:
        async with watched() as one:
            for _ in range(times):
                one.watch._of_conflicts.offer(notices.NameConflictLost("me\n", 1, 3))
            await trio.testing.wait_all_tasks_blocked()
            assert one.gave_up == times
    lines = [line for line in logs if line["event"] == "name_conflict_lost"]
    assert len(lines) == times
    assert (lines[0]["votes_for_us"], lines[0]["votes"]) == (1, 3)


def test_abandoned_write_does_not_undo_a_later_one(tmp_path: Path) -> None:
    """Whichever thread is quicker, the file ends with the newest keys."""
    watch = Watched(tmp_path).watch
    watch._save_in_thread(tmp_path, (KEYS[1], KEYS[0]), 2)
    watch._save_in_thread(tmp_path, (KEYS[0],), 1)
    assert len(json.loads((tmp_path / "serf.keyring").read_text())) == 2
