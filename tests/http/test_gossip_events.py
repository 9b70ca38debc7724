"""/v1/gossip/event and /v1/gossip/events: firing, what is kept, following, coming back."""

from __future__ import annotations

import json
import zlib

import pytest
import trio
import trio.testing
from rookery.agent.event_ring import EVENTS_KEPT_MAX
from rookery.agent.service import EventRefused, GossipUnavailable
from rookery.http.gossip_events import EVENT_STREAMS_MAX
from rookery.http.json_lines import HEARTBEAT, HEARTBEAT_INTERVAL
from rookery.http.settings import HttpSettings

EVENT = "/v1/gossip/event"
EVENTS = "/v1/gossip/events"


def fire(service, *names: str) -> None:
    """Add events of these names."""
    for name in names:
        service.ring.add({"Type": "user-event", "Name": name})


def lines(data: bytes) -> list[dict[str, object]]:
    """Take lines of JSON apart."""
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def indexes(data: bytes) -> list[object]:
    """Return the numbers of the events in lines of JSON."""
    return [document["Index"] for document in lines(data)]


async def receive(client, count: int) -> list[dict[str, object]]:
    """Read so many documents of a stream, however they are cut into chunks."""
    received: list[dict[str, object]] = []
    while len(received) < count:
        received += lines(await client.chunk())
    assert len(received) == count
    return received


# Firing


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_event_is_fired_with_its_payload(service, exchange, method) -> None:
    """The body is the payload, byte by byte; the answer says what was sent and when."""
    payload = bytes(range(256))
    answer = await exchange(f"{EVENT}?name=deploy%20it", method, body=payload)
    assert service.fired == [("deploy it", payload, True)]
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.text == '{"Coalesce":true,"LTime":7,"Name":"deploy it","Payload":""}'


@pytest.mark.parametrize(
    ("query", "coalesce"),
    [("", True), ("&coalesce=", True), ("&coalesce=false", False), ("&coalesce=1", True)],
)
async def test_events_coalesce_unless_told_otherwise(service, exchange, query, coalesce) -> None:
    """As `serf event` has it; no body is an empty payload."""
    assert (await exchange(f"{EVENT}?name=a{query}", "PUT")).status == 200
    assert service.fired == [("a", b"", coalesce)]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "missing event name"),
        ("?name=&name=a", "missing event name"),
        ("?coalesce=x", "missing event name"),
        ("?name=a&coalesce=x", "invalid coalesce value"),
    ],
)
async def test_bad_parameters_of_an_event_are_400(service, exchange, query, text) -> None:
    """The name is looked at first."""
    answer = await exchange(EVENT + query, "PUT", body=b"x")
    assert (answer.status, answer.text) == (400, text)
    assert service.fired == []


async def test_refused_event_is_400_with_its_size_and_the_limit(service, exchange) -> None:
    """The text is the pool's."""
    text = "user event exceeds configured limit of 512 bytes before encoding: it has 513"
    service.refuses = EventRefused(text)
    answer = await exchange(f"{EVENT}?name=a", "PUT", body=b"x" * 512)
    assert (answer.status, answer.text) == (400, text)


async def test_stopped_pool_is_500(service, exchange) -> None:
    """It says so."""
    service.refuses = GossipUnavailable("the pool is not running")
    answer = await exchange(f"{EVENT}?name=a", "PUT")
    assert (answer.status, answer.text) == (500, "the pool is not running")


@pytest.mark.parametrize(
    ("path", "good", "bad"), [(EVENT, ["PUT", "POST"], "GET"), (EVENTS, ["GET"], "PUT")]
)
async def test_method_then_role_are_checked_first(service, exchange, path, good, bad) -> None:
    """Whatever the parameters are."""
    service.has_server = False
    for method in (bad, "HEAD", "DELETE"):
        assert (await exchange(f"{path}?since=x", method)).status == 405
    for method in good:
        answer = await exchange(f"{path}?since=x", method)
        assert (answer.status, answer.text) == (501, "Invalid method")


# What is kept


async def test_kept_events_are_lines(service, exchange) -> None:
    """Without following, the answer is all there is, at once, a document a line."""
    fire(service, "a", "b")
    answer = await exchange(f"{EVENTS}?follow=false")
    assert (answer.status, answer.header("content-type")) == (200, "application/x-ndjson")
    assert answer.text == (
        '{"Index":1,"Name":"a","Type":"user-event"}\n{"Index":2,"Name":"b","Type":"user-event"}\n'
    )


@pytest.mark.parametrize(
    ("since", "found"), [("0", [1, 2, 3]), ("2", [3]), ("3", []), ("", [1, 2, 3])]
)
async def test_since_is_the_last_number_seen(service, exchange, since, found) -> None:
    """What came after it is shown."""
    fire(service, "a", "b", "c")
    answer = await exchange(f"{EVENTS}?follow=0&since={since}")
    assert [document["Index"] for document in map(json.loads, answer.text.splitlines())] == found


async def test_events_kept_are_limited(service, exchange) -> None:
    """Beyond them a `lost` record says how many are missing; at the limit there is none."""
    fire(service, *map(str, range(EVENTS_KEPT_MAX)))
    answer = await exchange(f"{EVENTS}?follow=false")
    assert indexes(answer.body) == list(range(1, EVENTS_KEPT_MAX + 1))
    fire(service, "one more")
    first, *rest = lines((await exchange(f"{EVENTS}?follow=false")).body)
    assert first == {"Index": 1, "Type": "lost", "Count": 1}
    assert len(rest) == EVENTS_KEPT_MAX


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("since=x", "invalid since value"),
        ("since=-1", "invalid since value"),
        ("since=18446744073709551616", "invalid since value"),
        ("since=1&follow=x", "invalid follow value"),
    ],
)
async def test_bad_parameters_of_the_events_are_400(exchange, query, text) -> None:
    """In this order."""
    answer = await exchange(f"{EVENTS}?{query}")
    assert (answer.status, answer.text) == (400, text)


# Following


@pytest.mark.parametrize("query", ["", "?follow=true", "?follow="])
async def test_following_begins_with_what_is_to_come(service, connect, autojump_clock, query):
    """Without a number, each event from now on is sent as it happens."""
    fire(service, "before")
    async with connect() as client:
        assert (await client.request(EVENTS + query)).status == 200
        for name in ("a", "b"):
            await trio.sleep(3)
            fire(service, name)
            at = trio.current_time()
            (document,) = lines(await client.chunk())
            assert document["Name"] == name
            assert trio.current_time() == at


async def test_reader_that_comes_back_misses_nothing(service, connect) -> None:
    """The number of the last event it has seen is where it goes on."""
    fire(service, "a", "b", "c")
    async with connect() as client:
        await client.request(f"{EVENTS}?since=1")
        assert [document["Index"] for document in await receive(client, 2)] == [2, 3]
        fire(service, "d")
        assert [document["Index"] for document in await receive(client, 1)] == [4]


async def test_slow_reader_is_told_what_it_has_missed(service, connect) -> None:
    """It holds nothing up, and nothing is kept for it but its place."""
    async with connect(HttpSettings(stream_buffer_size_max=1)) as client:
        await client.request(EVENTS)
        fire(service, *map(str, range(EVENTS_KEPT_MAX + 500)))
        received = await receive(client, EVENTS_KEPT_MAX + 1)
        assert received[0] == {"Index": 500, "Type": "lost", "Count": 500}
        assert [document["Index"] for document in received[1:]] == list(
            range(501, EVENTS_KEPT_MAX + 501)
        )


async def test_silent_stream_has_heartbeats(connect, autojump_clock) -> None:
    """An empty document, after each interval of silence."""
    async with connect() as client:
        await client.request(EVENTS)
        started = trio.current_time()
        for count in range(1, 4):
            assert await client.chunk() == HEARTBEAT == b"{}\n"
            assert trio.current_time() == started + count * HEARTBEAT_INTERVAL


async def test_compressed_stream_arrives_event_by_event(service, connect) -> None:
    """Nothing is held back in the compressor."""
    async with connect() as client:
        await client.request(EVENTS, headers={"Accept-Encoding": "gzip"})
        unpacker = zlib.decompressobj(31)
        for name in ("a", "b"):
            fire(service, name)
            assert lines(unpacker.decompress(await client.chunk()))[0]["Name"] == name


async def test_stream_ends_with_the_agent(service, connect) -> None:
    """Orderly, after what was still to be told."""
    async with connect() as client:
        await client.request(EVENTS)
        fire(service, "last")
        service.ring.close()
        assert indexes(b"".join(await client.chunks())) == [1]
        assert (await client.request("/v1/agent/self")).status == 200


async def test_drain_ends_the_stream(service, connect) -> None:
    """A follower does not hold a stopping agent up."""
    async with connect() as client:
        await client.request(EVENTS)
        client.connection.begin_drain()
        assert await client.chunks() == []
        assert await client.rest() == b""


async def test_open_streams_are_limited(service, connect, counters) -> None:
    """One above the limit is 503; who leaves, and who does not follow, takes no place."""
    async with trio.open_nursery() as nursery:

        async def follow(task_status: trio.TaskStatus[trio.Event]) -> None:
            end = trio.Event()
            async with connect() as client:
                await client.request(EVENTS)
                task_status.started(end)
                await end.wait()

        ends = [await nursery.start(follow) for _ in range(EVENT_STREAMS_MAX)]
        assert counters.streams_open == EVENT_STREAMS_MAX
        async with connect() as client:
            answer = await client.request(EVENTS)
            assert (answer.status, answer.text) == (
                503,
                "the agent has 64 event streams open, which is its limit; please try again later",
            )
            assert (await client.request(f"{EVENTS}?follow=false")).status == 200
            ends.pop().set()
            await trio.testing.wait_all_tasks_blocked()
            assert (await client.request(EVENTS)).status == 200
        for end in ends:
            end.set()
    assert counters.streams_open == 0
