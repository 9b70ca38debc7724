"""The harness itself, with serf agents only: what it says about them must be true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from .serf_agents import SeenMember, SerfCommand, eventually

pytestmark = [pytest.mark.interop, pytest.mark.slow]


async def test_two_serf_agents_join_and_leave(serf: SerfCommand) -> None:
    """Members, join, leave and the log of real agents are read as they are."""
    async with serf.agent("one", tags={"k": "v"}) as one, serf.agent("two") as two:
        await two.join(one.address)
        expected = [
            SeenMember("one", one.address, (("k", "v"),), "alive"),
            SeenMember("two", two.address, (), "alive"),
        ]

        async def both_alive() -> bool:
            return await one.members() == await two.members() == expected

        await eventually(both_alive, 5, "both to list both")
        await two.leave()
        assert two.process.returncode == 0
        assert [member.status for member in await one.members()] == ["alive", "left"]
        assert "EventMemberLeave: two" in one.log()
        assert one.complaints() == []


async def test_agents_are_ended_with_their_block(serf: SerfCommand) -> None:
    """No process outlives its block, whatever ends that."""
    with pytest.raises(ZeroDivisionError):
        async with serf.agent("short") as agent:
            raise ZeroDivisionError
    assert agent.process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(agent.process.pid, 0)


async def test_failing_start_shows_the_log(serf: SerfCommand) -> None:
    """An agent that cannot start fails at once, with its own words."""
    with pytest.raises(AssertionError, match="no-such-profile"):
        async with serf.agent("wrong", profile="no-such-profile"):
            raise AssertionError("it started")


@pytest.mark.parametrize(("required", "outcome"), [("0", "1 skipped"), ("1", "1 error")])
async def test_missing_serf_is_told_with_the_way_to_get_it(required: str, outcome: str) -> None:
    """Without the command the tests are skipped with a reason, or fail where that is demanded."""
    root = Path(__file__).parents[2]
    target = f"{Path(__file__).relative_to(root)}::test_two_serf_agents_join_and_leave"
    environment = {**os.environ, "PATH": "/nowhere", "ROOKERY_REQUIRE_INTEROP": required}
    done = await trio.run_process(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", target],
        cwd=root,
        env=environment,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    text = done.stdout.decode()
    assert "apt-get install serf" in text
    assert outcome in text
    assert (done.returncode == 0) is (required == "0")
