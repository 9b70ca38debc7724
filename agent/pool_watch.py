"""What the agent does when the pool tells it something: keep events, answer, keep keys, give up.

Each is a subscriber of its own, so that a flood of one kind of notice (queries, events) cannot
crowd out another (a changed keyring). The subscriptions are made before the pool runs, so that
nothing is missed, and end with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog
import trio

from ..gossip.notices import (
    KeyringChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    NameConflictLost,
    QueryReceived,
    UserEventReceived,
)
from ..gossip.pool import Pool, PoolClosed
from ..gossip.subscriptions import Lost
from ..gossip.timed_evidence import utc_now
from ..gossip.wire.keyring import Keyring
from .event_ring import EventRing
from .gossip_documents import event_document
from .keyring_file import save_keyring
from .query_responses import QueryResponses
from .quoting import readable
from .settings_sources import SettingsError

SAVE_SECONDS_MAX = 2.0
"""How long the end of the agent waits for the disk to take a change of the keys."""

OPERATORS_NOTICES = (
    MemberJoined,
    MemberUpdated,
    MemberLeft,
    MemberFailed,
    MemberReaped,
    UserEventReceived,
    QueryReceived,
)
"""What operators read as events."""


class PoolWatch:
    """The agent's subscriptions to its pool."""

    def __init__(
        self,
        pool: Pool,
        *,
        events: EventRing,
        responses: QueryResponses,
        keyring: Keyring | None,
        server_directory: Path | None,
        give_up: Callable[[], None],
    ) -> None:
        """Subscribe.

        Args:
            pool: The pool; it need not run yet.
            events: Keeps what operators may read.
            responses: What is answered to queries.
            keyring: The pool's keys; None: no encryption.
            server_directory: Where the keyring file is; None: nowhere.
            give_up: Called when our name is lost to another node.
        """
        self._pool = pool
        self._events = events
        self._responses = responses
        self._keyring = keyring
        self._saved_keys = () if keyring is None else keyring.keys
        self._saves = 0
        self._last_saved = 0
        self._save_lock = threading.Lock()
        self._server_directory = server_directory
        self._give_up = give_up
        self._log = structlog.get_logger("agent")
        self._of_operators = pool.events(*OPERATORS_NOTICES)
        self._of_queries = pool.events(QueryReceived)
        self._of_keys = pool.events(KeyringChanged)
        self._of_conflicts = pool.events(NameConflictLost)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do all of it until the pool ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_events)
            nursery.start_soon(self._answer_queries)
            nursery.start_soon(self._keep_keyring)
            nursery.start_soon(self._watch_name)
            task_status.started()

    async def _keep_events(self) -> None:
        try:
            async for notice in self._of_operators:
                if isinstance(notice, Lost):
                    self._events.skip(notice.count)
                elif isinstance(notice, OPERATORS_NOTICES):
                    self._events.add(event_document(notice, utc_now()))
        finally:
            self._events.close()

    async def _answer_queries(self) -> None:
        async for notice in self._of_queries:
            if not isinstance(notice, QueryReceived):
                continue  # too many came at once; who asked will ask again
            answer = self._responses.answer(notice.name)
            if answer is None:
                continue
            try:
                self._pool.respond(notice.ltime, notice.id, answer)
            except (LookupError, ValueError, PoolClosed) as error:
                self._log.warning(
                    "query_not_answered", query=readable(notice.name), error=str(error)
                )

    async def _keep_keyring(self) -> None:
        """Write the keyring file whenever a key query has changed the keys."""
        try:
            async for _ in self._of_keys:
                await self._save_keyring()
        finally:
            with trio.move_on_after(SAVE_SECONDS_MAX, shield=True):
                await self._save_keyring()

    async def _save_keyring(self) -> None:
        keyring, directory = self._keyring, self._server_directory
        if keyring is None or directory is None or keyring.keys == self._saved_keys:
            return
        keys = keyring.keys
        try:
            # In a thread: it waits for the disk.
            self._saves += 1
            await trio.to_thread.run_sync(
                self._save_in_thread, directory, keys, self._saves, abandon_on_cancel=True
            )
        except SettingsError as error:
            self._log.error(
                "keyring_not_written",
                error=str(error),
                note="after a restart this agent would use the keys from before",
            )
        else:
            self._saved_keys = keys
            self._log.info("keyring_written", keys=len(keys))

    def _save_in_thread(self, directory: Path, keys: tuple[bytes, ...], number: int) -> None:
        """Write the file, unless a later write has been quicker.

        A write that was abandoned goes on in its thread; it must not undo the one after it.
        """
        with self._save_lock:
            if number > self._last_saved:
                save_keyring(directory, keys)
                self._last_saved = number

    async def _watch_name(self) -> None:
        async for notice in self._of_conflicts:
            if isinstance(notice, NameConflictLost):
                self._log.error(
                    "name_conflict_lost",
                    name=readable(notice.name),
                    votes_for_us=notice.matching,
                    votes=notice.votes,
                    note="another node has this name; give one of them another (name, -node)",
                )
                self._give_up()
