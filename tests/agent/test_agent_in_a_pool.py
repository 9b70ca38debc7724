"""An agent over time: restarts from its snapshot, rotated keys, reloaded settings, a lost name."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import trio
from rookery.agent.agent import NAME_LOST_EXIT_CODE, StopKind
from rookery.agent.secret import Secret
from rookery.agent.settings import AgentSettings, Gossip, Server
from rookery.gossip import Pool, PoolSettings, open_pool

from .running import Running, dev_settings, running, stored_settings

KEY = "cg8StVXbQJ0gPvMd9o7yrg=="
OTHER_KEY = "AAECAwQFBgcICQoLDA0ODw=="

pytestmark = pytest.mark.slow


def fixed(settings: AgentSettings, agent: Running) -> AgentSettings:
    """Return settings for the next life of an agent: the same gossip port."""
    assert agent.ready is not None
    port = int(agent.ready.serf.rpartition(":")[2])
    return msgspec.structs.replace(
        settings, ports=msgspec.structs.replace(settings.ports, serf=port)
    )


async def test_agent_finds_its_pool_again_from_its_snapshot(tmp_path: Path) -> None:
    """Stopped without a leave and started without any seed."""
    settings = stored_settings(tmp_path, "b")
    async with running(dev_settings("a")) as [one]:
        assert one.ready is not None
        async with running(settings) as [two]:
            await two.service.join([one.ready.serf])
            await one.wait_status("b.global", "alive")
            two.agent.stop(StopKind.AT_ONCE)
            await two.ended.wait()
        text = (tmp_path / "server" / "serf" / "snapshot").read_text()
        assert f"alive: a.global {one.ready.serf}\n" in text
        async with running(fixed(settings, two)) as [again]:
            with trio.fail_after(10):
                await again.wait_status("a.global", "alive")


@pytest.mark.parametrize("rejoin", [False, True])
async def test_after_a_leave_it_depends_on_the_settings(tmp_path: Path, rejoin: bool) -> None:
    """Without `rejoin_after_leave` it stays alone, for ever; with it, it is back."""
    server = Server(enabled=True, rejoin_after_leave=rejoin)
    settings = stored_settings(tmp_path, "b", server=server)
    async with running(dev_settings("a")) as [one]:
        assert one.ready is not None
        async with running(settings) as [two]:
            await two.service.join([one.ready.serf])
            await one.wait_status("b.global", "alive")
            two.agent.stop(StopKind.LEAVE)
            await one.wait_status("b.global", "left")
            await two.ended.wait()
            assert two.exit_code == 0
        async with running(fixed(settings, two)) as [again]:
            if rejoin:
                await again.wait_status("a.global", "alive")
            else:
                gossip = again.service.self_document()["stats"]["gossip"]
                assert gossip["lost_members"] == "0"
                assert gossip["reconnects_tried"] == "0"


async def test_rotated_keys_survive_a_restart(tmp_path: Path) -> None:
    """The file has what the pool agreed on, whatever the settings still say."""
    server = Server(enabled=True, encrypt=Secret(KEY))
    settings = stored_settings(tmp_path, "b", server=server)
    async with running(settings) as [one]:
        for operation, key in (("install", OTHER_KEY), ("use", OTHER_KEY), ("remove", KEY)):
            await one.service.keyring(operation, key)
    assert json.loads((tmp_path / "server" / "serf.keyring").read_text()) == [OTHER_KEY]
    async with running(settings) as [one]:
        assert (await one.service.keyring("list")).keys == {OTHER_KEY: 1}


async def test_reload_applies_tags_and_responses() -> None:
    """Over them stay the changes by the API; the settings shown are those in force."""
    settings = dev_settings(gossip=Gossip(profile="local", tags={"rack": "1", "row": "1"}))
    async with running(settings) as [one]:
        one.service.set_tags({"rack": "2"}, [])
        gossip = Gossip(profile="wan", tags={"rack": "3", "row": "3"})
        new = msgspec.structs.replace(settings, gossip=gossip)
        assert one.agent.reload(new, ["gossip.tags"]) == {}
        tags = one.service.self_document()["member"]["Tags"]
        assert (tags["rack"], tags["row"], tags["role"]) == ("2", "3", "nomad")
        shown = one.service.self_document()["config"]["Gossip"]
        assert (shown["Tags"], shown["Profile"]) == ({"rack": "3", "row": "3"}, "local")


async def test_tags_that_do_not_fit_are_refused_at_a_reload() -> None:
    """What was there before stays, and it is said why."""
    settings = dev_settings()
    async with running(settings) as [one]:
        gossip = Gossip(tags={"big": "x" * 500})
        new = msgspec.structs.replace(settings, log_level="ERROR", gossip=gossip)
        refused = one.agent.reload(new, ["log_level", "gossip.tags"])
        assert list(refused) == ["gossip.tags"]
        assert "more than the 512" in refused["gossip.tags"]
        assert one.agent.settings.log_level == "ERROR"
        assert one.agent.settings.gossip.tags == {}
        assert "big" not in one.service.tags()


async def test_agent_that_loses_its_name_ends_with_a_code_of_its_own() -> None:
    """Those who were there first outvote it; it goes without a leave, which would be about them."""
    async with (
        open_pool(_plain("a.global")) as first,
        open_pool(_plain("b")) as b,
        open_pool(_plain("c")) as c,
    ):
        for pool in (b, c):
            await pool.join([str(first.address)])
        for pool in (b, c):
            await _wait_members(pool, 3)
        async with running(dev_settings("a")) as [late]:
            await late.service.join([str(b.address), str(c.address)])
            with trio.fail_after(10):
                await late.ended.wait()
            assert late.exit_code == NAME_LOST_EXIT_CODE == 3
        for pool in (first, b, c):
            (member,) = [one for one in pool.members() if one.name == "a.global"]
            assert (str(member.status), member.port) == ("alive", first.address.port)


def _plain(name: str) -> PoolSettings:
    return PoolSettings(node_name=name, bind="127.0.0.1", port=0, profile="local")


async def _wait_members(pool: Pool, count: int) -> None:
    with pool.events() as events:
        while len(pool.members()) < count:
            await anext(events)
