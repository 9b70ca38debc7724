"""Members that are killed, leave, or come back: listed by both kinds as serf itself lists them."""

from __future__ import annotations

import pytest
import trio
from rookery.gossip import notices

from .mixed_pool import AnyMember, MixedPool, four_agreeing, open_mixed_pool, six_agreeing
from .serf_agents import SeenMember, SerfCommand, eventually

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.deadline(60)]

FAIL_SECONDS_MAX = 31.0
"""The slowest that an all-serf pool of six may be with LAN timing: up to 6 s until somebody probes
the dead one, a probe of 1 s, and a suspicion of 24 s that nobody confirms. Usual are 5 to 8 s."""

PROBE_ROUND_SECONDS = 5.0
"""In which each member probes each of five others once: what two runs of one pool may differ by."""

LEAVE_SECONDS_MAX = 5.0
RETURN_SECONDS_MAX = 10.0


async def six_serfs_joined(pool: MixedPool) -> None:
    """Fill a pool with serf agents only."""
    first, *others = [await pool.add_serf(f"serf-{number}") for number in range(6)]
    for other in others:
        await other.join(first.address)
    await pool.agree_on(pool.rows())


def with_status(rows: list[SeenMember], name: str, status: str) -> list[SeenMember]:
    """Return the rows with another status for one of them."""
    return sorted(
        SeenMember(row.name, row.address, row.tags, status if row.name == name else row.status)
        for row in rows
    )


def all_report_conflict(pool: MixedPool, name: str) -> bool:
    """Whether every member has told its users of a conflict over a name."""
    return all(
        any("onflict" in line and name in line for line in agent.log().splitlines())
        for agent in pool.serfs()
    ) and all(
        any(notice.name == name for notice in rookery.reported(notices.NameConflict))
        for rookery in pool.rookeries()
    )


async def kill_and_time(pool: MixedPool, victim: AnyMember) -> float:
    """Kill a member; return how long it took until all others listed it as failed."""
    rows = with_status(pool.rows(), victim.name, "failed")
    await pool.kill(victim)
    return await pool.agree_on(rows, FAIL_SECONDS_MAX)


async def test_killed_member_fails_as_quickly_as_among_serfs(serf: SerfCommand) -> None:
    """A SIGKILL of either kind is seen everywhere, no later than among six serf agents."""
    times: dict[str, float] = {}

    async def run_serfs() -> None:
        async with open_mixed_pool(serf) as pool:
            await six_serfs_joined(pool)
            times["serf among serfs"] = await kill_and_time(pool, pool.members["serf-3"])

    async def run_mixed(victim: str) -> None:
        async with six_agreeing(serf) as pool:
            times[victim] = await kill_and_time(pool, pool.members[victim])
            for rookery in pool.rookeries():
                failed = rookery.reported(notices.MemberFailed)
                assert [notice.member.name for notice in failed] == [victim]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_serfs)
        nursery.start_soon(run_mixed, "serf-y")
        nursery.start_soon(run_mixed, "rook-b")
    print({what: round(seconds, 2) for what, seconds in times.items()})
    limit = times.pop("serf among serfs") + PROBE_ROUND_SECONDS
    assert {what: seconds for what, seconds in times.items() if seconds > limit} == {}


async def test_leavers_end_as_left_and_never_fail(serf: SerfCommand) -> None:
    """A leave of either kind is heard by both kinds as a leave, and stays one."""
    async with four_agreeing(serf) as pool:
        rows = pool.rows()
        leaving_serf, leaving_rookery = pool.serfs()[0], pool.rookeries()[0]
        await leaving_serf.leave()
        rows = with_status(rows, leaving_serf.name, "left")
        await pool.kill(leaving_serf)
        await pool.agree_on(rows, LEAVE_SECONDS_MAX)
        await leaving_rookery.pool.leave()
        rows = with_status(rows, leaving_rookery.name, "left")
        await pool.kill(leaving_rookery)
        await pool.agree_on(rows, LEAVE_SECONDS_MAX)
        # Whoever still probed one of them would have noticed within a probe and a suspicion.
        await trio.sleep(4.5)
        await pool.agree_on(rows)
        for agent in pool.serfs():
            assert "EventMemberFailed" not in agent.log()
            assert agent.log().count("EventMemberLeave") == 2
        for rookery in pool.rookeries():
            assert rookery.reported(notices.MemberFailed) == []
            assert len(rookery.reported(notices.MemberLeft)) == 2


@pytest.mark.parametrize("when", ["at once", "after it failed"])
async def test_restarted_member_is_alive_again(serf: SerfCommand, when: str) -> None:
    """Killed and back under the same name and address, either kind is alive everywhere in 10 s."""
    async with four_agreeing(serf) as pool:
        rows = pool.rows()
        dead_serf, dead_rookery = pool.serfs()[0], pool.rookeries()[0]
        for victim in (dead_serf, dead_rookery):
            await pool.kill(victim)
        if when == "after it failed":
            failed = with_status(rows, dead_serf.name, "failed")
            failed = with_status(failed, dead_rookery.name, "failed")
            await pool.agree_on(failed, FAIL_SECONDS_MAX)
        new_rookery = await pool.add_rookery(dead_rookery.name, dead_rookery.address)
        new_serf = await pool.add_serf(dead_serf.name, dead_serf.address)
        await new_rookery.join(pool.serfs()[0].address)
        await new_serf.join(pool.rookeries()[0].address)
        await pool.agree_on(rows, RETURN_SECONDS_MAX)
        assert pool.conflicts() == []


@pytest.mark.parametrize("name", ["rook-a", "serf-x"])
async def test_second_agent_of_a_name_is_reported_and_not_merged(
    serf: SerfCommand, name: str
) -> None:
    """A name that is taken, by either kind, is refused and reported by all; the first one stays."""
    async with four_agreeing(serf) as pool, open_mixed_pool(serf) as strangers:
        rows = pool.rows()
        twin = await strangers.add_rookery(name)
        # The exchange itself works: refusing is the merge's business, after the answer.
        await twin.join(pool.members["serf-y"].address, pool.members[name].address)
        await eventually(lambda: all_report_conflict(pool, name), 5, "all to report the conflict")
        await eventually(
            lambda: bool(twin.reported(notices.NameConflict)), 5, "the twin to report it"
        )
        await pool.agree_on(rows)
        if name == "serf-x":
            # It asks the pool who is right; ours have to answer, or it would give up its name.
            def is_settled() -> bool:
                return "majority in name conflict resolution" in pool.members[name].log()

            await eventually(is_settled, 20, "serf-x to be confirmed by the others")
            await pool.agree_on(rows)


async def test_other_port_is_refused_while_the_old_one_is_failed(serf: SerfCommand) -> None:
    """A failed member's name may not come back at another address, as serf has it by default."""
    async with four_agreeing(serf) as pool, open_mixed_pool(serf) as strangers:
        rows = with_status(pool.rows(), "rook-a", "failed")
        await pool.kill(pool.members["rook-a"])
        await pool.agree_on(rows, FAIL_SECONDS_MAX)
        returned = await strangers.add_rookery("rook-a")
        await returned.join(pool.members["serf-x"].address, pool.members["rook-b"].address)

        await eventually(lambda: all_report_conflict(pool, "rook-a"), 5, "the conflict's report")
        await pool.agree_on(rows)
