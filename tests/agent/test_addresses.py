"""Which addresses are bound and which are told to others."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from rookery.agent.addresses import (
    AgentAddresses,
    HostInterfaces,
    HostPort,
    expand_template,
    find_addresses,
    join_host_port,
    split_host_port,
)
from rookery.agent.settings import DEV_MODE, Addresses, Advertise, AgentSettings
from rookery.agent.settings_sources import SettingsError


class FakeInterfaces:
    """A host with the given addresses by interface."""

    def __init__(self, found: Mapping[str, Sequence[str]]) -> None:
        self._found = found

    def addresses(self, name: str | None = None) -> Sequence[str]:
        names = self._found if name is None else [name]
        return [address for known in names for address in self._found.get(known, ())]


HOST = FakeInterfaces(
    {
        "lo": ["127.0.0.1", "::1"],
        "eth0": ["8.8.8.8", "10.1.2.3", "fe80::1"],
        "eth1": ["192.168.7.7", "fd00::7"],
    }
)


def lookup(name: str) -> str:
    """Look names up without a network."""
    if name == "seed.example":
        return "10.9.9.9"
    raise OSError("no such host")


def find(dev: bool = False, **settings: object) -> AgentAddresses:
    """Find the addresses of an agent with these settings."""
    base = DEV_MODE if dev else AgentSettings()
    return find_addresses(msgspec.structs.replace(base, **settings), HOST, lookup=lookup)


def test_dev_mode_binds_and_advertises_loopback() -> None:
    """-dev stays on this host altogether."""
    found = find(dev=True)
    assert (found.http, found.rpc, found.serf) == (("127.0.0.1",), "127.0.0.1", "127.0.0.1")
    assert found.advertise_serf == HostPort("127.0.0.1", None)


def test_all_interfaces_advertise_the_first_private_address() -> None:
    """Bound to 0.0.0.0 an agent tells its first private IPv4 address, bound to :: an IPv6 one."""
    assert find(bind_addr="0.0.0.0").advertise_serf.host == "10.1.2.3"
    assert find(bind_addr="::").advertise_serf.host == "fd00::7"


def test_bound_address_is_advertised() -> None:
    """A usable bind address is what others are told."""
    found = find(bind_addr="192.168.7.7")
    assert found.serf == found.advertise_serf.host == found.advertise_rpc.host == "192.168.7.7"


def test_loopback_is_not_advertised_by_default() -> None:
    """Outside dev mode others would be told to send to themselves, so the start fails."""
    with pytest.raises(SettingsError, match="Defaulting advertise to localhost is unsafe"):
        find(bind_addr="127.0.0.1")
    everything = Advertise(http="127.0.0.1", rpc="127.0.0.1", serf="127.0.0.1:9")
    found = find(bind_addr="127.0.0.1", advertise=everything)
    assert found.advertise_serf == HostPort("127.0.0.1", 9)


def test_addresses_override_the_bind_address() -> None:
    """Each part may bind its own address, HTTP several."""
    found = find(
        dev=True, addresses=Addresses(http="127.0.0.2 127.0.0.3", rpc="127.0.0.4", serf="::1")
    )
    assert found.http == ("127.0.0.2", "127.0.0.3")
    assert (found.rpc, found.serf) == ("127.0.0.4", "::1")


def test_names_are_looked_up() -> None:
    """A host name stands for its address."""
    assert find(bind_addr="seed.example").serf == "10.9.9.9"
    with pytest.raises(SettingsError, match="bind_addr: 'nope' is no IP address and no known host"):
        find(bind_addr="nope")


def test_no_private_address_is_an_error_outside_dev_mode() -> None:
    """Nothing is made up when this host has no private address."""
    lonely = FakeInterfaces({"lo": ["127.0.0.1"]})
    with pytest.raises(SettingsError, match="no private IPv4 address"):
        find_addresses(AgentSettings(), lonely, lookup=lookup)
    dev = msgspec.structs.replace(DEV_MODE, bind_addr="0.0.0.0")
    assert find_addresses(dev, lonely, lookup=lookup).advertise_serf.host == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.0.1"])
def test_unreachable_advertise_address_is_refused(host: str) -> None:
    """An address nobody can send to is not told to anybody."""
    with pytest.raises(SettingsError, match=r"advertise\.serf: nobody can reach"):
        find(dev=True, advertise=Advertise(serf=host))


def test_gossip_speaks_one_ip_version() -> None:
    """An advertised address of the other version than the bound one is refused."""
    with pytest.raises(SettingsError, match="write addresses of one IP version"):
        find(dev=True, advertise=Advertise(serf="fd00::7"))


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("{{ GetPrivateIP }}", "10.1.2.3"),
        ("{{GetPublicIP}}", "8.8.8.8"),
        ('{{ GetInterfaceIP "eth1" }}', "192.168.7.7"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_templates_stand_for_addresses(template: str, address: str) -> None:
    """The three templates in use are understood."""
    assert expand_template(template, HOST, "bind_addr") == address


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ GetAllInterfaces }}", "is not understood"),
        ("{{ GetInterfaceIP }}", "is not understood"),
        ("x {{ GetPrivateIP }}", "is not understood"),
        ('{{ GetInterfaceIP "wlan0" }}', "no address of this host fits"),
    ],
)
def test_other_templates_are_refused(template: str, message: str) -> None:
    """What is not understood is said, with what is."""
    with pytest.raises(SettingsError, match=message):
        expand_template(template, HOST, "bind_addr")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1", "10.0.0.1", None),
        ("10.0.0.1:4648", "10.0.0.1", 4648),
        ("host", "host", None),
        ("host:1", "host", 1),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_host_and_port_are_told_apart(text: str, host: str, port: int | None) -> None:
    """A bare IPv6 address has no port; brackets allow one."""
    assert split_host_port(text, "x") == (host, port)


@pytest.mark.parametrize("text", ["a:b", "a:0", "a:65536", "a:-1", "[::1", "[::1]x", "a:٣"])
def test_bad_host_and_port_are_refused(text: str) -> None:
    """Ports are numbers from 1 to 65535."""
    with pytest.raises(SettingsError, match="x: "):
        split_host_port(text, "x")


def test_ipv6_gets_brackets() -> None:
    """A port behind an IPv6 address needs them."""
    assert join_host_port("::1", 1) == "[::1]:1"
    assert HostPort("10.0.0.1", None).text(4648) == "10.0.0.1:4648"
    assert HostPort("10.0.0.1", 9).text(4648) == "10.0.0.1:9"


def test_this_hosts_interfaces_are_listed() -> None:
    """The real host has at least loopback, and every address is one."""
    found = HostInterfaces().addresses()
    assert "127.0.0.1" in found
    assert all(ipaddress.ip_address(address) for address in found)
    assert HostInterfaces().addresses("no-such-interface") == []
