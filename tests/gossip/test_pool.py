"""The running pool on a network in memory and virtual time: life, joins, leaving, rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from rookery.gossip import (
    BindError,
    JoinError,
    Lost,
    Member,
    MemberStatus,
    Pool,
    PoolClosed,
    PoolSettings,
    notices,
    open_pool,
    subscriptions,
)
from rookery.gossip.addresses import Address
from rookery.gossip.join_targets import JoinTargetError
from rookery.gossip.pool import JOIN_REFUSED_TEXT, JOINS_AT_ONCE_MAX
from rookery.gossip.serf.engine import EngineState
from rookery.gossip.swim.settings import SwimSettings

from .fake_network import FakeNetwork
from .pools import FAIL_SECONDS_MAX, Pools, statuses, until

pytestmark = pytest.mark.usefixtures("autojump_clock")

JOIN_REFUSED = r"^Serf can't Join after Leave or Shutdown$"


# Life.


async def test_running_pool_lists_itself() -> None:
    """Alone, a pool is one alive member at its bound address, with its tags."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        pool = pools.make("a", port=0)
        address = await nursery.start(pool.run)
        assert address == pool.address
        assert address.port != 0
        (member,) = pool.members()
        assert member == pool.local_member()
        assert (member.name, member.host, member.port) == ("a", *address)
        assert member.tags == {"name": "a"}
        assert member.status is MemberStatus.ALIVE
        assert pool.state is EngineState.ALIVE
        nursery.cancel_scope.cancel()


async def test_advertised_address_is_what_members_see() -> None:
    """Behind a mapped port others are told the outside address."""
    async with trio.open_nursery() as nursery:
        pool = await Pools(nursery).start("a", advertise="192.0.2.7", advertise_port=99)
        member = pool.local_member()
        assert (member.host, member.port) == ("192.0.2.7", 99)
        nursery.cancel_scope.cancel()


async def test_pool_that_does_not_run_says_so() -> None:
    """Before its start and after its end a pool refuses what needs a running one."""
    pool = Pool(PoolSettings(node_name="a", bind="127.0.0.1"), open_transport=FakeNetwork().open)
    for ask in (pool.members, pool.local_member, pool.statistics, lambda: pool.address):
        with pytest.raises(PoolClosed, match="not been started"):
            ask()
    with pytest.raises(PoolClosed, match="not running"):
        await pool.leave()
    with pytest.raises(PoolClosed, match="not running"):
        await pool.join(["127.0.0.1"])
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        with pytest.raises(PoolClosed, match="has run before"):
            await pool.run()
        nursery.cancel_scope.cancel()
    assert pool.state is EngineState.SHUTDOWN
    assert [member.name for member in pool.members()] == ["a"]
    with pytest.raises(PoolClosed, match=JOIN_REFUSED):
        await pool.join(["127.0.0.1"])
    with pytest.raises(PoolClosed, match="not running"):
        await pool.leave()
    with pytest.raises(PoolClosed, match="has run before"):
        await pool.run()
    assert [notice async for notice in pool.events()] == []


async def test_open_pool_raises_bind_errors_as_themselves() -> None:
    """A caller can catch a taken port without taking groups apart."""
    network = FakeNetwork()
    settings = PoolSettings(node_name="a", bind="127.0.0.1")
    async with open_pool(settings, open_transport=network.open):
        with pytest.raises(BindError, match="address already in use"):
            async with open_pool(settings, open_transport=network.open):
                raise AssertionError("two pools at one address")
    assert network.transports == {}


@pytest.mark.parametrize(
    ("over", "text"),
    [
        ({"profile": "moon"}, "profile"),
        ({"node_name": ""}, "node_name"),
        ({"tags": {"k": "v" * 600}}, "512"),
        ({"advertise": "not-an-ip"}, "not-an-ip"),
        ({"overrides": {"probe_interval": 0}}, "probe_interval"),
    ],
)
async def test_bad_setting_is_refused_and_frees_the_address(
    over: dict[str, Any], text: str
) -> None:
    """A setting out of its range is named, and no socket stays behind."""
    network = FakeNetwork()
    settings = PoolSettings(**{"node_name": "a", "bind": "127.0.0.1", **over})
    with pytest.raises(ValueError, match=text):
        Pool(settings, open_transport=network.open).bind()
    assert network.transports == {}


# Members.


async def test_joined_pools_list_each_other() -> None:
    """After a join all list all; members that a subscriber hears of are those listed."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b, c = [await pools.start(name) for name in "abc"]
        events = a.events(notices.MemberJoined)
        versions = a.members_version()
        assert (await b.join([str(a.address)])).joined == 1
        assert (await c.join([str(b.address)])).joined == 1
        everybody = dict.fromkeys("abc", "alive")
        await until(lambda: statuses(a) == statuses(b) == statuses(c) == everybody, 5)
        assert a.members_version() > versions
        joined = [await anext(events) for _ in range(2)]
        assert {
            notice.member.name for notice in joined if isinstance(notice, notices.MemberJoined)
        } == {"b", "c"}
        assert {member.name: dict(member.tags) for member in a.members()}["c"] == {"name": "c"}
        nursery.cancel_scope.cancel()


async def test_killed_member_fails_and_comes_back() -> None:
    """A pool that just stops is failed at the others; restarted in its place it is alive again."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = [await pools.start(name) for name in "ab"]
        await b.join([str(a.address)])
        victim = pools.make("c")
        async with trio.open_nursery() as short:
            await short.start(victim.run)
            await victim.join([str(a.address)])
            await until(lambda: statuses(b).get("c") == "alive")
            short.cancel_scope.cancel()
        failed = {"a": "alive", "b": "alive", "c": "failed"}
        await until(lambda: statuses(a) == statuses(b) == failed)
        again = Pool(victim.settings, open_transport=pools.network.open)
        await nursery.start(again.run)
        await again.join([str(b.address)])
        everybody = dict.fromkeys("abc", "alive")
        await until(lambda: statuses(a) == statuses(b) == statuses(again) == everybody, 10)
        nursery.cancel_scope.cancel()


async def test_changed_tags_reach_others() -> None:
    """New tags are gossiped; too large ones change nothing."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = [await pools.start(name) for name in "ab"]
        await b.join([str(a.address)])
        events = a.events(notices.MemberUpdated)
        b.set_tags({"new": "tag"})
        notice = await anext(events)
        assert isinstance(notice, notices.MemberUpdated)
        assert notice.member.tags == {"new": "tag"}
        with pytest.raises(ValueError, match="512"):
            b.set_tags({"k": "v" * 600})
        assert b.local_member().tags == {"new": "tag"}
        nursery.cancel_scope.cancel()


async def test_subscriber_that_does_not_keep_up_loses_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One slow reader costs nobody else anything, and the loss is counted."""
    monkeypatch.setattr(subscriptions, "EVENT_BUFFER_NOTICES_MAX", 1)
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = [await pools.start(name) for name in "ab"]
        slow = a.events(notices.MemberJoined, notices.MemberUpdated)
        await b.join([str(a.address)])
        for number in range(2):
            b.set_tags({"number": str(number)})
            await until(lambda: dict(a.members()[-1].tags) == {"number": str(number)})  # noqa: B023
        assert isinstance(await anext(slow), notices.MemberJoined)
        assert await anext(slow) == Lost(2)
        assert a.statistics().notices_lost == 2
        nursery.cancel_scope.cancel()


# Leaving.


async def test_leaver_is_left_at_the_others_and_its_run_ends() -> None:
    """A graceful leave returns when announced, ends the pool, and never shows as a failure."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = [await pools.start(name) for name in "ab"]
        await b.join([str(a.address)])
        leaver = pools.make("c")
        events = a.events(notices.MemberLeft, notices.MemberFailed)
        async with trio.open_nursery() as short:
            await short.start(leaver.run)
            await leaver.join([str(a.address)])
            await until(lambda: len(a.members()) == len(b.members()) == 3)
            short.start_soon(leaver.leave)
            await trio.testing.wait_all_tasks_blocked()
            assert leaver.state is EngineState.LEAVING
            with pytest.raises(PoolClosed, match=JOIN_REFUSED):
                await leaver.join([str(a.address)])
        # The nursery ended by itself: so did run().
        await leaver.leave()
        assert leaver.state is EngineState.LEFT
        left = {"a": "alive", "b": "alive", "c": "left"}
        await until(lambda: statuses(a) == statuses(b) == left, 5)
        await trio.sleep(FAIL_SECONDS_MAX)
        assert statuses(a) == statuses(b) == left
        with events:
            assert isinstance(await anext(events), notices.MemberLeft)
        assert [notice async for notice in events] == []
        nursery.cancel_scope.cancel()


async def test_stop_during_a_leave_is_told() -> None:
    """Who waits for a leave that cannot finish any more gets an error, not silence."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a = await pools.start("a")
        outcome: list[str] = []
        b = pools.make("b")

        async def leave() -> None:
            try:
                await b.leave()
            except PoolClosed as error:
                outcome.append(str(error))

        async with trio.open_nursery() as short:
            await short.start(b.run)
            await b.join([str(a.address)])
            nursery.start_soon(leave)
            await trio.testing.wait_all_tasks_blocked()
            short.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert outcome == ["the pool was stopped before it had left"]
        nursery.cancel_scope.cancel()


# Joining.


class FakeResolver:
    """Names from a table; no thread."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names

    async def look_up(self, host: str, *, ipv6: bool) -> list[str]:
        await trio.lowlevel.checkpoint()
        if host not in self.names:
            raise JoinTargetError(f"lookup {host}: no such host")
        return self.names[host]


async def test_join_counts_exchanges_and_reports_each_failure_in_order() -> None:
    """Errors read as users of Go agents know them, and stand in the order of the addresses."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b, c = [await pools.start(name) for name in "abc"]
        names = {"all.example": [a.address.host, b.address.host, "127.0.0.99"]}
        c._resolver = FakeResolver(names)  # type: ignore[assignment]
        addresses = [
            "nope",
            "x:y",
            "127.0.0.98:1",
            str(a.address),
            "all.example",
            a.address.host,
            "[::1",
        ]
        result = await c.join(addresses)
        assert result.joined == 4
        refused = "connect: connection refused"
        assert result.errors == (
            JoinError("nope", "Failed to resolve nope: lookup nope: no such host"),
            JoinError(
                "x:y",
                'Failed to resolve x:y: strconv.ParseUint: parsing "y": invalid syntax',
            ),
            JoinError(
                "127.0.0.98:1", f"Failed to join 127.0.0.98: dial tcp 127.0.0.98:1: {refused}"
            ),
            JoinError(
                "all.example", f"Failed to join 127.0.0.99: dial tcp 127.0.0.99:7946: {refused}"
            ),
            JoinError("[::1", "Failed to resolve [::1: address [::1: missing ']' in address"),
        )
        nursery.cancel_scope.cancel()


async def test_joining_oneself_twice_counts_twice() -> None:
    """Exchanges are counted, not members."""
    async with trio.open_nursery() as nursery:
        a = await Pools(nursery).start("a")
        result = await a.join([str(a.address), a.address.host])
        assert (result.joined, result.errors) == (2, ())
        assert statuses(a) == {"a": "alive"}
        nursery.cancel_scope.cancel()


async def test_joining_nobody_is_no_error() -> None:
    """An empty list joins nobody."""
    async with trio.open_nursery() as nursery:
        a = await Pools(nursery).start("a")
        assert (await a.join([])).joined == 0
        nursery.cancel_scope.cancel()


async def test_black_hole_times_out_and_holds_up_no_other_address() -> None:
    """A dial that nobody answers ends at the profile's limit; others are joined meanwhile."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = [await pools.start(name) for name in "ab"]
        hole = "127.0.0.77"
        pools.network.is_cut = lambda source, destination: destination.host == hole
        start = trio.current_time()
        results = []

        async def join() -> None:
            results.append(await b.join([hole, hole, str(a.address)]))

        nursery.start_soon(join)
        await until(lambda: statuses(b) == {"a": "alive", "b": "alive"}, 1)
        await until(lambda: bool(results))
        stream_timeout = SwimSettings.profile(
            "lan", node_name="a", address=b"\x7f\0\0\1", port=1
        ).stream_timeout
        assert stream_timeout <= trio.current_time() - start <= stream_timeout + 1
        text = f"Failed to join {hole}: dial tcp {hole}:7946: i/o timeout"
        assert [error.message for error in results[0].errors] == [text, text]
        assert results[0].joined == 1
        nursery.cancel_scope.cancel()


async def test_joins_of_all_callers_share_one_limit() -> None:
    """However many ask, at most the named number of addresses is worked on at once."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a = await pools.start("a")
        pools.network.is_cut = lambda source, destination: True
        for _ in range(JOINS_AT_ONCE_MAX):
            nursery.start_soon(a.join, ["127.0.0.77", "127.0.0.78"])
        await trio.testing.wait_all_tasks_blocked()
        assert a.statistics().streams.open == JOINS_AT_ONCE_MAX
        nursery.cancel_scope.cancel()


async def test_refused_admission_shows_nothing_of_us() -> None:
    """A join first looks; what it must not meet never hears of us, and the text says why."""
    seen: list[Sequence[Member]] = []

    def admit(members: Sequence[Member]) -> str | None:
        seen.append(members)
        names = {member.name for member in members}
        return "member 'a' is not one of us" if "a" in names else None

    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = [await pools.start(name) for name in "ab"]
        stranger = await pools.start("c", admit=admit)
        result = await stranger.join([str(a.address), "127.0.0.99"])
        assert [error.message for error in result.errors] == [
            f"Failed to join {a.address.host}: member 'a' is not one of us",
            "Failed to join 127.0.0.99: dial tcp 127.0.0.99:7946: connect: connection refused",
        ]
        assert result.joined == 0
        assert [(member.name, member.tags) for member in seen[0]] == [("a", {"name": "a"})]
        assert (await stranger.join([str(b.address)])).joined == 1
        await trio.sleep(5)
        assert statuses(a) == {"a": "alive"}
        assert statuses(b) == statuses(stranger) == {"b": "alive", "c": "alive"}
        nursery.cancel_scope.cancel()


async def test_joins_under_way_end_with_the_pool() -> None:
    """Who waits for a join that cannot finish any more is told so."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a = pools.make("a")
        pools.network.is_cut = lambda source, destination: True
        outcome: list[str] = []

        async def join() -> None:
            try:
                await a.join(["127.0.0.77", "127.0.0.78"])
            except PoolClosed as error:
                outcome.append(str(error))

        async with trio.open_nursery() as short:
            await short.start(a.run)
            nursery.start_soon(join)
            await trio.testing.wait_all_tasks_blocked()
            short.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert outcome == [JOIN_REFUSED_TEXT]
        nursery.cancel_scope.cancel()


# Peers that misbehave.


async def test_garbage_is_counted_and_changes_nothing() -> None:
    """Packets and streams of nonsense are counted by reason; members stay what they are."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = [await pools.start(name) for name in "ab"]
        await b.join([str(a.address)])
        before = a.members()
        stranger = pools.network.open(Address("127.0.0.200", 1))
        for data in (b"", b"\xff\xff", b"\x02\x81\xa4Node", bytes(100)):
            stranger.send_packet_nowait(data, a.address)
        stream = await stranger.dial(a.address)
        await stream.send_all(b"\x06\xc1 this is no push-pull")
        while await stream.receive_some():
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert sum(a.statistics().rejected.values()) >= 4
        assert a.members() == before
        nursery.cancel_scope.cancel()


async def test_error_in_the_engine_travels_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not a peer's fault is not swallowed: it ends the pool with its cause."""
    async with trio.open_nursery() as outer:
        pools = Pools(outer)
        a = pools.make("a")

        def fail(*arguments: object, **options: object) -> None:
            raise ZeroDivisionError

        with pytest.RaisesGroup(pytest.RaisesGroup(ZeroDivisionError)):
            async with trio.open_nursery() as nursery:
                await nursery.start(a.run)
                monkeypatch.setattr(type(a._require_running()), "receive_packet", fail)
                pools.network.open(Address("127.0.0.200", 1)).send_packet_nowait(b"x", a.address)
                await trio.sleep(1)
        assert a.state is EngineState.SHUTDOWN


# Rest.


async def test_pool_alone_sleeps() -> None:
    """Without anybody to probe nothing wakes the pool, for a day."""
    async with trio.open_nursery() as nursery:
        a = await Pools(nursery).start("a")
        # Its own first news finds nobody to go to.
        await trio.sleep(1)
        before = a.statistics()
        await trio.sleep(24 * 3600)
        after = a.statistics()
        assert after.timer_wakeups == before.timer_wakeups
        assert after.packet_bursts == before.packet_bursts == 0
        nursery.cancel_scope.cancel()


class LoopCounter(trio.abc.Instrument):
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.turns = 0

    def after_io_wait(self, timeout: float) -> None:
        self.turns += 1


@pytest.fixture
def loop_counter() -> LoopCounter:
    """Installed by the hook that runs async tests."""
    return LoopCounter()


async def test_joined_pools_at_rest_only_probe(
    loop_counter: LoopCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wake-up is a deadline of the engine or a packet, and there are as many as probes."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b, c = everybody = [await pools.start(name) for name in "abc"]
        await b.join([str(a.address)])
        await c.join([str(a.address)])
        await trio.sleep(30)
        early: list[float] = []
        handle_timers = type(a._require_running()).handle_timers

        def check_deadline(engine: Any, *, now: float) -> None:
            deadline = engine.next_deadline()
            if deadline is None or deadline > now:
                early.append(now)
            handle_timers(engine, now=now)

        monkeypatch.setattr(type(a._require_running()), "handle_timers", check_deadline)
        before = [pool.statistics() for pool in everybody]
        turns = loop_counter.turns
        seconds = 300
        await trio.sleep(seconds)
        turns = loop_counter.turns - turns
        after = [pool.statistics() for pool in everybody]
        assert early == []
        wakeups = 0
        for old, new in zip(before, after, strict=True):
            timers = new.timer_wakeups - old.timer_wakeups
            bursts = new.packet_bursts - old.packet_bursts
            streams = new.streams.accepted - old.streams.accepted
            streams += new.streams.dialled - old.streams.dialled
            # A probe a second: its tick, and nothing when the ack comes in time. A ping and an ack
            # of our own probes, a ping of each probe of another.
            assert timers <= 1.1 * seconds
            assert bursts <= 2.2 * seconds
            assert streams <= 4 * seconds / 30 + 2
            wakeups += timers + bursts + 10 * streams
        assert turns <= 3 * wakeups
        nursery.cancel_scope.cancel()
