"""Sockets of one gossip agent: UDP and TCP on the same address and port, on trio.

How it works
    `SocketTransport.open` binds both. Datagrams are read in bounded bursts: the task waits for the
    socket once, then takes what is there without waiting, up to `RECEIVE_BURST_PACKETS`, so that a
    packet costs one system call and not one turn of the event loop. They are sent at once and from
    the socket that receives (peers answer to a packet's source); only when the kernel's buffer is
    full do they wait in a bounded queue, emptied by `send_queued_packets`, and beyond its limit
    they are dropped and counted: gossip is made for loss, and an agent that waits for its own
    packets is late with everybody else's answers. What a single packet meets on its way (no route,
    a firewall, a refusal that came back by ICMP) is counted by error and never ends anything.

    Streams are dialled from an ephemeral port and carry one conversation each; who speaks when, and
    how long it may take, is the engine's business.

    `Transport` and `PeerStream` say what a pool needs of a network. The tests' network in memory
    passes the same contract tests as the sockets here.

Where the rules come from
    memberlist net_transport.go: one number for both protocols, ten tries for port 0
    (NewNetTransport via `newMemberlist`), the receive buffer of 2 MiB, halved until it is granted
    (setUDPRecvBuf). Error texts follow Go's `net.OpError` ("dial tcp 127.0.0.1:1: connect:
    connection refused"), because users and clients of such agents know and match those.

Left out
    Several bind addresses, link-local IPv6 addresses with zones, IPv4 over an IPv6 socket (an
    address has one form on the wire, see `addresses`).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn, Protocol

import trio

from .addresses import Address

PACKET_SIZE_MAX = 65536
"""Bytes read of one datagram: more than UDP can carry (65507), so none is ever cut."""

RECEIVE_BURST_PACKETS = 64
"""Packets taken without a turn of the event loop. A few milliseconds of engine work: long enough to
make the turn cheap, far below the shortest probe time-out (200 ms), so timers and streams stay on
time under a flood."""

SEND_QUEUE_PACKETS_MAX = 1024
"""Packets that wait for the kernel's buffer; memberlist's own hand-off queues have this depth. At
the usual packet size it is 1.4 MB. What does not fit is dropped: it would be stale by the time it
left."""

RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024
"""Kernel buffer asked for, as memberlist does: gossip comes in waves, and the default holds a few
hundred packets."""

STREAM_CHUNK_BYTES = 65536
"""Read at once from a stream."""

LISTEN_BACKLOG = 1024
"""Connections the kernel completes before we accept them. When a partition heals many come at
once."""

PORT_TRIES_MAX = 10
"""Free TCP ports tried for one whose UDP twin is free as well; memberlist gives up after as
many."""

ACCEPT_BACKOFF = 0.1
"""Seconds without accepting after the process or the system ran out of file descriptors or memory:
the connection stays in the backlog, so trying again at once would only burn the CPU."""

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

_PASSING_ERRORS = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.ETIMEDOUT,
        errno.EMSGSIZE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EPERM,
        errno.EACCES,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
    }
)
"""Errors of receiving and accepting that belong to one packet or connection (ICMP answers, what
accept(2) lists, a firewall), not to the socket. Any other means that the socket itself is of no
more use, and ends the transport."""


class TransportError(Exception):
    """What went wrong on the network, in one line, in Go's words."""


class BindError(TransportError):
    """An address and port cannot be listened on; the text names both, and the reason."""

    def __init__(self, network: str, address: Address, reason: str) -> None:
        super().__init__(f"cannot listen on {network} {address}: {reason}")
        self.network = network
        self.address = address
        self.reason = reason


class DialError(TransportError):
    """A stream could not be opened."""


class StreamError(TransportError):
    """An open stream broke."""


class PeerStream(Protocol):
    """One TCP conversation."""

    @property
    def remote(self) -> Address:
        """The other end."""

    async def send_all(self, data: bytes) -> None:
        """Write everything.

        Raises:
            StreamError: The stream broke; how much was written is unknown.
        """

    async def receive_some(self) -> bytes:
        """Return what came, at most `STREAM_CHUNK_BYTES`; empty when the peer has ended its side.

        Raises:
            StreamError: The stream broke.
        """

    async def send_eof(self) -> None:
        """End our side; the peer's may go on.

        Raises:
            StreamError: The stream broke.
        """

    def close(self) -> None:
        """Close both sides. What the peer sent and we did not read may turn into a reset."""


@dataclass(frozen=True, slots=True)
class TransportStatistics:
    """Counters since the start, and the present state of the queue."""

    packets_received: int
    bytes_received: int
    packets_sent: int
    """Handed to the kernel."""
    bytes_sent: int
    packets_queued: int
    """Waiting for the kernel's buffer now."""
    packets_dropped: int
    """Thrown away because the queue was full."""
    send_errors: Mapping[str, int]
    """By the error's name, such as `ENETUNREACH`."""
    receive_errors: Mapping[str, int]
    """By the error's name: what ICMP brought back, and connections lost before they were
    accepted."""
    receive_buffer_bytes: int
    """What the kernel granted (Linux reports twice what it lets us use)."""


class Transport(Protocol):
    """A network as a pool sees it: datagrams and streams at one address."""

    @property
    def address(self) -> Address:
        """Where it listens, the port resolved."""

    async def receive_packets(self) -> list[tuple[bytes, Address]]:
        """Wait for datagrams and return them with their sources: at least one, at most a burst."""

    def send_packet_nowait(self, data: bytes, destination: Address) -> None:
        """Send, queue, or drop and count; what the network does to a packet is never raised."""

    async def send_queued_packets(self) -> NoReturn:
        """Send what had to be queued, for ever: a task of its own, asleep while nothing waits."""

    async def accept(self) -> PeerStream:
        """Wait for a peer's connection."""

    async def dial(self, destination: Address) -> PeerStream:
        """Connect to a peer.

        Raises:
            DialError: It did not work; the text is Go's.
        """

    def statistics(self) -> TransportStatistics:
        """Return the counters."""

    def close(self) -> None:
        """Close all but the open streams; who waits here gets `trio.ClosedResourceError`."""


def error_text(error: OSError) -> str:
    """Return the system's text for an error in Go's spelling, which starts with a small letter."""
    text = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
    return text[:1].lower() + text[1:]


def error_name(error: OSError) -> str:
    """Return the symbolic name of an error, for counting."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


class SocketStream:
    """A `PeerStream` over a TCP socket."""

    def __init__(self, sock: trio.socket.SocketType, remote: Address) -> None:
        self._stream = trio.SocketStream(sock)
        self._route = f"{Address(*sock.getsockname()[:2])}->{remote}"
        self._remote = remote

    @property
    def remote(self) -> Address:
        return self._remote

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as broken:
            raise self._error("write", broken) from broken

    async def receive_some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(STREAM_CHUNK_BYTES))
        except trio.BrokenResourceError as broken:
            raise self._error("read", broken) from broken

    async def send_eof(self) -> None:
        try:
            await self._stream.send_eof()
        except trio.BrokenResourceError as broken:
            raise self._error("close", broken) from broken

    def close(self) -> None:
        self._stream.socket.close()

    def _error(self, operation: str, broken: trio.BrokenResourceError) -> StreamError:
        cause = broken.__cause__
        reason = error_text(cause) if isinstance(cause, OSError) else str(broken)
        return StreamError(f"{operation} tcp {self._route}: {operation}: {reason}")


class SocketTransport:
    """A `Transport` over real sockets. Made by `open`; whoever opened it closes it."""

    def __init__(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Take over two bound, non-blocking sockets, `tcp` already listening."""
        self._udp = udp
        self._tcp = trio.socket.from_stdlib_socket(tcp)
        self._family = udp.family
        self._address = Address(*udp.getsockname()[:2])
        self._receive_buffer_bytes = _request_receive_buffer(udp)
        self._may_have_more = False
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._queue_filled = trio.Event()
        self._packets_received = 0
        self._bytes_received = 0
        self._packets_sent = 0
        self._bytes_sent = 0
        self._packets_dropped = 0
        self._send_errors: dict[str, int] = {}
        self._receive_errors: dict[str, int] = {}

    @classmethod
    def open(cls, address: Address) -> SocketTransport:
        """Bind UDP and TCP to an IP literal; port 0 takes a number that is free for both.

        Raises:
            BindError: The address is not an IP without zone, or it cannot be had.
        """
        try:
            ip = ipaddress.ip_address(address.host)
        except ValueError:
            raise BindError("udp", address, "not an IP address") from None
        if "%" in address.host:
            raise BindError("udp", address, "addresses with a zone are not supported")
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        wanted = Address(str(ip), address.port)
        for tries_left in reversed(range(PORT_TRIES_MAX)):
            tcp = _bind(family, socket.SOCK_STREAM, wanted)
            try:
                bound = Address(wanted.host, tcp.getsockname()[1])
                udp = _bind(family, socket.SOCK_DGRAM, bound)
            except BindError:
                tcp.close()
                if wanted.port != 0 or not tries_left:
                    raise
                continue
            return cls(udp, tcp)
        raise AssertionError("the last try returns or raises")

    @property
    def address(self) -> Address:
        return self._address

    async def receive_packets(self) -> list[tuple[bytes, Address]]:
        receive = self._udp.recvfrom
        while True:
            if self._udp.fileno() == -1:
                raise trio.ClosedResourceError("this transport was closed")
            # After a full burst more is likely to be there: a turn for the other tasks is enough,
            # and cheaper than asking the kernel to wake us.
            if self._may_have_more:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._udp)
            packets: list[tuple[bytes, Address]] = []
            size = 0
            self._may_have_more = True
            for _ in range(RECEIVE_BURST_PACKETS):
                try:
                    data, source = receive(PACKET_SIZE_MAX)
                except BlockingIOError:
                    self._may_have_more = False
                    break
                except OSError as error:
                    _count_or_raise(self._receive_errors, error)
                    continue
                size += len(data)
                packets.append((data, Address(source[0], source[1])))
            if packets:
                self._packets_received += len(packets)
                self._bytes_received += size
                return packets

    def send_packet_nowait(self, data: bytes, destination: Address) -> None:
        if self._queue:
            # Behind what already waits, so that packets leave in the order of the engine's
            # decisions.
            self._queue_packet(data, destination)
        elif not self._try_send(data, destination):
            self._queue_packet(data, destination)
            self._queue_filled.set()

    async def send_queued_packets(self) -> NoReturn:
        while True:
            await self._queue_filled.wait()
            while self._queue:
                await trio.lowlevel.wait_writable(self._udp)
                while self._queue and self._try_send(*self._queue[0]):
                    self._queue.popleft()
            self._queue_filled = trio.Event()

    def _queue_packet(self, data: bytes, destination: Address) -> None:
        if len(self._queue) >= SEND_QUEUE_PACKETS_MAX:
            self._packets_dropped += 1
        else:
            self._queue.append((data, destination))

    def _try_send(self, data: bytes, destination: Address) -> bool:
        """Send one packet; False when the kernel's buffer has no room for it now."""
        try:
            # An address of the other family would go through the resolver, which blocks.
            self._check_family(destination)
            self._udp.sendto(data, destination)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EBADF:
                raise trio.ClosedResourceError("this transport was closed") from None
            name = error_name(error)
            self._send_errors[name] = self._send_errors.get(name, 0) + 1
            return True
        self._packets_sent += 1
        self._bytes_sent += len(data)
        return True

    async def accept(self) -> SocketStream:
        while True:
            try:
                sock, source = await self._tcp.accept()
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    _count(self._receive_errors, error)
                    await trio.sleep(ACCEPT_BACKOFF)
                    continue
                _count_or_raise(self._receive_errors, error)
                continue
            return SocketStream(sock, Address(source[0], source[1]))

    async def dial(self, destination: Address) -> SocketStream:
        operation = "socket"
        try:
            # Gossip could never follow to an address of the other family, so neither does a stream.
            self._check_family(destination)
            sock = trio.socket.socket(self._family, socket.SOCK_STREAM)
            operation = "connect"
            try:
                await sock.connect(destination)
                return SocketStream(sock, destination)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            raise DialError(f"dial tcp {destination}: {operation}: {error_text(error)}") from error

    def _check_family(self, destination: Address) -> None:
        if (":" in destination.host) != (self._family == socket.AF_INET6):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    def statistics(self) -> TransportStatistics:
        return TransportStatistics(
            packets_received=self._packets_received,
            bytes_received=self._bytes_received,
            packets_sent=self._packets_sent,
            bytes_sent=self._bytes_sent,
            packets_queued=len(self._queue),
            packets_dropped=self._packets_dropped,
            send_errors=MappingProxyType(dict(self._send_errors)),
            receive_errors=MappingProxyType(dict(self._receive_errors)),
            receive_buffer_bytes=self._receive_buffer_bytes,
        )

    def close(self) -> None:
        if self._udp.fileno() != -1:
            trio.lowlevel.notify_closing(self._udp)
            self._udp.close()
        self._tcp.close()


def _bind(family: socket.AddressFamily, kind: socket.SocketKind, address: Address) -> socket.socket:
    """Return a non-blocking socket bound to an address, listening if it is of TCP."""
    network = "tcp" if kind == socket.SOCK_STREAM else "udp"
    sock = None
    try:
        sock = socket.socket(family, kind)
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            # A restart must not wait for the last life's closed connections. Never on UDP, where it
            # would let two agents share one port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(tuple(address))
        if kind == socket.SOCK_STREAM:
            sock.listen(LISTEN_BACKLOG)
    except (OSError, OverflowError) as error:
        if sock is not None:
            sock.close()
        reason = error_text(error) if isinstance(error, OSError) else "port must be 0 to 65535"
        raise BindError(network, address, reason) from error
    return sock


def _request_receive_buffer(udp: socket.socket) -> int:
    """Ask for what memberlist asks for, by halves down to what is granted; return what is."""
    size = RECEIVE_BUFFER_BYTES
    while size:
        try:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        except OSError:
            size //= 2
        else:
            break
    return udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _count(counters: dict[str, int], error: OSError) -> None:
    name = error_name(error)
    counters[name] = counters.get(name, 0) + 1


def _count_or_raise(counters: dict[str, int], error: OSError) -> None:
    """Count what belongs to one packet or connection; raise what says that the socket is broken."""
    if error.errno == errno.EBADF:
        raise trio.ClosedResourceError("this transport was closed") from None
    if error.errno not in _PASSING_ERRORS:
        raise error
    _count(counters, error)
