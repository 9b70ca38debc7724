"""Putting many events into few, for owners that act on each: Serf's coalescing. Local only.

Of a burst, what counts is how it ended. Events are held back until nothing new has come for the
quiescence, at most for the period; then

- of each member its last change counts, and not even that when the owner was told the same before
  (an update is always news); members with the same change make one event;
- of each user event's name only those of the highest Lamport time count, if their sender allows it;
  others pass at once.

Everything else passes at once, too. This module is told the time and holds no timers of its own:
whoever drives it asks `next_deadline`. Source: serf coalesce.go (coalesceLoop), coalesce_member.go,
coalesce_user.go. We differ in keeping the tables bounded: what is told of an erased member is
forgotten, and a flood of different names ends the wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..notices import MemberNotice, MemberReaped, MemberUpdated, Notice, UserEventReceived
from .members import Member

USER_EVENTS_HELD_MAX = 1024
"""User events held back at once; one more ends the wait. Their names are the senders' choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoalesceSettings:
    """How long to hold events back, in seconds. The defaults are those of the serf command."""

    period: float = 3.0
    """Longest time a member event waits; 0 passes all at once. Longer makes fewer events of a
    burst, and each later."""

    quiescence: float = 1.0
    """Member events are delivered after this time without a new one."""

    user_period: float = 3.0
    """The same as `period`, for user events."""

    user_quiescence: float = 1.0
    """The same as `quiescence`, for user events."""


@dataclass(frozen=True, slots=True)
class MemberEvents:
    """Members that went through the same change.

    Attributes:
        kind: Which: `MemberJoined`, `MemberLeft`, …
        members: As they were at their last change, in the order in which they first changed.
    """

    kind: type[MemberNotice]
    members: tuple[Member, ...]


Other = TypeVar("Other")


class Window:
    """How long to hold back: from the first event at most `period`, from the last `quiescence`."""

    __slots__ = ("_ends_at", "_period", "_quiescence", "deadline")

    def __init__(self, period: float, quiescence: float) -> None:
        self._period = period
        self._quiescence = quiescence
        self._ends_at = 0.0
        self.deadline: float | None = None

    @property
    def is_off(self) -> bool:
        """Whether nothing is to be held back."""
        return self._period <= 0

    def extend(self, now: float) -> None:
        """Hear that an event has come."""
        if self.deadline is None:
            self._ends_at = now + self._period
        self.deadline = min(self._ends_at, now + self._quiescence)

    def close(self) -> None:
        """Begin anew with the next event."""
        self.deadline = None


class MemberCoalescer:
    """Holds member events back."""

    def __init__(self) -> None:
        self._latest: dict[str, MemberNotice] = {}
        self._told: dict[str, type[MemberNotice]] = {}

    def add(self, notice: MemberNotice) -> None:
        """Take an event; it stands for all earlier ones of its member."""
        self._latest[notice.member.name] = notice

    def take(self) -> list[MemberEvents]:
        """Return what to tell, and hold nothing any more."""
        changed: dict[type[MemberNotice], list[Member]] = {}
        for name, notice in self._latest.items():
            kind = type(notice)
            if self._told.get(name) is kind and kind is not MemberUpdated:
                continue
            if kind is MemberReaped:
                self._told.pop(name, None)
            else:
                self._told[name] = kind
            changed.setdefault(kind, []).append(notice.member)
        self._latest.clear()
        return [MemberEvents(kind, tuple(members)) for kind, members in changed.items()]


class UserEventCoalescer:
    """Holds user events back."""

    def __init__(self) -> None:
        self._latest: dict[str, list[UserEventReceived]] = {}
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether no more should be held."""
        return self._count >= USER_EVENTS_HELD_MAX

    def add(self, notice: UserEventReceived) -> None:
        """Take an event; it replaces older ones of its name, and is dropped for a newer one."""
        held = self._latest.setdefault(notice.name, [])
        if held and notice.ltime < held[0].ltime:
            return
        if held and notice.ltime > held[0].ltime:
            self._count -= len(held)
            held.clear()
        held.append(notice)
        self._count += 1

    def take(self) -> list[UserEventReceived]:
        """Return what to tell, and hold nothing any more."""
        events = [notice for held in self._latest.values() for notice in held]
        self._latest.clear()
        self._count = 0
        return events


class Coalescer(Generic[Other]):
    """Both kinds together. `Other` is what else passes through, untouched."""

    def __init__(self, settings: CoalesceSettings) -> None:
        """Hold nothing yet."""
        self._members = MemberCoalescer()
        self._member_window = Window(settings.period, settings.quiescence)
        self._events = UserEventCoalescer()
        self._event_window = Window(settings.user_period, settings.user_quiescence)

    def receive(self, notice: Notice | Other, *, now: float) -> list[MemberEvents | Notice | Other]:
        """Take a notice; return what to deliver at once."""
        if isinstance(notice, MemberNotice):
            self._members.add(notice)
            if self._member_window.is_off:
                return list(self._members.take())
            self._member_window.extend(now)
            return []
        if (
            isinstance(notice, UserEventReceived)
            and notice.coalesce
            and not self._event_window.is_off
        ):
            self._events.add(notice)
            self._event_window.extend(now)
            return list(self._take_events()) if self._events.is_full else []
        return [notice]

    def next_deadline(self) -> float | None:
        """Return when `handle_timers` has something to deliver; None: nothing is held back."""
        deadlines = [
            window.deadline
            for window in (self._member_window, self._event_window)
            if window.deadline is not None
        ]
        return min(deadlines, default=None)

    def handle_timers(self, *, now: float) -> list[MemberEvents | UserEventReceived]:
        """Return what is due."""
        due: list[MemberEvents | UserEventReceived] = []
        if _is_due(self._member_window, now):
            due += self._take_members()
        if _is_due(self._event_window, now):
            due += self._take_events()
        return due

    def flush(self) -> list[MemberEvents | UserEventReceived]:
        """Return all that is held back: nothing more will come."""
        return [*self._take_members(), *self._take_events()]

    def _take_members(self) -> Iterable[MemberEvents]:
        self._member_window.close()
        return self._members.take()

    def _take_events(self) -> Iterable[UserEventReceived]:
        self._event_window.close()
        return self._events.take()


def _is_due(window: Window, now: float) -> bool:
    return window.deadline is not None and window.deadline <= now
