"""Names, and which of our own addresses others may use."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from rookery.gossip import host_addresses
from rookery.gossip.host_addresses import (
    RESOLVE_SECONDS_MAX,
    AdvertiseError,
    Resolver,
    advertised_host,
    private_addresses,
)
from rookery.gossip.join_targets import JoinTargetError

Answer = Callable[..., Any]


def resolve_to(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    """Have the system's resolver answer as the test says."""
    monkeypatch.setattr(host_addresses.socket, "getaddrinfo", answer)


def entries(*hosts: str) -> list[tuple[object, ...]]:
    """Return an answer of the resolver."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]


async def test_all_addresses_of_a_name_are_returned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with three A records can give three joins; repetitions count once."""
    resolve_to(monkeypatch, lambda *a, **k: entries("10.0.0.3", "10.0.0.1", "10.0.0.3", "10.0.0.2"))
    found = await Resolver().look_up("three.example", ipv6=False)
    assert found == ["10.0.0.3", "10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize("ipv6", [False, True])
async def test_only_the_pools_family_is_asked_for(
    ipv6: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gossip cannot follow to an address of the other family."""
    asked: list[object] = []

    def answer(host: str, port: object, *, family: object, type: object) -> object:
        asked.append(family)
        return entries("x")

    resolve_to(monkeypatch, answer)
    await Resolver().look_up("name.example", ipv6=ipv6)
    assert asked == [socket.AF_INET6 if ipv6 else socket.AF_INET]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host"),
        (socket.gaierror(socket.EAI_NODATA, "No address"), "no such host"),
        (UnicodeError("label too long"), "no such host"),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            "temporary failure in name resolution",
        ),
    ],
)
async def test_failed_look_up_reads_like_gos(
    error: Exception, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients know these texts."""

    def answer(*arguments: object, **options: object) -> object:
        raise error

    resolve_to(monkeypatch, answer)
    with pytest.raises(JoinTargetError) as caught:
        await Resolver().look_up("nope", ipv6=False)
    assert str(caught.value) == f"lookup nope: {text}"


async def test_slow_resolver_is_given_up(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unresolvable names fail before the HTTP API's clients give up; the thread is left behind."""
    assert RESOLVE_SECONDS_MAX < 5
    release = threading.Event()
    running = threading.Event()

    def answer(*arguments: object, **options: object) -> object:
        running.set()
        release.wait(10)
        return entries("10.0.0.1")

    resolve_to(monkeypatch, answer)

    async def look_up() -> None:
        with pytest.raises(JoinTargetError, match=r"^lookup slow: i/o timeout$"):
            await Resolver().look_up("slow", ipv6=False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_up)
        while not running.is_set():
            await trio.lowlevel.checkpoint()
        mock_clock.jump(RESOLVE_SECONDS_MAX + 0.1)
    release.set()


def test_particular_address_is_advertised_as_it_is() -> None:
    """Where we listen on one address, that is the one others reach us at, public or not."""
    for host in ("127.0.0.1", "198.51.100.7", "::1"):
        assert advertised_host(host) == host


def test_private_addresses_are_chosen_in_order() -> None:
    """Private, shared and unique local ones; never loopback, link-local or public ones."""
    found = private_addresses(
        [
            "127.0.0.1",
            "169.254.3.4",
            "8.8.8.8",
            "100.64.0.1",
            "172.16.0.1",
            "10.0.0.1",
            "::1",
            "fe80::1%eth0",
            "2600::1",
            "fd00::2",
            "0.0.0.0",
        ]
    )
    assert [str(ip) for ip in found] == ["100.64.0.1", "172.16.0.1", "10.0.0.1", "fd00::2"]


@pytest.mark.parametrize(
    ("bound", "interfaces", "expected"),
    [
        ("0.0.0.0", ["127.0.0.1", "8.8.8.8", "fd00::2", "10.0.0.1", "10.0.0.2"], "10.0.0.1"),
        ("::", ["::1", "10.0.0.1", "fe80::1%eth0", "fd00::2"], "fd00::2"),
    ],
)
def test_listening_everywhere_advertises_the_first_private_address(
    bound: str, interfaces: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As memberlist does, and of the family we listen on."""
    monkeypatch.setattr(host_addresses, "_interface_addresses", lambda: interfaces)
    assert advertised_host(bound) == expected


def test_no_private_address_is_an_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A public address is never given away unasked; the text says what to set."""
    monkeypatch.setattr(host_addresses, "_interface_addresses", lambda: ["127.0.0.1", "8.8.8.8"])
    with pytest.raises(
        AdvertiseError, match=r"^advertise: no interface has a private IPv4 address"
    ):
        advertised_host("0.0.0.0")


def test_interfaces_of_this_machine_are_read() -> None:
    """The loopback interface, which every machine has, is among them."""
    assert "127.0.0.1" in host_addresses._interface_addresses()
