"""A network in memory for pools on virtual time: `Transport`s that pass the real one's contract.

Packets and streams move in no time and in order; a rule may lose packets and refuse dials. Delay,
duplication and reordering belong to the simulation, which drives engines without tasks; here the
tasks around the engine are what is tested.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from types import MappingProxyType
from typing import NoReturn

import trio
import trio.testing
from rookery.gossip.addresses import Address
from rookery.gossip.transport import (
    RECEIVE_BURST_PACKETS,
    STREAM_CHUNK_BYTES,
    BindError,
    DialError,
    StreamError,
    TransportStatistics,
)

UDP_PAYLOAD_MAX = 65507
FIRST_FREE_PORT = 20000


class FakeNetwork:
    """All transports of one test, by address, and the rule that says who reaches whom."""

    def __init__(self) -> None:
        self.transports: dict[Address, FakeTransport] = {}
        self.is_cut: Callable[[Address, Address], bool] = lambda source, destination: False
        """True loses the packets of this direction and lets dials hang, as a firewall would."""
        self.make_streams = trio.testing.memory_stream_pair
        """What carries a stream; trio's lockstep pair makes writers wait for readers."""
        self._next_port = FIRST_FREE_PORT

    def open(self, address: Address) -> FakeTransport:
        """Open a transport, as `SocketTransport.open` does."""
        if address.port == 0:
            address = Address(address.host, self._next_port)
            self._next_port += 1
        if address in self.transports:
            raise BindError("tcp", address, "address already in use")
        transport = FakeTransport(self, address)
        self.transports[address] = transport
        return transport


class FakeStream:
    """A `PeerStream` over trio's stream in memory."""

    def __init__(self, remote: Address, stream: trio.StapledStream[object, object]) -> None:
        self._remote = remote
        self._stream = stream

    @property
    def remote(self) -> Address:
        return self._remote

    async def send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            raise StreamError(f"write tcp ->{self._remote}: write: broken pipe") from None

    async def receive_some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(STREAM_CHUNK_BYTES))
        except trio.BrokenResourceError:
            reason = "connection reset by peer"
            raise StreamError(f"read tcp ->{self._remote}: read: {reason}") from None

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    def close(self) -> None:
        self._stream.send_stream.close()
        self._stream.receive_stream.close()


class FakeTransport:
    """A `Transport` of a `FakeNetwork`."""

    def __init__(self, network: FakeNetwork, address: Address) -> None:
        self._network = network
        self._address = address
        self._packets: deque[tuple[bytes, Address]] = deque()
        self._packets_arrived = trio.lowlevel.ParkingLot()
        self._streams: deque[FakeStream] = deque()
        self._stream_arrived = trio.lowlevel.ParkingLot()
        self._is_closed = False
        self._received = self._received_bytes = self._sent = self._sent_bytes = 0
        self._send_errors: dict[str, int] = {}

    @property
    def address(self) -> Address:
        return self._address

    async def receive_packets(self) -> list[tuple[bytes, Address]]:
        await trio.lowlevel.checkpoint()
        while not self._packets:
            self._check_open()
            await self._packets_arrived.park()
        count = min(len(self._packets), RECEIVE_BURST_PACKETS)
        burst = [self._packets.popleft() for _ in range(count)]
        self._received += count
        self._received_bytes += sum(len(data) for data, _ in burst)
        return burst

    def send_packet_nowait(self, data: bytes, destination: Address) -> None:
        self._check_open()
        if len(data) > UDP_PAYLOAD_MAX:
            name = errno.errorcode[errno.EMSGSIZE]
            self._send_errors[name] = self._send_errors.get(name, 0) + 1
            return
        self._sent += 1
        self._sent_bytes += len(data)
        peer = self._network.transports.get(Address(*destination))
        if peer is not None and not self._network.is_cut(self._address, peer.address):
            peer._packets.append((data, self._address))
            peer._packets_arrived.unpark()

    async def send_queued_packets(self) -> NoReturn:
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def accept(self) -> FakeStream:
        await trio.lowlevel.checkpoint()
        while not self._streams:
            self._check_open()
            await self._stream_arrived.park()
        return self._streams.popleft()

    async def dial(self, destination: Address) -> FakeStream:
        await trio.lowlevel.checkpoint()
        peer = self._network.transports.get(Address(*destination))
        if self._network.is_cut(self._address, destination):
            await trio.sleep_forever()
        if peer is None:
            raise DialError(f"dial tcp {destination}: connect: connection refused")
        near, far = self._network.make_streams()
        peer._streams.append(FakeStream(Address(self._address.host, 1), far))
        peer._stream_arrived.unpark()
        return FakeStream(destination, near)

    def statistics(self) -> TransportStatistics:
        return TransportStatistics(
            packets_received=self._received,
            bytes_received=self._received_bytes,
            packets_sent=self._sent,
            bytes_sent=self._sent_bytes,
            packets_queued=0,
            packets_dropped=0,
            send_errors=MappingProxyType(dict(self._send_errors)),
            receive_errors=MappingProxyType({}),
            receive_buffer_bytes=0,
        )

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        del self._network.transports[self._address]
        while self._streams:
            self._streams.popleft().close()
        self._packets.clear()
        self._packets_arrived.unpark_all()
        self._stream_arrived.unpark_all()

    def _check_open(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("this transport was closed")
