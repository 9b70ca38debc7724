"""Finding the pool again: failed members, forgotten ones, and addresses once joined through.

Go's reconnect tries failed members, and an agent that lost everybody, or that outlived a partition
in which both sides have reaped each other, stays alone for good. Here every agent keeps a bounded
list of where the pool was and goes on trying:

    failed members       ── push-pull join, every 30 s, with probability failed / alive (as Go)
    reaped, not left     ── looked at first, and joined only if a node of that name still answers
                            there; same rhythm
    nobody alive but us  ── remembered members and seeds, several at once, from 1 s on with
                            jittered backoff up to 30 s

Looking first keeps two pools apart when an address was given to somebody else. Tries come one
interval apart at most and stop when there is nobody left to find, so a pool at rest stays at rest.

Source for the first line: serf serf.go (handleReconnect, reconnect). The rest has no model there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..addresses import Address
from ..swim.outbox import Outbox
from ..swim.timers import Timer, TimerHeap
from .members import Member, MemberRecord, MemberStatus, MemberTable

LOST_MEMBERS_MAX = 1024
"""Reaped members that are remembered, the latest. In the largest partition some of the other side
are enough to find all."""

SEEDS_MAX = 64
"""Addresses of earlier joins that are remembered, the latest."""

ALONE_TARGETS = 3
"""Addresses tried at once while nobody else is alive: one dead seed must not cost a whole
round."""

ALONE_INTERVAL_MIN = 1.0
"""Seconds to the second try of an agent that is alone; then twice as long each time."""

JITTER = 0.25
"""Part by which each interval varies both ways, so that a restarted pool does not knock in
step."""

LOST_KEEP = 7 * 86400.0
"""Seconds that a reaped member is remembered: longer than any outage that somebody works on."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to try. `name` is who must be there; empty for a seed, where anybody may be."""

    name: str
    address: Address
    is_failed_member: bool = False


class Healing:
    """Keeps trying while somebody is missing."""

    def __init__(
        self,
        own_name: str,
        own_address: Address,
        members: MemberTable,
        timers: TimerHeap,
        outbox: Outbox,
        rng: random.Random,
        interval: float,
        join: Callable[[Target, float], None],
        look: Callable[[Target, float], None],
    ) -> None:
        """Build on the engine's parts.

        Args:
            own_name: Our node name.
            own_address: Where we are ourselves: never a target.
            members: Who is failed, and who is alive.
            timers: The engine's.
            outbox: For remarks.
            rng: The engine's.
            interval: Seconds between tries while somebody is missing (Serf: ReconnectInterval).
            join: Starts a push-pull join with a target.
            look: Starts a look at a target; its end comes to `handle_look`.
        """
        self._own_name = own_name
        self._own_address = own_address
        self._members = members
        self._timers = timers
        self._outbox = outbox
        self._rng = rng
        self._interval = interval
        self._join = join
        self._look = look
        self._lost: dict[str, tuple[Address, float]] = {}
        self._seeds: dict[Address, None] = {}
        self._alone_interval = ALONE_INTERVAL_MIN
        self._timer: Timer | None = None
        self._is_stopped = False
        self.tries = 0

    # --- what to remember -------------------------------------------------------------

    def remember_seed(self, address: Address) -> None:
        """Remember an address that a join was asked for."""
        if address == self._own_address:
            return
        self._seeds.pop(address, None)
        self._seeds[address] = None
        while len(self._seeds) > SEEDS_MAX:
            del self._seeds[next(iter(self._seeds))]

    def remember_lost(self, name: str, address: Address, *, now: float) -> None:
        """Remember a member that is not in the table any more, and look for it."""
        if name == self._own_name or address == self._own_address:
            return
        self._lost.pop(name, None)
        self._lost[name] = (address, now)
        while len(self._lost) > LOST_MEMBERS_MAX:
            del self._lost[next(iter(self._lost))]
        self.wake(now)

    def forget(self, name: str) -> None:
        """Stop looking for a member: it is back, it left, or it was pruned."""
        self._lost.pop(name, None)

    def lost_members(self) -> dict[str, Address]:
        """Return who is looked for though not in the table any more."""
        return {name: address for name, (address, _) in self._lost.items()}

    # --- when to try ------------------------------------------------------------------

    def wake(self, now: float) -> None:
        """See to it that a try is coming, if somebody is missing; sooner when we are alone."""
        if self._is_stopped or not self._is_somebody_missing():
            return
        delay = self._alone_delay() if self._is_alone() else self._interval
        deadline = now + delay * (1.0 + JITTER * (2.0 * self._rng.random() - 1.0))
        if self._timer is not None:
            if self._timer.deadline <= deadline:
                return
            self._timer.cancel()
        self._timer = self._timers.schedule(deadline, self._try)

    def start_at_once(self, now: float) -> None:
        """Try at once: after a start with remembered members."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.schedule(now, self._try)

    def note_company(self) -> None:
        """Hear that somebody else is alive: the next time we are alone we begin quickly again."""
        self._alone_interval = ALONE_INTERVAL_MIN

    def stop(self) -> None:
        """Try no more."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _alone_delay(self) -> float:
        return min(self._alone_interval, self._interval)

    def _is_alone(self) -> bool:
        return not any(
            record.status in (MemberStatus.ALIVE, MemberStatus.LEAVING)
            and record.name != self._own_name
            for record in self._members
        )

    def _is_somebody_missing(self) -> bool:
        if self._lost or self._members.count(MemberStatus.FAILED):
            return True
        return bool(self._seeds) and self._is_alone()

    # --- trying -----------------------------------------------------------------------

    def _try(self, now: float) -> None:
        self._timer = None
        if self._is_stopped:
            return
        self._drop_old(now)
        if self._is_alone():
            self._alone_interval = min(self._alone_interval * 2.0, self._interval)
            targets = [*self._failed(), *self._lost_targets(), *self._seed_targets()]
            chosen = self._rng.sample(targets, min(ALONE_TARGETS, len(targets)))
        else:
            targets = [*self._failed(), *self._lost_targets()]
            alive = len(self._members) - self._members.count(MemberStatus.FAILED)
            alive = max(alive - self._members.count(MemberStatus.LEFT), 1)
            is_our_turn = self._rng.random() < len(targets) / alive
            chosen = self._rng.sample(targets, 1) if targets and is_our_turn else []
        for target in chosen:
            self.tries += 1
            self._outbox.remark(
                "reconnecting", "debug", member=target.name, address=str(target.address)
            )
            if target.is_failed_member:
                self._join(target, now)
            else:
                self._look(target, now)
        self.wake(now)

    def handle_look(self, target: Target, shown: Iterable[Member], *, now: float) -> None:
        """Hear what a look has shown; join when whom we look for is there.

        A seed may be anybody. A lost member must show itself, under its name and alive.
        """
        is_there = any(
            member.status is MemberStatus.ALIVE
            and (not target.name or member.name == target.name)
            and member.name != self._own_name
            for member in shown
        )
        if is_there:
            self._join(target, now)
        else:
            self._outbox.remark(
                "reconnect_found_somebody_else",
                "debug",
                member=target.name,
                address=str(target.address),
            )

    def _failed(self) -> list[Target]:
        return [
            Target(record.name, record.destination, is_failed_member=True)
            for record in self._members
            if record.status is MemberStatus.FAILED and record.name != self._own_name
        ]

    def _lost_targets(self) -> list[Target]:
        return [Target(name, address) for name, (address, _) in self._lost.items()]

    def _seed_targets(self) -> list[Target]:
        return [Target("", address) for address in self._seeds]

    def _drop_old(self, now: float) -> None:
        self._lost = {
            name: entry for name, entry in self._lost.items() if now - entry[1] <= LOST_KEEP
        }


def is_worth_finding(record: MemberRecord) -> bool:
    """Whether a member that is erased is to be looked for: who failed is, who left is not."""
    return record.status is MemberStatus.FAILED
