"""/v1/gossip/query, /respond and /reachability: what is asked, and answers as they come."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from rookery.agent.service import GossipUnavailable, QueryRefused, Question
from rookery.http.gossip_queries import QUERY_STREAMS_MAX
from rookery.http.settings import HttpSettings

QUERY = "/v1/gossip/query"
REACHABILITY = "/v1/gossip/reachability"
RESPOND = "/v1/gossip/respond"


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("path", [f"{QUERY}?name=uptime", REACHABILITY])
async def test_answers_are_lines_as_they_come(connect, answers, autojump_clock, path, method):
    """Each is sent when it has come; the stream ends behind the last one."""
    async with connect() as client:
        answer = await client.request(path, method)
        assert (answer.status, answer.header("content-type")) == (200, "application/x-ndjson")
        for document in ({"Type": "ack", "From": "a"}, {"Type": "done", "Acks": 1}):
            await trio.sleep(1)
            answers.put(**document)
            at = trio.current_time()
            assert json.loads(await client.chunk()) == document
            assert trio.current_time() == at
        answers.end()
        assert await client.chunk() == b""
        assert (await client.request("/v1/agent/self")).status == 200
    assert answers.closed == 1


async def test_waiting_for_answers_has_heartbeats(connect, answers, autojump_clock) -> None:
    """A query may be open for a day."""
    async with connect() as client:
        await client.request(f"{QUERY}?name=a&timeout=24h", "PUT")
        assert await client.chunk() == b"{}\n"


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("name=a", Question(name="a")),
        ("name=a%20b&node=&ack=&relay=&timeout=&tag=", Question(name="a b")),
        ("name=a&node=x&node=y.global", Question(name="a", nodes=("x", "y.global"))),
        (
            "name=a&tag=role%3Dweb%7Cdb&tag=dc%3D%5Edc1%24%3D",
            Question(name="a", tags={"role": "web|db", "dc": "^dc1$="}),
        ),
        ("name=a&tag=dc%3D", Question(name="a", tags={"dc": ""})),
        (
            "name=a&ack=1&relay=255&timeout=1m30s",
            Question(name="a", wants_acks=True, relay_factor=255, timeout=90.0),
        ),
        ("name=a&relay=0&ack=f", Question(name="a")),
    ],
)
async def test_parameters_make_the_question(service, connect, answers, query, question) -> None:
    """Empty ones are as absent; nodes and tags may be several."""
    answers.end()
    async with connect() as client:
        assert (await client.request(f"{QUERY}?{query}", "PUT")).status == 200
        await client.chunks()
    assert service.questions == [question]


async def test_body_is_the_payload(service, connect, answers) -> None:
    """Byte by byte."""
    answers.end()
    payload = bytes(range(256))
    async with connect() as client:
        await client.request(f"{QUERY}?name=a", "PUT", body=payload)
    assert [question.payload for question in service.questions] == [payload]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "missing query name"),
        ("name=&ack=x", "missing query name"),
        ("name=_serf_remove-key", "query names beginning with _serf_ are Serf's own"),
        ("name=a&tag=role", 'invalid tag value "role": must be name=expression'),
        ("name=a&tag=%3Dx", 'invalid tag value "=x": must be name=expression'),
        ("name=a&tag=b%3D1&tag=b%3D2", 'invalid tag value "b=2": the tag is given twice'),
        ("name=a&ack=yes", "invalid ack value"),
        ("name=a&relay=256", "invalid relay value"),
        ("name=a&relay=-1", "invalid relay value"),
        ("name=a&relay=%C2%B2", "invalid relay value"),
        ("name=a&timeout=5", "invalid timeout value"),
        ("name=a&timeout=0", "invalid timeout value"),
        ("name=a&timeout=-1s", "invalid timeout value"),
    ],
)
async def test_bad_parameters_are_400(service, exchange, query, text) -> None:
    """Nothing is asked."""
    answer = await exchange(f"{QUERY}?{query}", "PUT")
    assert (answer.status, answer.text) == (400, text)
    assert service.questions == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QueryRefused("query exceeds limit of 1024 bytes: it has 1100"), 400),
        (GossipUnavailable("the pool is not running"), 500),
    ],
)
@pytest.mark.parametrize("path", [f"{QUERY}?name=a", REACHABILITY])
async def test_refused_query_has_the_pools_text(service, exchange, path, error, status) -> None:
    """Before anything is streamed, and again and again: no place is lost by it."""
    service.refuses = error
    for _ in range(QUERY_STREAMS_MAX + 1):
        answer = await exchange(path, "PUT", body=b"x" * 1100)
        assert (answer.status, answer.text) == (status, str(error))


@pytest.mark.parametrize("path", [QUERY, REACHABILITY, RESPOND])
async def test_method_then_role_are_checked_first(service, exchange, path) -> None:
    """Whatever the parameters are."""
    service.has_server = False
    for method in ("GET", "HEAD", "DELETE"):
        assert (await exchange(path, method)).status == 405
    for method in ("PUT", "POST"):
        answer = await exchange(path, method)
        assert (answer.status, answer.text) == (501, "Invalid method")


async def test_query_ends_when_its_client_leaves(connect, answers) -> None:
    """Nobody would hear its answers."""
    async with connect() as client:
        await client.request(f"{QUERY}?name=a&timeout=24h", "PUT")
        await trio.testing.wait_all_tasks_blocked()
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert answers.closed == 1


async def test_query_ends_when_its_client_stops_reading(connect, answers, autojump_clock) -> None:
    """Its answers are closed also while one of them waits to be put into a full buffer."""
    for number in range(200):
        answers.put(Type="response", From=str(number), Payload="x" * 1000)
    settings = HttpSettings(write_timeout=60)
    async with connect(settings, pair=trio.testing.lockstep_stream_pair) as client:
        await client.request(f"{QUERY}?name=a&timeout=24h", "PUT")
        await trio.sleep(59)
        assert answers.closed == 0
        await trio.sleep(2)
        assert answers.closed == 1


async def test_open_queries_are_limited(connect, answers, counters) -> None:
    """One above the limit is 503, reachability included; ended ones make room."""
    async with trio.open_nursery() as nursery:
        end = trio.Event()

        async def ask(path: str, task_status: trio.TaskStatus[None]) -> None:
            async with connect() as client:
                assert (await client.request(path, "PUT")).status == 200
                task_status.started()
                await end.wait()

        for number in range(QUERY_STREAMS_MAX):
            await nursery.start(ask, REACHABILITY if number % 2 else f"{QUERY}?name=a")
        for path in (REACHABILITY, f"{QUERY}?name=a"):
            async with connect() as client:
                answer = await client.request(path, "PUT")
                assert (answer.status, answer.text) == (
                    503,
                    "the agent has 64 queries open, which is its limit; please try again later",
                )
        end.set()
    async with connect() as client:
        assert (await client.request(REACHABILITY, "PUT")).status == 200


# Answering


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_respond_answers_a_query(service, exchange, method) -> None:
    """By the numbers the events gave; 200 without a body."""
    answer = await exchange(f"{RESPOND}?ltime=18446744073709551615&id=7", method, body=b"\0up")
    assert (answer.status, answer.body) == (200, b"")
    assert service.responded == [(2**64 - 1, 7, b"\0up")]


@pytest.mark.parametrize(
    ("error", "status"),
    [(LookupError("no such query"), 404), (ValueError("response exceeds limit"), 400)],
)
async def test_refused_response_has_the_pools_text(service, exchange, error, status) -> None:
    """A query that is over or unknown, an answer that is too large."""
    service.refuses = error
    answer = await exchange(f"{RESPOND}?ltime=1&id=7", "PUT")
    assert (answer.status, answer.text) == (status, str(error))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "missing ltime and id of the query"),
        ("ltime=1", "missing ltime and id of the query"),
        ("ltime=x&id=1", "invalid ltime value"),
        ("ltime=1&id=4294967296", "invalid id value"),
    ],
)
async def test_bad_numbers_of_a_response_are_400(service, exchange, query, text) -> None:
    """Nothing is sent."""
    answer = await exchange(f"{RESPOND}?{query}", "PUT")
    assert (answer.status, answer.text) == (400, text)
    assert service.responded == []
