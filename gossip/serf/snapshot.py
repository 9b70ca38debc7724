"""Serf's snapshot: what an agent remembers of its pool over a restart, as text records.

    alive: NAME ADDR:PORT        not-alive: NAME        clock: N   event-clock: N   query-clock: N
     leave

Records are appended as things happen and replayed in order. This module turns events into records
and records into what they mean; files belong to the shell. A real agent reads ours and we read
its. Whatever is in the file, replaying does not fail: records that make no sense are counted, and
a last line without its newline is a torn write and is left out.

Source: serf snapshot.go (replay, processMemberEvent, updateClock, compact).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..addresses import Address, ip_bytes, ip_text
from .lamport import EXCHANGED_TIME_MAX

LINE_SIZE_MAX = 4096
"""Bytes of one record; a name of 512 characters with an address is far below. What is longer is no
record of ours."""

MEMBERS_MAX = 65536
"""Members a replay keeps, as many as a node table holds."""

COMPACT_SIZE_MIN = 128 * 1024
"""A file below this is not compacted (Serf: MinCompactSize)."""

BYTES_PER_MEMBER = 128
"""Rough size of one record, for the size at which compacting pays (Serf: snapshotBytesPerNode)."""

COMPACT_THRESHOLD = 2
"""A file is compacted at this many times the size its members need (Serf:
snapshotCompactionThreshold)."""

CLOCK_MAX = EXCHANGED_TIME_MAX
"""Highest time that is believed, as from a peer: one flipped bit in a file must not bring all
clocks of the pool to the end of their range."""


@dataclass(slots=True)
class Remembered:
    """What a snapshot says.

    Attributes:
        members: Name → address of those who were alive, in the order in which they came.
        clock: Last member time; the clock is set past it.
        event_clock: Last user event's time.
        query_clock: Last query's time.
        has_left: The last thing was a graceful leave.
        is_torn: The file ended in the middle of a record.
        unknown: Records that could not be understood.
        sound_size_bytes: Where the last record that was understood ends. What follows is damage,
            and what is appended should follow from there.
    """

    members: dict[str, Address] = field(default_factory=dict)
    clock: int = 0
    event_clock: int = 0
    query_clock: int = 0
    has_left: bool = False
    is_torn: bool = False
    unknown: int = 0
    sound_size_bytes: int = field(default=0, compare=False)


def replay_untrusted(data: bytes, *, rejoin_after_leave: bool = False) -> Remembered:
    """Return what a snapshot file means; never fails.

    Args:
        data: The whole file.
        rejoin_after_leave: Remember the members even when the agent had left.
    """
    state = Remembered()
    *lines, tail = data.split(b"\n")
    state.is_torn = bool(tail)
    position = 0
    for line in lines:
        position += len(line) + 1
        if _replay_line(state, line, rejoin_after_leave):
            state.sound_size_bytes = position
        else:
            state.unknown += 1
    return state


def _replay_line(state: Remembered, raw: bytes, rejoin_after_leave: bool) -> bool:
    """Apply one record; return whether it was understood."""
    if len(raw) > LINE_SIZE_MAX:
        return False
    line = raw.decode("utf-8", "surrogateescape")
    if line.startswith("alive: "):
        name, _, address = line.removeprefix("alive: ").rpartition(" ")
        parsed = parse_address(address)
        if not name or parsed is None:
            return False
        if name not in state.members and len(state.members) >= MEMBERS_MAX:
            return False
        state.members.pop(name, None)
        state.members[name] = parsed
        return True
    if line.startswith("not-alive: "):
        state.members.pop(line.removeprefix("not-alive: "), None)
        return True
    for prefix, attribute in (
        ("clock: ", "clock"),
        ("event-clock: ", "event_clock"),
        ("query-clock: ", "query_clock"),
    ):
        if line.startswith(prefix):
            digits = line.removeprefix(prefix)
            if not (digits.isascii() and digits.isdigit()) or int(digits) > CLOCK_MAX:
                return False
            setattr(state, attribute, int(digits))
            state.has_left = state.has_left and attribute == "clock"
            return True
    if line == "leave":
        state.has_left = True
        if not rejoin_after_leave:
            state.members.clear()
            state.clock = state.event_clock = state.query_clock = 0
        return True
    return line.startswith(("#", "coordinate: "))


def parse_address(text: str) -> Address | None:
    """Return the address of `ADDR:PORT`, an IPv6 one in brackets; None when it is none.

    A name is none: looking it up would wait, and no agent writes one.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        return Address(ip_text(ip_bytes(host)), int(port)) if "%" not in host else None
    except ValueError:
        return None


def alive_record(name: str, address: Address) -> bytes:
    """Return the record of a member that is alive."""
    return f"alive: {name} {address}\n".encode("utf-8", "surrogateescape")


def not_alive_record(name: str) -> bytes:
    """Return the record of a member that left or failed."""
    return f"not-alive: {name}\n".encode("utf-8", "surrogateescape")


def clock_record(kind: str, time: int) -> bytes:
    """Return the record of a clock: `clock`, `event-clock` or `query-clock`."""
    return f"{kind}: {time}\n".encode()


LEAVE_RECORD = b"leave\n"


def compacted(
    members: Iterable[tuple[str, Address]], clock: int, event_clock: int, query_clock: int
) -> bytes:
    """Return a whole file with nothing in it but what counts."""
    records = [alive_record(name, address) for name, address in members if is_recordable(name)]
    records += [
        clock_record("clock", clock),
        clock_record("event-clock", event_clock),
        clock_record("query-clock", query_clock),
    ]
    return b"".join(records)


def is_recordable(name: str) -> bool:
    """Whether a name can stand in a record: a newline in it would forge another one."""
    return "\n" not in name and bool(name)


def compact_size(members: int) -> int:
    """Return the size in bytes above which a file of that many members is compacted."""
    return max(COMPACT_SIZE_MIN, COMPACT_THRESHOLD * BYTES_PER_MEMBER * members)
