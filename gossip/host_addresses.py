"""What only this machine knows: the addresses of names, and which of our own others may use.

Both ask the operating system. Names are looked up in threads, because the system's resolver blocks,
and not at all where an address was given. Sources: memberlist memberlist.go (resolveAddr),
net_transport.go (FinalAdvertiseAddr); the error texts are those of Go's net.DNSError.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import trio

from .join_targets import JoinTargetError

RESOLVE_SECONDS_MAX = 3.0
"""How long a name may take. Clients of the HTTP API give up after 5 s, and a resolver without
network can take much longer than that."""

RESOLVER_THREADS_MAX = 8
"""Threads of one resolver, those included that nobody waits for any more."""

_SHARED_SPACE = ipaddress.IPv4Network("100.64.0.0/10")
_NO_SUCH_HOST = {socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY}
"""The name does not exist, or has no address of the family we can use."""


class AdvertiseError(ValueError):
    """There is no address to advertise; the text names the setting and says what to do."""


class Resolver:
    """Looks names up, a bounded number at once and each for a bounded time."""

    def __init__(self) -> None:
        self._threads = trio.CapacityLimiter(RESOLVER_THREADS_MAX)

    async def look_up(self, host: str, *, ipv6: bool) -> list[str]:
        """Return the addresses of a name in one family, as text, at least one.

        Raises:
            JoinTargetError: There is none, or it took too long; the message is Go's.
        """
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        try:
            with trio.fail_after(RESOLVE_SECONDS_MAX):
                return await trio.to_thread.run_sync(
                    _look_up, host, family, abandon_on_cancel=True, limiter=self._threads
                )
        except trio.TooSlowError:
            raise JoinTargetError(f"lookup {host}: i/o timeout") from None


def _look_up(host: str, family: socket.AddressFamily) -> list[str]:
    """Ask the system's resolver; blocks."""
    try:
        found = socket.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise JoinTargetError(f"lookup {host}: no such host") from None
    except socket.gaierror as error:
        text = str(error.strerror)
        reason = "no such host" if error.errno in _NO_SUCH_HOST else text[:1].lower() + text[1:]
        raise JoinTargetError(f"lookup {host}: {reason}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def advertised_host(bound: str) -> str:
    """Return the address that others should use when we listen on `bound`.

    Raises:
        AdvertiseError: We listen everywhere, and no interface has a private address.
    """
    ip = ipaddress.ip_address(bound)
    if not ip.is_unspecified:
        return bound
    for candidate in private_addresses(_interface_addresses()):
        if candidate.version == ip.version:
            return str(candidate)
    raise AdvertiseError(
        f"advertise: no interface has a private IPv{ip.version} address; "
        "set the address that others reach us at"
    )


def private_addresses(
    addresses: Iterable[str],
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return, in order, the addresses that RFC 6890 calls private and that others can reach."""
    chosen = []
    for text in addresses:
        ip = ipaddress.ip_address(text.partition("%")[0])
        is_private = ip.is_private or (ip.version == 4 and ip in _SHARED_SPACE)
        if is_private and not (ip.is_loopback or ip.is_link_local or ip.is_unspecified):
            chosen.append(ip)
    return chosen


def _interface_addresses() -> list[str]:
    """Return the IP addresses of the interfaces that are up, in the system's order."""
    import psutil  # only an agent that listens everywhere pays for it

    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    return [
        entry.address
        for name, entries in psutil.net_if_addrs().items()
        if name in up
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    ]
