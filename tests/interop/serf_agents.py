"""Real `serf` agents for tests: started, asked, killed, and always ended by their own process id.

Each agent gets a loopback address of its own (127.a.b.n with a random a.b for each test run, so
that runs beside each other do not meet) with the usual ports, or `::1` with free ports for IPv6.
What an agent prints goes to a file, which `log()` reads; a failing test shows its end.

Agents are asked through the `serf` command itself (`members -format=json`, `join`, `leave`): a few
milliseconds each, and exactly what an operator sees.
"""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from rookery.gossip.addresses import Address

GOSSIP_PORT = 7946
RPC_PORT = 7373
START_SECONDS_MAX = 10.0
COMMAND_SECONDS_MAX = 10.0
POLL_INTERVAL = 0.05
"""Real time between looks at what other processes do; nothing else in this suite sleeps."""


@dataclass(frozen=True, order=True)
class SeenMember:
    """A member as one agent lists it, in a form that both kinds of agent share."""

    name: str
    address: Address
    tags: tuple[tuple[str, str], ...]
    status: str


class LoopbackAddresses:
    """Hands out addresses of 127.0.0.0/8 that no other run is likely to use."""

    def __init__(self) -> None:
        chance = random.SystemRandom()
        self._prefix = f"127.{chance.randint(64, 250)}"
        self._next = chance.randrange(100) * 256

    def take(self) -> str:
        """Return a fresh one."""
        self._next += 1
        return f"{self._prefix}.{self._next // 254 % 256}.{self._next % 254 + 1}"


def free_port(host: str) -> int:
    """Return a port free for UDP and TCP, of those that the system does not hand out itself."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    chance = random.SystemRandom()
    while True:
        port = chance.randint(10000, 30000)
        with socket.socket(family, socket.SOCK_DGRAM) as udp, socket.socket(family) as tcp:
            try:
                udp.bind((host, port))
                tcp.bind((host, port))
            except OSError:
                continue
            return port


@dataclass
class SerfAgent:
    """One running (or ended) `serf agent`."""

    program: Path
    name: str
    address: Address
    rpc: Address
    tags: dict[str, str]
    log_path: Path
    process: trio.Process = field(repr=False)

    async def members(self) -> list[SeenMember]:
        """Return what it lists, sorted."""
        answer = json.loads(await self.command("members", "-format=json"))
        seen = []
        for member in answer["members"]:
            host, port = re.fullmatch(r"\[?([^\]]*?)\]?:(\d+)", member["addr"]).groups()  # type: ignore[union-attr]
            tags = tuple(sorted(member["tags"].items()))
            seen.append(
                SeenMember(member["name"], Address(host, int(port)), tags, member["status"])
            )
        return sorted(seen)

    async def join(self, *addresses: Address) -> str:
        """Tell it to join."""
        return await self.command("join", *map(str, addresses))

    async def leave(self) -> None:
        """Tell it to leave, and wait for the process to end."""
        await self.command("leave")
        with trio.fail_after(COMMAND_SECONDS_MAX):
            await self.process.wait()

    async def kill(self) -> None:
        """End it without a word (SIGKILL)."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def command(self, name: str, *arguments: str) -> str:
        """Run a `serf` command against it and return what that prints.

        Raises:
            AssertionError: The command failed; the text says how, and ends with the agent's log.
        """
        command = [str(self.program), name, f"-rpc-addr={self.rpc}", *arguments]
        with trio.fail_after(COMMAND_SECONDS_MAX):
            done = await trio.run_process(
                command, capture_stdout=True, stderr=subprocess.STDOUT, check=False
            )
        text: str = done.stdout.decode()
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {text}\n{self.log()[-2000:]}")
        return text

    def log(self) -> str:
        """Return everything it has printed."""
        return self.log_path.read_text(errors="replace")

    def complaints(self) -> list[str]:
        """Return the lines of its log that tell of errors, or of a panic."""
        return [
            line
            for line in self.log().splitlines()
            if "[ERR]" in line or line.startswith(("panic:", "fatal error:", "goroutine "))
        ]


class SerfCommand:
    """Starts agents."""

    def __init__(self, program: Path, directory: Path, addresses: LoopbackAddresses) -> None:
        self.program = program
        self.addresses = addresses
        self._directory = directory
        self._started = 0

    @asynccontextmanager
    async def agent(
        self,
        name: str,
        address: Address | None = None,
        *,
        arguments: Iterable[str] = (),
        tags: Mapping[str, str] | None = None,
        encrypt: str | None = None,
        compression: bool = True,
        profile: str = "lan",
    ) -> AsyncIterator[SerfAgent]:
        """Yield a running agent; at the end it is killed if it has not ended itself.

        Args:
            name: Its node name.
            address: Where it listens; by default an address of its own.
            arguments: More flags.
            tags: Its tags.
            encrypt: The pool's key in base64.
            compression: Whether it compresses (it reads both).
            profile: Its timing.
        """
        if address is None:
            address = Address(self.addresses.take(), GOSSIP_PORT)
        if ":" in address.host:
            rpc = Address("127.0.0.1", free_port("127.0.0.1"))
        else:
            rpc = Address(address.host, RPC_PORT)
        flags = [f"-tag={key}={value}" for key, value in (tags or {}).items()]
        if encrypt is not None:
            flags.append(f"-encrypt={encrypt}")
        if not compression:
            flags.append("-disable-compression")
        flags += [f"-node={name}", f"-bind={address}", f"-rpc-addr={rpc}", f"-profile={profile}"]
        flags += ["-log-level=debug", *arguments]
        self._started += 1
        log_path = self._directory / f"{self._started}-{name}.log"
        with log_path.open("wb") as log:
            process = await trio.lowlevel.open_process(
                [str(self.program), "agent", *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        agent = SerfAgent(self.program, name, address, rpc, dict(tags or {}), log_path, process)
        try:
            await self._wait_until_running(agent)
            yield agent
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await process.wait()

    async def _wait_until_running(self, agent: SerfAgent) -> None:
        def is_running() -> bool:
            if agent.process.poll() is not None:
                raise AssertionError(f"serf ended at its start:\n{agent.log()}")
            return "agent: Serf agent starting" in agent.log()

        await eventually(is_running, START_SECONDS_MAX, f"{agent.name} to start")


async def eventually(
    claim: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float, what: str
) -> float:
    """Wait until a claim holds, and return how long that took.

    Raises:
        AssertionError: It did not in time.
    """
    start = trio.current_time()
    while True:
        outcome = claim()
        if not isinstance(outcome, bool):
            outcome = await outcome
        elapsed = trio.current_time() - start
        if outcome:
            return elapsed
        if elapsed > seconds:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        await trio.sleep(POLL_INTERVAL)
