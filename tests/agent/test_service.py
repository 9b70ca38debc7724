"""The agent as the HTTP layer sees it."""

from __future__ import annotations

from typing import Any

import pytest
from rookery.agent.service import AgentService, JoinUnavailable, member_document
from rookery.gossip.pool import JoinError, JoinResult
from rookery.gossip.serf.members import MemberStatus

from .fakes import FakePool
from .members import NOMAD_TAGS, make_member


def make_service(pool: FakePool | None = None, **changes: Any) -> AgentService:
    """Return the service of an agent called `me`."""
    values: dict[str, Any] = {
        "node_name": "me",
        "region": "global",
        "datacenter": "dc1",
        "has_server": True,
        "has_client": True,
        "response_headers": {},
        "pool": pool or FakePool(),
        "config": {"Region": "global"},
    }
    return AgentService(**{**values, **changes})


def test_member_is_written_as_the_api_has_it() -> None:
    """Names, numbers and texts of one member."""
    assert member_document(make_member()) == {
        "Addr": "10.0.0.1",
        "DelegateCur": 4,
        "DelegateMax": 5,
        "DelegateMin": 2,
        "Name": "web-1.global",
        "Port": 4648,
        "ProtocolCur": 2,
        "ProtocolMax": 5,
        "ProtocolMin": 1,
        "Status": "alive",
        "Tags": NOMAD_TAGS,
    }


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (MemberStatus.ALIVE, "alive"),
        (MemberStatus.LEAVING, "leaving"),
        (MemberStatus.LEFT, "left"),
        (MemberStatus.FAILED, "failed"),
        (MemberStatus.NONE, "none"),
    ],
)
def test_status_is_a_word(status: MemberStatus, text: str) -> None:
    """The API says statuses in lower case."""
    assert member_document(make_member(status=status))["Status"] == text


def test_member_of_ipv6_and_without_tags() -> None:
    """IPv6 is written without brackets, and Tags is an object even when there are none."""
    document = member_document(make_member(address=bytes(15) + b"\x01", tags={}))
    assert (document["Addr"], document["Tags"]) == ("::1", {})


def test_undecodable_bytes_of_a_peer_can_be_written_as_json() -> None:
    """Names and tags that are no UTF-8 become texts any encoder takes."""
    document = member_document(make_member("a\udcff", tags={"k\udcfe": "v\udcfd"}))
    assert document["Name"] == "a\ufffd"
    assert document["Tags"] == {"k\ufffd": "v\ufffd"}


def test_members_document_names_the_server_and_lists_every_status() -> None:
    """The answer of /v1/agent/members, members by name, whatever their status."""
    pool = FakePool()
    pool.table += [
        make_member("z.global", status=MemberStatus.FAILED),
        make_member("a.global", status=MemberStatus.LEFT),
    ]
    document = make_service(pool).members_document()
    assert [member["Name"] for member in document.pop("Members")] == [
        "a.global",
        "me.global",
        "z.global",
    ]
    assert document == {"ServerDC": "dc1", "ServerName": "me", "ServerRegion": "global"}


def test_members_version_changes_with_the_table_and_only_then() -> None:
    """Any change of any member is a new version; asking again is not."""
    pool = FakePool()
    service = make_service(pool)
    versions = [service.members_version()]
    for table in (
        [make_member("me.global"), make_member("b")],
        [make_member("me.global"), make_member("b", status=MemberStatus.LEAVING)],
        [make_member("me.global"), make_member("b", tags={"a": "b"})],
        [make_member("me.global")],
    ):
        pool.table = table
        versions.append(service.members_version())
        assert service.members_version() == versions[-1]
    assert len(set(versions)) == len(versions)


async def test_join_is_the_pools() -> None:
    """Addresses go to the pool as they are, and its result comes back."""
    pool = FakePool()
    pool.result = JoinResult(1, (JoinError("b", "Failed to join b: no"),))
    assert await make_service(pool).join(["a", "b"]) == pool.result
    assert pool.joined == [("a", "b")]


async def test_join_while_leaving_is_told_apart() -> None:
    """An agent that leaves answers with Serf's text."""
    pool = FakePool()
    pool.is_closed = True
    with pytest.raises(JoinUnavailable, match="Serf can't Join after Leave or Shutdown"):
        await make_service(pool).join(["a"])


async def test_self_document_has_its_three_parts() -> None:
    """Configuration, the local member, and sections of texts."""
    document = make_service().self_document()
    assert document["config"] == {"Region": "global"}
    assert document["member"]["Name"] == "me.global"
    assert set(document["stats"]) == {"runtime", "serf", "gossip"}
    values = [value for section in document["stats"].values() for value in section.values()]
    assert all(isinstance(value, str) for value in values)


@pytest.mark.parametrize(
    ("has_client", "roles", "checked"),
    [
        (True, None, {"server": (True, "ok"), "client": (True, "ok")}),
        (False, None, {"server": (True, "ok")}),
        (True, {"client"}, {"client": (True, "ok")}),
        (True, {"server"}, {"server": (True, "ok")}),
        (False, {"client"}, {"client": (False, "client not enabled")}),
        (True, {"foo"}, {}),
        (True, set(), {}),
        (True, {"server", "client", ""}, {"server": (True, "ok"), "client": (True, "ok")}),
    ],
)
async def test_health_checks_the_roles_asked_for(
    has_client: bool, roles: set[str] | None, checked: dict[str, tuple[bool, str]]
) -> None:
    """Without names every role there is; a named role that is missing has failed."""
    service = make_service(has_client=has_client)
    asked = None if roles is None else frozenset(roles)
    assert await service.health(asked, stale=False) == checked


async def test_server_role_that_is_off_is_not_healthy_when_named() -> None:
    """`type=server` on an agent without that role."""
    service = make_service(has_server=False)
    assert await service.health(frozenset({"server"}), stale=True) == {
        "server": (False, "server not enabled")
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"status": MemberStatus.FAILED},
        {"tags": {**NOMAD_TAGS, "region": "eu"}},
        {"tags": {}},
    ],
)
async def test_client_without_known_servers_is_not_healthy(changes: dict[str, Any]) -> None:
    """Only alive servers of the agent's own region count."""
    pool = FakePool()
    pool.table = [make_member(**changes)]
    assert await make_service(pool).health(frozenset({"client"}), stale=False) == {
        "client": (False, "no known servers")
    }
