"""Operating a running pool: events, queries, keys, force-leave, evidence, snapshot records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing
from rookery.gossip import (
    CoalesceSettings,
    EventRefused,
    ForceLeaveError,
    Keyring,
    MemberEvents,
    PoolClosed,
    QueryRefused,
    Question,
    Remembered,
    notices,
)
from rookery.gossip.evidence import EvidenceKind
from rookery.gossip.serf.recording import SnapshotRecorder
from rookery.gossip.serf.snapshot import replay_untrusted

from .pools import Pools, statuses, until

pytestmark = pytest.mark.usefixtures("autojump_clock")

OLD_KEY, NEW_KEY = bytes(16), bytes(range(16))


async def test_user_event_reaches_everybody_once() -> None:
    """Its sender included; the Lamport time is what receivers see."""
    async with trio.open_nursery() as nursery:
        pools = await Pools(nursery).start_joined("a", "b", "c")
        feeds = [pool.events(notices.UserEventReceived) for pool in pools]
        ltime = pools[1].user_event("deploy", b"v2", coalesce=False)
        expected = notices.UserEventReceived(ltime, "deploy", b"v2", False)
        assert [await anext(feed) for feed in feeds] == [expected] * 3
        await trio.sleep(60)
        assert [len(feed._buffer) for feed in feeds] == [0, 0, 0]
        nursery.cancel_scope.cancel()


async def test_event_beyond_the_limit_is_refused() -> None:
    """The limit is a setting; at it an event is still sent."""
    async with trio.open_nursery() as nursery:
        pool = await Pools(nursery).start("a", user_event_size_limit=100)
        pool.user_event("four", bytes(10))
        with pytest.raises(EventRefused, match="exceeds configured limit of 100 bytes"):
            pool.user_event("four", bytes(97))
        nursery.cancel_scope.cancel()


async def test_query_streams_acks_and_answers_until_its_deadline() -> None:
    """Ours among them; members answer by `respond`, once."""
    async with trio.open_nursery() as nursery:
        pools = await Pools(nursery).start_joined("a", "b", "c")
        for pool in pools:
            nursery.start_soon(_answer_all, pool)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        with pools[0].query(Question(name="who", payload=b"?", wants_acks=True)) as stream:
            heard = [notice async for notice in stream]
        assert trio.current_time() - start == pytest.approx(0.2 * 16, abs=0.01)
        acks = {notice.sender for notice in heard if isinstance(notice, notices.QueryAcked)}
        answers = {
            notice.sender: notice.payload
            for notice in heard
            if isinstance(notice, notices.QueryAnswered)
        }
        assert acks == {"a", "b", "c"}
        assert answers == {"a": b"a?", "b": b"b?", "c": b"c?"}
        assert stream.finished == notices.QueryFinished(stream.ltime, stream.id, 3, 3)
        assert pools[0]._queries == {}
        nursery.cancel_scope.cancel()


async def _answer_all(pool) -> None:
    async for notice in pool.events(notices.QueryReceived):
        pool.respond(notice.ltime, notice.id, pool.settings.node_name.encode() + notice.payload)
        with pytest.raises(LookupError):
            pool.respond(notice.ltime, notice.id, b"again")


async def test_query_can_be_ended_early_and_makes_room() -> None:
    """Only so many may be open; leaving the block ends one at once."""
    async with trio.open_nursery() as nursery:
        pool = await Pools(nursery).start("a")
        question = Question(name="who", timeout=3600.0)
        streams = [pool.query(question) for _ in range(256)]
        with pytest.raises(QueryRefused, match="256 queries are open"):
            pool.query(question)
        with streams[0]:
            pass
        assert streams[0].finished is not None
        with pool.query(question):
            assert pool.statistics().engine.open_queries == 256
        assert pool.statistics().engine.open_queries == 255
        nursery.cancel_scope.cancel()


async def test_keys_are_rotated_on_all_members() -> None:
    """Install, use, remove; each member's ring changes, which it is told, and nobody is lost."""
    async with trio.open_nursery() as nursery:
        rings = [Keyring([OLD_KEY]) for _ in range(3)]
        pools = Pools(nursery)
        a = await pools.start("a", keyring=rings[0])
        others = [await pools.start(name, keyring=rings[n]) for n, name in ((1, "b"), (2, "c"))]
        for other in others:
            await other.join([str(a.address)])
        changes = [pool.events(notices.KeyringChanged) for pool in (a, *others)]
        await until(lambda: len(statuses(a)) == len(statuses(others[0])) == 3)
        for operation, key in (("install", NEW_KEY), ("use", NEW_KEY), ("remove", OLD_KEY)):
            outcome = await a.change_keys(operation, key)
            assert (outcome.error, outcome.nodes, outcome.responses) == (None, 3, 3)
        assert [ring.keys for ring in rings] == [(NEW_KEY,)] * 3
        assert [len(feed._buffer) for feed in changes] == [3, 3, 3]
        listed = await others[0].change_keys("list")
        assert list(listed.keys.values()) == list(listed.primary_keys.values()) == [3]
        await trio.sleep(60)
        assert set(statuses(a).values()) == {"alive"}
        nursery.cancel_scope.cancel()


async def test_key_operations_that_fail_say_whose_fault_it_was() -> None:
    """The caller's: an error; the members': counts and words in Go's texts."""
    async with trio.open_nursery() as nursery:
        pool = await Pools(nursery).start("a", keyring=Keyring([OLD_KEY]))
        with pytest.raises(ValueError, match="16, 24 or 32"):
            await pool.change_keys("install", b"short")
        outcome = await pool.change_keys("remove", OLD_KEY)
        assert outcome.error == "1/1 nodes reported failure"
        assert outcome.messages == {"a": "Removing the primary key is not allowed"}
        nursery.cancel_scope.cancel()


async def test_force_leave_ends_a_failed_member_everywhere() -> None:
    """Failed becomes left; with prune it is gone; strangers are no error."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = await pools.start_joined("a", "b")
        async with trio.open_nursery() as doomed:
            c = pools.make("c")
            await doomed.start(c.run)
            await c.join([str(a.address)])
            await until(lambda: len(statuses(a)) == len(statuses(b)) == 3)
            doomed.cancel_scope.cancel()
        await until(lambda: statuses(a)["c"] == statuses(b)["c"] == "failed")
        await a.force_leave("c")
        await until(lambda: statuses(b)["c"] == "left")
        assert statuses(a)["c"] == "left"
        await b.force_leave("c", prune=True)
        await until(lambda: "c" not in statuses(a))
        assert "c" not in statuses(b)
        await a.force_leave("nobody")
        nursery.cancel_scope.cancel()


async def test_force_leave_that_nobody_can_hear_fails_after_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In Nomad's words."""
    async with trio.open_nursery() as nursery:
        a, _ = await Pools(nursery).start_joined("a", "b")
        # Gossip that goes round never: what is queued is not sent.
        monkeypatch.setattr(a._parts[1]._broadcasts, "take", lambda overhead, budget, **_: [])
        start = trio.current_time()
        with pytest.raises(ForceLeaveError, match=r"^timed out broadcasting node removal$"):
            await a.force_leave("gone")
        assert trio.current_time() - start == pytest.approx(5.0)
        nursery.cancel_scope.cancel()


async def test_evidence_has_times_of_day() -> None:
    """Who said what of a member, and when, on the clock on the wall."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a, b = await pools.start_joined("a", "b")
        async with trio.open_nursery() as doomed:
            c = pools.make("c")
            await doomed.start(c.run)
            await c.join([str(a.address)])
            await until(lambda: len(statuses(a)) == len(statuses(b)) == 3)
            doomed.cancel_scope.cancel()
        await until(lambda: statuses(a)["c"] == "failed")
        before = datetime.now(UTC)
        records = a.evidence_of("c")
        times = [record.time for record in records]
        assert times == sorted(times)
        assert before - times[-1] < timedelta(seconds=1)
        assert before - times[0] < timedelta(seconds=trio.current_time())
        kinds = [record.kind for record in records]
        assert kinds[0] is EvidenceKind.JOINED
        assert {EvidenceKind.SUSPECTED, EvidenceKind.DECLARED_DEAD} <= set(kinds)
        assert {"a", "b"} & {record.by for record in records}
        assert a.evidence_of("nobody") == []
        nursery.cancel_scope.cancel()


async def test_coordinates_are_known_once_members_were_probed() -> None:
    """Then round trips between any two can be estimated; before, they are unknown."""
    async with trio.open_nursery() as nursery:
        a, _ = await Pools(nursery).start_joined("a", "b")
        assert a.coordinate_of("a") is not None
        assert a.estimated_rtt("a", "nobody") is None
        await until(lambda: a.coordinate_of("b") is not None)
        rtt = a.estimated_rtt("a", "b")
        assert rtt is not None
        assert 0 <= rtt < 0.1
        nursery.cancel_scope.cancel()


async def test_bursts_can_be_told_together() -> None:
    """Joins of a whole pool are one event."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a = pools.make("a")
        stream = a.coalesced_events(settings=CoalesceSettings(period=60, quiescence=30))
        await nursery.start(a.run)
        for name in ("b", "c"):
            other = await pools.start(name)
            await other.join([str(a.address)])
        while not isinstance(told := await anext(stream), MemberEvents):
            pass
        assert [member.name for member in told.members] == ["a", "b", "c"]
        assert told.kind is notices.MemberJoined
        nursery.cancel_scope.cancel()


async def test_stopped_pool_lets_everybody_go() -> None:
    """Whoever waits hears that it is closed; later calls are refused."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        refused = []

        async def wait(pool) -> None:
            try:
                await pool.change_keys("list")
            except PoolClosed as error:
                refused.append(str(error))

        async with trio.open_nursery() as inner:
            pool = pools.make("a", keyring=Keyring([OLD_KEY]))
            other = await pools.start("b", keyring=Keyring([OLD_KEY]))
            await inner.start(pool.run)
            await other.join([str(pool.address)])
            pools.network.is_cut = lambda source, destination: True
            nursery.start_soon(wait, pool)
            stream = pool.query(Question(name="who"))
            await trio.testing.wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
        assert [notice async for notice in stream] == []
        assert stream.finished is None
        stream.close()
        await trio.testing.wait_all_tasks_blocked()
        assert refused == ["the pool was stopped before this was done"]
        for ask in (lambda: pool.user_event("e", b""), lambda: pool.query(Question(name="q"))):
            with pytest.raises(PoolClosed, match="not running"):
                ask()
        with pytest.raises(PoolClosed, match="not running"):
            await pool.force_leave("b")
        nursery.cancel_scope.cancel()


class Records:
    """A snapshot in memory."""

    def __init__(self) -> None:
        self.data = b""

    def append_nowait(self, records: bytes, recorder: SnapshotRecorder) -> None:
        self.data += records
        # At every moment the whole file would say the same.
        assert replay_untrusted(recorder.whole()) == replay_untrusted(self.data)

    def remembered(self) -> Remembered:
        return replay_untrusted(self.data)


async def test_snapshot_brings_a_killed_pool_back() -> None:
    """Nothing but its records, and no join: alive again everywhere, with its clocks gone on."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a = await pools.start("a")
        records = Records()
        settings = {"bind": "127.0.0.99", "snapshot": records}
        async with trio.open_nursery() as doomed:
            b = pools.make("b", **settings)
            await doomed.start(b.run)
            await b.join([str(a.address)])
            b.user_event("deploy", b"")
            await until(lambda: statuses(a).get("b") == "alive")
            before = b.statistics().engine
            doomed.cancel_scope.cancel()
        remembered = records.remembered()
        assert set(remembered.members) == {"a", "b"}
        assert remembered.event_clock == before.event_time - 1
        assert remembered.clock == before.member_time - 1
        again = await pools.start("b", **settings, remembered=remembered)
        await until(lambda: statuses(again) == {"a": "alive", "b": "alive"}, 10)
        assert again.statistics().engine.event_time >= before.event_time
        nursery.cancel_scope.cancel()


async def test_snapshot_of_a_graceful_leave_ends_with_it() -> None:
    """The next life starts alone, with nothing but later clocks."""
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery)
        a = await pools.start("a")
        records = Records()
        b = await pools.start("b", snapshot=records)
        await b.join([str(a.address)])
        await b.leave()
        assert records.remembered().has_left
        assert records.remembered().members == {}
        lines = records.data.decode().splitlines()
        after = lines[lines.index("leave") + 1 :]
        assert after
        assert all(line.startswith("clock: ") for line in after)
        nursery.cancel_scope.cancel()
