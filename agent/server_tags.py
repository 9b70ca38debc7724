"""The tags a server carries in the gossip pool.

Nomad's servers and clients, and the `server members` command, read them: a member counts as a
server only with `role=nomad`, a numeric `port` and `vsn`, and a `build` that parses (public API:
`setupSerf` in Nomad's `nomad/server.go`, `isNomadServer` in `nomad/util.go`). One tag is ours:
`rookery`, our version. Its presence tells members of this kind from real Nomad servers, which
`nomad_guard.py` depends on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .settings import AgentSettings
from .version import NOMAD_API_LEVEL, VERSION

ROLE = "nomad"
ROOKERY_TAG = "rookery"

API_MAJOR = "1"
API_MINOR = "1"

RAFT_PROTOCOL = "2"
"""What Nomad 1.2 announces by default."""

_BUILD = re.compile(r"[0-9]+(\.[0-9]+){0,2}([-+~.].*)?|[0-9]+(\.[0-9]+)*[a-z].*")


def server_tags(
    settings: AgentSettings, *, server_id: str, rpc_host: str, rpc_port: int
) -> dict[str, str]:
    """Return the tags of this server.

    Args:
        settings: The agent's settings.
        server_id: Its UUID.
        rpc_host: IP text that clients and servers reach its RPC port at.
        rpc_port: That port.
    """
    tags = {
        "role": ROLE,
        "region": settings.region,
        "dc": settings.datacenter,
        "vsn": API_MAJOR,
        "mvn": API_MINOR,
        "build": NOMAD_API_LEVEL,
        "raft_vsn": RAFT_PROTOCOL,
        "id": server_id,
        "rpc_addr": rpc_host,
        "port": str(rpc_port),
        ROOKERY_TAG: VERSION,
    }
    expect = settings.server.bootstrap_expect
    if expect:
        tags["expect"] = str(expect)
    if expect == 1:
        tags["bootstrap"] = "1"
    return tags


def is_server(tags: Mapping[str, str]) -> bool:
    """Whether a member with these tags counts as a server, ours or Nomad's."""
    return (
        tags.get("role") == ROLE
        and _is_number(tags.get("port", ""))
        and _is_number(tags.get("vsn", ""))
        and _BUILD.fullmatch(tags.get("build", "")) is not None
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
