"""The pool on real sockets of the loopback interface: that the parts fit together at all."""

from __future__ import annotations

import pytest
import structlog
import trio
from rookery.gossip import AdvertiseError, PoolSettings, host_addresses, notices, open_pool
from rookery.gossip.addresses import Address


def settings(name: str, host: str) -> PoolSettings:
    """Return settings for a free port."""
    return PoolSettings(node_name=name, bind=host, port=0, tags={"name": name})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_pools_join_over_real_sockets(host: str) -> None:
    """Name, address, port and tags of both are listed at both."""
    async with open_pool(settings("a", host)) as a, open_pool(settings("b", host)) as b:
        with a.events(notices.MemberJoined) as events:
            result = await b.join([str(a.address), f"a/{a.address}"])
            assert (result.joined, result.errors) == (2, ())
            await anext(events)
        expected = {
            ("a", a.address, (("name", "a"),), "alive"),
            ("b", b.address, (("name", "b"),), "alive"),
        }
        for pool in (a, b):
            assert {
                (m.name, Address(m.host, m.port), tuple(m.tags.items()), str(m.status))
                for m in pool.members()
            } == expected
        assert b.statistics().streams.dialled == 2
        assert a.statistics().streams.accepted == 2


async def test_refused_join_over_real_sockets() -> None:
    """The system's refusal and a resolver's answer reach the caller in Go's words."""
    async with open_pool(settings("a", "127.0.0.1")) as a:
        result = await a.join(["127.0.0.1:1", "nope..invalid"])
        assert [error.message for error in result.errors] == [
            "Failed to join 127.0.0.1: dial tcp 127.0.0.1:1: connect: connection refused",
            "Failed to resolve nope..invalid: lookup nope..invalid: no such host",
        ]


async def test_listening_everywhere_needs_an_address_to_advertise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On 0.0.0.0 a private address is advertised; without one the setting is named."""
    monkeypatch.setattr(host_addresses, "_interface_addresses", lambda: ["127.0.0.1", "10.9.8.7"])
    async with open_pool(settings("a", "0.0.0.0")) as a:
        assert a.address.host == "0.0.0.0"
        assert (a.local_member().host, a.local_member().port) == ("10.9.8.7", a.address.port)
    monkeypatch.setattr(host_addresses, "_interface_addresses", lambda: ["127.0.0.1"])
    with pytest.raises(AdvertiseError, match="advertise"):
        async with open_pool(settings("a", "0.0.0.0")):
            raise AssertionError("it started")


async def test_pool_logs_with_its_name() -> None:
    """Each line says which node it is of, an event name, and values."""
    with structlog.testing.capture_logs() as lines:
        async with open_pool(settings("a", "127.0.0.1")) as a:
            await trio.lowlevel.checkpoint()
    assert {
        "event": "member_joined",
        "log_level": "info",
        "node": "a",
        "member": "a",
        "address": str(a.address),
    } in lines
