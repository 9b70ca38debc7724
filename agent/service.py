"""What the HTTP layer may ask of the agent.

`AgentService` is the one seam between http/ and the agent: http/ turns requests into calls here and
answers into bytes, and reaches neither the pool nor the settings in any other way. Documents come
back as plain dicts with the keys they have on the wire (public API:
`command/agent/agent_endpoint.go` in Nomad 1.2), so that encoding, `pretty` and gzip stay http's
business and contents stay ours.

What it leaves out: status codes, parameters, the text that joins several errors into one. Those are
rules of HTTP answers and live in http/.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ..gossip.notices import QueryAcked, QueryAnswered
from ..gossip.pool import ForceLeaveError, PoolClosed
from ..gossip.serf.asking import QueryRefused, Question
from ..gossip.serf.engine import EventRefused
from ..gossip.serf.members import MemberStatus
from .event_ring import EventFeed, EventRing
from .gossip_documents import (
    Document,
    base64_text,
    coordinate_document,
    evidence_document,
    member_document,
)
from .keyring_requests import KeyringRequestError, change_keys
from .own_tags import OwnTags, TagRefused
from .quoting import readable
from .server_tags import is_server
from .stats import gossip_section, runtime_section, serf_section

if TYPE_CHECKING:
    from ..gossip.pool import JoinResult, PoolStatistics
    from ..gossip.query_stream import QueryStream
    from ..gossip.serf.coordinates import Coordinate
    from ..gossip.serf.key_outcome import KeyOutcome
    from ..gossip.serf.members import Member
    from ..gossip.timed_evidence import TimedEvidence

__all__ = [
    "AgentService",
    "EventFeed",
    "EventRefused",
    "ForceLeaveError",
    "GossipUnavailable",
    "JoinUnavailable",
    "KeyringRequestError",
    "PoolView",
    "QueryRefused",
    "Question",
    "TagRefused",
    "member_document",
]

SERVER_ROLE = "server"
CLIENT_ROLE = "client"

PING_QUERY = "_serf_ping"
"""The query that every member acknowledges and nobody answers."""

LIVE_STATUSES = (MemberStatus.ALIVE, MemberStatus.LEAVING)
"""Members that can be expected to acknowledge."""


class JoinUnavailable(Exception):
    """A join was asked for while the agent leaves, or after; `str()` is the answer's `error`."""


class GossipUnavailable(Exception):
    """The gossip pool is not running (any more); `str()` says so. Nothing was done."""


class PoolView(Protocol):
    """The part of the gossip pool the service uses; `gossip.pool.Pool` has it, tests have fakes."""

    def members(self) -> list[Member]: ...
    def local_member(self) -> Member: ...
    def statistics(self) -> PoolStatistics: ...
    async def join(self, addresses: Sequence[str]) -> JoinResult: ...
    async def force_leave(self, name: str, *, prune: bool = False) -> None: ...
    async def change_keys(self, operation: str, key: bytes = b"") -> KeyOutcome: ...
    def user_event(self, name: str, payload: bytes, *, coalesce: bool = True) -> int: ...
    def query(self, question: Question) -> QueryStream: ...
    def respond(self, ltime: int, query_id: int, payload: bytes) -> None: ...
    def evidence_of(self, name: str) -> list[TimedEvidence]: ...
    def coordinate_of(self, name: str) -> Coordinate | None: ...
    def estimated_rtt(self, one: str, other: str) -> float | None: ...
    def set_tags(self, tags: Mapping[str, str]) -> None: ...


class AgentService:
    """One running agent, as the HTTP layer sees it. Everything but `join` and `health` is at once.

    Attributes:
        node_name: The bare node name; the member's name is `<node_name>.<region>`.
        region: The agent's own region.
        datacenter: The agent's datacenter.
        has_server: Whether the server role is on (without it, join answers 501).
        has_client: Whether the client role is on.
        response_headers: Headers to set on every /v1 answer (`http_api_response_headers`).
    """

    def __init__(
        self,
        *,
        node_name: str,
        region: str,
        datacenter: str,
        has_server: bool,
        has_client: bool,
        response_headers: Mapping[str, str],
        pool: PoolView,
        config: Mapping[str, Any],
        tags: OwnTags | None = None,
        events: EventRing | None = None,
    ) -> None:
        self.node_name = node_name
        self.region = region
        self.datacenter = datacenter
        self.has_server = has_server
        self.has_client = has_client
        self.response_headers = response_headers
        self._pool = pool
        self._config = config
        self._tags = tags or OwnTags({}, {})
        self._events = events or EventRing()
        self._members_seen: list[Member] = []
        self._members_version = 0

    def members_document(self) -> dict[str, Any]:
        """Return the whole answer of GET /v1/agent/members, members sorted by name."""
        members = sorted(self._pool.members(), key=lambda member: member.name)
        return {
            "Members": [member_document(member) for member in members],
            "ServerDC": self.datacenter,
            "ServerName": self.node_name,
            "ServerRegion": self.region,
        }

    def members_version(self) -> int:
        """Return a number that changes whenever `members_document` would answer differently.

        For keeping an encoded answer. It compares the table itself and trusts no event: a member
        that turns `leaving` causes none. The engine hands out the same object for an unchanged
        member, so this is one identity check a member.
        """
        members = self._pool.members()
        if members != self._members_seen:
            self._members_seen = members
            self._members_version += 1
        return self._members_version

    async def join(self, addresses: Sequence[str]) -> JoinResult:
        """Join the pools at `addresses` (texts as the client gave them), trying every one.

        Never raises for an address that fails: its text is in the result's `errors`, in order.

        Raises:
            JoinUnavailable: The agent is leaving or has left; nothing was tried.
        """
        try:
            return await self._pool.join(addresses)
        except PoolClosed as error:
            raise JoinUnavailable(str(error)) from error

    # --- operating the pool --------------------------------------------------------------------

    async def force_leave(self, name: str, *, prune: bool) -> None:
        """Tell the pool that a failed member has left; with `prune`, that it is to be forgotten.

        Returns when it was broadcast. A stranger's name, and a member that is not failed, are no
        errors.

        Raises:
            ForceLeaveError: It could not be broadcast in time.
            GossipUnavailable: The pool is not running.
        """
        with _pool_running():
            await self._pool.force_leave(name, prune=prune)

    async def keyring(self, operation: str, key_base64: str = "") -> KeyOutcome:
        """Change the keys of all members: `list`, `install`, `use` or `remove`.

        Args:
            operation: Which of these.
            key_base64: The key; a list has none.

        Raises:
            KeyringRequestError: It failed in full or in part; `str()` is the answer's text.
            GossipUnavailable: The pool is not running.
        """
        with _pool_running():
            return await change_keys(self._pool, operation, key_base64)

    def fire_event(self, name: str, payload: bytes, coalesce: bool) -> Document:
        """Send a user event to everybody; return `{"LTime","Name","Payload","Coalesce"}`.

        Raises:
            EventRefused: It is too large.
            GossipUnavailable: The pool is not running.
        """
        with _pool_running():
            ltime = self._pool.user_event(name, payload, coalesce=coalesce)
        return {
            "LTime": ltime,
            "Name": name,
            "Payload": base64_text(payload),
            "Coalesce": coalesce,
        }

    def events_since(self, index: int | None) -> EventFeed:
        """Return a reader of what came after number `index`; None: of what is still to come.

        Iterating it follows the events and ends with the agent; `ready()` gives what is there now.
        Documents have `Index`, `Time` and `Type`:

        - `user-event` with `LTime`, `Name`, `Payload` (base64), `Coalesce`;
        - `query`, one for the application, with `LTime`, `ID`, `Name`, `Payload`, `From`; `respond`
          answers it;
        - `member-join`, `-leave`, `-failed`, `-update`, `-reap` with `Member`;
        - `lost` with `Count`, in place of events that are not kept any more (0: the number is of
          an earlier life of the agent, how many is not known); it has no `Time`.
        """
        return self._events.feed(index)

    def query(self, question: Question) -> AsyncIterator[Document]:
        """Ask the pool, now; what comes back is yielded until the query's deadline.

        Documents are `{"Type":"ack","From"}`, `{"Type":"response","From","Payload"}` and at the end
        `{"Type":"done","Acks","Responses"}`. The query ends early when the iterator is closed.

        Raises:
            QueryRefused: It is too large, has impossible parameters, or too many are open.
            GossipUnavailable: The pool is not running.
        """
        with _pool_running():
            return _answers(self._pool.query(question))

    def respond(self, ltime: int, query_id: int, payload: bytes) -> None:
        """Answer a query that the events told of, once.

        Raises:
            LookupError: There is no such query, or it is answered or over.
            ValueError: The answer is too large.
            GossipUnavailable: The pool is not running.
        """
        with _pool_running():
            self._pool.respond(ltime, query_id, payload)

    def reachability(self) -> AsyncIterator[Document]:
        """Ask every live member for an ack, now; yield them as they come, and who is missing.

        Documents are `{"Type":"ack","From"}` and at the end `{"Type":"done","Members","Acks",
        "Missing"}`: live members at the start, acks of them, names of those without. It is over
        when all have acknowledged, or at the query's deadline.

        Raises:
            QueryRefused: Too many queries are open.
            GossipUnavailable: The pool is not running.
        """
        with _pool_running():
            expected = [member.name for member in self._live_members()]
            return _acks(self._pool.query(Question(name=PING_QUERY, wants_acks=True)), expected)

    def coordinates(self) -> list[Document]:
        """Return where members stand in the network, sorted by name; unknown ones are left out."""
        found = []
        for member in sorted(self._pool.members(), key=lambda member: member.name):
            coordinate = self._pool.coordinate_of(member.name)
            if coordinate is not None:
                found.append(coordinate_document(member.name, coordinate))
        return found

    def rtt(self, one: str, other: str) -> Document:
        """Return `{"From","To","RTT"}`: the estimate in seconds, None when it is not known."""
        return {"From": one, "To": other, "RTT": self._pool.estimated_rtt(one, other)}

    def evidence(self, name: str) -> Document:
        """Return why a member has its status: `{"Name","Status","Evidence":[…]}`, oldest first.

        Raises:
            LookupError: There is no such member.
        """
        for member in self._pool.members():
            if member.name == name:
                return evidence_document(member, self._pool.evidence_of(name))
        raise LookupError(f"no member named {readable(name)!r}")

    def tags(self) -> dict[str, str]:
        """Return our own tags."""
        return self._tags.merged()

    def set_tags(self, set_tags: Mapping[str, str], delete: Iterable[str]) -> dict[str, str]:
        """Change our own tags everywhere and return them all.

        They stay until the agent ends, over `gossip.tags` of the settings also when that is
        reloaded. Deleting a tag that is not there is no error.

        Raises:
            TagRefused: One is the agent's own; nothing has changed. A ValueError.
            ValueError: They are too large (TagsTooLarge); nothing has changed.
            GossipUnavailable: The pool is not running.
        """
        return self._show_tags(self._tags.with_changes(set_tags, delete))

    def reload_tags(self, of_settings: Mapping[str, str]) -> dict[str, str]:
        """Take `gossip.tags` as read again; return our tags. Raises as `set_tags`."""
        return self._show_tags(self._tags.with_settings(of_settings))

    def _show_tags(self, tags: OwnTags) -> dict[str, str]:
        merged = tags.merged()
        with _pool_running():
            self._pool.set_tags(merged)
        self._tags = tags
        return merged

    def _live_members(self) -> list[Member]:
        return [member for member in self._pool.members() if member.status in LIVE_STATUSES]

    # --- the agent itself ----------------------------------------------------------------------

    def self_document(self) -> dict[str, Any]:
        """Return the whole answer of GET /v1/agent/self: `config`, `member` and `stats`.

        All values in `stats` are strings, grouped in sections of roles that exist.
        """
        return {
            "config": dict(self._config),
            "member": member_document(self._pool.local_member()),
            "stats": self._stats(),
        }

    def show_config(self, config: Mapping[str, Any]) -> None:
        """Show this as `config` of the self document from now on: settings were applied."""
        self._config = config

    def _stats(self) -> dict[str, dict[str, str]]:
        statistics = self._pool.statistics()
        return {
            "runtime": runtime_section(),
            "serf": serf_section(statistics),
            "gossip": gossip_section(statistics),
        }

    async def health(
        self, roles: frozenset[str] | None, *, stale: bool
    ) -> dict[str, tuple[bool, str]]:
        """Check roles; return `dict[role, (ok, message)]`, holding only roles that were checked.

        Args:
            roles: The values of `type`, or None when the request had none. None checks every role
                the agent has. A named role it lacks counts as failed; unknown names name nothing.
            stale: Answer from what is known now, without waiting for a leader.
        """
        present = {SERVER_ROLE: self.has_server, CLIENT_ROLE: self.has_client}
        checked: dict[str, tuple[bool, str]] = {}
        for role, is_present in present.items():
            if roles is None:
                if is_present:
                    checked[role] = await self._check_role(role)
            elif role in roles:
                lacking = (False, f"{role} not enabled")
                checked[role] = await self._check_role(role) if is_present else lacking
        return checked

    async def _check_role(self, role: str) -> tuple[bool, str]:
        """Check one role the agent has.

        Of a server Nomad asks for the region's leader. There are no leaders yet, so what is
        checked is what exists: the gossip pool runs, or this service would not answer. Of a client
        it asks for known servers; those are the region's servers that gossip lists as alive, on an
        agent of both roles itself among them.
        """
        if role == CLIENT_ROLE and not self._knows_servers():
            return False, "no known servers"
        return True, "ok"

    def _knows_servers(self) -> bool:
        return any(
            str(member.status) == "alive"
            and member.tags.get("region") == self.region
            and is_server(member.tags)
            for member in self._pool.members()
        )


async def _answers(stream: QueryStream) -> AsyncIterator[Document]:
    """Yield what comes back on a query."""
    with stream:
        async for notice in stream:
            if isinstance(notice, QueryAcked):
                yield {"Type": "ack", "From": readable(notice.sender)}
            else:
                payload = base64_text(notice.payload)
                yield {"Type": "response", "From": readable(notice.sender), "Payload": payload}
        finished = stream.finished
        if finished is not None:
            yield {"Type": "done", "Acks": finished.acks, "Responses": finished.responses}


async def _acks(stream: QueryStream, expected: Sequence[str]) -> AsyncIterator[Document]:
    """Yield the acks of a query and who is missing."""
    missing = dict.fromkeys(expected)
    with stream:
        async for notice in stream:
            if isinstance(notice, QueryAnswered):
                continue
            missing.pop(notice.sender, None)
            yield {"Type": "ack", "From": readable(notice.sender)}
            if not missing:
                break
    yield {
        "Type": "done",
        "Members": len(expected),
        "Acks": len(expected) - len(missing),
        "Missing": [readable(name) for name in missing],
    }


@contextmanager
def _pool_running() -> Iterator[None]:
    """Turn the pool's way to say that it does not run into ours."""
    try:
        yield
    except PoolClosed as error:
        raise GossipUnavailable(str(error)) from error
