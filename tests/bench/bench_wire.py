"""How fast the wire is: messages and packets a second, LZW in MB/s, against a peer in the same run.

    python tests/bench/bench_wire.py

Each line is the best of several rounds, in processor time. The peer is what the same bytes cost
without us: a bare `msgpack.unpackb` or `packb` of the message for what is opened, decoded or
encoded, and zlib (in C) for LZW. Only the ratios carry over to another machine.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import msgpack
from rookery.gossip.serf.messages import (
    JoinIntent,
    PushPullState,
    decode_serf_message_untrusted,
    encode_serf_message,
)
from rookery.gossip.serf.tags import encode_tags
from rookery.gossip.wire import lzw, messages
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.messages import (
    Ack,
    Alive,
    NodeState,
    Ping,
    PushPull,
    decode_message_untrusted,
    encode_message,
)
from rookery.gossip.wire.packets import PacketCodec
from rookery.gossip.wire.streams import StreamCodec

ROUNDS = 7
SECONDS_PER_ROUND = 0.05
VERSIONS = bytes((1, 5, 2, 2, 5, 5))
META = encode_tags({"role": "nomad", "region": "global", "dc": "dc1", "port": "4647"})
RNG = random.Random(1)


def seconds(function: Callable[[], object]) -> float:
    """Return the processor seconds of one call, the best of all rounds."""
    start = time.process_time()
    function()
    calls = max(1, int(SECONDS_PER_ROUND / (time.process_time() - start + 1e-7)))
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(calls):
            function()
        best = min(best, (time.process_time() - start) / calls)
    return best


def print_rate(name: str, ours: Callable[[], object], peer: Callable[[], object]) -> None:
    """Print calls per second and the ratio to the peer's time."""
    own = seconds(ours)
    print(
        f"{name:38} {1 / own:12,.0f}/s  {own * 1e6:9.2f} us  {own / seconds(peer):7.1f} x msgpack"
    )


def print_throughput(
    name: str, size: int, ours: Callable[[], object], peer: Callable[[], object]
) -> None:
    """Print megabytes per second of plain data and the ratio to zlib's time."""
    own = seconds(ours)
    rate, ratio = size / own / 1e6, own / seconds(peer)
    print(f"{name:38} {rate:9.1f} MB/s  {own * 1e6:9.0f} us  {ratio:7.1f} x zlib")


def unpack(data: bytes) -> Callable[[], object]:
    """Return the bare decoding of a message's body."""
    body = data[1:]
    return lambda: msgpack.unpackb(body, raw=True, strict_map_key=False)


def bench_messages() -> None:
    """Single messages, without any layer."""
    alive = Alive(5, "node-1.global", bytes((10, 0, 0, 1)), 4648, META, VERSIONS)
    ping = Ping(7, "node-1.global", bytes((10, 0, 0, 2)), 4648, "node-2.global")
    ack = Ack(7, b"\x01" + RNG.randbytes(129))
    for name, message in (("alive", alive), ("ping", ping), ("ack", ack)):
        data = encode_message(message)
        fields = msgpack.unpackb(data[1:], raw=True)
        print_rate(
            f"encode {name}", lambda m=message: encode_message(m), lambda f=fields: msgpack.packb(f)
        )
        print_rate(f"decode {name}", lambda d=data: decode_message_untrusted(d), unpack(data))
    data = encode_message(alive)
    print_rate(
        "decode alive, never seen before", lambda: messages._decode_gossip_now(data), unpack(data)
    )
    intent = encode_serf_message(JoinIntent(5, "node-1.global"))
    print_rate("decode join intent", lambda: decode_serf_message_untrusted(intent), unpack(intent))


def bench_packets() -> None:
    """Datagrams, opened to bare messages and decoded."""
    ack = encode_message(Ack(7, b"\x01" + RNG.randbytes(129)))
    gossip = [
        encode_message(Alive(5, f"node-{i}.global", bytes((10, 0, 0, i)), 4648, META, VERSIONS))
        for i in range(8)
    ]
    ring = Keyring([RNG.randbytes(32)])
    for name, parts in (("one ack", [ack]), ("eight alive", gossip)):
        peers = [unpack(part) for part in parts]

        def peer(peers: list[Callable[[], object]] = peers) -> None:
            for call in peers:
                call()

        for layers, codec in (
            ("plain", PacketCodec(compression=False, nonce=RNG.randbytes)),
            ("encrypted", PacketCodec(compression=False, keyring=ring, nonce=RNG.randbytes)),
            ("compressed", PacketCodec(nonce=RNG.randbytes)),
        ):
            packet = codec.seal(parts, crc=True)

            def read(codec: PacketCodec = codec, packet: bytes = packet) -> None:
                for part in codec.open_untrusted(packet).parts:
                    decode_message_untrusted(part)

            print_rate(f"open and decode {name}, {layers}", read, peer)
            print_rate(f"seal {name}, {layers}", lambda c=codec, p=parts: c.seal(p, crc=True), peer)


def bench_streams() -> None:
    """A push-pull of a thousand nodes."""
    nodes = tuple(
        NodeState(f"node-{i}.global", RNG.randbytes(4), 4648, META, 5, 0, VERSIONS)
        for i in range(1000)
    )
    state = PushPullState(5, {node.name: 3 for node in nodes}, (), 1, (), 1)
    user_state = encode_serf_message(state)
    exchange = PushPull(nodes, user_state, join=False)
    stream = encode_message(exchange)
    objects = [msgpack.packb({"Name": n.name, "Meta": n.meta, "Addr": n.address}) for n in nodes]

    def peer() -> None:
        for data in objects:
            msgpack.unpackb(data, raw=True)

    codec = StreamCodec(compression=False, nonce=RNG.randbytes)
    print_rate("write a push-pull of 1000 nodes", lambda: encode_message(exchange), peer)
    print_rate("read a push-pull of 1000 nodes", lambda: codec.request_reader().feed(stream), peer)
    print_rate(
        "read Serf's state of 1000 members", lambda: decode_serf_message_untrusted(user_state), peer
    )


def bench_lzw() -> None:
    """Compression both ways; the size is that of the plain data."""
    recorded = Path(__file__).parents[1] / "vectors/lzw/lambda-pushpull.plain.bin"
    plain = recorded.read_bytes()
    for name, data in (
        ("push-pull of 421 nodes", plain),
        ("packet of 1400 bytes", plain[:1400]),
        ("random bytes", RNG.randbytes(70_000)),
        ("zeros", bytes(70_000)),
    ):
        ours, peers = lzw.compress(data), zlib.compress(data)
        size = len(data)
        print_throughput(
            f"compress {name}",
            size,
            lambda d=data: lzw.compress(d),
            lambda d=data: zlib.compress(d),
        )
        print_throughput(
            f"decompress {name}",
            size,
            lambda d=ours: lzw.decompress(d, 1 << 24),
            lambda d=peers: zlib.decompress(d),
        )


if __name__ == "__main__":
    bench_messages()
    bench_packets()
    bench_streams()
    bench_lzw()
