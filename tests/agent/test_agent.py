"""The task tree: how an agent starts, joins and stops.

Real pools on loopback, and a frontend that records instead of answering.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio
from rookery.agent import agent as agent_module
from rookery.agent.agent import Agent, StartError, StopKind
from rookery.agent.secret import Secret
from rookery.agent.service import AgentService
from rookery.agent.settings import DEV_MODE, Duration, Server
from rookery.agent.settings_sources import SettingsError
from rookery.gossip.pool import Pool, open_pool
from rookery.gossip.pool_settings import PoolSettings
from rookery.gossip.serf.members import MemberStatus

from .members import NOMAD_TAGS
from .running import Frontend, Running, dev_settings, joining, running

KEY = "cg8StVXbQJ0gPvMd9o7yrg=="


async def test_ready_agent_says_where_it_answers() -> None:
    """The addresses it reports are the ones it has bound, and they are in its tags."""
    async with running(dev_settings()) as [one]:
        assert one.ready is not None
        port = one.frontend.listeners[0].socket.getsockname()[1]
        assert one.ready.http == (f"http://127.0.0.1:{port}",)
        (member,) = one.service.members_document()["Members"]
        assert one.ready.serf == f"127.0.0.1:{member['Port']}"
        assert one.ready.rpc == f"127.0.0.1:{member['Tags']['port']}"
        assert member["Name"] == "a.global"
        assert (member["ProtocolCur"], member["DelegateCur"]) == (2, 4)
        config = one.service.self_document()["config"]
        assert config["Ports"]["HTTP"] == port
        assert config["AdvertiseAddrs"]["Serf"] == one.ready.serf


async def test_stop_at_once_ends_with_1_after_http_has_drained() -> None:
    """Without the leave option an agent just ends: HTTP first, then the pool."""
    async with running(dev_settings()) as [one]:
        one.agent.stop(StopKind.AT_ONCE)
        await one.ended.wait()
        assert one.exit_code == 1
        assert one.frontend.pool_ran_while_draining


async def test_agent_alone_leaves_with_0() -> None:
    """With nobody to tell, a graceful leave is done at once."""
    async with running(dev_settings()) as [one]:
        one.agent.stop(StopKind.LEAVE)
        await one.ended.wait()
        assert one.exit_code == 0


@pytest.mark.slow
async def test_graceful_leave_is_seen_as_left() -> None:
    """Others list an agent that left as left, and it ends with 0."""
    async with running(dev_settings("a"), dev_settings("b")) as [one, two]:
        assert two.ready is not None
        assert (await one.service.join([two.ready.serf])).joined == 1
        await two.wait_status("a.global", "alive")
        one.agent.stop(StopKind.LEAVE)
        await two.wait_status("a.global", "left")
        await one.ended.wait()
        assert one.exit_code == 0


async def test_leave_that_takes_too_long_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that cannot get its leave out ends all the same."""

    async def never(self: Pool) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Pool, "leave", never)
    monkeypatch.setattr(agent_module, "LEAVE_SECONDS_MAX", 0.0)
    async with running(dev_settings()) as [one]:
        one.agent.stop(StopKind.LEAVE)
        await one.ended.wait()
        assert one.exit_code == 1


async def test_second_stop_ends_a_leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks twice does not want to wait."""
    started = trio.Event()

    async def never(self: Pool) -> None:
        started.set()
        await trio.sleep_forever()

    monkeypatch.setattr(Pool, "leave", never)
    async with running(dev_settings()) as [one]:
        one.agent.stop(StopKind.LEAVE)
        await started.wait()
        one.agent.stop(StopKind.LEAVE)
        await one.ended.wait()
        assert one.exit_code == 1


async def test_start_join_comes_before_ready() -> None:
    """An agent that is ready has joined."""
    async with running(dev_settings("a")) as [one]:
        assert one.ready is not None
        other = dev_settings("b", server=joining(start_join=("127.0.0.1:1", one.ready.serf)))
        async with running(other) as [two]:
            assert two.status_of("a.global") == "alive"


async def test_start_join_without_success_ends_the_agent() -> None:
    """The error names each address's fault, and the agent is never ready."""
    one = Running(dev_settings(server=joining(start_join=("127.0.0.1:1",))))
    with pytest.RaisesGroup(
        pytest.RaisesExc(
            StartError,
            match=r"^Error joining: Failed to join 127\.0\.0\.1: dial tcp 127\.0\.0\.1:1",
        ),
        flatten_subgroups=True,
    ):
        await one.run()
    assert one.ready is None


async def test_retry_join_goes_on_until_it_works() -> None:
    """The agent is ready at once, and joins when the seed is there."""
    with trio.socket.socket() as reserved:
        await reserved.bind(("127.0.0.1", 0))
        seed_port = reserved.getsockname()[1]
    join = joining(retry_join=(f"127.0.0.1:{seed_port}",), retry_interval=Duration(0.01))
    async with running(dev_settings("a", server=join)) as [one]:
        assert one.status_of("b.global") is None
        ports = msgspec.structs.replace(DEV_MODE.ports, http=0, rpc=0, serf=seed_port)
        async with running(dev_settings("b", ports=ports)):
            await one.wait_status("b.global", "alive")


async def test_retry_join_gives_up_after_its_attempts() -> None:
    """With retry_max the agent ends and says so."""
    join = joining(retry_join=("127.0.0.1:1",), retry_interval=Duration(0.001), retry_max=3)
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartError, match="gave up joining 127.0.0.1:1 after 3 attempts"),
        flatten_subgroups=True,
    ):
        await Running(dev_settings(server=join)).run()


async def test_failing_task_ends_the_agent_with_its_cause() -> None:
    """An error nobody expected stops everything and is what comes out."""

    async def broken(
        service: AgentService,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[object],
    ) -> None:
        task_status.started()
        raise RuntimeError("bug")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="bug"), flatten_subgroups=True):
        await Agent(dev_settings(), broken).run()


async def test_gossip_port_in_use_is_told_and_nothing_stays_open() -> None:
    """One line names the flag; the ports bound before are free again."""
    async with running(dev_settings()) as [one]:
        assert one.ready is not None
        taken = int(one.ready.serf.rpartition(":")[2])
        before = len(os.listdir("/proc/self/fd"))
        ports = msgspec.structs.replace(DEV_MODE.ports, http=0, rpc=0, serf=taken)
        with pytest.raises(SettingsError, match=f"serf port: 127.0.0.1:{taken} is in use .*-serf-"):
            await Agent(dev_settings("b", ports=ports), Frontend()).run()
        assert len(os.listdir("/proc/self/fd")) == before


async def test_region_too_long_for_the_tags_is_told() -> None:
    """Tags have 512 bytes; more is an error of the settings, not a crash."""
    with pytest.raises(SettingsError, match=r"region, datacenter, gossip\.tags: too long"):
        await Agent(dev_settings(datacenter="d" * 500), Frontend()).run()


async def test_dev_mode_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with a key to keep."""
    monkeypatch.chdir(tmp_path)
    server = Server(enabled=True, encrypt=Secret(KEY))
    async with running(dev_settings(server=server)) as [one]:
        assert one.service.self_document()["stats"]["serf"]["encrypted"] == "true"
    assert os.listdir(tmp_path) == []


async def test_state_is_kept_below_the_data_directory(tmp_path: Path) -> None:
    """The id survives a restart, and the keyring is written once."""
    server = Server(enabled=True, encrypt=Secret(KEY))
    settings = dev_settings(server=server, dev_mode=False, data_dir=str(tmp_path))
    advertise = msgspec.structs.replace(
        settings.advertise, http="127.0.0.1", rpc="127.0.0.1", serf="127.0.0.1"
    )
    settings = msgspec.structs.replace(settings, advertise=advertise)
    ids = []
    for _ in range(2):
        async with running(settings) as [one]:
            (member,) = one.service.members_document()["Members"]
            ids.append(member["Tags"]["id"])
    assert ids[0] == ids[1]
    assert json.loads((tmp_path / "server" / "serf.keyring").read_text()) == [KEY]
    assert (tmp_path / "server" / "node-id").read_text() == ids[0]


async def test_pool_of_real_nomad_servers_is_not_joined() -> None:
    """A join is refused before the pool has seen us; in another region it is allowed."""
    nomad = PoolSettings(node_name="n.global", bind="127.0.0.1", port=0, tags=NOMAD_TAGS)
    async with (
        open_pool(nomad) as pool,
        running(dev_settings("a"), dev_settings("b", region="eu")) as [one, two],
    ):
        address = f"127.0.0.1:{pool.address.port}"
        refused = await one.service.join([address])
        assert refused.joined == 0
        assert "Nomad servers of our own region" in refused.errors[0].message
        assert [member.name for member in pool.members()] == ["n.global"]

        assert (await two.service.join([address])).joined == 1
        found = {member.name: member.status for member in pool.members()}
        assert found == {"n.global": MemberStatus.ALIVE, "b.eu": MemberStatus.ALIVE}


async def test_join_while_stopping_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the pool has left, joining is told to be over."""
    async with running(dev_settings()) as [one]:
        service = one.service
        one.agent.stop(StopKind.LEAVE)
        await one.ended.wait()
        with pytest.raises(Exception, match="Serf can't Join after Leave or Shutdown"):
            await service.join(["127.0.0.1"])
