"""How many requests for /v1/agent/members the HTTP layer answers, next to h11 alone.

    .venv/bin/python tests/bench/bench_http.py [--rounds 3] [--seconds 1] [--members 3 1000]

Both servers run here on loopback, one after the other, in one process; the load comes from a second
process over a few kept-alive connections. "bare h11" is the least a server can do: read a request,
write the same bytes as a fixed answer. The ratio is what routing, parameters, limits, time-outs and
logging cost, and says more than requests/s, which are the machine's. It is that of CPU time per
request, which other work on the machine disturbs less than the requests/s.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import structlog
import trio
from rookery.http.encoding import encode_json
from rookery.http.server import serve
from rookery.http.settings import HttpSettings

CONNECTIONS = 8


class Service:
    """As much of an agent as the members endpoint asks for."""

    has_server = True
    has_client = False
    response_headers: dict[str, str] = {}  # noqa: RUF012 (never written)

    def __init__(self, count: int) -> None:
        self.document = {
            "Members": [member(number) for number in range(count)],
            "ServerDC": "dc1",
            "ServerName": "node0",
            "ServerRegion": "global",
        }

    def members_version(self) -> int:
        return 1

    def members_document(self) -> dict[str, Any]:
        return self.document


def member(number: int) -> dict[str, Any]:
    """Return one member as agents list them."""
    return {
        "Addr": f"10.0.{number >> 8}.{number & 255}",
        "DelegateCur": 4,
        "DelegateMax": 5,
        "DelegateMin": 2,
        "Name": f"node{number}.global",
        "Port": 4648,
        "ProtocolCur": 2,
        "ProtocolMax": 5,
        "ProtocolMin": 1,
        "Status": "alive",
        "Tags": {"role": "nomad", "region": "global", "dc": "dc1", "id": f"{number:032x}"},
    }


async def serve_bare(stream: trio.SocketStream, body: bytes) -> None:
    """Answer every request with `body`, and do nothing else."""
    http = h11.Connection(h11.SERVER)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(16384)))
        elif isinstance(event, h11.ConnectionClosed):
            return
        elif isinstance(event, h11.EndOfMessage):
            data = http.send(h11.Response(status_code=200, reason=b"OK", headers=headers))
            data += http.send(h11.Data(data=body)) + http.send(h11.EndOfMessage())
            await stream.send_all(data)
            http.start_next_cycle()


def load(port: int, seconds: float, headers: bytes, results: Any) -> None:
    """Keep every connection busy for a while; report the requests, and those per second."""
    request = b"GET /v1/agent/members HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n"
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    sockets[0].sendall(request)
    size = read_answer(sockets[0])
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        for connection in sockets:
            connection.sendall(request)
        for connection in sockets:
            missing = size
            while missing:
                missing -= len(connection.recv(min(missing, 1 << 20)))
        count += len(sockets)
    results.put((count, count / elapsed))


def read_answer(connection: socket.socket) -> int:
    """Read one answer whole and return its size, which is that of all others."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    size = int(lengths[0].split(b":")[1])
    missing = size - len(body)
    while missing:
        missing -= len(connection.recv(missing))
    return len(head) + 4 + size


async def measure(
    start: Callable[[list[trio.SocketListener], trio.Nursery], Awaitable[Any]],
    seconds: float,
    headers: bytes,
) -> tuple[float, float]:
    """Return a server's requests per second and its CPU seconds per request."""
    context = multiprocessing.get_context("spawn")
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await start(listeners, nursery)
        results = context.Queue()
        port = listeners[0].socket.getsockname()[1]
        process = context.Process(target=load, args=(port, seconds, headers, results))
        process.start()
        before = time.process_time()
        count, rate = await trio.to_thread.run_sync(results.get)
        cost = (time.process_time() - before) / count
        await trio.to_thread.run_sync(process.join)
        nursery.cancel_scope.cancel()
    return rate, cost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--members", type=int, nargs="+", default=[3, 1000])
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))

    for count in arguments.members:
        service: Any = Service(count)
        body = encode_json(service.document)

        async def start_bare(
            listeners: list[trio.SocketListener], nursery: trio.Nursery, body: bytes = body
        ) -> None:
            nursery.start_soon(trio.serve_listeners, lambda s: serve_bare(s, body), listeners)

        async def start_ours(
            listeners: list[trio.SocketListener], nursery: trio.Nursery, service: Any = service
        ) -> None:
            await nursery.start(serve, service, listeners, HttpSettings())

        contenders = {
            "bare h11": (start_bare, b""),
            "rookery": (start_ours, b""),
            "rookery, gzip": (start_ours, b"Accept-Encoding: gzip\r\n"),
        }
        best: dict[str, tuple[float, float]] = {}
        for _ in range(arguments.rounds):  # in turn, so that a busy moment meets all of them
            for name, (start, headers) in contenders.items():
                rate, cost = trio.run(measure, start, arguments.seconds, headers)
                best_rate, best_cost = best.get(name, (0.0, cost))
                best[name] = (max(rate, best_rate), min(cost, best_cost))
        print(f"{count} members, {len(body)} bytes, best of {arguments.rounds}")
        for name, (rate, cost) in best.items():
            ratio = best["bare h11"][1] / cost
            print(f"  {name:14} {rate:7.0f} requests/s {cost * 1e6:6.0f} us each {ratio:6.2f}")


if __name__ == "__main__":
    main()
