"""Sizes of events, queries, answers and tags, at their limits, on a real agent's pool of one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rookery.agent.own_tags import OwnTags
from rookery.agent.service import AgentService
from rookery.gossip import PoolSettings, open_pool
from rookery.http.api import build_api

Send = Callable[[str, bytes], Awaitable[Any]]


@pytest.fixture
def sending(connect, counters) -> Callable[[], Any]:
    """Return a context manager whose value PUTs to an API over a real pool."""

    @asynccontextmanager
    async def sending() -> AsyncIterator[Send]:
        settings = PoolSettings(node_name="a.global", bind="127.0.0.1", port=0, profile="local")
        async with open_pool(settings) as pool:
            service = AgentService(
                node_name="a",
                region="global",
                datacenter="dc1",
                has_server=True,
                has_client=False,
                response_headers={},
                pool=pool,
                config={},
                tags=OwnTags({}, {}),
            )
            api = build_api(service, counters)

            async def send(target: str, body: bytes) -> Any:
                async with connect(application=api) as client:
                    return await client.request(target, "PUT", body=body)

            yield send

    return sending


async def accepted_and_refused(send: Send, target: str, size_max: int) -> tuple[int, int, str]:
    """Return the largest body that is accepted, the smallest refused, and the refusal's text."""
    low, high, text = 0, size_max + 1, ""
    while high - low > 1:
        size = (low + high) // 2
        answer = await send(target, b"x" * size)
        if answer.status == 200:
            low = size
        else:
            assert answer.status == 400
            high, text = size, answer.text
    return low, high, text


@pytest.mark.parametrize(
    ("target", "limit", "text"),
    [
        (
            "/v1/gossip/event?name=deploy",
            512,
            "user event exceeds configured limit of 512 bytes after encoding: it has 513",
        ),
        (
            "/v1/gossip/query?name=uptime&timeout=1ms",
            1024,
            "query exceeds limit of 1024 bytes: it has 1025",
        ),
    ],
)
async def test_payload_at_its_limit(sending, target, limit, text) -> None:
    """One byte more than fits is refused, with its size and the limit."""
    async with sending() as send:
        accepted, refused, told = await accepted_and_refused(send, target, limit)
    assert refused == accepted + 1
    assert told == text
    assert accepted > limit - 200  # all else in it is small


async def test_event_whose_name_and_payload_alone_are_too_large(sending) -> None:
    """Told as such: 512 bytes of them are within this limit, 513 are not."""
    async with sending() as send:
        for size, when in ((506, "after"), (507, "before")):
            answer = await send("/v1/gossip/event?name=deploy", b"x" * size)
            assert answer.text.startswith(
                f"user event exceeds configured limit of 512 bytes {when} encoding: it has "
            )


async def test_tags_at_their_limit(sending) -> None:
    """512 bytes as encoded; more is refused and changes nothing."""

    def body(size: int) -> bytes:
        return json.dumps({"Set": {"note": "x" * size}}).encode()

    # The byte in front, the map, and both texts with their sizes.
    fitting = 512 - 1 - 1 - 5 - 3
    async with sending() as send:
        assert (await send("/v1/gossip/tags", body(fitting))).status == 200
        answer = await send("/v1/gossip/tags", body(fitting + 1))
        assert answer.status == 400
        assert "513 bytes" in answer.text
        assert "512" in answer.text
        answer = await send("/v1/gossip/tags", b"{}")
        assert len(json.loads(answer.body)["note"]) == fitting
