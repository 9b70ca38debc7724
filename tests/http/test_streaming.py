"""Streamed answers: flushed at once, bounded, ended when either side ends, on virtual time."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing
from rookery.http.api import Api
from rookery.http.connection import Connection
from rookery.http.faults import CodedFault
from rookery.http.request import Request
from rookery.http.routing import Endpoint, WaitingEndpoint
from rookery.http.settings import HttpSettings
from rookery.http.streaming import Outlet, StreamedResponse, StreamPlaces

pytestmark = pytest.mark.usefixtures("autojump_clock")

SETTINGS = HttpSettings()
GET = b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n"
SELF = "/v1/agent/self"

Produce = Callable[[Outlet], Awaitable[None]]


class Streams:
    """Makes applications with one streaming endpoint, and notes what becomes of the streams."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self.begun = 0
        self.cancelled_at: list[float] = []
        self.closed_at: list[float] = []

    def api(self, produce: Produce, *, waits: float | None = None, **options: Any) -> Api:
        """Return an application whose `/v1/stream` is what `produce` makes."""

        async def watched(outlet: Outlet) -> None:
            self.begun += 1
            try:
                await produce(outlet)
            except trio.Cancelled:
                self.cancelled_at.append(trio.current_time())
                raise

        def close() -> None:
            self.closed_at.append(trio.current_time())

        def response() -> StreamedResponse:
            return StreamedResponse(watched, b"text/plain", close=close, **options)

        def answer(request: Request) -> StreamedResponse:
            return response()

        async def answer_later(request: Request) -> StreamedResponse:
            assert waits is not None
            await trio.sleep(waits)
            return response()

        endpoint = (
            Endpoint("/v1/stream", answer)
            if waits is None
            else WaitingEndpoint("/v1/stream", answer_later)
        )
        return Api([endpoint, Endpoint("/v1/other", lambda _: _text())], self._service)


def _text() -> Any:
    from rookery.http.responses import text_response

    return text_response(200, "other")


@pytest.fixture
def streams(service) -> Streams:
    """Makes streaming applications."""
    return Streams(service)


async def ticks(outlet: Outlet) -> None:
    """Put out a number a second, for ever."""
    number = 0
    while True:
        await outlet.send(b"%d\n" % number)
        number += 1
        await trio.sleep(1)


async def three(outlet: Outlet) -> None:
    """Put out three numbers, two seconds apart, and end."""
    for number in range(3):
        await outlet.send(b"%d" % number)
        await trio.sleep(2)


async def silence(outlet: Outlet) -> None:
    """Put out nothing, for ever."""
    await trio.sleep_forever()


# Written at once


async def test_head_and_chunks_are_sent_as_they_come(connect, streams) -> None:
    """The head before there is any data, and each piece at the moment it is made."""

    async def late(outlet: Outlet) -> None:
        await trio.sleep(3)
        await outlet.send(b"a")
        await trio.sleep(2)
        await outlet.send(b"b")

    started = trio.current_time()
    async with connect(application=streams.api(late)) as client:
        answer = await client.request("/v1/stream")
        assert trio.current_time() == started
        assert (answer.status, answer.header("transfer-encoding")) == (200, "chunked")
        assert answer.header("content-length") is None
        assert answer.header("vary") == "Accept-Encoding"
        assert answer.header("content-type") == "text/plain"
        for expected, at in ((b"a", 3), (b"b", 5), (b"", 5)):
            assert await client.chunk() == expected
            assert trio.current_time() == started + at


async def test_burst_travels_as_one_chunk(connect, streams) -> None:
    """What was put in while the connection was not looking is written together."""

    async def burst(outlet: Outlet) -> None:
        for number in range(100):
            outlet.send_nowait(b"%d," % number)
        await trio.sleep(1)
        outlet.send_nowait(b"end")

    async with connect(application=streams.api(burst)) as client:
        await client.request("/v1/stream")
        assert await client.chunks() == [b"".join(b"%d," % n for n in range(100)), b"end"]


async def test_compressed_chunks_can_be_read_as_they_come(connect, streams) -> None:
    """Each chunk brings all that was put in; together they are one gzip file."""
    async with connect(application=streams.api(three)) as client:
        answer = await client.request("/v1/stream", headers={"Accept-Encoding": "gzip"})
        assert answer.header("content-encoding") == "gzip"
        unpacker = zlib.decompressobj(31)
        for number in range(3):
            assert unpacker.decompress(await client.chunk()) == b"%d" % number
        assert unpacker.decompress(await client.chunk()) == b""
        assert unpacker.eof
        assert await client.chunk() == b""


async def test_empty_pieces_do_not_end_a_stream(connect, streams) -> None:
    """A chunk without bytes would be the last one."""

    async def produce(outlet: Outlet) -> None:
        await outlet.send(b"")
        await trio.sleep(1)
        await outlet.send(b"a")

    async with connect(application=streams.api(produce)) as client:
        await client.request("/v1/stream")
        assert await client.chunks() == [b"a"]


async def test_http_1_0_gets_bytes_up_to_the_end_of_the_connection(connect, streams) -> None:
    """It knows no chunks."""
    async with connect(application=streams.api(three)) as client:
        await client.send(b"GET /v1/stream HTTP/1.0\r\n\r\n")
        answer = await client.answer()
        assert answer.header("transfer-encoding") is None
        assert answer.header("connection") == "close"
        assert await client.rest() == b"012"


async def test_head_gets_no_stream(connect, streams, counters) -> None:
    """The producer never runs, and what was taken for it is given back."""
    async with connect(application=streams.api(ticks)) as client:
        answer = await client.request("/v1/stream", "HEAD")
        assert (answer.status, answer.header("transfer-encoding")) == (200, "chunked")
        assert (await client.request("/v1/other")).text == "other"
    assert (streams.begun, len(streams.closed_at), counters.streams_open) == (0, 1, 0)


async def test_answers_headers_are_those_of_any_answer(service, connect, streams) -> None:
    """The operator's headers are on it; `request complete` is logged at its end."""
    service.response_headers = {"X-Test": "1"}
    with structlog.testing.capture_logs() as logs:
        async with connect(application=streams.api(three)) as client:
            assert (await client.request("/v1/stream?x=1")).header("x-test") == "1"
            assert logs == []
            await client.chunks()
            await trio.testing.wait_all_tasks_blocked()
            assert [
                (entry["event"], entry["path"], entry["duration"], entry["log_level"])
                for entry in logs
            ] == [("request complete", "/v1/stream?x=1", "6s", "debug")]


# Ends


async def test_connection_is_kept_after_a_stream(connect, streams, counters) -> None:
    """A stream that came to its end is an answer like any other; requests sent ahead wait."""
    async with connect(application=streams.api(three)) as client:
        await client.send(GET + GET.replace(b"stream", b"other"))
        await client.answer()
        assert counters.streams_open == 1
        assert await client.chunks() == [b"0", b"1", b"2"]
        assert (await client.answer()).text == "other"
        await client.request("/v1/stream")
        assert len(await client.chunks()) == 3
    assert (counters.requests, counters.streams_open) == (3, 0)
    assert (len(streams.closed_at), streams.cancelled_at) == (2, [])


@pytest.mark.parametrize("waits", [None, 1])
@pytest.mark.parametrize("how", ["close", "half"])
async def test_stream_ends_when_its_client_leaves(connect, streams, counters, how, waits) -> None:
    """At that very moment, whether it closes the connection or its sending half."""
    async with connect(application=streams.api(ticks, waits=waits)) as client:
        await client.request("/v1/stream")
        for number in range(3):
            assert await client.chunk() == b"%d\n" % number
        await trio.sleep(0.5)
        left = trio.current_time()
        await (client.stream.aclose() if how == "close" else client.stream.send_eof())
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == left
        assert (streams.cancelled_at, streams.closed_at) == ([left], [left])
        assert counters.streams_open == 0
        if how == "half":
            assert await client.rest() == b""


async def test_silent_stream_ends_when_its_client_leaves(connect, streams) -> None:
    """Nothing has to be written to notice."""
    async with connect(application=streams.api(silence)) as client:
        await client.request("/v1/stream")
        await trio.sleep(1000)
        left = trio.current_time()
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert streams.closed_at == [left]


async def test_client_that_left_before_the_answer_gets_no_stream_going(connect, streams) -> None:
    """It is gone by the time there is something to write."""
    async with connect(application=streams.api(silence, waits=5)) as client:
        await client.send(GET)
        await trio.sleep(1)
        await client.stream.aclose()
        await trio.sleep(4)
        await trio.testing.wait_all_tasks_blocked()
        assert len(streams.closed_at) == 1
        assert trio.current_time() - streams.closed_at[0] <= 4


async def test_failed_producer_cuts_the_stream_off(connect, streams, counters) -> None:
    """Without the last chunk, so that the client can tell; the log has the traceback."""

    async def produce(outlet: Outlet) -> None:
        await outlet.send(b"a")
        await trio.sleep(1)
        raise RuntimeError("a defect")

    with structlog.testing.capture_logs() as logs:
        async with connect(application=streams.api(produce)) as client:
            await client.request("/v1/stream")
            assert await client.chunk() == b"a"
            assert await client.rest() == b""
    failures = [entry for entry in logs if entry["log_level"] == "error"]
    assert [(entry["event"], str(entry["exc_info"])) for entry in failures] == [
        ("stream_failed", "a defect")
    ]
    assert (len(streams.closed_at), counters.streams_open, counters.crashes) == (1, 0, 0)


async def test_stream_cut_off_before_its_first_byte_is_closed(service, counters, streams) -> None:
    """A cancellation right behind the handler's answer loses nothing that was taken."""
    _, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        inner = streams.api(silence)

        class Cancelling:
            find = inner.find
            answer_nowait = inner.answer_nowait

            async def answer(self, endpoint: Any, request: Request) -> Any:
                nursery.cancel_scope.cancel()
                return inner.answer_nowait(Endpoint("/v1/stream", endpoint.answer), request)

        application: Any = Cancelling()
        application.find = lambda request: WaitingEndpoint("/v1/stream", inner.find(request).answer)
        connection = Connection(theirs, application, SETTINGS, counters)
        nursery.start_soon(connection.run)
        await _.send_all(GET)
    assert (streams.begun, len(streams.closed_at)) == (0, 1)


# Heartbeats


async def test_silent_stream_has_heartbeats(connect, streams) -> None:
    """One for each interval without anything else."""
    api = streams.api(silence, heartbeat=b"{}\n", heartbeat_interval=7)
    async with connect(application=api) as client:
        await client.request("/v1/stream")
        started = trio.current_time()
        for count in range(1, 4):
            assert await client.chunk() == b"{}\n"
            assert trio.current_time() == started + 7 * count


async def test_busy_stream_has_no_heartbeats(connect, streams) -> None:
    """Whatever is written starts the interval anew."""

    async def produce(outlet: Outlet) -> None:
        for _ in range(3):
            await trio.sleep(6.9)
            await outlet.send(b"x")

    api = streams.api(produce, heartbeat=b"{}\n", heartbeat_interval=7)
    async with connect(application=api) as client:
        await client.request("/v1/stream")
        assert await client.chunks() == [b"x", b"x", b"x"]


async def test_stream_without_heartbeat_says_nothing(connect, streams) -> None:
    """And does not wake up either."""
    async with connect(application=streams.api(silence)) as client:
        await client.request("/v1/stream")
        with trio.move_on_after(100_000) as scope:
            await client.chunk()
        assert scope.cancelled_caught


# Bounds


async def test_outlet_takes_up_to_its_size() -> None:
    """At the size it is full: `send` waits, `send_nowait` refuses; below it a piece fits whole."""
    outlet = Outlet(10)
    outlet.send_nowait(b"x" * 9)
    await outlet.send(b"y" * 100)
    with pytest.raises(trio.WouldBlock):
        outlet.send_nowait(b"z")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.send, b"w")
        await trio.testing.wait_all_tasks_blocked()
        assert await outlet.receive() == b"x" * 9 + b"y" * 100
        assert await outlet.receive() == b"w"
    outlet.send_nowait(b"x" * 10)
    with pytest.raises(trio.WouldBlock):
        outlet.send_nowait(b"z")


async def test_ended_outlet_gives_what_it_has_and_takes_no_more() -> None:
    """The end comes after what was put in before it, once and for all."""
    outlet = Outlet(10)
    outlet.send_nowait(b"a")
    outlet.end()
    outlet.send_nowait(b"b")
    await outlet.send(b"c")
    assert [await outlet.receive() for _ in range(3)] == [b"a", b"", b""]


class Deaf:
    """A client that asks for a stream and reads only what it is told to."""

    def __init__(self, application: Api, settings: HttpSettings, counters: Any) -> None:
        self.stream, theirs = trio.testing.lockstep_stream_pair()
        self.connection = Connection(theirs, application, settings, counters)
        self.read = b""

    async def read_until(self, end: bytes) -> None:
        while end not in self.read:
            data = await self.stream.receive_some(65536)
            assert data
            self.read += data


async def test_client_that_does_not_read_makes_the_producer_wait(streams, counters) -> None:
    """What is held for it is a chunk being written and an outlet full."""
    put = 0

    async def produce(outlet: Outlet) -> None:
        nonlocal put
        while True:
            await outlet.send(b"x" * 100)
            put += 100

    settings = HttpSettings(stream_buffer_size_max=1000)
    client = Deaf(streams.api(produce), settings, counters)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.connection.run)
        await client.stream.send_all(GET)
        await client.read_until(b"\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert put <= 2 * 1000 + 200
        before = put
        await client.stream.receive_some(65536)
        await client.stream.receive_some(65536)
        await trio.testing.wait_all_tasks_blocked()
        assert before < put <= before + 2 * (1000 + 100)
        nursery.cancel_scope.cancel()


async def test_client_that_does_not_read_is_dropped(streams, counters) -> None:
    """Each chunk has the write time-out, however long the stream has lived."""
    settings = HttpSettings(write_timeout=60)
    client = Deaf(streams.api(ticks), settings, counters)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.connection.run)
        await client.stream.send_all(GET)
        await client.read_until(b"99\n")
        stopped = trio.current_time()
        await trio.sleep(100)
        # The next tick was a second later, and could not be written.
        assert streams.cancelled_at == streams.closed_at == [stopped + 61]
        with pytest.raises(trio.BrokenResourceError):
            await client.stream.send_all(b"x")


@pytest.mark.parametrize("flood", [b"", b"x" * 10])
async def test_connection_that_breaks_in_a_write_ends_the_stream(streams, counters, flood) -> None:
    """As a disconnect, not as a defect; also when the client is not watched, having sent a lot."""
    client = Deaf(streams.api(ticks), HttpSettings(pipelined_size_max=10), counters)
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.connection.run)
            await client.stream.send_all(GET)
            await client.read_until(b"1\n")
            await client.stream.send_all(flood)
            await trio.sleep(5)  # a chunk is on its way now
            await client.stream.aclose()
    assert [entry["log_level"] for entry in logs if entry["event"] == "client_gone"] == ["debug"]
    assert len(streams.closed_at) == 1


async def test_reading_ahead_during_a_stream_is_bounded(connect, streams) -> None:
    """A client that sends without end while it is streamed to is left waiting."""
    settings = HttpSettings(pipelined_size_max=1000)
    async with connect(settings, streams.api(ticks)) as client:
        await client.request("/v1/stream")
        await client.send(b"x" * 500_000)
        await client.chunk()
        await trio.testing.wait_all_tasks_blocked()
        held = len(client.connection._http.trailing_data[0])
        assert 1000 <= held <= 1000 + 16 * 1024


def test_places_are_limited() -> None:
    """The one above the limit is refused with a text that names it, until one is given back."""
    places = StreamPlaces(2, "event streams")
    places.take()
    give_back = places.take()
    with pytest.raises(CodedFault, match="the agent has 2 event streams open") as caught:
        places.take()
    assert caught.value.status == 503
    give_back()
    places.take()


# Drain


async def test_drain_ends_an_endless_stream_orderly(connect, streams) -> None:
    """What was put in still goes out, then the last chunk, and the connection closes."""
    async with connect(application=streams.api(ticks, is_endless=True)) as client:
        await client.request("/v1/stream")
        assert await client.chunk() == b"0\n"
        await trio.sleep(0.5)
        drained = trio.current_time()
        client.connection.begin_drain()
        assert await client.chunks() == []
        assert await client.rest() == b""
        assert trio.current_time() == drained
        assert streams.closed_at == [drained]


async def test_drain_lets_other_streams_finish(connect, streams) -> None:
    """They are answers in progress."""
    async with connect(application=streams.api(three)) as client:
        await client.request("/v1/stream")
        client.connection.begin_drain()
        assert await client.chunks() == [b"0", b"1", b"2"]
        assert await client.rest() == b""


async def test_endless_stream_does_not_begin_in_a_drain(connect, streams) -> None:
    """It is empty, and the connection is announced to close."""
    async with connect(application=streams.api(ticks, waits=1, is_endless=True)) as client:
        await client.send(GET)
        await trio.sleep(0.5)
        client.connection.begin_drain()
        assert (await client.answer()).header("connection") == "close"
        assert await client.chunks() == []
        assert await client.rest() == b""


async def test_malformed_end_of_a_chunk_is_refused(connect, service) -> None:
    """Two bytes that are no line end, behind a chunk, are no place to hide a request in."""
    async with connect() as client:
        await client.send(
            b"PUT /v1/gossip/event?name=x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nabXX0\r\n\r\n"
        )
        assert (await client.answer()).status == 400
    assert service.fired == []
