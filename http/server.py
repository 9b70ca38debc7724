"""The HTTP server: accepts connections within limits, and ends them in order.

How it works. One task for each listener accepts; each connection is a task of its own. When there
are as many as there may be, the one idle for longest makes room for a new one; a connection that
finds no room, or whose client has too many, is told so in one write and closed. When the server is
cancelled it stops listening, lets idle connections go at once and requests in progress finish, and
cuts off what is left after `drain_timeout`. For that the connections live in a nursery that the
cancellation does not reach.

Nothing here wakes up by itself: an idle server waits in accept, an idle connection in read. The
kernel is told to ask after silent clients, and how long what was sent may stay unconfirmed. So a
client whose host vanished breaks the connection, and with it a stream that would go on for ever.

What it leaves out: TLS. A listener that yields TLS streams fits in; its handshake belongs at the
beginning of `_serve_connection`, under a time-out of its own.

Where it comes from: trio's `serve_listeners` (whose handling of a full descriptor table is kept)
and the start and stop of `hypercorn/trio/run.py`; the texts for too many connections are Nomad's
(`command/agent/http.go`) and, in its manner, ours.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import structlog
import trio

from .api import build_api
from .connection import Application, Connection
from .counters import Counters, HttpStatistics
from .settings import HttpSettings

if TYPE_CHECKING:
    from ..agent.service import AgentService

_log = structlog.get_logger("http")

_CAPACITY_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Accept failed for want of a resource of ours: the connection waits in the backlog."""

_CAPACITY_PAUSE = 0.1
"""Seconds to wait then. Without it accept would fail again at once, and the loop spin."""

_UNUSABLE_ERRNOS = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)
"""Accept failed for this one connection; accept(2) says to go on as if it had not come."""

KEEPALIVE_SECONDS = 30
"""Seconds of silence after which the kernel asks a client's host whether it is there. Nomad has the
same. It costs no wake-up of ours, and finds the dead end of a stream that has nothing to say."""

_TOO_MANY_OF_CLIENT = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"Your IP is issuing too many concurrent connections, please rate limit your calls\n"
)
_TOO_MANY_OF_ALL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"The agent has too many open connections, please try again later\n"
)

_REFUSAL_TIMEOUT = 1.0
"""Seconds for writing a refusal. It fits in a new connection's send buffer, so none are needed."""

Listeners = Sequence[trio.abc.Listener[trio.abc.Stream]]


async def serve(
    service: AgentService,
    listeners: Sequence[trio.SocketListener],
    settings: HttpSettings,
    *,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an agent's API until cancelled, then drain.

    Args:
        service: The agent.
        listeners: Already bound; closed when this returns.
        settings: Limits and time-outs.
        task_status: Gets the server, for its statistics, once connections are accepted.
    """
    counters = Counters()
    server = Server(build_api(service, counters), settings, counters)
    await server.run(listeners, task_status=task_status)


class Server:
    """The connections of one API, over any number of listeners."""

    def __init__(
        self, application: Application, settings: HttpSettings, counters: Counters | None = None
    ) -> None:
        """Serve an application; `counters` are given if it shows them."""
        self._application = application
        self._settings = settings
        self._counters = counters if counters is not None else Counters()
        self._connections: set[Connection] = set()
        self._of_client: Counter[str] = Counter()
        self._stopped = trio.Event()

    def statistics(self) -> HttpStatistics:
        """Return what was counted so far."""
        return self._counters.snapshot()

    async def run(
        self,
        listeners: Listeners,
        *,
        task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve until cancelled, then drain. The listeners are closed in any case."""
        async with trio.open_nursery() as nursery:
            connections = await nursery.start(self._hold_connections)
            try:
                async with trio.open_nursery() as acceptors:
                    for listener in listeners:
                        acceptors.start_soon(self._accept, listener, connections)
                    task_status.started(self)
            finally:
                self._drain(connections)

    async def _hold_connections(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Hold the connections' nursery open, out of reach of the server's cancellation."""
        async with trio.open_nursery() as connections:
            connections.cancel_scope.shield = True
            task_status.started(connections)
            await self._stopped.wait()
        if connections.cancel_scope.cancelled_caught:
            _log.warning("requests_cut_off", after=self._settings.drain_timeout)

    def _drain(self, connections: trio.Nursery) -> None:
        """Let go of the connections: the idle now, the others soon."""
        connections.cancel_scope.deadline = trio.current_time() + self._settings.drain_timeout
        for connection in list(self._connections):
            connection.begin_drain()
        self._stopped.set()

    async def _accept(
        self, listener: trio.abc.Listener[trio.abc.Stream], connections: trio.Nursery
    ) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno in _CAPACITY_ERRNOS:
                        _log.error("connection_not_accepted", error=str(error))
                        await trio.sleep(_CAPACITY_PAUSE)
                    elif error.errno not in _UNUSABLE_ERRNOS:
                        raise
                    continue
                await self._admit(stream, connections)

    async def _admit(self, stream: trio.abc.Stream, connections: trio.Nursery) -> None:
        """Serve a new connection, or turn it away."""
        client = _client_of(stream)
        refusal = self._refusal(client)
        if refusal is not None:
            self._counters.connections_refused += 1
            await _turn_away(stream, refusal, client)
            return
        _limit_silence(stream, self._settings.write_timeout)
        connection = Connection(
            stream, self._application, self._settings, self._counters, client=client
        )
        # Counted here and not in the task, which starts later: a burst must not slip through.
        self._connections.add(connection)
        self._of_client[client] += 1
        self._counters.connections_accepted += 1
        self._counters.connections_open += 1
        connections.start_soon(self._serve_connection, connection, client)

    def _refusal(self, client: str) -> bytes | None:
        """Return what to tell a client that is over a limit."""
        per_client_max = self._settings.connections_per_client_max
        if per_client_max and self._of_client[client] >= per_client_max:
            return _TOO_MANY_OF_CLIENT
        if len(self._connections) >= self._settings.connections_max and not self._make_room():
            return _TOO_MANY_OF_ALL
        return None

    def _make_room(self) -> bool:
        """Let go of the connection that has been idle for longest; return whether there was one.

        Its client will open another when it has something to ask. So those who keep connections
        they do not use cannot keep out those who would use one.
        """
        idle = [
            (until, connection)
            for connection in self._connections
            if (until := connection.idle_until) is not None
        ]
        if not idle:
            return False
        _, longest = min(idle, key=itemgetter(0))
        longest.begin_drain()
        return True

    async def _serve_connection(self, connection: Connection, client: str) -> None:
        try:
            await connection.run()
        except Exception as error:
            # A defect of ours that one client's bytes brought out: it ends this connection alone.
            self._counters.crashes += 1
            _log.error("connection_crashed", client=client, exc_info=error)
        finally:
            self._connections.discard(connection)
            self._counters.connections_open -= 1
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]


async def _turn_away(stream: trio.abc.Stream, refusal: bytes, client: str) -> None:
    """Write a refusal and close."""
    try:
        with trio.move_on_after(_REFUSAL_TIMEOUT):
            await stream.send_all(refusal)
    except trio.BrokenResourceError as error:
        _log.debug("client_gone", client=client, reason=str(error))
    finally:
        await stream.aclose()


def _limit_silence(stream: trio.abc.Stream, seconds: float) -> None:
    """Have the kernel break a connection whose other end confirms nothing for so long.

    That is about what was sent; keep-alive has something sent on a connection that is silent.
    """
    if isinstance(stream, trio.SocketStream) and sys.platform == "linux":
        milliseconds = int(seconds * 1000)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS)


def _client_of(stream: trio.abc.Stream) -> str:
    """Return the address of who is at the other end, `""` if there is none (any more)."""
    if not isinstance(stream, trio.SocketStream):
        return ""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""
