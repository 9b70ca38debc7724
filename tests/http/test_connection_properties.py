"""No bytes crash a connection, and none keep it: it always ends, having spoken only HTTP."""

from __future__ import annotations

import h11
import pytest
import structlog
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rookery.http.api import Api
from rookery.http.connection import Connection
from rookery.http.counters import Counters
from rookery.http.request import Request
from rookery.http.responses import Response, text_response
from rookery.http.routing import Endpoint, WaitingEndpoint
from rookery.http.settings import HttpSettings

LIMITS = HttpSettings(
    head_size_max=400,
    header_count_max=8,
    target_size_max=60,
    body_size_max=100,
    linger_size_max=1000,
    pipelined_size_max=200,
)
LONGEST = (
    LIMITS.idle_timeout + LIMITS.head_timeout + LIMITS.body_timeout + LIMITS.linger_timeout + 1.0
)
"""Seconds after its last byte by which a connection must have ended; a second is for the
handler."""

GOOD = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/echo?pretty&wait=%zz HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
    b"PUT /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /v1/wait HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"PUT /v1/wait HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    b"HEAD /v1/wait HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"OPTIONS //v1/./echo HTTP/1.0\r\n\r\n",
]
PIECES = st.sampled_from(
    [
        *GOOD,
        *(b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"\0", b" HTTP/1.1\r\n", b"Host: x\r\n", b"x" * 150),
        *(b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
        *(b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01", b"ffff\r\n", b"%", b": ;"),
    ]
) | st.binary(max_size=40)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Return what a client sends, write by write: good requests, broken ones, and no requests."""
    data = b"".join(draw(st.lists(PIECES, min_size=1, max_size=8)))
    if draw(st.booleans()):
        position = draw(st.integers(0, len(data) - 1)) if data else 0
        data = data[:position] + draw(st.binary(max_size=3)) + data[position + 1 :]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def make_api() -> Api:
    """Return an API with an endpoint of each kind."""

    def echo(request: Request) -> Response:
        request.parameters.check_blocking()
        return text_response(200, repr(request.body))

    async def wait(request: Request) -> Response:
        with trio.move_on_after(0.5):
            await request.disconnected.wait()
        return echo(request)

    class Service:
        response_headers = {"X-Test": "x"}  # noqa: RUF012 (never written)

    service: object = Service()
    endpoints = [
        Endpoint("/", echo),
        Endpoint("/v1/echo", echo, reads_body=True),
        WaitingEndpoint("/v1/wait", wait, reads_body=True),
    ]
    return Api(endpoints, service)  # type: ignore[arg-type]


async def converse(writes: list[bytes], *, half_closes: bool, pause: float) -> bytes:
    """Send the writes; return all that came back. The connection must end by itself, in time."""
    ours, theirs = trio.testing.memory_stream_pair()
    counters = Counters()
    connection = Connection(theirs, make_api(), LIMITS, counters)
    received = bytearray()

    async def send() -> None:
        try:
            for data in writes:
                if data:
                    await ours.send_all(data)
                await trio.sleep(pause)
            if half_closes:
                await ours.send_eof()
        except trio.BrokenResourceError:
            assert counters.refusals or counters.requests

    async def receive() -> None:
        async for data in ours:
            received.extend(data)

    # Each answer may start the time for another head, so the bound grows with the requests.
    requests_max = sum(map(len, writes)) // 16 + 1
    with trio.fail_after(pause * len(writes) + LONGEST * requests_max):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            nursery.start_soon(send)
            nursery.start_soon(receive)
    assert set(counters.refusals) <= {400, 405, 408, 413, 414, 431, 501, 505}
    assert sum(counters.refusals.values()) <= 1
    return bytes(received)


def check_answers(received: bytes) -> None:
    """Check that bytes are whole HTTP responses of which none shows our insides."""
    assert b"Traceback" not in received
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        assert separator
        assert head.startswith(b"HTTP/1.1 ")
        status = int(head[9:12])
        assert status != 500
        lengths = [
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        assert len(lengths) == (status != 100)
        size = lengths[0] if lengths else 0
        # The answer to a HEAD has a length and no body, which here can only be told by what
        # follows.
        has_body = not (rest == b"" or rest.startswith(b"HTTP/1.1 "))
        assert not has_body or len(rest) >= size
        received = rest[size:] if has_body else rest


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(conversations(), st.booleans(), st.sampled_from([0.0, 0.2, 4.0]))
@example([GOOD[5], GOOD[1]], False, 0.0)
@example([GOOD[4][:-2], GOOD[4][-2:]], True, 0.2)
@example([b"".join(GOOD)], False, 0.0)
def test_any_bytes_end_bounded(writes: list[bytes], half_closes: bool, pause: float) -> None:
    """Whatever is sent, in whatever pieces: an end in bounded time, and only whole answers."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    try:
        received = trio.run(
            lambda: converse(writes, half_closes=half_closes, pause=pause),
            clock=trio.testing.MockClock(autojump_threshold=0),
            strict_exception_groups=True,
        )
    finally:
        structlog.reset_defaults()
    check_answers(received)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(GOOD[:5]), min_size=1, max_size=6), st.data())
def test_good_requests_are_all_answered(requests: list[bytes], data: st.DataObject) -> None:
    """However good requests are cut into packets, each has its answer, in order."""
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    writes = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    try:
        received = trio.run(
            lambda: converse(writes, half_closes=True, pause=0.0),
            clock=trio.testing.MockClock(autojump_threshold=0),
        )
    finally:
        structlog.reset_defaults()
    client = h11.Connection(h11.CLIENT)
    client.receive_data(received)
    client.receive_data(b"")
    for _ in requests:
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        events = []
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA
            events.append(event)
        answers = [event for event in events if isinstance(event, h11.Response)]
        assert [answer.status_code for answer in answers] == [200]
        client.start_next_cycle()
    assert isinstance(client.next_event(), h11.ConnectionClosed)
