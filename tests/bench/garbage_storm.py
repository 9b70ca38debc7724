"""Throw garbage at a running agent and see that nothing comes of it.

    python tests/bench/garbage_storm.py [--packets 1000000] [--streams 2000] [--seed 1]

The garbage is made from the recorded vectors: random bytes, vectors with bits flipped, and vectors
cut short; UDP packets and TCP streams. Two agents stand in one pool, encrypted as a pool should
be; a third stands alone in plaintext, where flipped bits can still make a well-formed message of a
stranger. The storm goes to one of each. Afterwards: all are up and answer, the encrypted table is
what it was, memory has stayed bounded, each rejection is counted by reason, and the log has lines,
not floods. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

VECTORS = Path(__file__).parent.parent / "vectors"
RSS_GROWTH_MAX_MIB = 200
LOG_LINES_MAX = 2000
KEY = base64.b64encode(bytes(range(32))).decode()


class Agent:
    """One agent process."""

    def __init__(self, name: str, folder: Path, *flags: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        ports = [free_port() for _ in range(3)]
        self.http, self.serf = ports[0], ports[1]
        command = [
            Path(sys.executable).with_name("rookery"),
            "agent", "-dev", "-node", name, "-log-level", "INFO",
            "-http-port", str(self.http), "-serf-port", str(self.serf), "-rpc-port", str(ports[2]),
            *flags,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 20
        while b"agent_ready" not in self.log.read_bytes():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"{name} did not start: {self.log.read_text()}")
            time.sleep(0.05)

    def get(self, path: str, method: str = "GET") -> Any:
        """Ask the agent over HTTP."""
        return httpx.request(method, f"http://127.0.0.1:{self.http}{path}", timeout=30).json()

    def members(self) -> dict[str, str]:
        """Return names and statuses."""
        return {
            member["Name"]: member["Status"] for member in self.get("/v1/agent/members")["Members"]
        }

    def rss_mib(self) -> float:
        """Return the memory it holds."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20


def free_port() -> int:
    """Return a port that is free for TCP and UDP now."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def load_vectors() -> tuple[list[bytes], list[bytes]]:
    """Return all recorded packets and streams."""
    packets, streams = [], []
    for path in sorted(VECTORS.glob("*.json")):
        document = json.loads(path.read_text())
        for vector in document.get("vectors", []):
            if vector["transport"] == "udp":
                packets.append(bytes.fromhex(vector["packet"]))
            else:
                for direction in ("client_to_server", "server_to_client"):
                    streams.append(bytes.fromhex(vector.get(direction, {}).get("stream", "")))
        for packet in document.get("packets", []):
            kind = packets if packet["transport"] == "udp" else streams
            kind.append(bytes.fromhex(packet["bytes"]))
    return [p for p in packets if p], [s for s in streams if s]


def spoil(rng: random.Random, sound: list[bytes]) -> bytes:
    """Return random bytes, or a recorded message with flipped bits, or one cut short."""
    choice = rng.randrange(4)
    if choice == 0:
        return rng.randbytes(rng.randrange(1, 300))
    data = bytearray(rng.choice(sound))
    if choice in (1, 3):
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    if choice in (2, 3):
        del data[rng.randrange(1, len(data) + 1) :]
    return bytes(data)


def storm_packets(agent: Agent, rng: random.Random, packets: list[bytes], count: int) -> None:
    """Send packets in bursts, with pauses so that the receive buffer is not what drops them."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(spoil(rng, packets), ("127.0.0.1", agent.serf))
            if number % 200 == 199:
                time.sleep(0.01)


def storm_streams(agent: Agent, rng: random.Random, streams: list[bytes], count: int) -> None:
    """Open streams, write, and close in different rude ways."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", agent.serf), timeout=10) as stream:
            try:
                stream.sendall(spoil(rng, streams))
                if rng.randrange(2):
                    stream.shutdown(socket.SHUT_WR)
                    stream.recv(65536)
            except OSError:
                continue  # refused in the middle: as it should be


def main() -> int:
    """Start the agents, run the storm, look."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    packets, streams = load_vectors()
    agents: list[Agent] = []
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            target = Agent("target", Path(folder), "-encrypt", KEY)
            agents.append(target)
            witness = Agent("witness", Path(folder), "-encrypt", KEY)
            agents.append(witness)
            plain = Agent("plain", Path(folder))
            agents.append(plain)
            target.get(f"/v1/agent/join?address=127.0.0.1:{witness.serf}", "PUT")
            before = {agent.name: agent.rss_mib() for agent in agents}
            started = time.monotonic()
            for agent in (target, plain):
                storm_packets(agent, rng, packets, arguments.packets // 2)
                storm_streams(agent, rng, streams, arguments.streams // 2)
            elapsed = time.monotonic() - started
            print(f"{arguments.packets} packets and {arguments.streams} streams in {elapsed:.0f} s")
            expected = {"target.global": "alive", "witness.global": "alive"}
            for agent in (target, witness):
                if agent.members() != expected:
                    problems.append(f"{agent.name} lists {agent.members()}")
            if plain.members().get("plain.global") != "alive":
                problems.append(f"the plaintext agent lists itself as {plain.members()}")
            for agent in agents:
                growth = agent.rss_mib() - before[agent.name]
                lines = agent.log.read_text().count("\n")
                stats = agent.get("/v1/agent/self")["stats"]["gossip"]
                rejected = {
                    key: value for key, value in stats.items() if key.startswith("rejected")
                }
                print(
                    f"{agent.name}: {len(agent.members())} members,"
                    f" memory {before[agent.name]:.0f} MiB {growth:+.0f},"
                    f" {lines} log lines, rejected: {rejected}"
                )
                if growth > RSS_GROWTH_MAX_MIB:
                    problems.append(f"{agent.name} grew by {growth:.0f} MiB")
                if lines > LOG_LINES_MAX:
                    problems.append(f"{agent.name} wrote {lines} log lines")
                if "Traceback" in agent.log.read_text():
                    problems.append(f"{agent.name} logged a traceback")
        finally:
            for agent in agents:
                agent.process.kill()
                agent.process.wait()
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
