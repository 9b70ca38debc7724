"""The tags members see."""

from __future__ import annotations

import msgspec
import pytest
from rookery.agent.server_tags import is_server, server_tags
from rookery.agent.settings import DEV_MODE, Server
from rookery.agent.version import VERSION
from rookery.gossip.serf.tags import encode_tags


def tags(expect: int = 1, **settings: str) -> dict[str, str]:
    """Return the tags of a server."""
    changed = msgspec.structs.replace(
        DEV_MODE, server=Server(enabled=True, bootstrap_expect=expect), **settings
    )
    return server_tags(changed, server_id="an-id", rpc_host="10.0.0.1", rpc_port=4647)


def test_tags_are_nomads_and_one_of_ours() -> None:
    """A member shows Nomad's tags of version 1.2.6, and `rookery` with our version."""
    assert tags(region="eu", datacenter="dc2") == {
        "role": "nomad",
        "region": "eu",
        "dc": "dc2",
        "vsn": "1",
        "mvn": "1",
        "build": "1.2.6",
        "raft_vsn": "2",
        "id": "an-id",
        "rpc_addr": "10.0.0.1",
        "port": "4647",
        "expect": "1",
        "bootstrap": "1",
        "rookery": VERSION,
    }


@pytest.mark.parametrize(
    ("expect", "expected"),
    [(0, {}), (1, {"expect": "1", "bootstrap": "1"}), (3, {"expect": "3"})],
)
def test_bootstrap_tags_follow_the_expected_number(expect: int, expected: dict[str, str]) -> None:
    """`bootstrap` only for a single server, `expect` only where there is a number."""
    found = tags(expect)
    assert {key: found[key] for key in ("expect", "bootstrap") if key in found} == expected


def test_our_tags_count_as_a_server_and_fit() -> None:
    """Nomad's own test accepts them, and they fit into a node's meta."""
    assert is_server(tags())
    assert len(encode_tags(tags())) <= 512
