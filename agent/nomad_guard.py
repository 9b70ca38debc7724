"""Do no harm: which pools this agent must not join.

The leader of real Nomad servers adds every new server of *its own region* that it sees in the
gossip pool to its Raft, at the address and port its tags name; an agent that answers no Raft there
costs the cluster its quorum (public API: `addRaftPeer` in Nomad's `nomad/leader.go`). In another
region it only shows up as one more region. So before a join shows us to a pool, the pool is looked
at, and one with Nomad servers of our region is refused. A failed server counts, because it may come
back and lead; one that left does not. Our own kind carries the tag `rookery` and is not meant.

With `gossip.admit = "servers"` a join also refuses pools that hold other members than servers,
which is Nomad's rule (public API: `serfMergeDelegate` in `nomad/merge.go`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..gossip.serf.members import MemberStatus
from .addresses import join_host_port
from .quoting import readable
from .server_tags import ROLE, ROOKERY_TAG, is_server
from .settings import AgentSettings

if TYPE_CHECKING:
    from ..gossip.serf.members import Member

NAMED_MAX = 3
"""Servers a refusal names; more would bury what to do."""


def admission(settings: AgentSettings) -> Callable[[Sequence[Member]], str | None]:
    """Return the check that every join runs on what it would meet: a text refuses it."""

    def check(members: Sequence[Member]) -> str | None:
        refusal = nomad_refusal(members, region=settings.region)
        if refusal is None and settings.gossip.admit == "servers":
            refusal = servers_only_refusal(members)
        return refusal

    return check


def nomad_refusal(members: Sequence[Member], *, region: str) -> str | None:
    """Return why a pool with these members must not be joined from `region`, or None if it may."""
    servers = [member for member in members if _is_real_nomad(member, region)]
    if not servers:
        return None
    named = ", ".join(
        f"{readable(member.name)} at {join_host_port(member.host, member.port)}"
        for member in servers[:NAMED_MAX]
    )
    more = f" and {len(servers) - NAMED_MAX} more" if len(servers) > NAMED_MAX else ""
    return (
        f'refused: the pool holds Nomad servers of our own region "{region}" ({named}{more}), whose'
        " leader would add this agent to its Raft; start this agent in a region of its own"
        ' (-region, or region = "…")'
    )


def servers_only_refusal(members: Sequence[Member]) -> str | None:
    """Return Nomad's text for the first member that is no server, or None when all are."""
    for member in members:
        if member.status is not MemberStatus.LEFT and not is_server(member.tags):
            return f"member '{readable(member.name)}' is not a server"
    return None


def _is_real_nomad(member: Member, region: str) -> bool:
    """Whether a member is a Nomad server, not one of our kind, that may be in our region's Raft."""
    tags = member.tags
    return (
        tags.get("role") == ROLE
        and ROOKERY_TAG not in tags
        and tags.get("region") == region
        and member.status is not MemberStatus.LEFT
    )
