"""Why each member has its status: a bounded history of what was said about it, and by whom.

Operators ask why a member is failed. Everything that changes our belief leaves a record here:
failed probes, suspicions and who confirmed them, refutations, deaths, intents, force-leaves.
Records carry the incarnation or Lamport time that decided, and engine seconds; the shell turns
those into wall-clock times. No Go agent keeps this; their logs have parts of it, on each node its
own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

EVIDENCE_PER_MEMBER_MAX = 32
"""Records kept per member, the newest. One failure leaves about six: some past failures stay in
sight."""

EVIDENCE_MAX = 2**18
"""Records kept of all members together, some fifty megabytes at most. A pool of thousands has a few
for each; invented members that come and go could fill our memory with theirs."""


class EvidenceKind(Enum):
    """What happened; the values are what the API and the command line show."""

    JOINED = "joined"
    UPDATED = "updated"
    PROBE_FAILED = "probe-failed"
    SUSPECTED = "suspected"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    DECLARED_DEAD = "declared-dead"
    DECLARED_LEFT = "declared-left"
    JOIN_INTENT = "join-intent"
    LEAVE_INTENT = "leave-intent"
    FORCE_LEAVE = "force-leave"
    PRUNED = "pruned"
    STATUS = "status"
    CONFLICT = "name-conflict"
    RECONNECT = "reconnect"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One record. `by` is who said so, empty where nobody can be named."""

    time: float
    kind: EvidenceKind
    by: str = ""
    incarnation: int | None = None
    ltime: int | None = None
    detail: str = ""


class EvidenceLog:
    """Records by member name, oldest first."""

    __slots__ = ("_count", "_records")

    def __init__(self) -> None:
        self._records: dict[str, list[Evidence]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, name: str, evidence: Evidence) -> None:
        """Append a record.

        The member's oldest beyond its limit goes, and beyond the limit of all a record of whom
        nothing was said for longest.
        """
        # Re-entered at the end, so that who was quiet for longest stands in front.
        records = self._records[name] = self._records.pop(name, [])
        records.append(evidence)
        self._count += 1
        if len(records) > EVIDENCE_PER_MEMBER_MAX:
            del records[0]
            self._count -= 1
        if self._count > EVIDENCE_MAX:
            quietest = next(iter(self._records))
            del self._records[quietest][0]
            self._count -= 1
            if not self._records[quietest]:
                del self._records[quietest]

    def of(self, name: str) -> tuple[Evidence, ...]:
        """Return what is known of a member, oldest first; empty for a stranger."""
        return tuple(self._records.get(name, ()))

    def forget(self, name: str) -> None:
        """Drop the records of a member that was erased."""
        self._count -= len(self._records.pop(name, ()))
