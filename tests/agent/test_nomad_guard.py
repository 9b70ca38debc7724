"""Which pools must not be joined."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from rookery.agent.nomad_guard import (
    NAMED_MAX,
    admission,
    nomad_refusal,
    servers_only_refusal,
)
from rookery.agent.settings import DEV_MODE, Gossip
from rookery.gossip.serf.members import MemberStatus

from .members import NOMAD_TAGS, make_member


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [
        ({}, True),
        ({"status": MemberStatus.LEAVING}, True),
        ({"status": MemberStatus.FAILED}, True),
        ({"status": MemberStatus.LEFT}, False),
        ({"tags": {**NOMAD_TAGS, "region": "eu"}}, False),
        ({"tags": {**NOMAD_TAGS, "rookery": "0.1.0"}}, False),
        ({"tags": {**NOMAD_TAGS, "role": "node"}}, False),
        ({"tags": {"role": "nomad", "region": "global"}}, True),
        ({"tags": {}}, False),
    ],
)
def test_real_nomad_servers_of_our_region_are_refused(
    changes: dict[str, Any], is_refused: bool
) -> None:
    """A member counts if it is Nomad's, of our region, not ours, and has not left."""
    refusal = nomad_refusal([make_member(**changes)], region="global")
    assert (refusal is not None) is is_refused


def test_refusal_says_why_and_what_to_do() -> None:
    """It names the region, the servers, the danger and the way out, in one line."""
    refusal = nomad_refusal([make_member()], region="global")
    assert refusal is not None
    for part in ('"global"', "web-1.global at 10.0.0.1:4648", "Raft", "-region"):
        assert part in refusal
    assert "\n" not in refusal


def test_refusal_names_a_few_servers_and_counts_the_rest() -> None:
    """A large pool does not make a large message."""
    members = [make_member(f"n{number}.global") for number in range(NAMED_MAX + 2)]
    refusal = nomad_refusal(members, region="global")
    assert refusal is not None
    assert f"n{NAMED_MAX - 1}.global" in refusal
    assert f"n{NAMED_MAX}.global" not in refusal
    assert "and 2 more" in refusal


def test_one_nomad_server_among_others_is_enough() -> None:
    """Plain Serf agents and our own kind around it change nothing."""
    others = [make_member("serf", tags={}), make_member("r", tags={**NOMAD_TAGS, "rookery": "1"})]
    assert nomad_refusal(others, region="global") is None
    assert nomad_refusal([*others, make_member()], region="global") is not None


def test_empty_pool_may_be_joined() -> None:
    """There is nothing to harm."""
    assert nomad_refusal([], region="global") is None


def test_name_that_is_no_text_does_not_break_the_refusal() -> None:
    """Undecodable bytes in a peer's name are replaced."""
    refusal = nomad_refusal([make_member("a\udcff")], region="global")
    assert refusal is not None
    refusal.encode()


@pytest.mark.parametrize(
    ("tags", "is_server"),
    [
        (NOMAD_TAGS, True),
        ({**NOMAD_TAGS, "build": "1.8.0-dev+ent"}, True),
        ({**NOMAD_TAGS, "build": "0.5.5dev"}, True),
        ({**NOMAD_TAGS, "build": "x"}, False),
        ({**NOMAD_TAGS, "build": ""}, False),
        ({**NOMAD_TAGS, "port": "http"}, False),
        ({**NOMAD_TAGS, "vsn": ""}, False),
        ({**NOMAD_TAGS, "role": "node"}, False),
        ({}, False),
    ],
)
def test_servers_only_refuses_what_is_no_server(tags: dict[str, str], is_server: bool) -> None:
    """With admit = "servers" Nomad's test and text hold."""
    refusal = servers_only_refusal([make_member("x", tags=tags)])
    assert refusal == (None if is_server else "member 'x' is not a server")


def test_servers_only_ignores_members_that_left() -> None:
    """Who has left is no part of the pool."""
    assert servers_only_refusal([make_member(tags={}, status=MemberStatus.LEFT)]) is None


@pytest.mark.parametrize(("admit", "is_refused"), [("any", False), ("servers", True)])
def test_admission_follows_the_setting(admit: str, is_refused: bool) -> None:
    """Plain Serf agents are welcome unless `servers` is set."""
    settings = msgspec.structs.replace(DEV_MODE, gossip=Gossip(admit=admit))  # type: ignore[arg-type]
    check = admission(settings)
    assert (check([make_member("serf", tags={})]) is not None) is is_refused
    assert check([make_member()]) is not None
    assert check([make_member(tags={**NOMAD_TAGS, "region": "eu"})]) is None
