"""Lamport clocks: logical time for intents, user events and queries.

A clock only grows: by one for what we send, past whatever we see. Source: Lamport, "Time, Clocks,
and the Ordering of Events in a Distributed System"; serf lamport.go. Unlike there, a value far
ahead of our clock is refused: one poisoned message would otherwise push every clock of the pool to
the end of its range for good, and make all older events look expired.
"""

from __future__ import annotations

GOSSIPED_JUMP_MAX = 2**24
"""How far ahead of our clock a gossiped message may be. Clocks advance by one per join, leave,
event or query; a member that has done a push-pull is at most some seconds behind, and sixteen
million steps are months of a busy pool."""

EXCHANGED_TIME_MAX = 2**48
"""Highest time taken from a push-pull, where a newcomer learns the pool's age in one step:
thousands of years of it. Beyond it only what is near our own clock, so that a pool which was
brought here by poison goes on working."""


class LamportClock:
    """One clock. `time` is the next value to use."""

    __slots__ = ("time",)

    def __init__(self, time: int = 1) -> None:
        self.time = time

    def increment(self) -> int:
        """Advance by one and return the new time."""
        self.time += 1
        return self.time

    def witness(self, time: int) -> None:
        """Move past a time that somebody has used."""
        if time >= self.time:
            self.time = time + 1

    def is_plausible(self, time: int) -> bool:
        """Return whether a gossiped time may be believed."""
        return time - self.time <= GOSSIPED_JUMP_MAX

    def is_exchangeable(self, time: int) -> bool:
        """Return whether a time from a push-pull may be believed."""
        return time <= EXCHANGED_TIME_MAX or self.is_plausible(time)
