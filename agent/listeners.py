"""Binding the agent's own ports: HTTP listeners, and the RPC port.

Everything is bound before the agent shows itself to anybody, so a port in use ends the start with
one line that names what to change, and port 0 is a number before it is written into tags and logs.
The gossip port is bound by the pool.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence

import trio

from .addresses import join_host_port
from .settings_sources import SettingsError


async def open_http_listeners(hosts: Sequence[str], port: int) -> list[trio.SocketListener]:
    """Listen on every host, all on one port; with port 0 on whatever is free on the first.

    Raises:
        SettingsError: One cannot be bound; none stays open.
    """
    listeners: list[trio.SocketListener] = []
    try:
        for host in hosts:
            listeners += await trio.open_tcp_listeners(port, host=host)
            port = int(listeners[0].socket.getsockname()[1])
    except OSError as error:
        for listener in listeners:
            listener.socket.close()
        raise bind_problem("HTTP", host, port, error) from None
    return listeners


def reserve_rpc_port(host: str, port: int) -> socket.socket:
    """Bind the RPC port without listening on it; the caller closes the socket.

    The port goes out in the `port` tag, so it must be a real number, and ours: bound, no other
    program can take it and be talked to in our name, and who connects is refused at once. Calls
    between servers are served on it once that part is built.

    Raises:
        SettingsError: It cannot be bound.
    """
    version = ipaddress.ip_address(host).version
    sock = socket.socket(
        socket.AF_INET if version == 4 else socket.AF_INET6,
        socket.SOCK_STREAM | socket.SOCK_CLOEXEC,
    )
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise bind_problem("RPC", host, port, error) from None
    return sock


def bind_problem(what: str, host: str, port: int, error: OSError) -> SettingsError:
    """Return one line for an address that cannot be bound: what to change, by flag and by key.

    Args:
        what: `HTTP`, `RPC` or `serf`, as ports and addresses are called.
        host: What was to be bound.
        port: As above.
        error: What the system said. trio wraps it in an error of its own for listeners.
    """
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    key = what.lower()
    where = join_host_port(host, port)
    if cause.errno == errno.EADDRINUSE:
        return SettingsError(
            f"{what} port: {where} is in use by another program;"
            f" choose another with -{key}-port or ports.{key} (0 takes any free one)"
        )
    if cause.errno == errno.EACCES:
        return SettingsError(
            f"{what} port: {where} needs privileges;"
            f" choose one from 1024 up with -{key}-port or ports.{key}"
        )
    if cause.errno == errno.EADDRNOTAVAIL:
        return SettingsError(
            f"{what} address: {host} is not an address of this host;"
            f" write one with -bind or addresses.{key}"
        )
    reason = os.strerror(cause.errno) if cause.errno else str(cause)
    return SettingsError(f"{what}: cannot bind {where}: {reason.lower()}")
