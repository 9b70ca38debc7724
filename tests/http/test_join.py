"""PUT|POST /v1/agent/join: check order, and the 200 that tells of failures."""

from __future__ import annotations

import json

import pytest
import trio
from rookery.agent.service import JoinUnavailable

JOIN = "/v1/agent/join"


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_addresses_are_joined_in_order(service, exchange, join_result, method) -> None:
    """Every `address` counts, empty ones too, in order; the answer is exact to the byte."""
    service.join_result = join_result(2)
    answer = await exchange(f"{JOIN}?address=10.0.0.1&address=b%2F%5B::1%5D:7&address=", method)
    assert service.joined == [["10.0.0.1", "b/[::1]:7", ""]]
    assert (answer.status, answer.text) == (200, '{"error":"","num_joined":2}')
    assert answer.header("content-type") == "application/json"


async def test_one_success_hides_the_failures(service, exchange, join_result) -> None:
    """With a single success the error is empty."""
    service.join_result = join_result(1, "Failed to resolve nope: lookup nope: no such host")
    answer = await exchange(f"{JOIN}?address=a&address=nope", "PUT")
    assert (answer.status, answer.text) == (200, '{"error":"","num_joined":1}')


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (
            ["Failed to join 127.0.0.1: dial tcp"],
            "1 error occurred:\n\t* Failed to join 127.0.0.1: dial tcp\n\n",
        ),
        (["a", "<b>"], "2 errors occurred:\n\t* a\n\t* <b>\n\n"),
    ],
)
async def test_no_success_is_200_with_all_causes(service, exchange, join_result, messages, text):
    """When nothing worked the answer still is 200; the error lists every cause."""
    service.join_result = join_result(0, *messages)
    answer = await exchange(f"{JOIN}?address=a", "PUT")
    assert answer.status == 200
    assert json.loads(answer.body) == {"error": text, "num_joined": 0}
    assert b"\\n\\t* " in answer.body


async def test_leaving_agent_says_so(service, exchange) -> None:
    """While the agent leaves, the text stands alone, not as a list of causes."""
    service.join_result = JoinUnavailable("Serf can't Join after Leave or Shutdown")
    answer = await exchange(f"{JOIN}?address=a", "PUT")
    assert (answer.status, answer.text) == (
        200,
        '{"error":"Serf can\'t Join after Leave or Shutdown","num_joined":0}',
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "put"])
async def test_method_is_checked_first(service, exchange, method) -> None:
    """A wrong method is 405 even on an agent that could not join at all."""
    service.has_server = False
    answer = await exchange(JOIN, method)
    assert (answer.status, answer.text) == (405, "" if method == "HEAD" else "Invalid method")


async def test_server_role_is_checked_second(service, exchange) -> None:
    """Without the server role it is 501 with the words of a wrong method, address or not."""
    service.has_server = False
    for target in (JOIN, f"{JOIN}?address=a"):
        answer = await exchange(target, "PUT")
        assert (answer.status, answer.text) == (501, "Invalid method")
    assert service.joined == []


@pytest.mark.parametrize("query", ["", "?addres=a", "?address=%zz", "?address=a;b", "?Address=a"])
async def test_address_is_checked_third(service, exchange, query) -> None:
    """No usable `address` key at all is 400."""
    answer = await exchange(JOIN + query, "POST")
    assert (answer.status, answer.text) == (400, "missing address to join")
    assert service.joined == []


async def test_body_and_blocking_parameters_are_ignored(service, exchange) -> None:
    """A body is thrown away whatever it says, and a bad `wait` does not matter here."""
    answer = await exchange(
        f"{JOIN}?address=a&wait=x&index=x", "PUT", {"Content-Type": "x/y"}, b"{not json"
    )
    assert answer.status == 200
    assert service.joined == [["a"]]


async def test_pretty(exchange) -> None:
    """`pretty` indents this answer too."""
    answer = await exchange(f"{JOIN}?address=a&pretty", "PUT")
    assert answer.text == '{\n    "error": "",\n    "num_joined": 1\n}\n'


async def test_join_goes_on_when_its_client_leaves(service, connect, autojump_clock) -> None:
    """A join is finished even if nobody waits for its answer any more."""
    finished = []

    async def slow() -> None:
        await trio.sleep(20)
        finished.append(trio.current_time())

    service.before_join = slow
    started = trio.current_time()
    async with connect() as client:
        await client.send(b"PUT /v1/agent/join?address=a HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.sleep(1)
        await client.stream.aclose()
    assert finished == [started + 20]
