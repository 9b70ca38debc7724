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

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .quoting import readable
from .server_tags import is_server
from .stats import gossip_section, runtime_section, serf_section

if TYPE_CHECKING:
    from ..gossip.pool import JoinResult, PoolStatistics
    from ..gossip.serf.members import Member

SERVER_ROLE = "server"
CLIENT_ROLE = "client"


class JoinUnavailable(Exception):
    """A join was asked for while the agent leaves, or after; `str()` is the answer's `error`."""


class PoolView(Protocol):
    """The part of the gossip pool the service uses; `gossip.pool.Pool` has it, tests have fakes."""

    def members(self) -> list[Member]: ...
    def local_member(self) -> Member: ...
    def statistics(self) -> PoolStatistics: ...
    async def join(self, addresses: Sequence[str]) -> JoinResult: ...


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
    ) -> None:
        self.node_name = node_name
        self.region = region
        self.datacenter = datacenter
        self.has_server = has_server
        self.has_client = has_client
        self.response_headers = response_headers
        self._pool = pool
        self._config = config
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
        from ..gossip.pool import PoolClosed

        try:
            return await self._pool.join(addresses)
        except PoolClosed as error:
            raise JoinUnavailable(str(error)) from error

    def self_document(self) -> dict[str, Any]:
        """Return the whole answer of GET /v1/agent/self: `config`, `member` and `stats`.

        All values in `stats` are strings, grouped in sections of roles that exist.
        """
        return {
            "config": dict(self._config),
            "member": member_document(self._pool.local_member()),
            "stats": self._stats(),
        }

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


def member_document(member: Member) -> dict[str, Any]:
    """Return a member as the API writes it (an element of `Members`, and `member` of self)."""
    return {
        "Addr": member.host,
        "DelegateCur": member.delegate_cur,
        "DelegateMax": member.delegate_max,
        "DelegateMin": member.delegate_min,
        "Name": readable(member.name),
        "Port": member.port,
        "ProtocolCur": member.protocol_cur,
        "ProtocolMax": member.protocol_max,
        "ProtocolMin": member.protocol_min,
        "Status": member.status.name.lower(),
        "Tags": {readable(key): readable(value) for key, value in member.tags.items()},
    }
