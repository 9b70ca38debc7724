"""Pools of real serf agents and our own, and what all of them list."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import trio
from rookery.gossip import Keyring, Pool, PoolSettings, notices, open_pool
from rookery.gossip.addresses import Address

from .serf_agents import GOSSIP_PORT, SeenMember, SerfAgent, SerfCommand, eventually

T = TypeVar("T")

AGREE_SECONDS_MAX = 5.0
"""What the users are promised: a joined pool lists the same everywhere within this."""

TRIES_MAX = 3


class Disagreement(AssertionError):
    """The members of a pool list different things; the text names the differences."""


class Rookery:
    """One of our own pools in a mixed one, with everything it ever reported."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.notices: list[object] = []

    @property
    def name(self) -> str:
        return self.pool.settings.node_name

    @property
    def address(self) -> Address:
        return self.pool.address

    async def members(self) -> list[SeenMember]:
        """Return what it lists, sorted, in the form in which serf agents are read."""
        return sorted(
            SeenMember(
                member.name,
                Address(member.host, member.port),
                tuple(sorted(member.tags.items())),
                str(member.status),
            )
            for member in self.pool.members()
        )

    async def join(self, *addresses: Address) -> None:
        """Join, and demand that it worked for every address."""
        result = await self.pool.join([str(address) for address in addresses])
        assert result.errors == ()
        assert result.joined == len(addresses)

    def reported(self, kind: type[T]) -> list[T]:
        """Return the notices of a kind so far."""
        return [notice for notice in self.notices if isinstance(notice, kind)]

    async def record(self) -> None:
        """Keep every notice, until the pool ends."""
        async for notice in self.pool.events():
            self.notices.append(notice)


AnyMember = SerfAgent | Rookery


class MixedPool:
    """Starts members of both kinds, each as a task of its own, and ends them one by one."""

    def __init__(
        self,
        serf: SerfCommand,
        nursery: trio.Nursery,
        *,
        key: str | None = None,
        serf_compression: bool = True,
        our_compression: bool = True,
        profile: str = "lan",
    ) -> None:
        self.members: dict[str, AnyMember] = {}
        """Those running now, by name (of two with one name, the first)."""
        self._serf = serf
        self._nursery = nursery
        self._scopes: dict[int, trio.CancelScope] = {}
        self._ended: dict[int, trio.Event] = {}
        self._key = key
        self._serf_compression = serf_compression
        self._our_compression = our_compression
        self._profile = profile

    async def add_serf(
        self,
        name: str,
        address: Address | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        arguments: Iterable[str] = (),
    ) -> SerfAgent:
        """Start a serf agent."""
        agent = await self._hold(
            self._serf.agent(
                name,
                address,
                tags={"kind": "serf"} if tags is None else tags,
                encrypt=self._key,
                compression=self._serf_compression,
                profile=self._profile,
                arguments=arguments,
            )
        )
        self.members.setdefault(name, agent)
        return agent

    async def add_rookery(self, name: str, address: Address | None = None) -> Rookery:
        """Start a pool of ours."""
        if address is None:
            address = Address(self._serf.addresses.take(), GOSSIP_PORT)
        settings = PoolSettings(
            node_name=name,
            bind=address.host,
            port=address.port,
            tags={"kind": "rookery", "name": name},
            profile=self._profile,
            keyring=None if self._key is None else Keyring([base64.b64decode(self._key)]),
            compression=self._our_compression,
        )
        rookery = await self._hold(_recorded(settings))
        self.members.setdefault(name, rookery)
        return rookery

    async def kill(self, member: AnyMember) -> None:
        """End a member without a word; serf agents get SIGKILL."""
        if isinstance(member, SerfAgent):
            await member.kill()
        self._scopes[id(member)].cancel()
        await self._ended[id(member)].wait()
        if self.members.get(member.name) is member:
            del self.members[member.name]

    async def _hold(self, opened: AbstractAsyncContextManager[T]) -> T:
        """Enter a context in a task of its own, so that members can end in any order."""
        member: T = await self._nursery.start(self._hold_until_killed, opened)
        return member

    async def _hold_until_killed(
        self, opened: AbstractAsyncContextManager[T], task_status: trio.TaskStatus[T]
    ) -> None:
        ended = trio.Event()
        try:
            with trio.CancelScope() as scope:
                async with opened as member:
                    self._scopes[id(member)] = scope
                    self._ended[id(member)] = ended
                    task_status.started(member)
                    await trio.sleep_forever()
        finally:
            ended.set()

    async def all_list(
        self, expected: list[SeenMember], *, among: Iterable[AnyMember] | None = None
    ) -> bool:
        """Whether every running member lists exactly this."""
        for member in self.members.values() if among is None else among:
            if await member.members() != expected:
                return False
        return True

    async def agree_on(
        self, expected: list[SeenMember], seconds: float = AGREE_SECONDS_MAX
    ) -> float:
        """Wait until every running member lists exactly this, and return how long it took.

        Raises:
            Disagreement: They do not in time.
        """
        try:
            return await eventually(lambda: self.all_list(expected), seconds, "all to agree")
        except AssertionError as error:
            differences = []
            for name, member in self.members.items():
                listed = await member.members()
                differences += [f"{name} lacks {row}" for row in expected if row not in listed]
                differences += [f"{name} has {row}" for row in listed if row not in expected]
            raise Disagreement(f"{error}:\n" + "\n".join(differences)) from None

    def rows(self, **status: str) -> list[SeenMember]:
        """Return what all should list: every running member, alive unless said otherwise."""
        rows = []
        for name, member in self.members.items():
            if isinstance(member, SerfAgent):
                tags = tuple(sorted(member.tags.items()))
            else:
                tags = tuple(sorted(member.pool.settings.tags.items()))
            rows.append(SeenMember(name, member.address, tags, status.get(name, "alive")))
        return sorted(rows)

    def serfs(self) -> list[SerfAgent]:
        """Return the running serf agents."""
        return [member for member in self.members.values() if isinstance(member, SerfAgent)]

    def rookeries(self) -> list[Rookery]:
        """Return our running pools."""
        return [member for member in self.members.values() if isinstance(member, Rookery)]

    def conflicts(self) -> list[str]:
        """Return every complaint about a name conflict, of both kinds of members."""
        found = [
            line for agent in self.serfs() for line in agent.log().splitlines() if "onflict" in line
        ]
        for rookery in self.rookeries():
            found += map(str, rookery.reported(notices.NameConflict))
        return found


@asynccontextmanager
async def open_mixed_pool(
    serf: SerfCommand,
    *,
    key: str | None = None,
    serf_compression: bool = True,
    our_compression: bool = True,
    profile: str = "lan",
) -> AsyncIterator[MixedPool]:
    """Yield a pool without members; all that were added end with the block.

    With the local profile, which repeats each message twice only, a pool of six often needs its
    first push-pull (15 s) to agree, all-serf pools included. LAN timing fails members as quickly.
    """
    async with trio.open_nursery() as nursery:
        yield MixedPool(
            serf,
            nursery,
            key=key,
            serf_compression=serf_compression,
            our_compression=our_compression,
            profile=profile,
        )
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def six_agreeing(serf: SerfCommand, **options: Any) -> AsyncIterator[MixedPool]:
    """Yield a pool of three of each kind, joined in every direction, that has agreed.

    That is tried up to `TRIES_MAX` times. News travel by chance: with six members each one tells
    four others, and in one run of some hundred a member is not among them and waits for its next
    push-pull. All-serf pools joined in the same way did that once in 300 runs, mixed ones four
    times, pools of our own four times.
    """
    for tries_left in reversed(range(TRIES_MAX)):
        async with open_mixed_pool(serf, **options) as pool:
            try:
                await _join_six(pool)
            except Disagreement:
                if not tries_left:
                    raise
                continue
            yield pool
            return


async def _join_six(pool: MixedPool) -> None:
    a, b, c = [await pool.add_rookery(name) for name in ("rook-a", "rook-b", "rook-c")]
    x, y, z = [await pool.add_serf(name) for name in ("serf-x", "serf-y", "serf-z")]
    await a.join(x.address)  # ours through serf
    await y.join(a.address)  # serf through ours
    await b.join(a.address)  # ours through ours
    await z.join(b.address, y.address)
    await c.join(z.address, b.address)
    await pool.agree_on(pool.rows())


@asynccontextmanager
async def four_agreeing(serf: SerfCommand, **options: Any) -> AsyncIterator[MixedPool]:
    """Yield a pool of two of each kind that lists the same everywhere.

    Here chance has no part: each gossip round goes to three others, and there are no more.
    """
    async with open_mixed_pool(serf, **options) as pool:
        a, b = [await pool.add_rookery(name) for name in ("rook-a", "rook-b")]
        x, y = [await pool.add_serf(name) for name in ("serf-x", "serf-y")]
        await a.join(x.address)
        await y.join(a.address)
        await b.join(y.address)
        await pool.agree_on(pool.rows())
        yield pool


@asynccontextmanager
async def _recorded(settings: PoolSettings) -> AsyncIterator[Rookery]:
    async with open_pool(settings) as pool, trio.open_nursery() as nursery:
        rookery = Rookery(pool)
        nursery.start_soon(rookery.record)
        yield rookery
        nursery.cancel_scope.cancel()
