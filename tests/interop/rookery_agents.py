"""Real `rookery agent` processes for tests beside serf: started, asked by HTTP, killed, restarted.

Each agent has a loopback address of its own, the usual gossip port, and a directory for its state,
so that a later life of it finds what an earlier one has left. It is asked through the HTTP API, as
an operator's tools do.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import trio
from rookery.gossip.addresses import Address

from .serf_agents import GOSSIP_PORT, LoopbackAddresses, eventually

COMMAND = (sys.executable, "-m", "rookery.agent.cli")
START_SECONDS_MAX = 20.0
ANSWER_SECONDS_MAX = 20.0


@dataclass
class RookeryAgent:
    """One agent over all its lives; `name` is the member's, with the region."""

    node: str
    address: Address
    directory: Path
    settings: Path
    life: int = 0
    http: str = ""
    process: trio.Process | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"{self.node}.global"

    @property
    def snapshot(self) -> Path:
        """Where its snapshot is."""
        return self.directory / "server" / "serf" / "snapshot"

    def log(self) -> str:
        """Return everything it has printed in this life."""
        return self._log_path.read_text(errors="replace")

    @property
    def _log_path(self) -> Path:
        return self.settings.with_suffix(f".{self.life}.log")

    async def start(self, *flags: str) -> None:
        """Start it, for the first time or again, and wait until it is ready."""
        self.life += 1
        with self._log_path.open("wb") as log:
            self.process = await trio.lowlevel.open_process(
                [*COMMAND, "agent", "-config", str(self.settings), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def is_ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"rookery ended at its start:\n{self.log()}")
            return "agent_ready" in self.log()

        await eventually(is_ready, START_SECONDS_MAX, f"{self.node} to start")
        found = re.search(r"agent_ready.* http=(\S+)", self.log())
        assert found is not None
        self.http = found[1]

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send it a signal, wait until it is gone, and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return await self.process.wait()

    async def request(
        self, method: str, path: str, body: bytes = b"", **query: Any
    ) -> httpx.Response:
        """Return the whole answer of a request."""
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, trust_env=False) as client:
            return await client.request(method, self.http + path, params=query, content=body)

    async def ask(self, method: str, path: str, body: bytes = b"", **query: Any) -> Any:
        """Return the JSON of a successful answer, None of an empty one."""
        answer = await self.request(method, path, body, **query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def stream(
        self, method: str, path: str, body: bytes = b"", **query: Any
    ) -> list[dict[str, Any]]:
        """Return the documents of a stream that ends by itself, without heartbeats."""
        answer = await self.request(method, path, body, **query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        documents = [json.loads(line) for line in answer.text.splitlines()]
        return [document for document in documents if document]

    async def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a type that it has kept."""
        found = await self.stream("GET", "/v1/gossip/events", since=0, follow="false")
        return [event for event in found if event["Type"] == kind]

    async def listed(self) -> dict[str, dict[str, Any]]:
        """Return the members it lists, by name."""
        document = await self.ask("GET", "/v1/agent/members")
        return {member["Name"]: member for member in document["Members"]}

    async def statuses(self) -> dict[str, str]:
        """Return the members' statuses by name."""
        return {name: member["Status"] for name, member in (await self.listed()).items()}

    async def join(self, *addresses: Address) -> None:
        """Join, and demand that it worked for every address."""
        answer = await self.ask("PUT", "/v1/agent/join", address=[str(one) for one in addresses])
        assert answer == {"error": "", "num_joined": len(addresses)}


class RookeryAgents:
    """Makes agents whose files are below one directory."""

    def __init__(self, directory: Path, addresses: LoopbackAddresses) -> None:
        self._directory = directory
        self._addresses = addresses

    @asynccontextmanager
    async def agent(
        self, node: str, *, start: bool = True, **settings: Any
    ) -> AsyncIterator[RookeryAgent]:
        """Yield an agent; at the end it is killed if it has not ended itself.

        Args:
            node: Its node name.
            start: Whether to start it at once.
            settings: Sections and keys of its settings file, over the usual ones.
        """
        agent = self.prepare(node, **settings)
        try:
            if start:
                await agent.start()
            yield agent
        finally:
            process = agent.process
            if process is not None and process.returncode is None:
                process.kill()
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    await process.wait()

    def prepare(self, node: str, **settings: Any) -> RookeryAgent:
        """Write an agent's settings; nothing runs yet."""
        address = Address(self._addresses.take(), GOSSIP_PORT)
        directory = self._directory / f"data-{node}"
        path = self._directory / f"{node}.json"
        usual: dict[str, Any] = {
            "name": node,
            "data_dir": str(directory),
            "bind_addr": address.host,
            "advertise": dict.fromkeys(("http", "rpc", "serf"), address.host),
            "ports": {"http": 0, "rpc": 0, "serf": address.port},
            "server": {"enabled": True},
        }
        path.write_text(json.dumps(_merged(usual, settings)))
        return RookeryAgent(node, address, directory, path)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping):
            value = _merged(merged.get(key, {}), value)
        merged[key] = value
    return merged
