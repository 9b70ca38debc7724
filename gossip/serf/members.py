"""Serf's member table: alive, leaving, left, failed, and how one becomes the other.

Two voices decide. memberlist says join and leave (a node is reachable, or gone); intents, gossiped
with a Lamport time, say what a node meant. A node that goes after its leave intent has *left*; one
that goes without has *failed*; an intent that comes late repairs failed to left. `GONE`,
`LEAVE_INTENT` and `JOIN_INTENT` below are that table.

Sources: serf serf.go (handleNodeJoin, handleNodeLeave, handleNodeUpdate, handleNodeLeaveIntent,
handleNodeJoinIntent).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from ..addresses import ADDRESS_SIZES, Address, address_of, ip_text
from ..swim.settings import NODES_MAX

MEMBERS_MAX = 2 * NODES_MAX
"""Rows of the table. memberlist forgets who is gone after seconds and Serf after a day, so invented
nodes could pile up here; as many as memberlist holds may be alive, and as many again be gone."""


class MemberStatus(IntEnum):
    """What Serf believes of a member; the numbers are those of conflict answers."""

    NONE = 0
    ALIVE = 1
    LEAVING = 2
    LEFT = 3
    FAILED = 4

    def __str__(self) -> str:
        """Return the word of the HTTP API and of `serf members`."""
        return self.name.lower()


GONE: Mapping[MemberStatus, MemberStatus] = {
    MemberStatus.ALIVE: MemberStatus.FAILED,
    MemberStatus.LEAVING: MemberStatus.LEFT,
}
"""memberlist says that the node is dead or left: now → then. Other states stay as they are."""

LEAVE_INTENT: Mapping[MemberStatus, MemberStatus] = {
    MemberStatus.ALIVE: MemberStatus.LEAVING,
    MemberStatus.FAILED: MemberStatus.LEFT,
}
"""A newer leave intent: now → then. Other states stay as they are."""

JOIN_INTENT: Mapping[MemberStatus, MemberStatus] = {
    MemberStatus.LEAVING: MemberStatus.ALIVE,
}
"""A newer join intent: now → then. Other states stay as they are."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member as its pool sees it; a value that does not change.

    Attributes:
        address: 4 or 16 raw bytes.
    """

    name: str
    address: bytes
    port: int
    tags: Mapping[str, str]
    status: MemberStatus
    protocol_min: int
    protocol_max: int
    protocol_cur: int
    delegate_min: int
    delegate_max: int
    delegate_cur: int

    @property
    def host(self) -> str:
        """The IP address as text; `?` and hex digits, as Go writes it, where it is none.

        The table holds no such members, but a peer's answer to a look may show some.
        """
        if len(self.address) not in ADDRESS_SIZES:
            return f"?{self.address.hex()}"
        return ip_text(self.address)


class MemberRecord:
    """One row of the table. `left_at` is when it became left or failed, engine seconds."""

    __slots__ = (
        "address",
        "left_at",
        "name",
        "port",
        "public",
        "status",
        "status_ltime",
        "tags",
        "versions",
    )

    def __init__(
        self, name: str, address: bytes, port: int, tags: Mapping[str, str], versions: bytes
    ) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.tags = tags
        self.versions = versions
        self.status = MemberStatus.ALIVE
        self.status_ltime = 0
        self.left_at: float | None = None
        self.public: Member | None = None

    @property
    def destination(self) -> Address:
        """Where packets to it go."""
        return address_of(self.address, self.port)

    @property
    def protocol_max(self) -> int:
        """The highest memberlist protocol version it speaks."""
        return self.versions[1]


class MemberTable:
    """Members by name. `version` grows with every change that `members()` shows."""

    __slots__ = ("_records", "version")

    def __init__(self) -> None:
        self._records: dict[str, MemberRecord] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[MemberRecord]:
        return iter(self._records.values())

    def get(self, name: str) -> MemberRecord | None:
        """Return the row of that name, None when there is none."""
        return self._records.get(name)

    def add(self, record: MemberRecord) -> None:
        """Enter a new member."""
        self._records[record.name] = record
        self.version += 1

    def erase(self, record: MemberRecord) -> None:
        """Drop a member."""
        del self._records[record.name]
        self.version += 1

    def changed(self, record: MemberRecord) -> None:
        """Note that a row shows something else now."""
        record.public = None
        self.version += 1

    def count(self, status: MemberStatus) -> int:
        """Return how many members have a status."""
        return sum(record.status is status for record in self._records.values())

    def public(self, record: MemberRecord) -> Member:
        """Return a row as a value."""
        if record.public is None:
            record.public = make_member(
                record.name,
                record.address,
                record.port,
                record.tags,
                record.status,
                record.versions,
            )
        return record.public

    def members(self) -> list[Member]:
        """Return all members, of every status, in the order in which they came."""
        return [self.public(record) for record in self._records.values()]


def make_member(
    name: str,
    address: bytes,
    port: int,
    tags: Mapping[str, str],
    status: MemberStatus,
    versions: bytes,
) -> Member:
    """Return a member from its parts; missing version bytes read as 0."""
    padded = versions[:6].ljust(6, b"\0")
    return Member(
        name,
        address,
        port,
        tags,
        status,
        padded[0],
        padded[1],
        padded[2],
        padded[3],
        padded[4],
        padded[5],
    )
