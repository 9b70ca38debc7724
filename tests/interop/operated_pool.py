"""A pool of three serf and three rookery agents, all of them processes, as an operator has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from .rookery_agents import RookeryAgent, RookeryAgents
from .serf_agents import SerfAgent, SerfCommand, eventually

AGREE_SECONDS_MAX = 15.0
"""How long six members may take to list each other; see `mixed_pool.six_agreeing`."""


@dataclass
class OperatedPool:
    """The six members; the dicts are by member name, in the order in which they were started."""

    serfs: dict[str, SerfAgent]
    rookeries: dict[str, RookeryAgent]
    events_seen: Callable[[str], list[str]]
    """What the handler of a serf agent has been given: one line for each user event."""

    @property
    def names(self) -> list[str]:
        return [*self.rookeries, *self.serfs]

    async def statuses(self) -> dict[str, dict[str, str]]:
        """Return who lists whom as what, of the members that run."""
        seen = {}
        for name, serf in self.serfs.items():
            if serf.process.returncode is None:
                seen[name] = {one.name: one.status for one in await serf.members()}
        for name, rookery in self.rookeries.items():
            if rookery.process is not None and rookery.process.returncode is None:
                seen[name] = await rookery.statuses()
        return seen

    async def agree_on(self, expected: Mapping[str, str], seconds: float) -> float:
        """Wait until all that run list exactly this, and return how long it took."""
        seen: dict[str, dict[str, str]] = {}

        async def do_they() -> bool:
            nonlocal seen
            seen = await self.statuses()
            return all(listed == expected for listed in seen.values())

        try:
            return await eventually(do_they, seconds, "all to agree")
        except AssertionError as error:
            differing = {name: listed for name, listed in seen.items() if listed != expected}
            raise AssertionError(f"{error} on {expected}: {differing}") from None

    async def all_alive(self, seconds: float = AGREE_SECONDS_MAX) -> float:
        """Wait until all that run list all six as alive."""
        return await self.agree_on(dict.fromkeys(self.names, "alive"), seconds)

    def serf(self, number: int = 0) -> SerfAgent:
        return list(self.serfs.values())[number]

    def rookery(self, number: int = 0) -> RookeryAgent:
        return list(self.rookeries.values())[number]

    def complaints(self) -> list[str]:
        """Return every line of a serf agent's log that tells of an error.

        Not those about its commands, which hang up before the agent has said all.
        """
        lines = [line for serf in self.serfs.values() for line in serf.complaints()]
        return [line for line in lines if "agent.ipc" not in line]


@asynccontextmanager
async def operated_pool(
    serf: SerfCommand,
    directory: Path,
    *,
    key: str | None = None,
    profile: str = "lan",
    **settings: Any,
) -> AsyncIterator[OperatedPool]:
    """Yield six agents that list each other, joined through both kinds.

    Each serf agent answers the query `uptime` with `serf says` and the payload, ours with `rookery
    says`; each serf agent writes the user events it gets into a file.
    """
    makers = RookeryAgents(directory, serf.addresses)
    gossip = {"profile": profile, "query_responses": {"uptime": "rookery says up"}}
    ours = {"gossip": gossip, "server": {"encrypt": key or ""}, **settings}
    seen = {name: directory / f"{name}.events" for name in ("serf-x", "serf-y", "serf-z")}

    def events_seen(name: str) -> list[str]:
        path = seen[name]
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line]

    async with AsyncExitStack() as stack:
        serfs: dict[str, SerfAgent] = {}
        rookeries = {}

        async def start_serf(name: str, path: Path) -> None:
            script = f'sed "s/^/$SERF_USER_EVENT $SERF_USER_LTIME /" >> {path}; echo >> {path}'
            # serf hands the payload over with a newline behind it.
            answer = 'printf "serf says "; tr -d "\\n"'
            handlers = [f"query:uptime={answer}", f"user={script}"]
            flags = [f"-event-handler={handler}" for handler in handlers]
            context = serf.agent(name, encrypt=key, profile=profile, arguments=flags)
            serfs[name] = await stack.enter_async_context(context)

        async def start_rookery(name: str) -> None:
            agent = await stack.enter_async_context(makers.agent(name, **ours))
            rookeries[agent.name] = agent

        async with trio.open_nursery() as starting:
            for name, path in seen.items():
                starting.start_soon(start_serf, name, path)
            for name in ("rook-a", "rook-b", "rook-c"):
                starting.start_soon(start_rookery, name)
        pool = OperatedPool(
            dict(sorted(serfs.items())), dict(sorted(rookeries.items())), events_seen
        )
        await _join_all(pool)
        yield pool


async def _join_all(pool: OperatedPool) -> None:
    first = pool.rookery(0)
    await pool.serf(0).join(first.address)
    await pool.rookery(1).join(pool.serf(0).address)
    await pool.serf(1).join(pool.rookery(1).address)
    await pool.rookery(2).join(pool.serf(1).address, first.address)
    await pool.serf(2).join(pool.rookery(2).address, first.address)
    await pool.all_alive()


async def serf_query(agent: SerfAgent, *arguments: str) -> tuple[set[str], dict[str, str]]:
    """Run `serf query`; return who acknowledged, and the answers by name."""
    answer = json.loads(await agent.command("query", "-format=json", *arguments))
    return set(answer["Acks"]), dict(answer["Responses"])
