"""What an operator does with a pool of both kinds of agents, by the commands and the API of both.

All agents are processes of their own, three of each kind. Timing is LAN's, the only one with which
six serf agents agree for sure; so each pool is used for as much as can be shown on it.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
import trio

from .operated_pool import OperatedPool, operated_pool, serf_query
from .serf_agents import SerfCommand, eventually

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.deadline(120)]

OLD_KEY, NEW_KEY = (base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2))

TRAVEL_SECONDS_MAX = 10.0
"""How long an event may take to six members: some gossip rounds, rarely a push-pull."""

FAIL_SECONDS_MAX = 40.0
"""How long a dead member may stay undetected among six on LAN timing; usually it is seven."""

RTT_SECONDS_MAX = 0.1
"""What a round trip on loopback is surely below, however busy the machine is."""

QUERY_TIMEOUT = "2s"


async def test_pool_of_both_kinds_is_operated_from_both(serf: SerfCommand, tmp_path: Path) -> None:
    """Events, queries, keys, round trips, tags and reachability, asked on either kind."""
    async with operated_pool(serf, tmp_path, key=OLD_KEY) as pool:
        await _fire_events(pool)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask_by_serf, pool)
            nursery.start_soon(_ask_by_rookery, pool)
            nursery.start_soon(_refuse_too_much, pool)
            nursery.start_soon(_reach_all, pool)
        await _rotate_keys(pool)
        await _estimate_round_trips(pool)
        await _change_tags(pool)
        # All of it on a pool in which nobody was ever doubted, and each event came once.
        await pool.all_alive()
        for name in pool.serfs:
            assert len(pool.events_seen(name)) == len(set(pool.events_seen(name))) == 2
        for rookery in pool.rookeries.values():
            assert len(await rookery.events("user-event")) == 2
            assert await rookery.events("member-failed") == []
            rejected = (await rookery.ask("GET", "/v1/agent/self"))["stats"]["gossip"]
            assert [key for key in rejected if key.startswith("rejected.")] == []
        refused = [line for line in pool.complaints() if "Removing the primary key" in line]
        assert len(refused) == len(pool.serfs)
        assert pool.complaints() == refused


async def _fire_events(pool: OperatedPool) -> None:
    """One event of either kind reaches all six."""
    await pool.serf().command("event", "-coalesce=false", "deploy", "from serf")
    await pool.rookery().ask(
        "PUT", "/v1/gossip/event", b"from rookery", name="deploy", coalesce="false"
    )

    async def all_have_both() -> bool:
        for name in pool.serfs:
            heard = {line.split(" ", 2)[2] for line in pool.events_seen(name)}
            if heard != {"from serf", "from rookery"}:
                return False
        for rookery in pool.rookeries.values():
            events = await rookery.events("user-event")
            payloads = {base64.b64decode(event["Payload"]) for event in events}
            if payloads != {b"from serf", b"from rookery"}:
                return False
        return True

    await eventually(all_have_both, TRAVEL_SECONDS_MAX, "both events to be everywhere")


def _expected_answers(pool: OperatedPool) -> dict[str, str]:
    """Return what each member answers to `uptime` with the payload `now`."""
    answers = dict.fromkeys(pool.serfs, "serf says now")
    return answers | dict.fromkeys(pool.rookeries, "rookery says up")


async def _ask_by_serf(pool: OperatedPool) -> None:
    acks, answers = await serf_query(pool.serf(), f"-timeout={QUERY_TIMEOUT}", "uptime", "now")
    assert acks == set(pool.names)
    assert answers == _expected_answers(pool)
    acks, answers = await serf_query(
        pool.serf(), f"-timeout={QUERY_TIMEOUT}", "-tag=role=^nom.d", "-relay-factor=2", "uptime"
    )
    assert acks == set(answers) == set(pool.rookeries)


async def _ask_by_rookery(pool: OperatedPool) -> None:
    documents = await pool.rookery().stream(
        "PUT", "/v1/gossip/query", b"now", name="uptime", ack="true", timeout=QUERY_TIMEOUT
    )
    acks = [one["From"] for one in documents if one["Type"] == "ack"]
    answers = {
        one["From"]: base64.b64decode(one["Payload"]).decode()
        for one in documents
        if one["Type"] == "response"
    }
    assert sorted(acks) == sorted(pool.names)
    assert answers == _expected_answers(pool)
    assert documents[-1] == {"Type": "done", "Acks": 6, "Responses": 6}


async def _refuse_too_much(pool: OperatedPool) -> None:
    """At the limit a query is still answered by real agents; over it, it is told why not."""
    parameters = {"name": "uptime", "node": pool.serf().name, "timeout": QUERY_TIMEOUT}

    async def refusal(size: int) -> str:
        body = b"x" * size
        answer = await pool.rookery().request("PUT", "/v1/gossip/query", body, **parameters)
        assert answer.status_code == 400
        return answer.text

    found = re.fullmatch(r"query exceeds limit of 1024 bytes: it has (\d+)", await refusal(1024))
    assert found is not None
    fits = 1024 - (int(found[1]) - 1024)
    assert (await refusal(fits + 1)).endswith("it has 1025")
    documents = await pool.rookery().stream("PUT", "/v1/gossip/query", b"x" * fits, **parameters)
    # Its answer has ten bytes more than the question, still below its limit.
    (answered,) = [one for one in documents if one["Type"] == "response"]
    assert base64.b64decode(answered["Payload"]) == b"serf says " + b"x" * fits


async def _reach_all(pool: OperatedPool) -> None:
    shown = await pool.serf().command("reachability", "-verbose")
    assert "Successfully contacted all live nodes\n" in shown, shown
    assert set(re.findall(r"Ack from '(.*)'", shown)) == set(pool.names)
    *acks, done = await pool.rookery().stream("PUT", "/v1/gossip/reachability")
    assert {one["From"] for one in acks} == set(pool.names)
    assert done == {"Type": "done", "Members": 6, "Acks": 6, "Missing": []}


async def _rotate_keys(pool: OperatedPool) -> None:
    """From the old key to the new one, each step by the other kind."""
    x, a = pool.serf(), pool.rookery()
    await x.command("keys", f"-install={NEW_KEY}")
    installed = {"Keys": {OLD_KEY: 6, NEW_KEY: 6}, "Messages": {}, "NumNodes": 6}
    assert await a.ask("GET", "/v1/agent/keyring/list") == installed
    await a.ask("PUT", "/v1/agent/keyring/use", _key_body(NEW_KEY))
    failed = await a.request("PUT", "/v1/agent/keyring/remove", _key_body(NEW_KEY))
    assert (failed.status_code, failed.text) == (500, "6/6 nodes reported failure")
    await x.command("keys", f"-remove={OLD_KEY}")
    listed = (await x.command("keys", "-list")).split()
    assert listed[-2:] == [NEW_KEY, "[6/6]"]
    assert OLD_KEY not in listed

    def are_written() -> bool:
        files = [agent.directory / "server" / "serf.keyring" for agent in pool.rookeries.values()]
        return all(json.loads(file.read_text()) == [NEW_KEY] for file in files)

    await eventually(are_written, TRAVEL_SECONDS_MAX, "the keys to be in the files")


def _key_body(key: str) -> bytes:
    return b'{"Key":"%s"}' % key.encode()


async def _estimate_round_trips(pool: OperatedPool) -> None:
    """Between a serf and a rookery agent, asked on either, once each has probed the other."""
    x, a = pool.serf(), pool.rookery()

    async def both_know() -> bool:
        listed = await a.ask("GET", "/v1/gossip/coordinates")
        return {one["Node"] for one in listed} == set(pool.names)

    async def serf_knows() -> bool:
        try:
            await x.command("rtt", a.name, x.name)
        except AssertionError:  # it says so by its exit code
            return False
        return True

    await eventually(both_know, 15, "coordinates of all")
    await eventually(serf_knows, 15, "serf's own coordinates")
    shown = await x.command("rtt", a.name, x.name)
    found = re.search(r"rtt: ([0-9.]+) ms", shown)
    assert found is not None, shown
    assert 0 < float(found[1]) / 1000 < RTT_SECONDS_MAX
    answer = await a.ask("GET", "/v1/gossip/rtt", to=x.name)
    assert (answer["From"], answer["To"]) == (a.name, x.name)
    assert 0 < answer["RTT"] < RTT_SECONDS_MAX


async def _change_tags(pool: OperatedPool) -> None:
    """Of either kind, seen on all six."""
    x, a = pool.serf(), pool.rookery()
    await x.command("tags", "-set", "rack=serf")
    await a.ask("PUT", "/v1/gossip/tags", b'{"Set":{"rack":"rookery"}}')

    async def all_show_both() -> bool:
        shown = []
        for member in pool.serfs.values():
            tags = {one.name: dict(one.tags) for one in await member.members()}
            shown.append((tags[x.name].get("rack"), tags[a.name].get("rack")))
        for member in pool.rookeries.values():
            listed = await member.listed()
            shown.append(tuple(listed[name]["Tags"].get("rack") for name in (x.name, a.name)))
        return set(shown) == {("serf", "rookery")}

    await eventually(all_show_both, TRAVEL_SECONDS_MAX, "the new tags to be everywhere")


async def test_failed_members_are_explained_forced_out_and_pruned_everywhere(
    serf: SerfCommand, tmp_path: Path
) -> None:
    """Why, by whom and when; then left on all, and with prune gone from all for good."""
    async with operated_pool(serf, tmp_path) as pool:
        x, a = pool.serf(), pool.rookery()
        dead_serf, dead_rookery = pool.serf(2), pool.rookery(2)
        await dead_serf.kill()
        await dead_rookery.end()
        expected = dict.fromkeys(pool.names, "alive")
        expected |= {dead_serf.name: "failed", dead_rookery.name: "failed"}
        await pool.agree_on(expected, FAIL_SECONDS_MAX)
        for name in (dead_serf.name, dead_rookery.name):
            await _explain(pool, name)

        await x.command("force-leave", dead_rookery.name)
        await a.ask("PUT", "/v1/agent/force-leave", node=dead_serf.name)
        expected |= {dead_serf.name: "left", dead_rookery.name: "left"}
        await pool.agree_on(expected, TRAVEL_SECONDS_MAX)

        await x.command("force-leave", "-prune", dead_serf.name)
        await a.ask("PUT", "/v1/agent/force-leave", node=dead_rookery.name, prune="true")
        for name in (dead_serf.name, dead_rookery.name):
            del expected[name]
        await pool.agree_on(expected, TRAVEL_SECONDS_MAX)
        # Whole tables are exchanged, in all directions between the kinds: nobody comes back.
        await x.join(pool.rookery(1).address, a.address)
        await pool.rookery(1).join(pool.serf(1).address, x.address)
        await a.join(pool.serf(1).address)
        await pool.agree_on(expected, TRAVEL_SECONDS_MAX)
        assert pool.complaints() == []


async def _explain(pool: OperatedPool, name: str) -> None:
    """Demand that every agent of ours can say why a member is failed."""
    for rookery in list(pool.rookeries.values())[:2]:
        document = await rookery.ask("GET", "/v1/gossip/evidence", node=name)
        assert (document["Name"], document["Status"]) == (name, "failed")
        kinds = [record["Kind"] for record in document["Evidence"]]
        assert kinds.index("suspected") < kinds.index("declared-dead")
        accusers = {
            record["By"]
            for record in document["Evidence"]
            if record["Kind"] in ("suspected", "confirmed")
        }
        assert accusers
        assert accusers <= set(pool.names) - {name}
        times = [record["Time"] for record in document["Evidence"]]
        assert times == sorted(times)
