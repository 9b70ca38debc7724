"""GET /v1/agent/members: what it answers, in which order it checks, and that it encodes once."""

from __future__ import annotations

import gzip
import json

import pytest

MEMBERS = "/v1/agent/members"


async def test_answer_has_the_documented_bytes(exchange) -> None:
    """Compact JSON, keys in byte order, no newline; the type without a charset."""
    answer = await exchange(MEMBERS)
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.text == (
        '{"Members":[{"Addr":"127.0.0.1","DelegateCur":4,"DelegateMax":5,"DelegateMin":2,'
        '"Name":"bacon-mac.global","Port":4648,"ProtocolCur":2,"ProtocolMax":5,"ProtocolMin":1,'
        '"Status":"alive","Tags":{"region":"global","role":"nomad"}}],'
        '"ServerDC":"dc1","ServerName":"bacon-mac","ServerRegion":"global"}'
    )


async def test_empty_table_is_a_list(service, exchange) -> None:
    """Clients iterate over it, so it is never null."""
    service.members = []
    assert json.loads((await exchange(MEMBERS)).body)["Members"] == []


@pytest.mark.parametrize(
    "method", ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "FOO", "get"]
)
async def test_only_get_is_a_method(exchange, method) -> None:
    """All else is 405 with the text, before any parameter is looked at."""
    answer = await exchange(MEMBERS + "?wait=x", method)
    assert answer.status == 405
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert answer.header("content-length") == "14"
    assert answer.text == ("" if method == "HEAD" else "Invalid method")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("wait=60", "Invalid wait time"),
        ("wait=x&index=x", "Invalid wait time"),
        ("index=x", "Invalid index"),
        ("index=-1&wait=5s", "Invalid index"),
    ],
)
async def test_bad_blocking_parameters_are_400(exchange, query, text) -> None:
    """`wait` first, then `index`; the answer is the bare text."""
    answer = await exchange(f"{MEMBERS}?{query}&pretty")
    assert (answer.status, answer.text) == (400, text)
    assert answer.header("content-type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "query", ["wait=60s&index=7", "wait=&index=", "region=other", "stale", "namespace=x&prefix=y"]
)
async def test_other_parameters_have_no_effect(exchange, query) -> None:
    """Good waits do not wait; region and the like are accepted and ignored."""
    assert (await exchange(f"{MEMBERS}?{query}")).body == (await exchange(MEMBERS)).body


async def test_no_index_headers(exchange) -> None:
    """Agent endpoints carry none of the headers of replicated state, and no Server header."""
    names = {name for name, _ in (await exchange(MEMBERS)).headers}
    assert names == {"vary", "content-type", "date", "content-length"}


async def test_kept_answer_follows_the_table(service, connect, member) -> None:
    """On one server: plain and pretty are each encoded once for each version of the table."""
    async with connect() as client:
        for _ in range(3):
            assert len(json.loads((await client.request(MEMBERS)).body)["Members"]) == 1
            assert (await client.request(MEMBERS + "?pretty")).text.endswith("}\n")
            answer = await client.request(MEMBERS, headers={"Accept-Encoding": "gzip"})
            assert len(json.loads(gzip.decompress(answer.body))["Members"]) == 1
        assert service.documents_built == 2
        service.members = [*service.members, member("other.global", Status="failed")]
        service.version += 1
        for _ in range(3):
            names = [m["Name"] for m in json.loads((await client.request(MEMBERS)).body)["Members"]]
            assert names == ["bacon-mac.global", "other.global"]
            answer = await client.request(MEMBERS, headers={"Accept-Encoding": "gzip"})
            assert len(json.loads(gzip.decompress(answer.body))["Members"]) == 2
        assert service.documents_built == 3


async def test_odd_bytes_of_a_peer_are_replaced(service, exchange, member) -> None:
    """A tag that is no UTF-8 does not break the answer."""
    service.members = [member("x.global", Tags={"k\udcff": "v\udcfe\u2028"})]
    answer = await exchange(MEMBERS)
    assert b'"Tags":{"k\\ufffd":"v\\ufffd\\u2028"}' in answer.body
