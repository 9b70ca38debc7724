"""What every transport promises (sockets and the tests' network alike), and what sockets add."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing
from rookery.gossip import transport as transport_module
from rookery.gossip.addresses import Address
from rookery.gossip.transport import (
    ACCEPT_BACKOFF,
    PORT_TRIES_MAX,
    RECEIVE_BURST_PACKETS,
    SEND_QUEUE_PACKETS_MAX,
    BindError,
    DialError,
    SocketTransport,
    StreamError,
    Transport,
)

from .fake_network import FakeNetwork

Open = Callable[[], Transport]


@pytest.fixture(params=["ipv4", "ipv6", "fake"])
def open_transport(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens transports that see each other, at free ports; closes them at the end."""
    opened: list[Transport] = []
    network = FakeNetwork()

    def open_one() -> Transport:
        if request.param == "fake":
            transport: Transport = network.open(Address("127.0.0.1", 0))
        else:
            host = "127.0.0.1" if request.param == "ipv4" else "::1"
            transport = SocketTransport.open(Address(host, 0))
        opened.append(transport)
        return transport

    yield open_one
    # Real sockets have to be closed; telling trio about it needs a running loop.
    if request.param != "fake":

        async def close_all() -> None:
            for transport in opened:
                transport.close()

        trio.run(close_all)


async def receive(transport: Transport, count: int) -> list[tuple[bytes, Address]]:
    """Collect packets of as many bursts as it takes."""
    packets: list[tuple[bytes, Address]] = []
    while len(packets) < count:
        packets += await transport.receive_packets()
    return packets


# The contract.


async def test_packet_arrives_whole_with_the_listening_address_as_source(
    open_transport: Open,
) -> None:
    """Datagrams are sent from the socket that receives: peers answer to a packet's source."""
    a, b = open_transport(), open_transport()
    a.send_packet_nowait(b"news", b.address)
    assert await b.receive_packets() == [(b"news", a.address)]


async def test_empty_and_largest_packets_arrive(open_transport: Open) -> None:
    """Both ends of what UDP can carry, 0 and 65507 bytes, pass unchanged."""
    a, b = open_transport(), open_transport()
    largest = bytes(range(256)) * 255 + bytes(227)
    assert len(largest) == 65507
    a.send_packet_nowait(b"", b.address)
    a.send_packet_nowait(largest, b.address)
    assert [data for data, _ in await receive(b, 2)] == [b"", largest]


async def test_packet_over_the_largest_is_counted_not_raised(open_transport: Open) -> None:
    """What the kernel refuses to send is one more lost packet, visible by the error's name."""
    a, b = open_transport(), open_transport()
    # IPv6 carries 20 bytes more than IPv4; this is too much for both.
    a.send_packet_nowait(bytes(65528), b.address)
    a.send_packet_nowait(b"next", b.address)
    assert await b.receive_packets() == [(b"next", a.address)]
    statistics = a.statistics()
    assert statistics.send_errors == {"EMSGSIZE": 1}
    assert statistics.packets_sent == 1


async def test_packets_come_in_bounded_bursts_and_in_order(open_transport: Open) -> None:
    """A flood is handed over in bursts of at most the named limit, nothing lost between them."""
    a, b = open_transport(), open_transport()
    count = 2 * RECEIVE_BURST_PACKETS + 1
    for number in range(count):
        a.send_packet_nowait(b"%d" % number, b.address)
    sizes = []
    numbers = []
    while len(numbers) < count:
        burst = await b.receive_packets()
        sizes.append(len(burst))
        numbers += [int(data) for data, _ in burst]
    assert numbers == list(range(count))
    assert max(sizes) <= RECEIVE_BURST_PACKETS
    assert len(sizes) >= 3


async def test_receiving_is_a_checkpoint_even_when_packets_wait(open_transport: Open) -> None:
    """Other tasks get their turn under a flood: each burst yields to the loop."""
    a, b = open_transport(), open_transport()
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for _ in range(4):
            for _ in range(RECEIVE_BURST_PACKETS):
                a.send_packet_nowait(b"x", b.address)
        while not turns:
            await trio.lowlevel.checkpoint()
        before = turns
        await receive(b, 4 * RECEIVE_BURST_PACKETS)
        assert turns >= before + 3
        nursery.cancel_scope.cancel()


async def test_packet_to_nobody_is_lost_quietly(open_transport: Open) -> None:
    """Nobody at the other end, and the refusal that comes back for it, end nothing."""
    a, b = open_transport(), open_transport()
    nobody = Address(a.address.host, 1)
    for _ in range(3):
        a.send_packet_nowait(b"anybody?", nobody)
    b.send_packet_nowait(b"here", a.address)
    assert await a.receive_packets() == [(b"here", b.address)]


async def test_traffic_is_counted(open_transport: Open) -> None:
    """Packets and bytes are counted on both sides."""
    a, b = open_transport(), open_transport()
    for data in (b"12345", b"123"):
        a.send_packet_nowait(data, b.address)
    await receive(b, 2)
    sent, received = a.statistics(), b.statistics()
    assert (sent.packets_sent, sent.bytes_sent) == (2, 8)
    assert (received.packets_received, received.bytes_received) == (2, 8)
    assert sent.packets_queued == sent.packets_dropped == 0


async def test_stream_carries_both_directions_and_ends(open_transport: Open) -> None:
    """A conversation: one side speaks and ends, the other answers and closes."""
    a, b = open_transport(), open_transport()
    question = bytes(range(256)) * 1024
    heard = bytearray()

    async def serve() -> None:
        stream = await b.accept()
        assert stream.remote.host == a.address.host
        while data := await stream.receive_some():
            heard.extend(data)
        await stream.send_all(b"answer")
        stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        stream = await a.dial(b.address)
        assert stream.remote == b.address
        await stream.send_all(question)
        await stream.send_eof()
        answer = b""
        while data := await stream.receive_some():
            answer += data
        stream.close()
    assert bytes(heard) == question
    assert answer == b"answer"


async def test_refused_dial_reads_like_gos(open_transport: Open) -> None:
    """Clients match this text; it names protocol, address and reason as Go does."""
    a = open_transport()
    nobody = Address(a.address.host, 1)
    expected = f"dial tcp {nobody}: connect: connection refused"
    with pytest.raises(DialError, match="^" + re.escape(expected) + "$"):
        await a.dial(nobody)


async def test_writing_to_a_peer_that_is_gone_raises_stream_error(open_transport: Open) -> None:
    """A broken stream is told in one type, whichever call notices."""
    a, b = open_transport(), open_transport()
    stream = await a.dial(b.address)
    (await b.accept()).close()
    expected = r"^write tcp .*: write: (broken pipe|connection reset by peer)$"
    with pytest.raises(StreamError, match=expected):  # noqa: PT012 - the first writes may still succeed
        while True:
            await stream.send_all(bytes(65536))
    stream.close()


async def test_closing_wakes_whoever_waits(open_transport: Open) -> None:
    """Pumps do not hang on a closed transport, nor does a new one get to use it."""
    a, b = open_transport(), open_transport()

    async def wait_for_packets() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await a.receive_packets()

    async def wait_for_streams() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await a.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_packets)
        nursery.start_soon(wait_for_streams)
        await trio.testing.wait_all_tasks_blocked()
        a.close()
    a.close()
    for operation in (a.receive_packets, a.accept):
        with pytest.raises(trio.ClosedResourceError):
            await operation()
    with pytest.raises(trio.ClosedResourceError):
        a.send_packet_nowait(b"late", b.address)


async def test_closed_address_is_free_again(open_transport: Open) -> None:
    """A killed agent can come back at the address it had."""
    a = open_transport()
    a.close()
    b = open_transport()
    with pytest.raises(DialError):
        await b.dial(a.address)


# Sockets.


def bind_error(host: str, port: int) -> BindError:
    """Return the error of an address that must not be had."""
    with pytest.raises(BindError) as caught:
        SocketTransport.open(Address(host, port))
    return caught.value


async def test_udp_port_in_use_is_one_clear_line() -> None:
    """The text names protocol, address, port and the system's reason; the TCP twin is released."""
    taken = SocketTransport.open(Address("127.0.0.1", 0))
    port = taken.address.port
    taken._tcp.close()
    for _ in range(2):
        error = bind_error("127.0.0.1", port)
        assert str(error) == f"cannot listen on udp 127.0.0.1:{port}: address already in use"
    taken.close()


def test_tcp_port_in_use_is_one_clear_line() -> None:
    """The same for TCP, with an IPv6 address in brackets."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        error = bind_error("::1", port)
    assert str(error) == f"cannot listen on tcp [::1]:{port}: address already in use"
    assert (error.network, error.address) == ("tcp", Address("::1", port))


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("localhost", 0, "not an IP address"),
        ("", 0, "not an IP address"),
        ("fe80::1%lo", 0, "addresses with a zone are not supported"),
        ("127.0.0.1", 65536, "port must be 0 to 65535"),
        ("192.0.2.77", 0, "cannot assign requested address"),
    ],
)
def test_address_that_cannot_be_had_is_refused(host: str, port: int, reason: str) -> None:
    """Names are not resolved and ports not wrapped: the mistake is named instead."""
    assert bind_error(host, port).reason == reason


async def test_port_zero_takes_one_number_for_both_protocols() -> None:
    """Peers reach UDP and TCP at the same port, so both are ours."""
    transport = SocketTransport.open(Address("127.0.0.1", 0))
    port = transport.address.port
    assert port != 0
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
    transport.close()


@pytest.mark.parametrize("clashes", [PORT_TRIES_MAX - 1, PORT_TRIES_MAX])
async def test_port_zero_tries_again_when_the_udp_twin_is_taken(
    clashes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clashes up to the limit cost another try each; then the last one is reported."""
    bind = transport_module._bind
    failures = 0

    def bind_but_clash(
        family: socket.AddressFamily, kind: socket.SocketKind, address: Address
    ) -> socket.socket:
        nonlocal failures
        if kind == socket.SOCK_DGRAM and failures < clashes:
            failures += 1
            raise BindError("udp", address, "address already in use")
        return bind(family, kind, address)

    monkeypatch.setattr(transport_module, "_bind", bind_but_clash)
    if clashes < PORT_TRIES_MAX:
        SocketTransport.open(Address("127.0.0.1", 0)).close()
    else:
        assert bind_error("127.0.0.1", 0).reason == "address already in use"
    assert failures == clashes


async def test_ipv6_socket_leaves_ipv4_alone() -> None:
    """An address has one form on the wire, so `::` takes no IPv4 traffic in mapped form."""
    v6 = SocketTransport.open(Address("::", 0))
    for sock in (v6._udp, v6._tcp):
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"mapped", ("127.0.0.1", v6.address.port))
    own = Address("::1", v6.address.port)
    v6.send_packet_nowait(b"native", own)
    assert await v6.receive_packets() == [(b"native", own)]
    v6.close()


async def test_other_address_family_is_refused_without_a_resolver() -> None:
    """An IPv6 address on an IPv4 pool: counted for packets, told in Go's words for dials."""
    transport = SocketTransport.open(Address("127.0.0.1", 0))
    transport.send_packet_nowait(b"x", Address("::1", 7946))
    assert transport.statistics().send_errors == {"EAFNOSUPPORT": 1}
    with pytest.raises(DialError) as caught:
        await transport.dial(Address("::1", 7946))
    assert str(caught.value) == (
        "dial tcp [::1]:7946: socket: address family not supported by protocol"
    )
    transport.close()


async def test_reset_stream_reads_like_gos() -> None:
    """A reset while reading names both ends and the reason, as Go does."""
    a = SocketTransport.open(Address("127.0.0.1", 0))
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = await a.dial(Address(*server.getsockname()))
        peer, local = server.accept()
        # A close that throws away what is to be sent, at once, resets the connection.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        with pytest.raises(StreamError) as caught:
            await stream.receive_some()
        remote = Address(*server.getsockname())
        assert str(caught.value) == (
            f"read tcp {Address(*local)}->{remote}: read: connection reset by peer"
        )
    stream.close()
    a.close()


async def test_receive_buffer_is_enlarged() -> None:
    """Waves of gossip fit the kernel's buffer: more than the default is asked for and granted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        default = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    transport = SocketTransport.open(Address("127.0.0.1", 0))
    granted = transport.statistics().receive_buffer_bytes
    transport.close()
    assert granted >= default


class FussySocket(socket.socket):
    """A UDP socket whose options are granted only up to a size, and whose buffer can be full."""

    granted_max = 1 << 30
    is_full = False
    receive_errors: tuple[OSError, ...] = ()

    def setsockopt(self, level: int, option: int, value: object, *rest: object) -> None:  # type: ignore[override]
        """Refuse what is larger than this system grants."""
        if option == socket.SO_RCVBUF and isinstance(value, int) and value > self.granted_max:
            raise OSError(errno.ENOBUFS, "No buffer space available")
        super().setsockopt(level, option, value)  # type: ignore[arg-type]

    def sendto(self, *arguments: object) -> int:  # type: ignore[override]
        """Have no room while full."""
        if self.is_full:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return super().sendto(*arguments)  # type: ignore[arg-type]

    def recvfrom(self, *arguments: object) -> tuple[bytes, object]:  # type: ignore[override]
        """Report each prepared error once."""
        if self.receive_errors:
            error, *rest = self.receive_errors
            self.receive_errors = tuple(rest)
            raise error
        return super().recvfrom(*arguments)  # type: ignore[arg-type]


def fussy_transport(granted_max: int = 1 << 30) -> tuple[FussySocket, SocketTransport]:
    """Return a transport on a UDP socket whose moods the test controls."""
    # The number must be free for both protocols, which only trying tells.
    while True:
        udp = FussySocket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.granted_max = granted_max
        udp.setblocking(False)
        udp.bind(("127.0.0.1", 0))
        try:
            tcp = socket.create_server(udp.getsockname())
        except OSError:
            udp.close()
            continue
        tcp.setblocking(False)
        return udp, SocketTransport(udp, tcp)


async def test_receive_buffer_is_halved_until_granted() -> None:
    """A system that refuses 2 MiB is asked for half, and half of that, as memberlist does."""
    udp, transport = fussy_transport(granted_max=300_000)
    requested = 2 * 1024 * 1024 // 8
    granted = udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert granted in (requested, 2 * requested)
    assert transport.statistics().receive_buffer_bytes == granted
    transport.close()


async def test_full_kernel_buffer_queues_in_order_then_drops_and_counts() -> None:
    """Packets wait in order up to the limit; the one over it is dropped and counted."""
    udp, transport = fussy_transport()
    udp.is_full = True
    receiver = SocketTransport.open(Address("127.0.0.1", 0))
    for number in range(SEND_QUEUE_PACKETS_MAX + 1):
        transport.send_packet_nowait(b"%d" % number, receiver.address)
    statistics = transport.statistics()
    assert statistics.packets_queued == SEND_QUEUE_PACKETS_MAX
    assert statistics.packets_dropped == 1
    assert statistics.packets_sent == 0
    # Room again: one more packet must not overtake those that wait.
    udp.is_full = False
    arrived: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.send_queued_packets)
        while len(arrived) < SEND_QUEUE_PACKETS_MAX:
            arrived += [data for data, _ in await receiver.receive_packets()]
        transport.send_packet_nowait(b"last", receiver.address)
        assert (await receiver.receive_packets())[0][0] == b"last"
        nursery.cancel_scope.cancel()
    assert arrived == [b"%d" % number for number in range(SEND_QUEUE_PACKETS_MAX)]
    assert transport.statistics().packets_queued == 0
    assert transport.statistics().packets_dropped == 1
    transport.close()
    receiver.close()


async def test_refusals_on_the_receiving_socket_are_counted_and_survived() -> None:
    """What ICMP brought back about an earlier packet says nothing about this socket."""
    udp, transport = fussy_transport()
    udp.receive_errors = (
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
    )
    transport.send_packet_nowait(b"to myself", transport.address)
    assert await transport.receive_packets() == [(b"to myself", transport.address)]
    assert transport.statistics().receive_errors == {"ECONNREFUSED": 1, "EHOSTUNREACH": 1}
    transport.close()


async def test_broken_socket_ends_the_transport() -> None:
    """An error that is not about one packet travels up instead of spinning for ever."""
    udp, transport = fussy_transport()
    udp.receive_errors = (OSError(errno.ENOTSOCK, "Socket operation on non-socket"),)
    transport.send_packet_nowait(b"to myself", transport.address)
    with pytest.raises(OSError, match="non-socket"):
        await transport.receive_packets()
    transport.close()


class FussyListener:
    """A listening socket that reports prepared errors, then hands over a connection."""

    def __init__(self, outcomes: list[object]) -> None:
        self.outcomes = outcomes

    async def accept(self) -> object:
        """Give the next outcome."""
        await trio.lowlevel.checkpoint()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome


async def test_accepting_survives_lost_connections_and_exhaustion(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A connection lost early is counted; without descriptors we wait instead of spinning."""
    _, transport = fussy_transport()
    listener = transport._tcp
    dialled = await transport.dial(transport.address)
    far, _ = await listener.accept()
    transport._tcp = FussyListener(  # type: ignore[assignment]
        [
            OSError(errno.ECONNABORTED, "Software caused connection abort"),
            OSError(errno.EMFILE, "Too many open files"),
            OSError(errno.ENFILE, "Too many open files in system"),
            (far, ("127.0.0.9", 7)),
            OSError(errno.ENOTSOCK, "Socket operation on non-socket"),
        ]
    )
    start = trio.current_time()
    stream = await transport.accept()
    assert trio.current_time() - start == pytest.approx(2 * ACCEPT_BACKOFF)
    assert stream.remote == Address("127.0.0.9", 7)
    counted = transport.statistics().receive_errors
    assert counted == {"ECONNABORTED": 1, "EMFILE": 1, "ENFILE": 1}
    with pytest.raises(OSError, match="non-socket"):
        await transport.accept()
    transport._tcp = listener
    stream.close()
    dialled.close()
    transport.close()
