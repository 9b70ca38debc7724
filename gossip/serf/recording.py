"""From notices to snapshot records: what of a running pool is worth remembering.

    joined ─► alive · left, failed ─► not-alive · event, query, intent ─► its clock, when it grew
    we leave ─► leave, and after that nothing but the member clock

Updates and reaps write nothing. Members that an earlier life knew and that were not heard of since
stay remembered, because the file must not forget them when it is rewritten. This module is pure:
the sink it is given appends what comes up, and replaces the file by `whole` when it has grown.

Source: serf snapshot.go (processMemberEvent, processUserEvent, processQuery, updateClock, Leave).
"""

from __future__ import annotations

from typing import Protocol

from ..addresses import Address
from ..notices import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    Notice,
    QueryReceived,
    UserEventReceived,
)
from .members import Member
from .snapshot import (
    LEAVE_RECORD,
    MEMBERS_MAX,
    Remembered,
    alive_record,
    clock_record,
    compact_size,
    compacted,
    is_recordable,
    not_alive_record,
)


class SnapshotSink(Protocol):
    """Keeps the records, in a file or elsewhere. It never raises, and never keeps us waiting."""

    def append_nowait(self, records: bytes, recorder: SnapshotRecorder) -> None:
        """Take whole lines; `recorder` can give the whole file, to save space or repair it."""


class SnapshotRecorder:
    """Turns what happens into records, and knows what the whole file should say."""

    def __init__(self, sink: SnapshotSink, remembered: Remembered | None = None) -> None:
        """Go on from what was read from the file; what comes up goes to `sink`."""
        self._sink = sink
        remembered = remembered or Remembered()
        self._alive = dict(remembered.members)
        self._clock = remembered.clock
        self._event_clock = remembered.event_clock
        self._query_clock = remembered.query_clock
        self._is_leaving = False
        self._after_leave = b""
        self._records: list[bytes] = []

    def note(self, notice: Notice) -> None:
        """Hear what the engine tells."""
        if self._is_leaving:
            return
        if isinstance(notice, MemberJoined):
            self._note_alive(notice.member)
        elif isinstance(notice, MemberLeft | MemberFailed):
            name = notice.member.name
            if self._alive.pop(name, None) is not None:
                self._records.append(not_alive_record(name))
        elif isinstance(notice, UserEventReceived):
            if notice.ltime > self._event_clock:
                self._event_clock = notice.ltime
                self._records.append(clock_record("event-clock", notice.ltime))
        elif isinstance(notice, QueryReceived) and notice.ltime > self._query_clock:
            self._query_clock = notice.ltime
            self._records.append(clock_record("query-clock", notice.ltime))

    def _note_alive(self, member: Member) -> None:
        name, address = member.name, Address(member.host, member.port)
        if not is_recordable(name):
            return
        if name not in self._alive and len(self._alive) >= MEMBERS_MAX:
            return
        self._alive[name] = address
        self._records.append(alive_record(name, address))

    def note_leave(self) -> None:
        """Hear that we leave gracefully: from now on only the member clock is recorded."""
        if not self._is_leaving:
            self._is_leaving = True
            self._records.append(LEAVE_RECORD)

    def flush(self, member_time: int) -> None:
        """Hand on what has come up since the last call.

        Args:
            member_time: The member clock; what is recorded is the last time that it has seen.
        """
        if member_time - 1 > self._clock:
            self._clock = member_time - 1
            self._records.append(clock_record("clock", self._clock))
            if self._is_leaving:
                self._after_leave = self._records[-1]
        if self._records:
            records = b"".join(self._records)
            self._records.clear()
            self._sink.append_nowait(records, self)

    def whole(self) -> bytes:
        """Return a file that says the same as all records so far."""
        records = compacted(self._alive.items(), self._clock, self._event_clock, self._query_clock)
        return records + LEAVE_RECORD + self._after_leave if self._is_leaving else records

    @property
    def size_max(self) -> int:
        """Bytes above which the file should be replaced by `whole`."""
        return compact_size(len(self._alive))
