"""Flood a pool with events and queries from one peer, and see that nobody is failed for it.

    python tests/bench/flood.py [--rate 10000] [--seconds 20]

Three agents in one pool; a stranger sends the first one that many different user events a second,
then that many queries. Meanwhile nobody may be listed as anything but alive on any of them, and
memory must stay bounded. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from garbage_storm import RSS_GROWTH_MAX_MIB, Agent
from rookery.gossip.serf.messages import Query, UserEvent, encode_serf_message
from rookery.gossip.wire.messages import User, encode_message

BURST_SECONDS = 0.01


def event(number: int) -> bytes:
    """Return a packet with a new user event."""
    ltime = 10 + number // 50
    return encode_message(
        User(encode_serf_message(UserEvent(ltime, "flood", str(number).encode(), False)))
    )


def query(number: int) -> bytes:
    """Return a packet with a new query that wants an ack."""
    ltime, home = 10 + number // 50, bytes((127, 0, 0, 1))
    asked = Query(ltime, number, home, 9, "flooder", (), 1, 0, 10**9, "flood", b"")
    return encode_message(User(encode_serf_message(asked)))


def flood(
    agents: list[Agent], make: Callable[[int], bytes], rate: int, seconds: float
) -> list[str]:
    """Send at a steady rate to the first agent; return what went wrong."""
    names = {f"{agent.name}.global" for agent in agents}
    problems: set[str] = set()
    burst = max(int(rate * BURST_SECONDS), 1)
    number, started = 0, time.monotonic()
    next_look = started
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        while (elapsed := time.monotonic() - started) < seconds:
            if number <= elapsed * rate:
                for _ in range(burst):
                    sender.sendto(make(number), ("127.0.0.1", agents[0].serf))
                    number += 1
            else:
                time.sleep(BURST_SECONDS / 4)
            if time.monotonic() >= next_look:
                next_look += 1.0
                for agent in agents:
                    wrong = {n: s for n, s in agent.members().items() if s != "alive"}
                    if wrong or set(agent.members()) != names:
                        problems.add(f"{agent.name} lists {agent.members()}")
    print(f"{make.__name__}: {number / seconds:.0f} a second for {seconds:.0f} s")
    return sorted(problems)


def main() -> int:
    """Start the agents, flood, look."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    agents: list[Agent] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in ("one", "two", "three"):
                agents.append(Agent(name, Path(folder)))
            for agent in agents[1:]:
                agents[0].get(f"/v1/agent/join?address=127.0.0.1:{agent.serf}", "PUT")
            time.sleep(1)
            before = [agent.rss_mib() for agent in agents]
            for make in (event, query):
                problems += flood(agents, make, arguments.rate, arguments.seconds)
            for agent, memory in zip(agents, before, strict=True):
                growth = agent.rss_mib() - memory
                stats = agent.get("/v1/agent/self")["stats"]
                print(
                    f"{agent.name}: memory {memory:.0f} MiB {growth:+.0f}, health score"
                    f" {stats['serf']['health_score']}, queues {stats['serf']['event_queue']}"
                    f" and {stats['serf']['query_queue']},"
                    f" {agent.log.read_text().count(chr(10))} log lines"
                )
                if growth > RSS_GROWTH_MAX_MIB:
                    problems.append(f"{agent.name} grew by {growth:.0f} MiB")
        finally:
            for agent in agents:
                agent.process.kill()
                agent.process.wait()
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
