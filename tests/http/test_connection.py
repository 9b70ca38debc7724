"""The connection loop: keep-alive, bodies, limits at their edge, time-outs, leaving clients.

All over in-memory streams on virtual time, so that every time-out is met exactly.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import pytest
import structlog.testing
import trio
from rookery.http.api import Api
from rookery.http.connection import Connection
from rookery.http.request import Request
from rookery.http.responses import Response, text_response
from rookery.http.routing import Endpoint, WaitingEndpoint
from rookery.http.settings import HttpSettings

pytestmark = pytest.mark.usefixtures("autojump_clock")

SELF = "/v1/agent/self"
GET = b"GET /v1/agent/self HTTP/1.1\r\nHost: x\r\n\r\n"
SETTINGS = HttpSettings()


@pytest.fixture
def echo(service) -> Api:
    """An application with one endpoint that tells what body it got."""

    def answer(request: Request) -> Response:
        return text_response(200, repr(request.body))

    return Api(
        [Endpoint("/echo", answer, reads_body=True), Endpoint("/deaf", answer)],
        service,
    )


@pytest.fixture
def waiting(service) -> Callable[[Callable[[Request], Awaitable[None]]], Api]:
    """Return a function that makes an application whose `/wait` awaits what it is given."""

    def make(wait: Callable[[Request], Awaitable[None]]) -> Api:
        async def answer(request: Request) -> Response:
            await wait(request)
            return text_response(200, request.query or "waited")

        return Api([WaitingEndpoint("/wait", answer)], service)

    return make


async def seconds(wait: Callable[[], Awaitable[object]]) -> float:
    """Return how much virtual time passes in a call."""
    started = trio.current_time()
    await wait()
    return trio.current_time() - started


async def flood(client, data: bytes, *, pause: float) -> None:
    """Send the same again and again, until the connection breaks."""
    while True:
        await client.send(data)
        await trio.sleep(pause)


# Requests one after the other


async def test_connection_is_kept(connect, counters) -> None:
    """Many requests share a connection; answers that are errors do not end it."""
    async with connect() as client:
        for target, status in ((SELF, 200), ("/nope", 404), ("/", 307), (SELF, 200)):
            answer = await client.request(target)
            assert (answer.status, answer.header("connection")) == (status, None)
        assert (await client.request(SELF, "HEAD")).status == 405
        assert (await client.request(SELF)).status == 200
    assert counters.requests == 6
    assert not counters.refusals


async def test_client_may_ask_for_the_end(connect) -> None:
    """After `Connection: close` the answer says so too, and the connection ends."""
    async with connect() as client:
        answer = await client.request(SELF, headers={"Connection": "close"})
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert await client.rest() == b""


async def test_http_1_0_gets_one_answer(connect) -> None:
    """No Host needed, and no keep-alive."""
    async with connect() as client:
        await client.send(b"GET /v1/agent/self HTTP/1.0\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert await client.rest() == b""


async def test_head_may_come_byte_by_byte(connect) -> None:
    """Where the packets end means nothing."""
    async with connect() as client:
        for byte in GET:
            await client.send(bytes([byte]))
        assert (await client.answer()).status == 200


async def test_absolute_target(connect) -> None:
    """What a proxy sends is served by its path."""
    async with connect() as client:
        assert (await client.request("http://localhost:4646/v1/agent/self")).status == 200


async def test_pipelined_requests_are_answered_in_order(connect, waiting) -> None:
    """Requests sent ahead wait their turn, also behind one that takes its time."""
    active = []

    async def wait(request: Request) -> None:
        assert not active
        active.append(request)
        await trio.sleep(1)
        active.clear()

    async with connect(application=waiting(wait)) as client:
        requests = [f"GET /wait?{n} HTTP/1.1\r\nHost: x\r\n\r\n" for n in range(5)]
        await client.send("".join(requests).encode())
        for number in range(5):
            assert (await client.answer()).text == str(number)
        # And those that arrive while one is worked on.
        await client.send(requests[0].encode())
        await trio.sleep(0.5)
        await client.send(requests[1].encode())
        assert [(await client.answer()).text for _ in range(2)] == ["0", "1"]


async def test_pipelined_requests_after_the_end_are_not_served(connect, counters) -> None:
    """After an announced end nothing more is answered."""
    async with connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET)
        assert (await client.answer()).status == 307
        assert await client.rest() == b""
    assert counters.requests == 1


async def test_reading_ahead_is_bounded(connect, waiting) -> None:
    """However much is sent ahead, and behind however many requests, little of it is held."""
    held = []

    async def wait(request: Request) -> None:
        await trio.sleep(1)
        held.append(len(client.connection._http.trailing_data[0]))

    request = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    settings = HttpSettings(pipelined_size_max=1000)
    async with connect(settings, waiting(wait)) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.send, request * 20_000)
        for _ in range(100):
            await client.answer()
        nursery.cancel_scope.cancel()
    assert max(held) < 1000 + 2 * 16 * 1024


# Bodies


@pytest.mark.parametrize(
    ("head", "body", "shown"),
    [
        ("", "", "None"),
        ("Content-Length: 0\r\n", "", "None"),
        ("Content-Length: 3\r\n", "abc", "b'abc'"),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "b''"),
        ("Transfer-Encoding: chunked\r\n", "2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: v\r\n\r\n", "b'abc'"),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "abc", "b'abc'"),
    ],
)
async def test_body_is_read(connect, echo, head, body, shown) -> None:
    """A body of either framing arrives; none announced is told from an empty one."""
    async with connect(application=echo) as client:
        for _ in range(2):  # the second shows that the first was read to its end
            await client.send(f"POST /echo HTTP/1.1\r\nHost: x\r\n{head}\r\n{body}".encode())
            assert (await client.answer()).text == shown


@pytest.mark.parametrize("path", ["/deaf", "/nope"])
async def test_unwanted_body_is_thrown_away(connect, echo, path) -> None:
    """Endpoints that read none, and unknown paths, are spared; the connection lives on."""
    async with connect(application=echo) as client:
        answer = await client.request(path, "POST", body=b"x" * 100_000)
        assert (answer.status, answer.text) in ((200, "None"), (404, ""))
        assert (await client.request("/echo", "POST", body=b"x")).text == "b'x'"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "FOO"])
async def test_any_method_may_have_a_body(connect, echo, method) -> None:
    """A body belongs to its request whatever the method, and is not taken for the next one."""
    async with connect(application=echo) as client:
        answer = await client.request("/deaf", method, body=GET)
        assert answer.status == 200
        assert (await client.request("/nope")).status == 404


async def test_body_up_to_the_limit(connect, echo) -> None:
    """The largest body is read whole, in either framing."""
    settings = HttpSettings(body_size_max=1000)
    async with connect(settings, echo) as client:
        answer = await client.request("/echo", "POST", body=b"x" * 1000)
        assert answer.text == repr(b"x" * 1000)
        await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n")
        assert (await client.answer()).text == repr(b"x" * 1000)


async def test_body_above_the_limit_is_413(connect, echo, counters) -> None:
    """One byte more is refused: announced, before it is sent; in chunks, once it is there."""
    settings = HttpSettings(body_size_max=1000)
    for path in ("/echo", "/deaf", "/nope"):
        async with connect(settings, echo) as client:
            await client.send(
                f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n".encode()
            )
            answer = await client.answer()
            assert (answer.status, answer.text) == (413, "413 Request Entity Too Large")
            assert answer.header("connection") == "close"
            assert await client.rest() == b""
        async with connect(settings, echo) as client:
            await client.send(
                f"PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
                + (b"1f4\r\n" + b"x" * 500 + b"\r\n") * 2
                + b"1\r\nx\r\n"
            )
            assert (await client.answer()).status == 413
    assert counters.refusals == {413: 6}
    assert counters.requests == 0


async def test_chunk_count_at_the_limit(connect, echo) -> None:
    """As many chunks as may be are read, one more is 413, however little is in them."""
    head = b"PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with connect(HttpSettings(chunk_count_max=50), echo) as client:
        await client.send(head + b"1\r\nx\r\n" * 50 + b"0\r\n\r\n")
        assert (await client.answer()).text == repr(b"x" * 50)
        await client.send(head + b"1\r\nx\r\n" * 51 + b"0\r\n\r\n")
        assert (await client.answer()).status == 413


async def test_announced_size_is_never_trusted(connect, echo) -> None:
    """A size of twenty digits is refused without a buffer for it."""
    async with connect(application=echo) as client:
        await client.send(
            b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 20 + b"\r\n\r\n"
        )
        assert (await client.answer()).status == 413


async def test_expectation_is_met_before_the_body(connect, echo) -> None:
    """A client that waits for 100 gets it, then its answer."""
    async with connect(application=echo) as client:
        await client.send(
            b"PUT /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert (await client.answer()).status == 100
        await client.send(b"ab")
        assert (await client.answer()).text == "b'ab'"


async def test_expectation_of_a_refused_body_is_not_met(connect) -> None:
    """A client that asks first is spared sending what would be refused."""
    async with connect(HttpSettings(body_size_max=1)) as client:
        await client.send(
            b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert (await client.answer()).status == 413


# Refusals


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1 x\r\nHost: x\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET v1/agent/self HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"CONNECT /ui/ HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            400,
        ),
        (b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\0\0\0\0", 400),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
        (bytes(range(256)), 400),
    ],
)
async def test_what_is_no_request_is_refused(connect, counters, data, status) -> None:
    """A short text with the status, the announced end, and no traceback; refusals are counted."""
    async with connect() as client:
        with structlog.testing.capture_logs() as logs:
            await client.send(data)
            answer = await client.answer()
        assert answer.status == status
        assert answer.header("connection") == "close"
        assert answer.text == f"{status} {answer.reason}"
        assert await client.rest() == b""
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [
            ("request_refused", "debug")
        ]
        assert len(logs[0]["reason"]) <= 200
    assert counters.refusals == {status: 1}


async def test_refusal_after_a_head_request_has_its_text(connect) -> None:
    """What follows a HEAD and is no request is not answered as if it were one."""
    async with connect() as client:
        assert (await client.request(SELF, "HEAD")).status == 405
        await client.send(b"\r\n")
        assert (await client.answer()).text == "400 Bad Request"


async def test_refused_head_request_has_no_body(connect) -> None:
    """A refusal keeps to the framing of the request it refuses."""
    async with connect() as client:
        await client.send(b"HEAD /%zz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer("HEAD")).header("content-length") == "15"
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "chunks",
    [
        b"x\r\n",
        b"-1\r\n",
        b"0x2\r\nab\r\n",
        b"2\r\nabc\r\n",
        b"2\r\nab0\r\n\r\n",
        b"fffffffffffffffffffff\r\n",
        b"\r\n",
        b"0\r\nbad trailer\r\n\r\n",
    ],
)
async def test_bad_chunks_are_400(connect, chunks) -> None:
    """A body whose chunks do not fit together is refused, wanted or not."""
    async with connect() as client:
        await client.send(
            b"PUT /v1/agent/join HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await client.send(chunks)
        assert (await client.answer()).status == 400


async def test_chunk_of_unbelievable_size_is_413(connect) -> None:
    """A chunk that announces exabytes is taken as it comes, never prepared for."""
    async with connect(HttpSettings(body_size_max=10)) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"f" * 16 + b"\r\n" + b"x" * 11)
        assert (await client.answer()).status == 413


async def test_target_at_the_limit(connect) -> None:
    """The longest target is served, one byte more is 414."""
    settings = HttpSettings(target_size_max=100)
    target = SELF + "?" + "x" * (100 - len(SELF) - 1)
    async with connect(settings) as client:
        assert (await client.request(target)).status == 200
        answer = await client.request(target + "x")
        assert (answer.status, answer.text) == (414, "414 Request URI Too Long")
        assert await client.rest() == b""


async def test_header_count_at_the_limit(connect) -> None:
    """The hundredth header is served, the next one is 431."""
    async with connect() as client:
        headers = {f"X-{number}": "x" for number in range(SETTINGS.header_count_max - 1)}
        assert (await client.request(SELF, headers=headers)).status == 200
        answer = await client.request(SELF, headers={**headers, "X-Last": "x"})
        assert (answer.status, answer.text) == (431, "431 Request Header Fields Too Large")


async def test_head_size_at_the_limit(connect) -> None:
    """A head of the largest size is served, a larger one is 431, in one piece or trickling in."""
    fixed = len(SELF) + len("host") + len("localhost:4646") + len("x-big")
    fits = "x" * (SETTINGS.head_size_max - fixed)
    async with connect() as client:
        assert (await client.request(SELF, headers={"X-Big": fits})).status == 200
        assert (await client.request(SELF, headers={"X-Big": fits + "x"})).status == 431
    async with connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nX-Big: ")
        for _ in range(3):
            await client.send(b"x" * 16 * 1024)
        assert (await client.answer()).status == 431


async def test_endless_head_is_cut_off(connect) -> None:
    """A client that never ends its head, nor reads, is done with after the linger limit."""
    async with connect(HttpSettings(linger_size_max=100_000, linger_timeout=math.inf)) as client:
        with pytest.raises(trio.BrokenResourceError):
            await flood(client, b"x" * 16 * 1024, pause=0)
        assert (await client.answer()).status == 431


async def test_refused_client_has_a_moment_to_read(connect) -> None:
    """After a refusal what is still on its way is thrown away, and the answer stays readable."""
    async with connect() as client:
        await client.send(b"GET / HTTP/9.9\r\nHost: x\r\n\r\n")
        await client.send(b"x" * 10_000)
        assert (await client.answer()).status == 505
        assert await client.rest() == b""
        started = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await flood(client, b"still talking", pause=0.25)
        assert trio.current_time() - started == SETTINGS.linger_timeout


# Time


async def test_idle_connection_ends_without_a_word(connect) -> None:
    """Before the first request and between two, a connection waits this long and no longer."""
    async with connect() as client:
        assert await seconds(client.rest) == SETTINGS.idle_timeout
    async with connect() as client:
        for _ in range(3):
            assert (await client.request(SELF)).status == 200
            await trio.sleep(SETTINGS.idle_timeout - 1)
        assert await client.rest() == b""


async def test_slow_head_is_408(connect, counters) -> None:
    """However steadily it trickles in, a head has its time from the first byte."""
    async with connect() as client:
        await trio.sleep(100)  # idling before does not count
        started = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                for byte in GET:
                    await client.send(bytes([byte]))
                    await trio.sleep(1)

            nursery.start_soon(trickle)
            answer = await client.answer()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - started == SETTINGS.head_timeout
        assert (answer.status, answer.text) == (408, "408 Request Timeout")
        assert answer.header("connection") == "close"
    assert counters.refusals == {408: 1}


async def test_slow_head_behind_another_request_is_408(connect) -> None:
    """A head that began with the packet of the request before has no more time than others."""
    async with connect() as client:
        await client.send(GET + GET[:10])
        assert (await client.answer()).status == 200
        started = trio.current_time()
        assert (await client.answer()).status == 408
        assert trio.current_time() - started == SETTINGS.head_timeout


async def test_head_in_time_is_served(connect) -> None:
    """Just within the limit is early enough, and the time for the next head starts anew."""
    async with connect() as client:
        for _ in range(3):
            await client.send(GET[:10])
            await trio.sleep(SETTINGS.head_timeout - 0.1)
            await client.send(GET[10:])
            assert (await client.answer()).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
async def test_slow_body_is_408(connect, framing) -> None:
    """A body has its time from the end of the head."""
    async with connect() as client:
        await client.send(GET[:10])
        await trio.sleep(9)
        await client.send(GET[10:-2] + framing.encode() + b"\r\n\r\n")
        started = trio.current_time()
        await trio.sleep(20)
        await client.send(b"1\r\nx\r\n")
        assert (await client.answer()).status == 408
        assert trio.current_time() - started == SETTINGS.body_timeout


async def test_client_that_does_not_read_is_dropped(service, counters) -> None:
    """An answer nobody takes holds its connection for so long, then no longer."""
    stalled = StalledStream()
    stalled.incoming.append(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
    connection = Connection(stalled, Api([], service), SETTINGS, counters)
    with structlog.testing.capture_logs() as logs:
        assert await seconds(connection.run) == SETTINGS.write_timeout
    assert stalled.is_closed
    assert logs[-1]["event"] == "client_gone"


async def test_work_has_no_deadline(connect, waiting) -> None:
    """A handler may wait for as long as it has to."""

    async def wait(request: Request) -> None:
        await trio.sleep(10_000)

    async with connect(application=waiting(wait)) as client:
        assert (await client.request("/wait")).text == "waited"
        assert (await client.request("/wait")).text == "waited"


class StalledStream(trio.abc.HalfCloseableStream):
    """A peer that sends what it is told and never reads."""

    def __init__(self) -> None:
        self.incoming: list[bytes] = []
        self.is_closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def send_eof(self) -> None:
        await trio.sleep_forever()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.incoming:
            return self.incoming.pop(0)
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


async def test_refused_client_that_does_not_read_is_dropped(service, counters) -> None:
    """Not even a refusal holds a connection."""
    stalled = StalledStream()
    stalled.incoming.append(b"\0")
    connection = Connection(stalled, Api([], service), SETTINGS, counters)
    assert await seconds(connection.run) == SETTINGS.linger_timeout
    assert stalled.is_closed


# Clients that leave


@pytest.mark.parametrize(
    "sent", [b"", GET[:1], GET[:20], GET[:-1], GET[:-2] + b"Content-Length: 5\r\n\r\nab"]
)
async def test_early_end_frees_the_connection_at_once(connect, sent) -> None:
    """Whatever it was in the middle of, a client that closes is gone at once, without a crash."""
    async with connect() as client:
        if sent:
            await client.send(sent)
        assert await seconds(client.stream.aclose) == 0
        await trio.testing.wait_all_tasks_blocked()


async def test_half_closed_client_is_answered(connect) -> None:
    """One that ends its half after asking still reads, and is served all it asked for."""
    async with connect() as client:
        await client.send(GET + GET)
        await client.stream.send_eof()
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        assert await seconds(client.rest) == 0


async def test_half_closed_client_is_answered_by_waiting_handlers(connect, waiting) -> None:
    """Also when its half is seen to end while the handlers work."""

    async def wait(request: Request) -> None:
        await trio.sleep(1)

    async with connect(application=waiting(wait)) as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await client.stream.send_eof()
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        assert await client.rest() == b""


async def test_half_request_of_a_half_closed_client_is_refused(connect) -> None:
    """A request that will never be complete is told so at once."""
    async with connect() as client:
        await client.send(GET[:-1])
        await client.stream.send_eof()
        assert (await client.answer()).status == 400
        assert await seconds(client.rest) == 0


@pytest.mark.parametrize("ahead", [b"", GET])
async def test_leaving_client_is_noticed_while_working(connect, waiting, ahead) -> None:
    """A waiting handler hears at once of the end, also behind requests sent ahead."""
    heard = []

    async def wait(request: Request) -> None:
        await request.disconnected.wait()
        heard.append(trio.current_time())

    async with connect(application=waiting(wait)) as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + ahead)
        await trio.sleep(7)
        left = trio.current_time()
        await client.stream.aclose()
    assert heard == [left]


async def test_broken_client_is_noticed_while_working(waiting, counters) -> None:
    """So it does when the connection breaks instead of ending."""
    heard = []

    async def wait(request: Request) -> None:
        await request.disconnected.wait()
        heard.append(trio.current_time())

    class BreakingStream(StalledStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            if self.incoming:
                return await super().receive_some(max_bytes)
            await trio.sleep(3)
            raise trio.BrokenResourceError("reset")

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise trio.BrokenResourceError("reset")

    stream = BreakingStream()
    stream.incoming.append(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    started = trio.current_time()
    await Connection(stream, waiting(wait), SETTINGS, counters).run()
    assert heard == [started + 3]
    assert stream.is_closed


async def test_present_client_is_not_taken_for_gone(connect, waiting) -> None:
    """As long as it stays, a handler hears nothing of leaving."""

    async def wait(request: Request) -> None:
        await trio.sleep(1000)
        assert not request.disconnected.is_set()

    async with connect(application=waiting(wait)) as client:
        assert (await client.request("/wait")).status == 200


# Draining


async def test_draining_ends_idle_connections_at_once(connect) -> None:
    """Before a first request or after some, an idle connection is let go."""
    async with connect() as client:
        await trio.testing.wait_all_tasks_blocked()
        client.connection.begin_drain()
        assert await seconds(client.rest) == 0
    async with connect() as client:
        assert (await client.request(SELF)).status == 200
        await trio.testing.wait_all_tasks_blocked()
        client.connection.begin_drain()
        assert await seconds(client.rest) == 0


async def test_draining_lets_the_request_finish(connect, waiting) -> None:
    """The answer says that it is the last; what was sent ahead is not served."""

    async def wait(request: Request) -> None:
        await trio.sleep(3)

    async with connect(application=waiting(wait)) as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await trio.sleep(1)
        client.connection.begin_drain()
        answer = await client.answer()
        assert (answer.text, answer.header("connection")) == ("waited", "close")
        assert await client.rest() == b""


async def test_draining_lets_a_begun_head_finish(connect) -> None:
    """A request on its way is still answered, as the last one."""
    async with connect() as client:
        await client.send(GET[:10])
        await trio.testing.wait_all_tasks_blocked()
        client.connection.begin_drain()
        await client.send(GET[10:])
        answer = await client.answer()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert await client.rest() == b""


async def test_draining_while_an_answer_is_written(service, counters) -> None:
    """An answer already on its way promised another request; the connection ends all the same."""

    class SlowStream(StalledStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep(3)

    stream = SlowStream()
    stream.incoming.append(GET)
    connection = Connection(stream, Api([], service), SETTINGS, counters)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        started = trio.current_time()
        await trio.sleep(1)
        connection.begin_drain()
    assert trio.current_time() - started == 3
    assert counters.requests == 1


async def test_draining_before_the_first_byte_is_read(connect) -> None:
    """A connection accepted in the last moment ends before it begins."""
    async with connect() as client:
        client.connection.begin_drain()
        assert await client.rest() == b""


async def test_request_that_crosses_the_end_is_not_half_done(service, connect) -> None:
    """Bytes that arrive in the moment the connection is let go are not worked on at all."""
    async with connect() as client:
        await trio.testing.wait_all_tasks_blocked()
        await client.send(b"PUT /v1/agent/join?address=a HTTP/1.1\r\nHost: x\r\n\r\n")
        client.connection.begin_drain()  # the connection's task has not yet run
        assert await client.rest() == b""
    assert service.joined == []
