"""The server: limits on connections, trouble with accept, an ordered end."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog.testing
import trio
import trio.testing
from rookery.http.api import Api
from rookery.http.request import Request
from rookery.http.responses import Response, text_response
from rookery.http.routing import WaitingEndpoint
from rookery.http.server import Server
from rookery.http.settings import HttpSettings

pytestmark = pytest.mark.usefixtures("autojump_clock")

WAIT = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
SETTINGS = HttpSettings()


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Hands out one end of in-memory connections, and errors when told to."""

    def __init__(self) -> None:
        self._sender, self._receiver = trio.open_memory_channel[object](1000)
        self.is_closed = False

    def connect(self) -> trio.StapledStream:
        ours, theirs = trio.testing.memory_stream_pair()
        self._sender.send_nowait(theirs)
        return ours

    def fail(self, error: Exception) -> None:
        self._sender.send_nowait(error)

    async def accept(self) -> trio.abc.Stream:
        item = await self._receiver.receive()
        if isinstance(item, Exception):
            raise item
        assert isinstance(item, trio.abc.Stream)
        return item

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


class Running:
    """A running server, and a listener to reach it by."""

    def __init__(self, listener: MemoryListener, server: Server, scope: trio.CancelScope) -> None:
        self.listener = listener
        self.server = server
        self.scope = scope
        self.ended_at: float | None = None


@pytest.fixture
def running(service):
    """Return a function that runs a server, to be entered.

    Its `/wait` answers after five seconds. Leaving the block waits for the server's end.
    """

    async def answer(request: Request) -> Response:
        await trio.sleep(float(request.query or 5))
        return text_response(200, "waited")

    @asynccontextmanager
    async def running(settings: HttpSettings = SETTINGS) -> AsyncIterator[Running]:
        server = Server(Api([WaitingEndpoint("/wait", answer)], service), settings)
        listener = MemoryListener()
        async with trio.open_nursery() as nursery:

            async def run(*, task_status: trio.TaskStatus[Server]) -> None:
                with state.scope:
                    await server.run([listener], task_status=task_status)
                state.ended_at = trio.current_time()

            state = Running(listener, server, trio.CancelScope())
            assert await nursery.start(run) is server
            yield state
            state.scope.cancel()
        assert listener.is_closed
        assert server.statistics().connections_open == 0

    return running


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Return everything until the end."""
    return b"".join([bytes(data) async for data in stream])


async def test_connections_are_served_side_by_side(running) -> None:
    """A slow answer to one client holds up no other."""
    async with running() as state:
        streams = [state.listener.connect() for _ in range(10)]
        for stream in streams:
            await stream.send_all(WAIT)
            await stream.send_eof()
        started = trio.current_time()
        for stream in streams:
            assert b"\r\n\r\nwaited" in await read_all(stream)
        assert trio.current_time() - started == 5
        statistics = state.server.statistics()
        assert (statistics.connections_accepted, statistics.requests) == (10, 10)
        assert (statistics.connections_refused, statistics.crashes) == (0, 0)


async def test_total_of_connections_is_limited(running) -> None:
    """With all at work the next one is told 503; one that ends makes room."""
    settings = HttpSettings(connections_max=3, connections_per_client_max=0)
    async with running(settings) as state:
        streams = [state.listener.connect() for _ in range(3)]
        for stream in streams:
            await stream.send_all(WAIT)
        await trio.testing.wait_all_tasks_blocked()
        text = await read_all(state.listener.connect())
        assert text == (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
            b"Connection: close\r\n\r\n"
            b"The agent has too many open connections, please try again later\n"
        )
        statistics = state.server.statistics()
        assert (statistics.connections_open, statistics.connections_refused) == (3, 1)
        for stream in streams:  # what is at work was not disturbed
            assert (await stream.receive_some()).endswith(b"\r\n\r\nwaited")
        await streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        stream = state.listener.connect()
        await stream.send_all(WAIT)
        assert (await stream.receive_some()).endswith(b"\r\n\r\nwaited")


async def test_longest_idle_connection_makes_room(running) -> None:
    """Who keeps a connection without using it does not keep others out."""
    settings = HttpSettings(connections_max=3, connections_per_client_max=0)
    async with running(settings) as state:
        streams = [state.listener.connect() for _ in range(3)]
        await trio.sleep(1)
        await streams[0].send_all(WAIT)  # the first has been idle since; the third is at work
        await streams[0].receive_some()
        await streams[2].send_all(WAIT.replace(b"/wait", b"/wait?60"))
        await trio.sleep(1)
        fourth, fifth = state.listener.connect(), state.listener.connect()
        assert await read_all(streams[1]) == b""
        assert await read_all(streams[0]) == b""
        for stream in (fourth, fifth):
            await stream.send_all(WAIT)
        for stream in (fourth, fifth, streams[2]):
            assert (await stream.receive_some()).endswith(b"\r\n\r\nwaited")
        statistics = state.server.statistics()
        assert (statistics.connections_open, statistics.connections_refused) == (3, 0)


async def test_burst_of_connections_stays_within_the_total(running) -> None:
    """However many come at once, each newcomer lets another go first."""
    settings = HttpSettings(connections_max=10, connections_per_client_max=0)
    async with running(settings) as state:
        streams = [state.listener.connect() for _ in range(500)]
        await trio.testing.wait_all_tasks_blocked()
        assert state.server.statistics().connections_open == 10
        assert state.server.statistics().connections_accepted == 500
        await streams[-1].send_all(WAIT)
        assert (await streams[-1].receive_some()).endswith(b"\r\n\r\nwaited")


async def test_connections_of_one_client_are_limited(running) -> None:
    """Above the limit: 429 with the text clients know. Here all are one client, without address."""
    settings = HttpSettings(connections_per_client_max=2)
    async with running(settings) as state:
        streams = [state.listener.connect() for _ in range(3)]
        text = await read_all(streams[2])
        assert text == (
            b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\n"
            b"Connection: close\r\n\r\n"
            b"Your IP is issuing too many concurrent connections, please rate limit your calls\n"
        )
        await streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        state.listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert state.server.statistics().connections_open == 2


@pytest.mark.parametrize(("limit", "open_"), [(100, 100), (0, 120)])
async def test_default_limit_of_one_client(running, limit, open_) -> None:
    """A hundred connections of one client, or any number with 0."""
    assert SETTINGS.connections_per_client_max == 100
    async with running(HttpSettings(connections_per_client_max=limit)) as state:
        streams = [state.listener.connect() for _ in range(120)]
        await trio.testing.wait_all_tasks_blocked()
        assert state.server.statistics().connections_open == open_
        assert len(streams) - open_ == state.server.statistics().connections_refused


async def test_refused_client_that_is_gone_costs_nothing(running) -> None:
    """It may have left before it can be told."""
    async with running(HttpSettings(connections_max=0)) as state:
        stream = state.listener.connect()
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert state.server.statistics().connections_refused == 1


async def test_full_descriptor_table_is_waited_out(running) -> None:
    """Without a free descriptor the server says so, waits a moment, and goes on."""
    async with running() as state:
        started = trio.current_time()
        with structlog.testing.capture_logs() as logs:
            state.listener.fail(OSError(errno.EMFILE, "Too many open files"))
            stream = state.listener.connect()
            await stream.send_all(b"\0")
            assert (await stream.receive_some())[:12] == b"HTTP/1.1 400"
        assert trio.current_time() - started == pytest.approx(0.1)
        assert (logs[0]["event"], logs[0]["log_level"]) == ("connection_not_accepted", "error")


async def test_connection_that_died_in_the_backlog_is_skipped(running) -> None:
    """It is as if it had never come."""
    async with running() as state:
        state.listener.fail(OSError(errno.ECONNABORTED, "Software caused connection abort"))
        stream = state.listener.connect()
        await stream.send_all(b"\0")
        assert (await stream.receive_some())[:12] == b"HTTP/1.1 400"


async def test_broken_listener_ends_the_server(service) -> None:
    """An error nobody planned for travels up, after the connections are let go."""
    server, listener = Server(Api([], service), SETTINGS), MemoryListener()
    stream = listener.connect()
    listener.fail(OSError(errno.EBADF, "Bad file descriptor"))
    with pytest.raises(BaseExceptionGroup) as caught:
        await server.run([listener])
    assert caught.group_contains(OSError, match="Bad file descriptor")
    assert await read_all(stream) == b""


async def test_cancelled_server_finishes_what_it_has(running) -> None:
    """Listeners close and idle connections end at once; the request in progress is answered."""
    async with running() as state:
        idle, busy = state.listener.connect(), state.listener.connect()
        await busy.send_all(WAIT)
        await trio.sleep(2)
        cancelled = trio.current_time()
        state.scope.cancel()
        assert await read_all(idle) == b""
        assert trio.current_time() == cancelled
        assert state.listener.is_closed
        text = await read_all(busy)
        assert b"Connection: close\r\n" in text
        assert text.endswith(b"\r\n\r\nwaited")
        assert trio.current_time() == cancelled + 3
        await trio.testing.wait_all_tasks_blocked()
        assert state.ended_at == cancelled + 3


async def test_drain_has_a_deadline(running) -> None:
    """A request that takes too long is cut off, and the log says so."""
    async with running() as state:
        stream = state.listener.connect()
        await stream.send_all(WAIT.replace(b"/wait", b"/wait?1000"))
        await trio.sleep(1)
        cancelled = trio.current_time()
        with structlog.testing.capture_logs() as logs:
            state.scope.cancel()
            assert await read_all(stream) == b""
            await trio.testing.wait_all_tasks_blocked()
        assert state.ended_at == cancelled + SETTINGS.drain_timeout
        assert [entry["event"] for entry in logs] == ["requests_cut_off"]


async def test_idle_server_ends_at_once(running) -> None:
    """With nothing to wait for, draining takes no time."""
    async with running() as state:
        state.listener.connect()
        await trio.sleep(3)
        cancelled = trio.current_time()
        state.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert state.ended_at == cancelled


async def test_crash_of_the_loop_ends_one_connection(service) -> None:
    """A defect in our own machinery is logged, and costs the one client that met it."""

    class Broken(Api):
        def find(self, request: Request) -> Response:
            raise RuntimeError("a defect")

    server, listener = Server(Broken([], service), SETTINGS), MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: server.run([listener], task_status=task_status))
        other = listener.connect()
        stream = listener.connect()
        with structlog.testing.capture_logs() as logs:
            await stream.send_all(WAIT)
            assert await read_all(stream) == b""
            await trio.testing.wait_all_tasks_blocked()
        assert [(entry["event"], str(entry["exc_info"])) for entry in logs] == [
            ("connection_crashed", "a defect")
        ]
        statistics = server.statistics()
        assert (statistics.crashes, statistics.connections_open) == (1, 1)
        await other.send_all(b"\0")
        assert (await other.receive_some())[:12] == b"HTTP/1.1 400"
        nursery.cancel_scope.cancel()


class Wakeups(trio.abc.Instrument):
    """Counts how often tasks are run."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1


async def test_resting_server_does_not_wake_up(running) -> None:
    """Idle connections and listeners run no task until their one deadline comes."""
    instrument = Wakeups()
    async with running() as state:
        streams = [state.listener.connect() for _ in range(50)]
        for stream in streams[:25]:
            await stream.send_all(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
            await stream.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(instrument)
        await trio.sleep(SETTINGS.idle_timeout - 1)
        trio.lowlevel.remove_instrument(instrument)
        # This task and nobody else; trio's own housekeeping may take a step with it.
        assert instrument.steps <= 3
        assert state.server.statistics().connections_open == 50
