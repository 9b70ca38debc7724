"""How many packets a second the engine handles, by kind, against bare msgpack in the same run.

    python tests/bench/bench_engine.py

Each line is one kind of packet as a peer sends it, handled by a whole Serf engine in a pool of 50
(opened, decoded, applied, answers sealed and drained). The ratio is to `msgpack.unpackb` of the
same number of bytes: what merely parsing costs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgpack
from rookery.gossip.addresses import Address
from rookery.gossip.serf.engine import SerfEngine
from rookery.gossip.serf.messages import UserEvent, encode_serf_message
from rookery.gossip.serf.settings import SerfSettings
from rookery.gossip.serf.tags import encode_tags
from rookery.gossip.swim.settings import SwimSettings
from rookery.gossip.swim.versions import OUR_VERSIONS
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.messages import Ack, Alive, Ping, User, encode_message
from rookery.gossip.wire.packets import PacketCodec

ROUNDS = 20_000
PEER = Address("10.0.0.2", 7946)
META = encode_tags({"role": "nomad", "region": "global", "dc": "dc1", "port": "4647"})


def alive(number: int, incarnation: int) -> bytes:
    """Return an alive message about one of the pool."""
    address = bytes((10, 0, 1, number % 50))
    return encode_message(
        Alive(incarnation, f"node-{number % 50:02}.global", address, 7946, META, OUR_VERSIONS)
    )


def user_event(number: int) -> bytes:
    """Return a new user event."""
    event = UserEvent(number + 1, "deploy", b"1.2.3", False)
    return encode_message(User(encode_serf_message(event)))


KINDS: dict[str, Callable[[int], list[bytes]]] = {
    "ping": lambda number: [
        encode_message(Ping(number, "own.global", bytes((10, 0, 0, 2)), 7946, "p"))
    ],
    "late ack": lambda number: [encode_message(Ack(number, None))],
    "old alive x8": lambda number: [alive(number + part, 1) for part in range(8)],
    "new alive": lambda number: [alive(number, number // 50 + 2)],
    "user event": lambda number: [user_event(number)],
}


def run(kind: str, keyring: Keyring | None) -> None:
    """Measure one kind and print it."""
    rng = random.Random(1)
    swim = SwimSettings.profile(
        "lan", node_name="own.global", address=bytes((10, 0, 0, 1)), port=7946, keyring=keyring
    )
    engine = SerfEngine(SerfSettings(swim=swim), rng=rng, nonce=rng.randbytes)
    engine.start(now=0.0)
    codec = PacketCodec(keyring=keyring, nonce=rng.randbytes)
    for number in range(50):
        engine.receive_packet(codec.seal([alive(number, 1)], crc=True), PEER, now=0.0)
    packets = [codec.seal(KINDS[kind](number), crc=True) for number in range(ROUNDS)]
    now = 0.0
    started = time.perf_counter()
    for packet in packets:
        engine.receive_packet(packet, PEER, now=now)
        engine.packets_to_send()
        while engine.next_event() is not None:
            continue
        now += 1e-4
        deadline = engine.next_deadline()
        if deadline is not None and deadline <= now:
            engine.handle_timers(now=now)
            engine.packets_to_send()
            engine.stream_actions()
    elapsed = time.perf_counter() - started
    body = msgpack.packb({"x": b"x" * len(packets[0])})
    started = time.perf_counter()
    for _ in range(ROUNDS):
        msgpack.unpackb(body)
    bare = time.perf_counter() - started
    sealed = "AES-256" if keyring else "plain"
    print(
        f"{kind:>14}  {sealed:<8} {ROUNDS / elapsed:>9.0f} packets/s"
        f"  {elapsed / ROUNDS * 1e6:>6.1f} us each  {elapsed / bare:>6.1f} x bare msgpack"
    )


if __name__ == "__main__":
    for kind in KINDS:
        for keyring in (None, Keyring([bytes(range(32))])):
            run(kind, keyring)
