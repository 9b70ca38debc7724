"""Join and leave intents, and what memberlist's word does to members.

An intent counts when its Lamport time is above the last one that touched the member. Then it sets
that time, changes the status as the tables in `members` say, and is passed on once. Intents about
members that we do not know yet wait in a bounded buffer: in gossip the intent often overtakes the
join.

A leave intent about ourselves while we are well is somebody's mistake or an old echo: we answer
with a join intent.

A prune (leave intent with Prune) of a live member is refused and not passed on: each Go agent that
takes one blocks for six seconds and then erases a member that is well.

Sources: serf serf.go (handleNodeJoin, handleNodeLeave, handleNodeUpdate, handleNodeJoinIntent,
handleNodeLeaveIntent, upsertIntent, broadcastJoin), memberlist event_delegate.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..addresses import Address
from ..evidence import Evidence, EvidenceKind, EvidenceLog
from ..notices import MemberFailed, MemberJoined, MemberLeft, MemberReaped, MemberUpdated
from ..swim.membership import NODE_NAME_ACCEPTED_MAX, name_size
from ..swim.nodes import Node
from ..swim.outbox import Outbox
from ..wire.errors import MalformedInput
from .lamport import LamportClock
from .members import (
    GONE,
    JOIN_INTENT,
    LEAVE_INTENT,
    MEMBERS_MAX,
    MemberRecord,
    MemberStatus,
    MemberTable,
)
from .messages import JoinIntent, LeaveIntent
from .tags import decode_tags_untrusted

EARLY_INTENT_TIMEOUT = 300.0
"""Seconds that an intent about an unknown member is kept (Serf: RecentIntentTimeout)."""

HELD_PRUNE_TIMEOUT = 30.0
"""Seconds that a prune of a member that we still hold alive waits for the member to be found gone:
who pruned it knew sooner. One per member of the table."""

EARLY_INTENTS_MAX = 65536
"""Intents kept for unknown members; the table of a whole pool may come in one push-pull before its
joins are handled."""


@dataclass(frozen=True, slots=True)
class EarlyIntent:
    """An intent that came before its member. `arrived` is engine seconds."""

    is_leave: bool
    ltime: int
    arrived: float


class Intents:
    """Changes the member table by intents and by memberlist's joins, updates and leaves."""

    def __init__(
        self,
        own_name: str,
        members: MemberTable,
        clock: LamportClock,
        outbox: Outbox,
        refute_leave: Callable[[float], None],
        evidence: EvidenceLog,
        on_change: Callable[[MemberRecord, float], None],
    ) -> None:
        """Build on the engine's parts.

        Args:
            own_name: Our node name.
            members: The table that is changed.
            clock: The member clock.
            outbox: Takes notices and rejections.
            refute_leave: Called when a leave intent about ourselves is to be answered by a join
            intent.
            evidence: Takes a record of each intent that counted.
            on_change: Called when a member has another status, or is erased (status NONE).
        """
        self._own_name = own_name
        self._members = members
        self._clock = clock
        self._outbox = outbox
        self._refute_leave = refute_leave
        self._evidence = evidence
        self._on_change = on_change
        self._early: dict[str, EarlyIntent] = {}
        self._held_prunes: dict[str, tuple[LeaveIntent, float]] = {}
        self.is_leaving = False

    @property
    def early_count(self) -> int:
        """How many intents wait for their member."""
        return len(self._early)

    # --- memberlist's word ------------------------------------------------------------

    def node_joined(self, node: Node, *, now: float) -> None:
        """Enter a node as alive, or take a known member as alive again."""
        tags = self._tags_of(node, now)
        record = self._members.get(node.name)
        if record is None:
            record = MemberRecord(node.name, node.address, node.port, tags, node.versions)
            early = self._early.pop(node.name, None)
            if early is not None and now - early.arrived <= EARLY_INTENT_TIMEOUT:
                record.status_ltime = early.ltime
                if early.is_leave:
                    record.status = MemberStatus.LEAVING
            if len(self._members) >= MEMBERS_MAX:
                self._make_room(now)
            self._members.add(record)
        else:
            self._refresh(record, node, tags)
            record.status = MemberStatus.ALIVE
            record.left_at = None
            self._members.changed(record)
        self._outbox.notices.append(MemberJoined(self._members.public(record)))
        self._on_change(record, now)

    def node_updated(self, node: Node, *, now: float) -> None:
        """Take over a node's new tags."""
        record = self._members.get(node.name)
        if record is not None:
            self._refresh(record, node, self._tags_of(node, now))
            self._members.changed(record)
            self._outbox.notices.append(MemberUpdated(self._members.public(record)))

    def node_gone(self, node: Node, *, now: float) -> None:
        """Hear that a node is dead or left: which of the two its intents decide."""
        record = self._members.get(node.name)
        if record is None or record.status not in GONE:
            return
        self._leave_with(record, GONE[record.status], now)

    # --- intents ----------------------------------------------------------------------

    def handle_join(self, intent: JoinIntent, *, now: float, is_told: bool = True) -> bool:
        """Apply a join intent; return whether it was news, to be passed on.

        `is_told` is False for what a push-pull implies: it leaves no record.
        """
        self._clock.witness(intent.ltime)
        record = self._members.get(intent.node)
        if record is None:
            return self._buffer(intent.node, EarlyIntent(False, intent.ltime, now), None)
        if intent.ltime <= record.status_ltime:
            return False
        if intent.node == self._own_name and self.is_leaving:
            return False  # nobody knows that better than we
        record.status_ltime = intent.ltime
        if is_told:
            self._note(EvidenceKind.JOIN_INTENT, record, intent.ltime, now)
        if (then := JOIN_INTENT.get(record.status)) is not None:
            record.status = then
            self._members.changed(record)
            self._on_change(record, now)
        return True

    def handle_leave(self, intent: LeaveIntent, source: Address | None, *, now: float) -> bool:
        """Apply a leave intent; return whether it was news, to be passed on."""
        self._clock.witness(intent.ltime)
        record = self._members.get(intent.node)
        if record is None:
            # Not kept, not passed on: where its member is alive it would do the harm described
            # above.
            if intent.prune:
                return False
            return self._buffer(intent.node, EarlyIntent(True, intent.ltime, now), source)
        if intent.ltime <= record.status_ltime:
            return False
        if intent.node == self._own_name and not self.is_leaving:
            self._refute_leave(now)
            return False
        if intent.prune and record.status in GONE:
            self._outbox.rejections.record("prune_of_live_member", source, intent.node, now=now)
            self._held_prunes[intent.node] = (intent, now)
            return False
        record.status_ltime = intent.ltime
        kind = EvidenceKind.PRUNED if intent.prune else EvidenceKind.LEAVE_INTENT
        self._note(kind, record, intent.ltime, now)
        if (then := LEAVE_INTENT.get(record.status)) is not None:
            if then is MemberStatus.LEFT:
                self._leave_with(record, then, now)
            else:
                record.status = then
                self._members.changed(record)
                self._on_change(record, now)
        if intent.prune:
            self.erase(record, now=now)
        return True

    def take_held_prune(self, name: str, *, now: float) -> LeaveIntent | None:
        """Return the prune that came a little before we noticed that the member is gone."""
        intent, arrived = self._held_prunes.pop(name, (None, now))
        return intent if now - arrived <= HELD_PRUNE_TIMEOUT else None

    def erase(self, record: MemberRecord, *, now: float) -> None:
        """Drop a member from the table and say so."""
        self._members.erase(record)
        self._held_prunes.pop(record.name, None)
        self._evidence.forget(record.name)
        self._outbox.notices.append(MemberReaped(self._members.public(record)))
        record.status = MemberStatus.NONE
        self._on_change(record, now)

    # --- inside -----------------------------------------------------------------------

    def _make_room(self, now: float) -> None:
        """Erase those that have been gone for longest: a part of the table at once.

        Looking for them is as much work as the table is long.
        """
        gone = [record for record in self._members if record.left_at is not None]
        gone.sort(key=lambda record: record.left_at or 0.0)
        for record in gone[: MEMBERS_MAX // 16 + 1]:
            self.erase(record, now=now)

    def _leave_with(self, record: MemberRecord, status: MemberStatus, now: float) -> None:
        record.status = status
        record.left_at = now
        self._members.changed(record)
        notice = MemberLeft if status is MemberStatus.LEFT else MemberFailed
        self._outbox.notices.append(notice(self._members.public(record)))
        self._on_change(record, now)

    def _note(self, kind: EvidenceKind, record: MemberRecord, ltime: int, now: float) -> None:
        self._evidence.add(record.name, Evidence(now, kind, ltime=ltime))

    def _refresh(self, record: MemberRecord, node: Node, tags: Mapping[str, str]) -> None:
        record.address = node.address
        record.port = node.port
        record.versions = node.versions
        record.tags = tags

    def _tags_of(self, node: Node, now: float) -> Mapping[str, str]:
        """Decode a node's tags; a node whose tags are broken still joins, without any."""
        try:
            return decode_tags_untrusted(node.meta)
        except MalformedInput as error:
            self._outbox.rejections.record(
                error.reason, None, f"{node.name!r}: {error.detail}", now=now
            )
            return {}

    def _buffer(self, name: str, intent: EarlyIntent, source: Address | None) -> bool:
        """Keep an intent for an unknown member if it is the newest; return whether it was."""
        if (size := name_size(name)) > NODE_NAME_ACCEPTED_MAX:
            # No member of such a name is ever taken, and many of them would fill our memory.
            detail = f"intent: {size} bytes"
            self._outbox.rejections.record("node_name_too_long", source, detail, now=intent.arrived)
            return False
        known = self._early.get(name)
        is_kept = known is not None and intent.arrived - known.arrived <= EARLY_INTENT_TIMEOUT
        if known is not None and is_kept and intent.ltime <= known.ltime:
            return False
        # Re-entered at the end, so that the oldest stand in front.
        self._early.pop(name, None)
        self._drop_old(intent.arrived)
        self._early[name] = intent
        return True

    def _drop_old(self, now: float) -> None:
        while self._early:
            oldest = next(iter(self._early))
            is_over = now - self._early[oldest].arrived > EARLY_INTENT_TIMEOUT
            if not is_over and len(self._early) < EARLY_INTENTS_MAX:
                return
            del self._early[oldest]
