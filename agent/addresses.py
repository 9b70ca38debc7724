"""Which addresses the agent binds, and which ones it tells others.

What to bind is `addresses.*`, else `bind_addr`. What to tell others is `advertise.*`; without it,
the bind address if others can reach it, else (all interfaces bound) this host's first private
address. A loopback address goes out by default in dev mode only: elsewhere it would make every
other member send to itself, so the start fails instead (public API: `normalizeAddrs` and
`normalizeAdvertise` in Nomad's `command/agent/config.go`).

An address may be a template, of which the three in general use are understood: `{{ GetPrivateIP
}}`, `{{ GetPublicIP }}` and `{{ GetInterfaceIP "eth0" }}`.

Left out: IPv6 zones, and go-sockaddr's other functions and filters.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .settings import AgentSettings
from .settings_sources import SettingsError

_TEMPLATE = re.compile(r"\{\{\s*(\w+)(?:\s+\"([^\"]*)\")?\s*\}\}")


class Interfaces(Protocol):
    """What a host's network looks like; `HostInterfaces` is this host's."""

    def addresses(self, name: str | None = None) -> Sequence[str]:
        """Return the IP texts of interface `name`, or of all that are up, best ones first."""
        ...


@dataclass(frozen=True, slots=True)
class HostPort:
    """An address with a port, or None for whatever port gets bound."""

    host: str
    port: int | None

    def text(self, port_default: int) -> str:
        """Return `host:port`, IPv6 in brackets."""
        return join_host_port(self.host, self.port or port_default)


@dataclass(frozen=True, slots=True)
class AgentAddresses:
    """All addresses of an agent. The binding ones are IP texts, `http` at least one."""

    http: tuple[str, ...]
    rpc: str
    serf: str
    advertise_http: HostPort
    advertise_rpc: HostPort
    advertise_serf: HostPort


def find_addresses(
    settings: AgentSettings, interfaces: Interfaces, *, lookup: Callable[[str], str] | None = None
) -> AgentAddresses:
    """Work out every address from the settings and the host's network.

    Args:
        settings: What was configured.
        interfaces: The host's network.
        lookup: Host name to IP text; the system's by default.

    Raises:
        SettingsError: A name or template leads nowhere, or only loopback is left to advertise.
    """
    lookup = lookup or _lookup

    def bind(key: str, text: str) -> str:
        where = f"addresses.{key}" if getattr(settings.addresses, key) else "bind_addr"
        expanded = expand_template(text or settings.bind_addr, interfaces, where)
        return _to_ip(expanded, lookup, where)

    def advertise(key: str, bound: str) -> HostPort:
        text = getattr(settings.advertise, key)
        if not text:
            return HostPort(_default_advertise(key, bound, interfaces, settings.dev_mode), None)
        where = f"advertise.{key}"
        host, port = split_host_port(expand_template(text, interfaces, where), where)
        return HostPort(_to_ip(host, lookup, where), port)

    http = tuple(bind("http", text) for text in settings.addresses.http.split() or [""])
    rpc = bind("rpc", settings.addresses.rpc)
    serf = bind("serf", settings.addresses.serf)
    addresses = AgentAddresses(
        http=http,
        rpc=rpc,
        serf=serf,
        advertise_http=advertise("http", http[0]),
        advertise_rpc=advertise("rpc", rpc),
        advertise_serf=advertise("serf", serf),
    )
    _check_family(addresses)
    return addresses


def _check_family(addresses: AgentAddresses) -> None:
    """Refuse to advertise for gossip an address of the other IP version than the one bound."""
    bound = ipaddress.ip_address(addresses.serf)
    told = ipaddress.ip_address(addresses.advertise_serf.host)
    if bound.version != told.version and not bound.is_unspecified:
        raise SettingsError(
            f"advertise.serf: {told} is IPv{told.version}, but gossip binds {bound};"
            " write addresses of one IP version"
        )
    if told.is_unspecified or told.is_multicast:
        raise SettingsError(
            f"advertise.serf: nobody can reach {told}; write an address of this host"
        )


def _default_advertise(key: str, bound: str, interfaces: Interfaces, dev: bool) -> str:
    """Return what to advertise when nothing was configured."""
    address = ipaddress.ip_address(bound)
    if address.is_loopback:
        if not dev:
            raise SettingsError(
                "Defaulting advertise to localhost is unsafe, please set advertise manually"
                f" (advertise.{key}, or -advertise for all)"
            )
        return bound
    if not address.is_unspecified:
        return bound
    private = [text for text in interfaces.addresses() if _is_private(text)]
    # All interfaces of one IP version were bound: an address of the other would not be served.
    same = [text for text in private if ipaddress.ip_address(text).version == address.version]
    if not same and not dev:
        raise SettingsError(
            f"advertise.{key}: this host has no private IPv{address.version} address to advertise;"
            " write one others can reach (or -advertise for all)"
        )
    return same[0] if same else "127.0.0.1" if address.version == 4 else "::1"


def expand_template(text: str, interfaces: Interfaces, where: str) -> str:
    """Return `text` with a template replaced by the address it stands for.

    Raises:
        SettingsError: The template is unknown, or no address of this host fits.
    """
    if "{{" not in text:
        return text
    match = _TEMPLATE.fullmatch(text.strip())
    name, argument = (match[1], match[2]) if match else ("", None)
    if name == "GetPrivateIP":
        found = [address for address in interfaces.addresses() if _is_private(address)]
    elif name == "GetPublicIP":
        found = [
            address for address in interfaces.addresses() if ipaddress.ip_address(address).is_global
        ]
    elif name == "GetInterfaceIP" and argument:
        found = list(interfaces.addresses(argument))
    else:
        raise SettingsError(
            f"{where}: {text!r} is not understood; write an address, {{{{ GetPrivateIP }}}},"
            ' {{ GetPublicIP }} or {{ GetInterfaceIP "eth0" }}'
        )
    if not found:
        raise SettingsError(f"{where}: no address of this host fits {text!r}; write an address")
    return found[0]


def split_host_port(text: str, where: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.

    Raises:
        SettingsError: The port is no number from 1 to 65535, or a bracket is missing.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise SettingsError(f"{where}: {text!r} is no address; write [IPv6]:port")
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise SettingsError(f"{where}: {text!r} has no valid port; write a number from 1 to 65535")
    return host, int(port)


def join_host_port(host: str, port: int) -> str:
    """Return `host:port`, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _to_ip(text: str, lookup: Callable[[str], str], where: str) -> str:
    """Return the IP text of an address or host name, in its usual form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass  # a name, looked up below
    try:
        return lookup(text)
    except OSError:
        raise SettingsError(f"{where}: {text!r} is no IP address and no known host name") from None


def _lookup(name: str) -> str:
    """Return the first address of a host name, IPv4 before IPv6."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])


def _is_private(text: str) -> bool:
    # Imported here: commands use this module's texts only, and must not load the gossip layer.
    from ..gossip.host_addresses import private_addresses

    return bool(private_addresses([text]))


class HostInterfaces:
    """This host's network, as the system tells it."""

    def addresses(self, name: str | None = None) -> Sequence[str]:
        """Return the addresses of interfaces that are up, the one with the default route first."""
        import psutil

        states = psutil.net_if_stats()
        found = [
            entry.address.partition("%")[0]
            for interface, entries in psutil.net_if_addrs().items()
            if (name is None and interface in states and states[interface].isup)
            or interface == name
            for entry in entries
            if entry.family in (socket.AF_INET, socket.AF_INET6)
        ]
        default = _default_route_address()
        return sorted(found, key=lambda address: (address != default, ":" in address))


def _default_route_address() -> str:
    """Return the local address that packets to the outside leave from, or an empty text.

    Connecting a UDP socket sends nothing; it only makes the kernel choose a route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address reserved for documentation
        except OSError:
            return ""
        return str(probe.getsockname()[0])
