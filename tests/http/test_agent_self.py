"""GET /v1/agent/self: the service's document, as it stands."""

from __future__ import annotations

import json

import pytest

SELF = "/v1/agent/self"


async def test_document_is_answered(service, exchange) -> None:
    """The three parts as the agent gives them, and our own counts, sorted and compact."""
    service.document = {
        "stats": {"serf": {"members": "1"}},
        "member": {"Name": "bacon-mac.global"},
        "config": {"Region": "global", "GCDiskUsageThreshold": 99.0, "Token": "<redacted>"},
    }
    answer = await exchange(SELF)
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.text == (
        '{"config":{"GCDiskUsageThreshold":99.0,"Region":"global","Token":"<redacted>"},'
        '"member":{"Name":"bacon-mac.global"},"stats":{"http":{"connections_accepted":"0",'
        '"connections_open":"0","connections_refused":"0","crashes":"0","requests":"0",'
        '"streams_open":"0"},"serf":{"members":"1"}}}'
    )


async def test_http_counts_are_those_of_the_server(connect, counters) -> None:
    """Each request counts, refusals by their status; every value is a text."""
    counters.refusals[431] = 7
    async with connect() as client:
        for count in ("0", "1"):
            section = json.loads((await client.request(SELF)).body)["stats"]["http"]
            assert section["requests"] == count
        assert section["refusals.431"] == "7"
        assert all(isinstance(value, str) for value in section.values())


async def test_document_is_never_kept(service, connect) -> None:
    """Statistics change all the time, so each request asks anew."""
    async with connect() as client:
        for count in ("1", "2"):
            service.document = {"stats": {"serf": {"members": count}}}
            assert f'"members":"{count}"' in (await client.request(SELF)).text


@pytest.mark.parametrize("method", ["HEAD", "PUT", "POST", "DELETE"])
async def test_only_get_is_a_method(exchange, method) -> None:
    """All else is 405."""
    answer = await exchange(SELF, method)
    assert (answer.status, answer.text) == (405, "" if method == "HEAD" else "Invalid method")


@pytest.mark.parametrize("query", ["wait=60", "index=x", "region=other", "stale=x"])
async def test_blocking_parameters_are_not_looked_at(exchange, query) -> None:
    """Unlike members, this endpoint does not mind a bad `wait`."""
    assert (await exchange(f"{SELF}?{query}")).status == 200


async def test_works_without_the_server_role(service, exchange) -> None:
    """Every agent answers about itself."""
    service.has_server = False
    assert (await exchange(SELF)).status == 200
