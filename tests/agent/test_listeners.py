"""Binding the agent's ports."""

from __future__ import annotations

import errno
import socket

import pytest
from rookery.agent.listeners import bind_problem, open_http_listeners, reserve_rpc_port
from rookery.agent.settings_sources import SettingsError


async def test_port_0_is_one_port_on_every_address() -> None:
    """Whatever is free on the first address is taken on the others too."""
    listeners = await open_http_listeners(["127.0.0.1", "127.0.0.2"], 0)
    ports = {listener.socket.getsockname()[1] for listener in listeners}
    hosts = [listener.socket.getsockname()[0] for listener in listeners]
    for listener in listeners:
        await listener.aclose()
    assert len(ports) == 1
    assert ports != {0}
    assert hosts == ["127.0.0.1", "127.0.0.2"]


async def test_port_in_use_is_told_with_what_to_change() -> None:
    """One line names the port, the flag and the key; what was open is closed again."""
    with socket.socket() as other:
        other.bind(("127.0.0.2", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            await open_http_listeners(["127.0.0.1", "127.0.0.2"], port)
        assert str(caught.value) == (
            f"HTTP port: 127.0.0.2:{port} is in use by another program;"
            " choose another with -http-port or ports.http (0 takes any free one)"
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", port))


def test_reserved_rpc_port_is_taken_but_answers_nobody() -> None:
    """No other program gets the port, and who connects is refused."""
    with reserve_rpc_port("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        with pytest.raises(SettingsError, match=f"{port} is in use by another"):
            reserve_rpc_port("127.0.0.1", port)
        with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
            caller.connect(("127.0.0.1", port))
    reserve_rpc_port("127.0.0.1", port).close()


async def test_foreign_address_is_told() -> None:
    """An address of another host cannot be bound, and the line says so."""
    with pytest.raises(SettingsError, match=r"HTTP address: 192\.0\.2\.1 is not an address of"):
        await open_http_listeners(["192.0.2.1"], 0)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, "serf port: [::1]:80 needs privileges; choose one from 1024 up with -serf"),
        (errno.EAFNOSUPPORT, "serf: cannot bind [::1]:80: address family not supported"),
    ],
)
def test_other_faults_are_told(number: int, text: str) -> None:
    """Each fault has its line, IPv6 in brackets."""
    problem = bind_problem("serf", "::1", 80, OSError(number, "x"))
    assert str(problem).startswith(text)


def test_cause_inside_trios_error_counts() -> None:
    """The error that trio puts around the system's does not hide it."""
    outer = OSError(errno.EAFNOSUPPORT, "trio's")
    outer.__cause__ = OSError(errno.EADDRINUSE, "the system's")
    assert "is in use" in str(bind_problem("HTTP", "127.0.0.1", 1, outer))
