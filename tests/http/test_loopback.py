"""The whole layer on real sockets: ordinary clients, limits by address, resets, an ordered end."""

from __future__ import annotations

import json
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
import trio.testing
from rookery.http.api import Api
from rookery.http.server import KEEPALIVE_SECONDS, Server, serve
from rookery.http.settings import HttpSettings

GET = b"GET /v1/agent/self HTTP/1.1\r\nHost: x\r\n\r\n"


class Served:
    """A server on loopback."""

    def __init__(self, server: Server, port: int, scope: trio.CancelScope) -> None:
        self.server = server
        self._scope = scope
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def connect(self, source: str = "127.0.0.1") -> trio.SocketStream:
        """Connect from an address; every one in 127.0.0.0/8 is ours."""
        sock = trio.socket.socket()
        try:
            await sock.bind((source, 0))
            await sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def stop(self) -> None:
        """Have the server begin to end."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()

    async def wait_open(self, count: int) -> None:
        """Wait until so many connections are open."""
        with trio.fail_after(10):
            while self.server.statistics().connections_open != count:
                await trio.lowlevel.checkpoint()


@asynccontextmanager
async def serving(service: object, **settings: object) -> AsyncIterator[Served]:
    """Serve on a free port of loopback."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        server = await nursery.start(serve, service, listeners, HttpSettings(**settings))
        yield Served(server, port, nursery.cancel_scope)
        nursery.cancel_scope.cancel()


async def test_an_ordinary_client_is_happy(service, join_result) -> None:
    """httpx: kept-alive connections, gzip, redirects, writing methods."""
    service.join_result = join_result(2)
    async with serving(service) as served, httpx.AsyncClient(base_url=served.url) as client:
        for _ in range(3):
            answer = await client.get("/v1/agent/members")
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.json()["ServerName"] == "bacon-mac"
        answer = await client.put("/v1/agent/join", params={"address": ["a", "b:1"]})
        assert answer.json() == {"error": "", "num_joined": 2}
        assert service.joined == [["a", "b:1"]]
        assert (await client.post("/v1/agent/join", content=b"x" * 200_000)).status_code == 400
        assert (await client.head("/v1/agent/self")).status_code == 405
        assert (await client.options("/v1/agent/self")).text == "Invalid method"
        answer = await client.get("/?ott=1", follow_redirects=True)
        assert (answer.url.path, answer.status_code) == ("/ui/", 200)
        assert served.server.statistics().connections_accepted == 1


async def test_large_answer_arrives_whole(service, member) -> None:
    """A table of two thousand members, larger than any socket buffer."""
    service.members = [member(f"node-{number}.global") for number in range(2_000)]
    async with serving(service) as served, httpx.AsyncClient(base_url=served.url) as client:
        for encoding in ("identity", "gzip"):
            answer = await client.get("/v1/agent/members", headers={"Accept-Encoding": encoding})
            assert len(json.loads(answer.content)["Members"]) == 2_000
    assert service.documents_built == 1


async def test_limit_counts_by_address(service) -> None:
    """One address at its limit is told so, and keeps nobody else out."""
    async with serving(service, connections_per_client_max=5) as served:
        streams = [await served.connect() for _ in range(5)]
        await served.wait_open(5)
        async with await served.connect() as refused:
            text = b"".join([bytes(data) async for data in refused])
            assert text.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        async with await served.connect("127.0.0.2") as other:
            await other.send_all(GET)
            assert (await other.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
        for stream in streams:
            await stream.aclose()
        await served.wait_open(0)
        async with await served.connect() as again:
            await again.send_all(GET)
            assert (await again.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_refusal_survives_a_client_that_keeps_sending(service) -> None:
    """The answer is not lost to a reset, though much of what was sent was never read."""
    async with serving(service) as served, await served.connect() as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                stream.send_all, b"PUT / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 150_000
            )
            received = b"".join([bytes(data) async for data in stream])
        assert received.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


@pytest.mark.parametrize(
    "sent", [b"", GET[:9], GET, b"GET /v1/agent/health HTTP/1.1\r\nHost: x\r\n\r\n"]
)
async def test_resets_leave_nothing_behind(service, sent) -> None:
    """A client that resets its connection, in the middle of anything, frees it."""
    async with serving(service) as served:
        for _ in range(20):
            stream = await served.connect()
            if sent:
                await stream.send_all(sent)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
        await served.wait_open(0)
        assert served.server.statistics().crashes == 0
        async with httpx.AsyncClient(base_url=served.url) as client:
            assert (await client.get("/v1/agent/self")).status_code == 200


async def test_crowd_of_connections_is_bounded(service) -> None:
    """Hundreds that connect and say nothing are held to the limits; others are served."""
    async with serving(service, connections_max=150) as served:
        crowd = [await served.connect() for _ in range(300)]
        await served.wait_open(100)
        async with await served.connect("127.0.0.3") as other:
            await other.send_all(GET)
            assert (await other.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
        for stream in crowd:
            await stream.aclose()
        await served.wait_open(0)
        assert served.server.statistics().connections_refused == 200


async def test_streams_reach_an_ordinary_client(service) -> None:
    """Httpx reads line by line, compressed; when it leaves, its stream is over."""

    def follow(served: Served) -> None:
        """Fire events while following them, in a thread: httpx leaks when it leaves with trio."""
        with httpx.stream("GET", f"{served.url}/v1/gossip/events") as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            received = answer.iter_lines()
            for name in ("a", "b"):
                event = {"Type": "user-event", "Name": name}
                trio.from_thread.run_sync(service.ring.add, event)
                assert json.loads(next(received))["Name"] == name
            assert served.server.statistics().streams_open == 1

    async with serving(service) as served:
        await trio.to_thread.run_sync(follow, served)
        await served.wait_open(0)
        assert served.server.statistics().streams_open == 0
        async with httpx.AsyncClient(base_url=served.url) as client:
            section = (await client.get("/v1/agent/self")).json()["stats"]["http"]
        assert (section["requests"], section["connections_open"]) == ("1", "1")


async def test_stopped_server_ends_streams_orderly(service) -> None:
    """A follower sees the end of its answer, not a broken connection, and holds nobody up."""
    async with serving(service, drain_timeout=30) as served, await served.connect() as stream:
        await stream.send_all(b"GET /v1/gossip/events HTTP/1.1\r\nHost: x\r\n\r\n")
        head = bytes(await stream.receive_some())
        assert head.endswith(b"\r\n\r\n")
        await served.stop()
        assert await stream.receive_some() == b"0\r\n\r\n"
        assert await stream.receive_some() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="the option is Linux's")
async def test_kernel_breaks_connections_to_hosts_that_are_gone(service) -> None:
    """Who is silent is asked; what stays unconfirmed for the write time-out ends the connection."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        taken: list[trio.SocketStream] = []

        class Watched(trio.abc.Listener[trio.abc.Stream]):
            async def accept(self) -> trio.abc.Stream:
                taken.append(await listeners[0].accept())
                return taken[-1]

            async def aclose(self) -> None:
                await listeners[0].aclose()

        server = Server(Api([], service), HttpSettings(write_timeout=7.5))
        await nursery.start(lambda task_status: server.run([Watched()], task_status=task_status))
        stream = await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1])
        async with stream:
            await stream.send_all(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
            await stream.receive_some()
            for level, option, value in (
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 7500),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            ):
                assert taken[0].getsockopt(level, option) == value
        nursery.cancel_scope.cancel()


async def test_stopped_server_closes_its_port(service) -> None:
    """Once it has ended, nobody can connect, and waiting clients see the end."""
    async with serving(service) as served:
        stream = await served.connect()
        await served.wait_open(1)
    assert await stream.receive_some() == b""
    with pytest.raises(OSError, match="refused"):
        await served.connect()
    await stream.aclose()
