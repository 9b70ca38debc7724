"""Looking for those who are missing: failed members, reaped ones, and the pool itself."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.effects import OpenStream
from rookery.gossip.notices import PushPullFinished
from rookery.gossip.serf.engine import SerfEngine
from rookery.gossip.serf.healing import (
    ALONE_TARGETS,
    JITTER,
    LOST_MEMBERS_MAX,
    SEEDS_MAX,
    Healing,
)
from rookery.gossip.serf.members import MemberTable
from rookery.gossip.serf.messages import LeaveIntent
from rookery.gossip.serf.snapshot import Remembered
from rookery.gossip.swim.nodes import NodeState
from rookery.gossip.swim.outbox import Outbox
from rookery.gossip.swim.timers import TimerHeap
from rookery.gossip.wire.messages import Dead, PushPull
from rookery.gossip.wire.packets import PacketCodec
from rookery.gossip.wire.streams import StreamCodec

from ..benches import OWN, PORT, SerfBench, alive, at, record


def lonely(*names: str, **serf: object) -> SerfBench:
    """Return a bench with settings of Serf, whose peers are of these names and answer."""
    bench = SerfBench(push_pull_interval=1e6)
    settings = replace(bench.engine.settings, **serf)
    rng = random.Random(1)
    bench.engine = SerfEngine(settings, rng=rng, nonce=rng.randbytes)
    bench.engine.start(now=0.0)
    bench.know(*names)
    bench.answering |= set(names)
    bench.forget_output()
    return bench


def request(dial: OpenStream) -> PushPull:
    message = StreamCodec(nonce=bytes).request_reader().feed(dial.data)
    assert isinstance(message, PushPull)
    return message


def refuse(bench: SerfBench, dials: list[OpenStream]) -> None:
    for dial in dials:
        bench.engine.fail_stream(dial.stream, "connection refused", now=bench.now)


def dialled(bench: SerfBench, seconds: float) -> list[tuple[float, OpenStream]]:
    """Let time pass; return the dials, each refused at once."""
    dials = []
    end = bench.now + seconds
    while bench.now < end:
        bench.run_for(0.05)
        opened = bench.take_opened()
        dials += [(bench.now, dial) for dial in opened]
        refuse(bench, opened)
    return dials


def test_pool_in_which_nobody_is_missing_tries_nothing() -> None:
    """At rest there is no timer of ours."""
    bench = lonely("b", "c")
    assert dialled(bench, 200.0) == []
    assert bench.engine.statistics().reconnects_tried == 0


def test_failed_member_is_joined_about_every_thirty_seconds() -> None:
    """A push-pull join, whose end is not told to the owner; no more once it is back."""
    bench = lonely("b")
    bench.receive(alive("c", 3))
    bench.answering.add("c")
    bench.receive(Dead(1, "b", "c"))
    dials = [(time, dial) for time, dial in dialled(bench, 400.0) if dial.destination == at(2)]
    # One of two is alive besides us: each try happens with probability 1/2.
    assert 4 <= len(dials) <= 12
    assert all(request(dial).join for _, dial in dials)
    assert bench.take_notice(PushPullFinished) == []
    bench.receive(alive("b", 2, 2))
    assert dialled(bench, 200.0) == []


def test_answer_of_a_failed_member_brings_it_back() -> None:
    """It refutes by its own entry of a higher incarnation."""
    bench = lonely("b", "c")
    bench.receive(Dead(3, "b", "c"))
    dial = None
    while dial is None:
        bench.run_for(1.0)
        dial = next(iter(bench.take_opened()), None)
        assert bench.now < 600.0
    bench.answer(dial.stream, PushPull((record("b", 2, 4),), b"", True))
    assert bench.statuses["b"] == "alive"
    assert dialled(bench, 200.0) == []


def test_member_that_left_is_not_looked_for() -> None:
    """It meant to."""
    bench = lonely("b", "c")
    bench.hear(LeaveIntent(5, "b"))
    bench.receive(Dead(1, "b", "b"))
    assert dialled(bench, 200.0) == []


def test_reaped_member_is_looked_at_before_it_is_joined() -> None:
    """Its address may be somebody else's by now: only its own name, alive, is joined."""
    bench = lonely("b", "c", reconnect_timeout=60.0)
    bench.receive(Dead(1, "b", "c"))
    dialled(bench, 61.0)
    assert "b" not in bench.statuses
    assert bench.engine.statistics().lost_members == 1
    looks = 0
    while looks < 3:
        bench.run_for(0.5)
        assert bench.now < 900.0
        for dial in bench.take_opened():
            looks += 1
            assert request(dial) == PushPull((), b"", False), "it shows nothing of us"
            shown = {
                1: record("x", 2),
                2: record("b", 2, 9, NodeState.DEAD),
                3: record("b", 2, 9),
            }[looks]
            bench.answer(dial.stream, PushPull((shown,), b"", False))
    (joining,) = bench.take_opened()
    assert joining.destination == at(2)
    assert request(joining).join
    bench.answer(joining.stream, PushPull((record("b", 2, 9),), b"", True))
    assert bench.statuses["b"] == "alive"
    assert bench.engine.statistics().lost_members == 0


def test_agent_that_lost_everybody_tries_its_seeds_quickly_and_then_slower() -> None:
    """From about a second on, each time twice as long, up to the interval; three at once."""
    bench = lonely()
    for number in (2, 3, 4, 5):
        bench.engine.join(at(number), now=bench.now)
    refuse(bench, bench.take_opened())
    bench.receive(alive("b", 2))
    bench.receive(Dead(1, "b", "b"))
    rounds: dict[float, int] = {}
    for time, dial in dialled(bench, 200.0):
        rounds[time] = rounds.get(time, 0) + 1
        assert dial.destination in {at(n) for n in range(2, 6)}
    assert set(rounds.values()) == {ALONE_TARGETS}
    times = list(rounds)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] <= 1.0 * (1 + JITTER) + 0.1
    for gap, nominal in zip(gaps, [2.0, 4.0, 8.0, 16.0, 30.0, 30.0], strict=False):
        assert nominal * (1 - JITTER) - 0.1 <= gap <= nominal * (1 + JITTER) + 0.1


def test_remembered_members_are_looked_for_at_once() -> None:
    """After a restart with what a snapshot said; clocks go on from there."""
    remembered = Remembered(
        clock=41, event_clock=50, query_clock=60, members={"b": Address("10.0.0.2", PORT)}
    )
    bench = lonely(remembered=remembered)
    statistics = bench.engine.statistics()
    assert (statistics.member_time, statistics.event_time, statistics.query_time) == (42, 51, 61)
    bench.run_for(0.0)
    (dial,) = bench.take_opened()
    assert dial.destination == at(2)


def test_who_leaves_looks_for_nobody() -> None:
    """The pool is left alone."""
    bench = lonely("b", "c")
    bench.receive(Dead(1, "b", "c"))
    bench.engine.leave(now=bench.now)
    assert dialled(bench, 200.0) == []


def make_healing() -> Healing:
    return Healing(
        OWN,
        at(1),
        MemberTable(),
        TimerHeap(),
        Outbox(PacketCodec(nonce=bytes)),
        random.Random(1),
        30.0,
        lambda _target, _now: None,
        lambda _target, _now: None,
    )


def test_lost_members_and_seeds_have_limits_and_the_latest_are_kept() -> None:
    """At each limit all are kept, one more drops the oldest; a repeated one is the latest."""
    healing = make_healing()
    for number in range(LOST_MEMBERS_MAX):
        healing.remember_lost(f"n{number}", at(2, number + 1), now=0.0)
    healing.remember_lost("n0", at(2, 1), now=0.0)
    assert len(healing.lost_members()) == LOST_MEMBERS_MAX
    healing.remember_lost("one more", at(3), now=0.0)
    assert len(healing.lost_members()) == LOST_MEMBERS_MAX
    assert {"n0", "one more"} <= set(healing.lost_members())
    assert "n1" not in healing.lost_members()
    for number in range(SEEDS_MAX + 1):
        healing.remember_seed(at(2, number + 1))
    assert len(healing._seeds) == SEEDS_MAX
    assert at(2, 1) not in healing._seeds


@pytest.mark.parametrize(("name", "number"), [(OWN, 9), ("x", 1)])
def test_we_never_look_for_ourselves(name: str, number: int) -> None:
    """Neither our name nor our address is a target."""
    healing = make_healing()
    healing.remember_lost(name, at(number), now=0.0)
    assert healing.lost_members() == {}
    healing.remember_seed(at(1))
    assert len(healing._seeds) == 0
