"""What people write to name a peer: `[nodename/]host[:port]`, read and refused as Go peers do.

Pure text work; looking a host up is the pool's business. The texts of the errors are those of Go's
standard library, because they reach the clients of the HTTP API, which know them. Sources:
memberlist memberlist.go (resolveAddr), util.go (hasPort, ensurePort); Go net.SplitHostPort,
strconv.ParseUint.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

PORT_MAX = 65535


class JoinTargetError(ValueError):
    """The text names no peer; the message is Go's."""


@dataclass(frozen=True, slots=True)
class JoinTarget:
    """A peer as it was written. `is_ip` says that `host` needs no look-up."""

    node: str
    host: str
    port: int
    is_ip: bool


def parse_join_target(text: str, default_port: int) -> JoinTarget:
    """Take an address apart; `default_port` is used where none is written.

    Raises:
        JoinTargetError: An empty node name, unbalanced brackets, or a port that is none.
    """
    node, slash, rest = text.partition("/")
    if not slash:
        node, rest = "", text
    elif not node:
        raise JoinTargetError("empty node name provided")
    if _has_port(rest):
        host, port_text = _split_host_port(rest)
        port = _parse_port(port_text)
    else:
        host, port = rest.strip("[]"), default_port
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return JoinTarget(node, host, port, is_ip=False)
    if "%" in host:
        # Go takes an address with a zone for a name as well, and looks it up.
        return JoinTarget(node, host, port, is_ip=False)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return JoinTarget(node, str(mapped or ip), port, is_ip=True)


def _has_port(text: str) -> bool:
    """Return whether a port is written; without brackets, two colons mean an IPv6 address."""
    if text.startswith("[") and text.count("[") == 1:
        return text.rfind(":") > text.rfind("]")
    return text.count(":") == 1


def _split_host_port(text: str) -> tuple[str, str]:
    """Split at the last colon, taking brackets off."""
    host, _, port = text.rpartition(":")
    if host.startswith("["):
        end = text.find("]")
        if end < 0:
            raise JoinTargetError(f"address {text}: missing ']' in address")
        if end != len(host) - 1:
            fault = "too many colons" if text[end + 1] == ":" else "missing port"
            raise JoinTargetError(f"address {text}: {fault} in address")
        host = host[1:-1]
    for bracket in "[]":
        if bracket in host + port:
            raise JoinTargetError(f"address {text}: unexpected '{bracket}' in address")
    return host, port


def _parse_port(text: str) -> int:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if not (text.isascii() and text.isdigit()):
        raise JoinTargetError(f"strconv.ParseUint: parsing {quoted}: invalid syntax")
    # A number of a million digits must not be converted to find out that it is too large.
    digits = text.lstrip("0")
    if len(digits) > len(str(PORT_MAX)) or int(digits or "0") > PORT_MAX:
        raise JoinTargetError(f"strconv.ParseUint: parsing {quoted}: value out of range")
    return int(digits or "0")
