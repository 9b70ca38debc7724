"""Where a node is reached: an IP as text with a port, and the raw bytes that are on the wire.

Messages carry addresses as 4 or 16 raw bytes, compared byte by byte (a 16-byte IPv4-mapped address
and its 4-byte form are two different addresses to every Go peer), so the tables keep the bytes as
they came. Sockets want text. Both conversions are pure and cached: every packet needs one.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import NamedTuple

ADDRESS_SIZES = (4, 16)
"""Lengths an address may have on the wire; Go peers log errors for ever about any other."""


class Address(NamedTuple):
    """An IP address as text, without brackets or zone, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``host:port``, an IPv6 host in brackets.

        So does Go's ``net.JoinHostPort``.
        """
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@functools.lru_cache(maxsize=4096)
def ip_text(address: bytes) -> str:
    """Return the text of a raw address; an IPv4-mapped one reads as the IPv4 address it is.

    Raises:
        ValueError: The address has neither 4 nor 16 bytes.
    """
    if len(address) == 4:
        return ".".join(map(str, address))
    if len(address) != 16:
        raise ValueError(f"an IP address has 4 or 16 bytes, not {len(address)}")
    parsed = ipaddress.IPv6Address(address)
    mapped = parsed.ipv4_mapped
    return str(mapped if mapped is not None else parsed)


@functools.lru_cache(maxsize=4096)
def ip_bytes(host: str) -> bytes:
    """Return the raw form of an IP text: 4 bytes for IPv4, 16 for IPv6.

    Raises:
        ValueError: The text is no IP address.
    """
    return ipaddress.ip_address(host).packed


@functools.lru_cache(maxsize=4096)
def address_of(raw: bytes, port: int) -> Address:
    """Return the socket address of a raw IP and a port.

    Raises:
        ValueError: The address has neither 4 nor 16 bytes.
    """
    return Address(ip_text(raw), port)
