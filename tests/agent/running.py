"""Agents that run in a test: real pools on loopback, and a frontend that answers nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
from rookery.agent.agent import Agent, Ready
from rookery.agent.service import AgentService
from rookery.agent.settings import (
    DEV_MODE,
    Advertise,
    AgentSettings,
    Gossip,
    Server,
    ServerJoin,
)
from rookery.gossip.pool import Pool


class Frontend:
    """Answers nobody, and remembers what it was given and that it drained."""

    def __init__(self) -> None:
        self.service: AgentService | None = None
        self.listeners: Sequence[trio.SocketListener] = ()
        self.pool_ran_while_draining = False

    async def __call__(
        self,
        service: AgentService,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[object],
    ) -> None:
        self.service, self.listeners = service, listeners
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.pool_ran_while_draining = bool(service.members_document()["Members"])


def dev_settings(name: str = "a", **changes: Any) -> AgentSettings:
    """Return -dev settings with free ports."""
    ports = msgspec.structs.replace(DEV_MODE.ports, http=0, rpc=0, serf=0)
    gossip = Gossip(profile="local")
    return msgspec.structs.replace(
        DEV_MODE, **{"name": name, "ports": ports, "gossip": gossip, **changes}
    )


def stored_settings(directory: Path, name: str = "a", **changes: Any) -> AgentSettings:
    """Return settings of an agent that keeps its state in a directory."""
    here = Advertise(http="127.0.0.1", rpc="127.0.0.1", serf="127.0.0.1")
    return dev_settings(
        name, **{"dev_mode": False, "data_dir": str(directory), "advertise": here, **changes}
    )


def joining(**join: Any) -> Server:
    """Return a server that joins at start."""
    return Server(enabled=True, server_join=ServerJoin(**join))


class Running:
    """An agent in a nursery."""

    def __init__(self, settings: AgentSettings) -> None:
        self.frontend = Frontend()
        self.agent = Agent(settings, self.frontend)
        self.ready: Ready | None = None
        self.exit_code: int | None = None
        self.ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[Ready] = trio.TASK_STATUS_IGNORED) -> None:
        self.exit_code = await self.agent.run(task_status=task_status)
        self.ended.set()

    @property
    def service(self) -> AgentService:
        assert self.frontend.service is not None
        return self.frontend.service

    def status_of(self, name: str) -> str | None:
        """Return how this agent lists a member."""
        members = self.service.members_document()["Members"]
        return next((one["Status"] for one in members if one["Name"] == name), None)

    async def wait_status(self, name: str, status: str | None) -> None:
        """Wait until the agent lists a member so; every change is an event of its pool."""
        pool = self.service._pool
        assert isinstance(pool, Pool)
        with pool.events() as events:
            while self.status_of(name) != status:
                await anext(events)


@asynccontextmanager
async def running(*settings: AgentSettings) -> AsyncIterator[list[Running]]:
    """Run agents until the end of the block."""
    agents = [Running(one) for one in settings]
    async with trio.open_nursery() as nursery:
        for one in agents:
            one.ready = await nursery.start(one.run)
        yield agents
        nursery.cancel_scope.cancel()
