"""docs/gossip-api.md says what the code does: endpoints, methods, limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rookery.agent.event_ring import EVENTS_KEPT_MAX
from rookery.gossip.evidence import EVIDENCE_PER_MEMBER_MAX, EvidenceKind
from rookery.gossip.serf.asking import QUERY_SIZE_LIMIT
from rookery.gossip.serf.settings import SerfSettings
from rookery.gossip.wire.limits import META_SIZE_MAX
from rookery.http.api import build_api
from rookery.http.gossip_events import EVENT_STREAMS_MAX
from rookery.http.gossip_queries import QUERY_STREAMS_MAX
from rookery.http.json_lines import HEARTBEAT_INTERVAL
from rookery.http.json_reading import JSON_SIZE_MAX

TEXT = (Path(__file__).parents[2] / "docs" / "gossip-api.md").read_text()
HEADINGS = re.findall(r"^### (.*) (/v1/gossip/\S+)$", TEXT, re.MULTILINE)


def test_every_endpoint_is_documented(service, counters) -> None:
    """And nothing else is."""
    routed = {path for path in build_api(service, counters)._router._exact if "gossip" in path}
    assert {path for _, path in HEADINGS} == routed


@pytest.mark.parametrize(("methods", "path"), HEADINGS)
async def test_documented_methods_are_those_there_are(connect, methods, path) -> None:
    """Every other one is refused."""
    for method in ("GET", "PUT", "POST", "DELETE"):
        async with connect() as client:
            answer = await client.request(path, method)
            assert (answer.status == 405) == (method not in methods.split(" | ")), method


def test_documented_limits_are_those_there_are() -> None:
    """The table names each with its value."""
    default = SerfSettings.__dataclass_fields__["user_event_size_limit"].default
    for name, value in [
        ("event: name", f"{default} bytes"),
        ("query, as", f"{QUERY_SIZE_LIMIT} bytes"),
        ("own tags", f"{META_SIZE_MAX} bytes"),
        ("events kept", f"{EVENTS_KEPT_MAX}"),
        ("event streams", f"{EVENT_STREAMS_MAX}"),
        ("queries of clients", f"{QUERY_STREAMS_MAX}"),
        ("a JSON body", f"{JSON_SIZE_MAX // 1024} KiB"),
    ]:
        assert re.search(rf"^\| {name}[^|]*\| {value} \|", TEXT, re.MULTILINE), name
    assert f"After {HEARTBEAT_INTERVAL:.0f} s of silence" in TEXT
    assert f"at most {EVIDENCE_PER_MEMBER_MAX} records" in TEXT


def test_documented_kinds_of_evidence_are_those_there_are() -> None:
    """In the order of the code."""
    listed = re.search(r"`Kind` is one of `([^`]*)`", TEXT)
    assert listed is not None
    assert listed[1].split() == [kind.value for kind in EvidenceKind]
