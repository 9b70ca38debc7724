"""Three of our pools and three real serf agents are one pool, and all of them say so."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

import pytest
import trio
from rookery.gossip import notices
from rookery.gossip.addresses import Address

from .mixed_pool import open_mixed_pool, six_agreeing
from .serf_agents import SerfCommand, free_port

pytestmark = [pytest.mark.interop, pytest.mark.slow]

QUIET_SECONDS = 4.0
"""Long enough for each member to have probed each of the five others about once."""


@dataclass(frozen=True)
class Variant:
    """How the packets of a pool are wrapped."""

    key_size: int = 0
    serf_compression: bool = True
    our_compression: bool = True

    @property
    def key(self) -> str | None:
        """A key in base64, in the form in which both kinds are given it."""
        return base64.b64encode(bytes(range(self.key_size))).decode() if self.key_size else None


VARIANTS = {
    "plain": Variant(),
    "serf-uncompressed": Variant(serf_compression=False),
    "rookery-uncompressed": Variant(our_compression=False),
    "all-uncompressed": Variant(serf_compression=False, our_compression=False),
    "key-16": Variant(key_size=16),
    "key-24": Variant(key_size=24),
    "key-32": Variant(key_size=32),
    "key-32-uncompressed": Variant(key_size=32, serf_compression=False, our_compression=False),
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
async def test_six_members_list_the_same_six(serf: SerfCommand, variant: Variant) -> None:
    """Joined through either kind, all list the same names, addresses, ports and tags within 5 s."""
    async with six_agreeing(
        serf,
        key=variant.key,
        serf_compression=variant.serf_compression,
        our_compression=variant.our_compression,
    ) as pool:
        assert len(pool.rows()) == 6
        assert [line for agent in pool.serfs() for line in agent.complaints()] == []
        assert [rookery.reported(notices.InputRejected) for rookery in pool.rookeries()] == [[]] * 3


async def test_mixed_pool_stays_quiet(serf: SerfCommand) -> None:
    """Members that answer are never doubted: no suspicion, refutation, warning or failure."""
    async with six_agreeing(serf, key=VARIANTS["key-32"].key) as pool:
        lengths = [len(agent.log()) for agent in pool.serfs()]
        seen = [len(rookery.notices) for rookery in pool.rookeries()]
        await trio.sleep(QUIET_SECONDS)
        await pool.agree_on(pool.rows())
        for agent, length in zip(pool.serfs(), lengths, strict=True):
            lines = agent.log()[length:].splitlines()
            assert [line for line in lines if "[WARN]" in line or "[ERR]" in line] == []
            assert "uspect" not in agent.log()
            assert "efut" not in agent.log()
        for rookery, count in zip(pool.rookeries(), seen, strict=True):
            loud = [
                notice
                for notice in rookery.notices[count:]
                if not (isinstance(notice, notices.Remark) and notice.level in ("debug", "info"))
            ]
            assert loud == []
            statistics = rookery.pool.statistics()
            assert statistics.rejected == {}
            assert statistics.engine.swim.probes_failed == 0
            assert statistics.engine.swim.probes_succeeded > 0


async def test_ipv6_pool(serf: SerfCommand) -> None:
    """The same over IPv6: 16-byte addresses, as text without brackets, on ports of their own."""
    async with open_mixed_pool(serf) as pool:

        def take() -> Address:
            return Address("::1", free_port("::1"))

        a, b = await pool.add_rookery("rook-a", take()), await pool.add_rookery("rook-b", take())
        x, y = await pool.add_serf("serf-x", take()), await pool.add_serf("serf-y", take())
        await a.join(x.address)
        await y.join(a.address)
        await b.join(y.address)
        await pool.agree_on(pool.rows())
        assert [line for agent in pool.serfs() for line in agent.complaints()] == []


async def test_wrong_key_keeps_strangers_out(serf: SerfCommand) -> None:
    """With another key neither kind gets in at the other, both say why, and nobody dies of it."""
    other = base64.b64encode(b"another key, 16b").decode()
    async with (
        open_mixed_pool(serf, key=VARIANTS["key-16"].key) as pool,
        open_mixed_pool(serf, key=other) as strangers,
    ):
        a, x = await pool.add_rookery("rook-a"), await pool.add_serf("serf-x")
        await a.join(x.address)
        await pool.agree_on(pool.rows())
        s, t = await strangers.add_rookery("rook-s"), await strangers.add_serf("serf-t")
        result = await s.pool.join([str(x.address)])
        assert result.joined == 0
        assert "No installed keys could decrypt the message" in result.errors[0].message
        with pytest.raises(AssertionError, match="No installed keys could decrypt the message"):
            await t.join(a.address)
        assert "decrypt" in "".join(a.pool.statistics().rejected)
        await pool.agree_on(pool.rows())
        for alone in (s, t):
            assert [member.name for member in await alone.members()] == [alone.name]


async def test_changed_tags_reach_serf(serf: SerfCommand) -> None:
    """New tags of ours are gossiped and listed by serf, and serf's by us."""
    async with open_mixed_pool(serf) as pool:
        a, x = await pool.add_rookery("rook-a"), await pool.add_serf("serf-x")
        await a.join(x.address)
        await pool.agree_on(pool.rows())
        a.pool.set_tags({"new": "grün"})
        await x.command("tags", "-set", "kind=other", "-set", "more=1")
        tags = {"rook-a": (("new", "grün"),), "serf-x": (("kind", "other"), ("more", "1"))}
        await pool.agree_on([replace(row, tags=tags[row.name]) for row in pool.rows()])
