"""What the engine was asked to do and somebody waits for: joins, force-leaves, changes of keys.

The engine numbers each operation and ends it with a notice that carries the number. A waiter is
registered before that notice can come, which may be in the very call that started the operation.
When the pool closes first, waiters hear `None`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

from .notices import ForceLeaveFinished, KeyOperationFinished, Notice, PushPullFinished

Finished = PushPullFinished | ForceLeaveFinished | KeyOperationFinished
"""The notices that end an operation."""

Outcome = TypeVar("Outcome", bound=Finished)


class Operation:
    """One operation that is under way."""

    def __init__(self) -> None:
        self._is_over = trio.Event()
        self._outcome: Finished | None = None

    def finish(self, outcome: Finished | None) -> None:
        """Let the waiter go, with what has come of it; None: the pool has closed."""
        if not self._is_over.is_set():
            self._outcome = outcome
            self._is_over.set()

    async def outcome(self, kind: type[Outcome]) -> Outcome | None:
        """Wait for the end; None: the pool closed first."""
        await self._is_over.wait()
        if self._outcome is None:
            return None
        assert isinstance(self._outcome, kind), "an operation ends with the notice of its kind"
        return self._outcome


class Operations:
    """All operations of a pool that somebody waits for, by number."""

    def __init__(self) -> None:
        self._waiting: dict[int, Operation] = {}

    @contextmanager
    def expect(self, number: int) -> Iterator[Operation]:
        """Register a waiter for the block."""
        operation = self._waiting[number] = Operation()
        try:
            yield operation
        finally:
            del self._waiting[number]

    def take(self, notice: Notice) -> None:
        """Hear a notice of the engine; it may end an operation."""
        if isinstance(notice, PushPullFinished | ForceLeaveFinished | KeyOperationFinished):
            operation = self._waiting.get(notice.operation)
            if operation is not None:
                operation.finish(notice)

    def close(self) -> None:
        """End all: the pool has closed."""
        for operation in self._waiting.values():
            operation.finish(None)
