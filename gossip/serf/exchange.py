"""Serf's part of a push-pull: clocks, status times, who has left, recent user events.

memberlist repairs who is there; this repairs why they are gone and what was said meanwhile.
Source: serf delegate.go (LocalState, MergeRemoteState).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..swim.outbox import Outbox
from ..wire.errors import MalformedInput
from .events import UserEvents
from .intents import Intents
from .lamport import LamportClock
from .members import MemberStatus, MemberTable
from .messages import (
    JoinIntent,
    LeaveIntent,
    PushPullState,
    UserEvent,
    decode_serf_message_untrusted,
    encode_serf_message,
)


class StateExchange:
    """Builds our part and takes in a peer's."""

    def __init__(
        self,
        own_name: str,
        members: MemberTable,
        intents: Intents,
        events: UserEvents,
        member_clock: LamportClock,
        event_clock: LamportClock,
        query_clock: LamportClock,
        outbox: Outbox,
        announce: Callable[[float], None],
    ) -> None:
        """Build on the engine's parts; `announce` broadcasts a join intent of our own."""
        self._own_name = own_name
        self._members = members
        self._intents = intents
        self._events = events
        self._member_clock = member_clock
        self._event_clock = event_clock
        self._query_clock = query_clock
        self._outbox = outbox
        self._announce = announce
        # What `prepare` made of the bytes that `merge` gets next: nothing, where they are bad.
        self._prepared: tuple[bytes, PushPullState | None] | None = None

    def local(self) -> bytes:
        """Return our part, with its type byte."""
        status_ltimes: Mapping[str, int] = {
            record.name: record.status_ltime for record in self._members
        }
        left = tuple(record.name for record in self._members if record.status is MemberStatus.LEFT)
        return encode_serf_message(
            PushPullState(
                self._member_clock.time,
                status_ltimes,
                left,
                self._event_clock.time,
                self._events.recent(),
                self._query_clock.time,
            )
        )

    def prepare(self, data: bytes, *, now: float) -> None:
        """Apply what a peer says of those who left before memberlist's part calls them gone.

        Go does it afterwards, so that its members show as failed for a moment.
        """
        state = self._decode(data, now)
        self._prepared = (data, state)
        if state is None:
            return
        for name in state.left_members:
            record = self._members.get(name)
            if (
                record is not None
                and record.status is MemberStatus.ALIVE
                and name != self._own_name
            ):
                self._apply_left(state, name, now)

    def merge(self, data: bytes, *, ignores_old_events: bool, now: float) -> None:
        """Take in a peer's part, after memberlist's.

        Args:
            data: The part, with its type byte.
            ignores_old_events: It answers a join of ours that asked for no old events.
            now: Engine seconds.
        """
        prepared, self._prepared = self._prepared, None
        state = (
            prepared[1] if prepared is not None and prepared[0] is data else self._decode(data, now)
        )
        if state is None:
            return
        self._member_clock.witness(state.ltime - 1)
        self._event_clock.witness(state.event_ltime - 1)
        self._query_clock.witness(state.query_ltime - 1)
        left = set(state.left_members)
        for name in state.left_members:
            record = self._members.get(name)
            # Members that both sides hold as left are skipped: in Go their times creep up with
            # each exchange.
            if record is None or record.status is not MemberStatus.LEFT:
                self._apply_left(state, name, now)
        self._answer_later_intent(state, now)
        for name, ltime in state.status_ltimes.items():
            if name not in left:
                self._intents.handle_join(JoinIntent(ltime, name), now=now, is_told=False)
        if ignores_old_events:
            self._events.ignore_before(state.event_ltime)
        for slot in state.events:
            for name, payload in slot.events:
                self._events.handle(UserEvent(slot.ltime, name, payload, False), None, now=now)

    def _answer_later_intent(self, state: PushPullState, now: float) -> None:
        """Say again that we are here when a peer knows a later intent about us than we do.

        It may be a leave of an earlier life of ours, which others hold against us for ever: nothing
        else would tell them better. In Go such a member shows as leaving until its next intent.
        """
        own = self._members.get(self._own_name)
        later = state.status_ltimes.get(self._own_name, 0)
        if own is not None and later > own.status_ltime and not self._intents.is_leaving:
            self._member_clock.witness(later)
            self._announce(now)

    def _apply_left(self, state: PushPullState, name: str, now: float) -> None:
        ltime = state.status_ltimes.get(name, 0) + 1
        self._intents.handle_leave(LeaveIntent(ltime, name, False), None, now=now)

    def _decode(self, data: bytes, now: float) -> PushPullState | None:
        """Return a peer's part, None (and counted) when it must not be taken."""
        rejections = self._outbox.rejections
        try:
            state = decode_serf_message_untrusted(data)
        except MalformedInput as error:
            rejections.record(error.reason, None, f"push-pull state: {error.detail}", now=now)
            return None
        if not isinstance(state, PushPullState):
            rejections.record("not_a_push_pull_state", None, type(state).__name__, now=now)
            return None
        highest = max(state.ltime, *state.status_ltimes.values(), 0)
        for clock, time in (
            (self._member_clock, highest),
            (self._event_clock, state.event_ltime),
            (self._query_clock, state.query_ltime),
        ):
            if not clock.is_exchangeable(time):
                detail = f"push-pull state: {time}, our clock is at {clock.time}"
                rejections.record("lamport_time_out_of_range", None, detail, now=now)
                return None
        return state
