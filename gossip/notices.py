"""What an engine tells its owner: values, in the order in which things happened.

Member notices are the public event stream of a pool. Operation notices end something the owner
started (a join, a look, a leave). Remarks are what an operator would want in a log; the core
writes no logs itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .addresses import Address
from .serf.key_outcome import KeyOutcome
from .serf.members import Member


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member is alive that was unknown, left or failed before (Serf's member-join)."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """An alive member changed its tags, address or versions (member-update)."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member left on purpose, or was told to have left by force-leave (member-leave)."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """A member stopped answering and was declared dead (member-failed)."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberReaped:
    """A member was erased from the table (member-reap)."""

    member: Member


MemberNotice = MemberJoined | MemberUpdated | MemberLeft | MemberFailed | MemberReaped


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Two nodes claim one name; the table keeps `existing` and the claim is ignored."""

    name: str
    existing: Address
    claimed: Address


@dataclass(frozen=True, slots=True)
class UserEventReceived:
    """A user event, delivered once.

    `coalesce` says that an older one of the name may be dropped.
    """

    ltime: int
    name: str
    payload: bytes
    coalesce: bool


@dataclass(frozen=True, slots=True)
class QueryReceived:
    """A query for the application: answer it by `respond(ltime, id, payload)` before `deadline`.

    `deadline` is in the engine's seconds.
    """

    ltime: int
    id: int
    name: str
    payload: bytes
    source: str
    deadline: float


@dataclass(frozen=True, slots=True)
class QueryAcked:
    """A member has got a query of ours."""

    ltime: int
    id: int
    sender: str


@dataclass(frozen=True, slots=True)
class QueryAnswered:
    """A member answered a query of ours."""

    ltime: int
    id: int
    sender: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class QueryFinished:
    """The deadline of a query of ours has come; the numbers of members that acked and answered."""

    ltime: int
    id: int
    acks: int
    responses: int


@dataclass(frozen=True, slots=True)
class ForceLeaveFinished:
    """A force-leave was broadcast, or `error` says why not."""

    operation: int
    error: str | None


@dataclass(frozen=True, slots=True)
class KeyOperationFinished:
    """A key operation is over; what each member said is in `outcome`."""

    operation: int
    outcome: KeyOutcome


@dataclass(frozen=True, slots=True)
class NameConflictLost:
    """The pool knows our name by another address: we should shut down.

    `matching` of `votes` members voted for us.
    """

    name: str
    matching: int
    votes: int


@dataclass(frozen=True, slots=True)
class KeyringChanged:
    """A key query of the pool changed our keyring; the owner should write it to its file."""


@dataclass(frozen=True, slots=True)
class PushPullFinished:
    """A push-pull that the owner started is over.

    `error` is None on success. `nodes` is what the peer showed, whatever became of the merge.
    """

    operation: int
    error: str | None
    nodes: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class PingFinished:
    """A manual ping is over; `rtt` in seconds, None when no answer came in the probe time-out."""

    operation: int
    rtt: float | None


@dataclass(frozen=True, slots=True)
class LeaveFinished:
    """The graceful leave was broadcast and given time to travel: the shell may stop."""


@dataclass(frozen=True, slots=True)
class InputRejected:
    """Something from a peer was refused.

    Rate-limited per reason: `count` were, since the last notice.
    """

    reason: str
    source: Address | None
    detail: str
    count: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Worth a log line: an event name, its keys, and a level (debug, info, warning, error)."""

    name: str
    fields: Mapping[str, object] = field(default_factory=dict)
    level: str = "info"


Notice = (
    MemberNotice
    | NameConflict
    | UserEventReceived
    | QueryReceived
    | QueryAcked
    | QueryAnswered
    | QueryFinished
    | ForceLeaveFinished
    | KeyOperationFinished
    | NameConflictLost
    | KeyringChanged
    | PushPullFinished
    | PingFinished
    | LeaveFinished
    | InputRejected
    | Remark
)
