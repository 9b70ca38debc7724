"""Members for tests."""

from __future__ import annotations

from typing import Any

from rookery.gossip.serf.members import Member, MemberStatus

NOMAD_TAGS = {
    "role": "nomad",
    "region": "global",
    "dc": "dc1",
    "vsn": "1",
    "build": "1.2.6",
    "port": "4647",
    "id": "8d5e6f3c-0000-4000-8000-000000000001",
}


def make_member(name: str = "web-1.global", **changes: Any) -> Member:
    """Return a Nomad server's member, with changes."""
    values: dict[str, Any] = {
        "name": name,
        "address": bytes((10, 0, 0, 1)),
        "port": 4648,
        "tags": NOMAD_TAGS,
        "status": MemberStatus.ALIVE,
        "protocol_min": 1,
        "protocol_max": 5,
        "protocol_cur": 2,
        "delegate_min": 2,
        "delegate_max": 5,
        "delegate_cur": 4,
    }
    return Member(**{**values, **changes})
