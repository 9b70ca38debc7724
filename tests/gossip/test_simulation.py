"""Clusters in virtual time: one seed, one run; joins, crashes, loss, partitions, conflicts.

A failure names its seed: `Simulation(seed=…)` with the steps of the test is the whole replay.
"""

from __future__ import annotations

import functools
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.notices import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    NameConflict,
    Notice,
    PushPullFinished,
    UserEventReceived,
)
from rookery.gossip.serf.members import MemberStatus
from rookery.gossip.simulation import Network, Simulation

from .harm import check_packet, check_table

ALIVE, FAILED, LEFT = MemberStatus.ALIVE, MemberStatus.FAILED, MemberStatus.LEFT


class Observed:
    """What all nodes told, by kind."""

    def __init__(self, simulation: Simulation) -> None:
        self.told: list[tuple[float, str, Notice]] = []
        simulation.observers.append(lambda *what: self.told.append(what))

    def of(self, kind: type[Any]) -> list[tuple[str, str]]:
        """Return teller and member of all notices of a kind."""
        return [(node, n.member.name) for _, node, n in self.told if isinstance(n, kind)]

    def clear(self) -> None:
        self.told.clear()


def pool(
    size: int, *, seed: int = 1, network: Network | None = None, **swim: Any
) -> tuple[Simulation, list[str]]:
    """Return a pool that has found itself, and its names."""
    simulation = Simulation(seed=seed, network=network, swim={"compression": False, **swim})
    names = [f"n{number:02}" for number in range(size)]
    for name in names:
        simulation.add(name)
    simulation.join_all(through=names[0])
    converges(simulation, limit=120.0)
    return simulation, names


def converges(
    simulation: Simulation, expected: Mapping[str, MemberStatus] | None = None, *, limit: float
) -> float:
    """Run until all agree; return how long it took."""
    start = simulation.now
    is_agreed = simulation.run_until(lambda: simulation.is_converged(expected), limit=limit)
    assert is_agreed, (
        f"seed {simulation.seed}: no agreement after {limit} s:"
        f" {[(node.name, simulation.statuses(node.name)) for node in simulation.running()]}"
    )
    return simulation.now - start


def everybody(names: list[str], **others: MemberStatus) -> dict[str, MemberStatus]:
    return {name: others.get(name, ALIVE) for name in names}


# --- the same run twice -----------------------------------------------------------------


def eventful_run(seed: int) -> str:
    """Run something of everything; return the trace's digest."""
    network = Network(loss=0.05, duplication=0.05, reordering=0.1)
    simulation = Simulation(seed=seed, network=network, profile="local")
    for number in range(8):
        simulation.add(f"n{number}", tags={"role": f"r{number}"})
    simulation.join_all(through="n0")
    simulation.run_for(3.0)
    simulation.crash("n3")
    simulation.leave("n4")
    simulation.call("n5", lambda engine, now: engine.set_tags({"role": "new"}, now=now))
    simulation.run_for(12.0)
    simulation.partition(["n0", "n1"], ["n2", "n5", "n6", "n7"])
    simulation.start("n3")
    simulation.run_for(12.0)
    simulation.heal()
    simulation.join("n3", "n0")
    simulation.run_for(20.0)
    return simulation.trace_digest()


@pytest.mark.slow
def test_one_seed_gives_one_run_and_another_seed_another() -> None:
    """Everything random comes from the seed: the same trace each time, and no fixed trace."""
    first = eventful_run(7)
    assert eventful_run(7) == first
    assert eventful_run(8) != first


@pytest.mark.slow
def test_run_is_the_same_in_another_process() -> None:
    """Nothing depends on the order of a set, which differs from process to process."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from tests.gossip.test_simulation import eventful_run; print(eventful_run(7))"
    )
    root = str(Path(__file__).parents[2])
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, root],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


# --- joining, failing, leaving ----------------------------------------------------------


@pytest.mark.slow
def test_hundred_engines_join_through_one_and_agree_on_who_is_killed() -> None:
    """All 100 list 100 alive; after three are killed all others list exactly these as failed."""
    simulation = Simulation(seed=3)
    names = [f"node-{number:03}" for number in range(100)]
    for name in names:
        simulation.add(name)
    simulation.join_all(through=names[0])
    assert simulation.run_until(simulation.is_converged, limit=15.0, check_interval=0.5)
    observed = Observed(simulation)
    killed = {names[7], names[42], names[77]}
    for name in killed:
        simulation.crash(name)
    expected = {name: FAILED if name in killed else ALIVE for name in names}
    assert simulation.run_until(
        lambda: simulation.is_converged(expected), limit=60.0, check_interval=0.5
    )
    assert {member for _, member in observed.of(MemberFailed)} == killed
    assert observed.of(MemberLeft) == []


def test_pool_of_six_agrees_within_five_seconds_of_joining() -> None:
    """Whoever is the seed, for many runs."""
    for seed in range(10):
        simulation = Simulation(seed=seed)
        names = [f"n{number}" for number in range(6)]
        for name in names:
            simulation.add(name, tags={"role": name})
        simulation.join_all(through=names[seed % 6])
        assert converges(simulation, limit=5.0) <= 5.0
        for node in simulation.running():
            for member in node.running.members():
                assert member.tags == {"role": member.name}


def test_graceful_leave_is_left_everywhere_and_never_failed() -> None:
    """One after the other, until one is left over."""
    for seed in range(3):
        simulation, names = pool(5, seed=seed)
        observed = Observed(simulation)
        expected = everybody(names)
        for name in names[1:]:
            simulation.leave(name)
            expected[name] = LEFT
            staying = [other for other in names if expected[other] is ALIVE]
            is_seen = functools.partial(simulation.is_converged, expected, staying)
            assert simulation.run_until(is_seen, limit=30.0), f"seed {seed}, {name}"
            simulation.run_for(5.0)
            simulation.crash(name)
        simulation.run_for(60.0)
        assert observed.of(MemberFailed) == []
        assert simulation.statuses(names[0]) == expected


def test_two_that_leave_at_once_are_both_left() -> None:
    """Their words cross."""
    simulation, names = pool(6, seed=2)
    observed = Observed(simulation)
    simulation.leave("n01")
    simulation.leave("n02")
    simulation.run_for(10.0)
    for name in ("n01", "n02"):
        simulation.crash(name)
    converges(simulation, everybody(names, n01=LEFT, n02=LEFT), limit=30.0)
    assert observed.of(MemberFailed) == []


@pytest.mark.parametrize("seed", range(4))
def test_killed_node_is_failed_everywhere_in_the_time_the_formulas_say(seed: int) -> None:
    """Probe, suspicion of at most 24 s (4 s with confirmations), gossip: no false accusation."""
    simulation, names = pool(4, seed=seed)
    simulation.run_for(3.0)
    observed = Observed(simulation)
    simulation.crash("n02")
    took = converges(simulation, everybody(names, n02=FAILED), limit=60.0)
    assert 4.0 <= took <= 1.0 + 3.0 + 24.0 + 2.0
    assert {member for _, member in observed.of(MemberFailed)} == {"n02"}


@pytest.mark.parametrize("seed", range(4))
def test_killed_and_restarted_node_is_alive_everywhere_within_10_seconds(seed: int) -> None:
    """Under its old name and address, noticed by the others or not; no conflict is left."""
    for pause in (0.5, 8.0, 45.0):
        simulation, names = pool(5, seed=seed)
        observed = Observed(simulation)
        simulation.crash("n02")
        simulation.run_for(pause)
        simulation.start("n02")
        simulation.join("n02", "n00")
        took = converges(simulation, limit=10.0)
        assert took <= 10.0
        simulation.run_for(40.0)
        assert simulation.is_converged(everybody(names)), f"seed {seed}, pause {pause}"
        assert not [n for _, _, n in observed.told if isinstance(n, NameConflict)]


def test_node_that_left_may_come_back_elsewhere() -> None:
    """Its name is free: another address, incarnation 1."""
    simulation, names = pool(4, seed=3)
    simulation.leave("n02")
    simulation.run_for(5.0)
    simulation.crash("n02")
    simulation.add_as("n02-again", "n02", port=7000)
    simulation.join("n02-again", "n00")
    converges(simulation, everybody(names), limit=10.0)
    member = next(m for m in simulation.nodes["n03"].running.members() if m.name == "n02")
    assert member.port == 7000


def test_events_reach_everybody_once() -> None:
    """One user event, each member hears it exactly once."""
    simulation, names = pool(12, seed=5)
    observed = Observed(simulation)
    simulation.call("n04", lambda e, now: e.user_event("deploy", b"1", coalesce=False, now=now))
    simulation.run_for(5.0)
    heard = [node for _, node, n in observed.told if isinstance(n, UserEventReceived)]
    assert sorted(heard) == names


# --- bad networks -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_loss_duplication_and_reordering_kill_nobody(seed: int) -> None:
    """A fifth of all packets lost, doubled and held back: for two minutes nobody is failed."""
    network = Network(loss=0.2, duplication=0.2, reordering=0.2, delay_max=0.02)
    simulation, names = pool(12, seed=seed, network=network)
    observed = Observed(simulation)
    simulation.run_for(120.0)
    assert observed.of(MemberFailed) == [], f"seed {seed}"
    assert simulation.packets_lost > simulation.packets_sent * 0.15
    simulation.crash("n03")
    converges(simulation, everybody(names, n03=FAILED), limit=90.0)
    assert {member for _, member in observed.of(MemberFailed)} == {"n03"}


@pytest.mark.parametrize("seed", range(3))
def test_partition_fails_the_other_side_and_healing_brings_it_back(seed: int) -> None:
    """Each side lists the other as failed; afterwards all are alive without anybody's help."""
    simulation, names = pool(6, seed=seed)
    left, right = names[:3], names[3:]
    simulation.partition(left, right)
    for side, other in ((left, right), (right, left)):
        expected = everybody(names, **dict.fromkeys(other, FAILED))
        assert simulation.run_until(
            lambda side=side, expected=expected: simulation.is_converged(expected, side),
            limit=90.0,
        )
    simulation.heal()
    converges(simulation, limit=150.0)


def test_crash_in_a_partition_is_told_apart_after_it() -> None:
    """Who died on the other side stays failed; the others come back."""
    simulation, names = pool(6, seed=4)
    simulation.partition(names[:3], names[3:])
    simulation.run_for(10.0)
    simulation.crash("n04")
    simulation.run_for(60.0)
    simulation.heal()
    converges(simulation, everybody(names, n04=FAILED), limit=200.0)


def test_lost_packets_do_not_lose_a_leave() -> None:
    """With a tenth of all packets lost the intent still comes before the death."""
    for seed in range(4):
        simulation, names = pool(6, seed=seed, network=Network(loss=0.1))
        simulation.leave("n02")
        simulation.run_for(12.0)
        simulation.crash("n02")
        converges(simulation, everybody(names, n02=LEFT), limit=60.0)


# --- names ------------------------------------------------------------------------------


def conflicts(observed: Observed) -> set[tuple[str, str]]:
    return {(node, n.name) for _, node, n in observed.told if isinstance(n, NameConflict)}


def test_two_nodes_of_one_name_are_reported_on_both_and_not_merged() -> None:
    """Each keeps itself; the pool keeps the first."""
    simulation, names = pool(4, seed=1)
    observed = Observed(simulation)
    simulation.add_as("twin", "n02")
    simulation.join("twin", "n02")
    simulation.run_for(20.0)
    assert {("twin", "n02"), ("n02", "n02")} <= conflicts(observed)
    assert simulation.statuses("n02") == everybody(names)
    for key in ("n00", "n02"):
        member = next(m for m in simulation.nodes[key].running.members() if m.name == "n02")
        assert member.address == simulation.nodes["n02"].settings.swim.address
    assert (
        simulation.nodes["twin"].running.local_member().address
        == simulation.nodes["twin"].settings.swim.address
    )


@pytest.mark.parametrize("pause", [0.5, 10.0, 60.0])
def test_name_under_another_port_is_refused_while_the_old_node_is_remembered(pause: float) -> None:
    """Alive, suspect or failed, as Serf does by default."""
    simulation, _ = pool(4, seed=2, gossip_to_the_dead_time=1000.0)
    simulation.crash("n02")
    simulation.run_for(pause)
    observed = Observed(simulation)
    simulation.add_as("moved", "n02", port=7000)
    simulation.join("moved", "n00")
    simulation.run_for(60.0)
    assert ("n00", "n02") in conflicts(observed)
    assert simulation.statuses("n00")["n02"] is FAILED
    assert not [n for n in observed.of(MemberJoined) if n[1] == "n02" and n[0] != "moved"]


@pytest.mark.parametrize("reclaim_time", [10.0, 20.0])
def test_with_a_reclaim_time_the_name_is_taken_back_once_it_has_passed(reclaim_time: float) -> None:
    """Not before; then by the whole pool, at its new port."""
    simulation, names = pool(
        4, seed=2, gossip_to_the_dead_time=1000.0, dead_node_reclaim_time=reclaim_time
    )
    simulation.crash("n02")
    failed = everybody(names, n02=FAILED)
    assert simulation.run_until(lambda: simulation.is_converged(failed), limit=60.0)
    failed_at = simulation.now
    simulation.add_as("moved", "n02", port=7000)
    simulation.join("moved", "n00")
    assert simulation.run_until(
        lambda: simulation.is_converged(everybody(names)), limit=reclaim_time + 15.0
    )
    assert simulation.now >= failed_at + reclaim_time - 3.0
    for key in ("n00", "n01", "n03"):
        member = next(m for m in simulation.nodes[key].running.members() if m.name == "n02")
        assert member.port == 7000


# --- nothing harmful, nothing idle ------------------------------------------------------


def test_no_packet_of_a_whole_life_could_harm_a_go_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joins, tags, events, failures, leaves, conflicts: every packet is looked at."""
    seen = 0
    send = Simulation._send

    def check(self: Simulation, source: Any, packet: Any) -> None:
        nonlocal seen
        seen += 1
        check_packet(packet.data)
        send(self, source, packet)

    monkeypatch.setattr(Simulation, "_send", check)
    simulation, names = pool(6, seed=9, network=Network(loss=0.1))
    observed = Observed(simulation)
    for number, name in enumerate(names):
        tags = {"role": name, "x": "y" * 80 * number}
        simulation.call(name, lambda engine, now, tags=tags: engine.set_tags(tags, now=now))
        simulation.call(
            name, lambda e, now: e.user_event("deploy", b"x" * 300, coalesce=True, now=now)
        )
    simulation.add_as("twin", "n01")
    simulation.join("twin", "n01")
    simulation.run_for(10.0)
    simulation.crash("n03")
    simulation.leave("n04")
    simulation.run_for(60.0)
    assert seen > 1000
    assert [n for _, _, n in observed.told if isinstance(n, PushPullFinished)]
    for node in simulation.running():
        check_table(node.running._swim.table)


def test_pool_at_rest_does_nothing_but_probe() -> None:
    """Per node and second one ping and one ack; nothing else is sent, no gossip tick happens."""
    simulation, _ = pool(5, seed=6)
    simulation.run_for(30.0)
    ticks = [node.running.statistics().swim.gossip_ticks for node in simulation.running()]
    packets, events = simulation.packets_sent, simulation.events_run
    simulation.run_for(100.0)
    assert simulation.packets_sent - packets == pytest.approx(2 * 5 * 100, rel=0.03)
    assert [n.running.statistics().swim.gossip_ticks for n in simulation.running()] == ticks
    # For each probe two wake-ups (to ping, and at the time-out that the ack has made stale) and two
    # arrivals; then the few push-pulls of 100 s.
    assert simulation.events_run - events < 5 * 100 * 4 * 1.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_chaos_breaks_no_invariant_and_ends_in_agreement(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random crashes, restarts, leaves, tags, partitions and loss; looked at after every event."""
    incarnations: dict[tuple[str, int], int] = {}
    flush = Simulation._flush

    def check(self: Simulation, node: Any) -> None:
        flush(self, node)
        if node.engine is None:
            return
        own = node.engine._swim.membership.own_node
        key = (node.name, node.life)
        assert own.incarnation >= incarnations.get(key, 1), f"seed {seed}, {key}"
        incarnations[key] = own.incarnation
        local = node.engine.local_member()
        state = node.engine.state.value
        allowed = {"alive": {"alive"}, "leaving": {"leaving", "left"}, "left": {"left"}}
        assert str(local.status) in allowed[state], f"seed {seed}, {node.name} at {self.now}"
        assert local.address == node.settings.swim.address
        assert own.is_gone == (str(local.status) == "left")

    monkeypatch.setattr(Simulation, "_flush", check)
    simulation, names = pool(8, seed=seed, network=Network(loss=0.1, reordering=0.1))
    rng = random.Random(seed)
    left: set[str] = set()
    for _ in range(60):
        simulation.run_for(rng.random() * 3.0)
        name = rng.choice(names[1:])
        is_up = simulation.nodes[name].engine is not None
        what = rng.choice(["crash", "leave", "tags", "partition", "heal", "restart", "restart"])
        if what == "crash" and is_up:
            simulation.crash(name)
        elif what == "leave" and is_up:
            simulation.leave(name)
            left.add(name)
        elif what == "tags" and is_up:
            simulation.call(name, lambda engine, now: engine.set_tags({"t": str(now)}, now=now))
        elif what == "partition":
            half = rng.sample(names, len(names) // 2)
            simulation.partition(half, [name for name in names if name not in half])
        elif what == "heal":
            simulation.heal()
        elif what == "restart" and (not is_up or name in left):
            if is_up:
                simulation.crash(name)
            left.discard(name)
            simulation.start(name)
            simulation.join(name, names[0])
    simulation.heal()
    for name in names:
        if name in left and simulation.nodes[name].engine is not None:
            simulation.run_for(15.0)
            simulation.crash(name)
            left.discard(name)
        if simulation.nodes[name].engine is None:
            simulation.start(name)
            simulation.join(name, names[0])
        elif simulation.statuses(name) == {name: ALIVE}:
            simulation.join(name, names[0])  # its first join fell into a partition
    converges(simulation, everybody(names), limit=300.0)


# --- the simulation itself --------------------------------------------------------------


def test_join_through_a_dead_node_fails_in_gos_words_and_announces_nothing() -> None:
    """The engine hears of a refused connection."""
    simulation = Simulation(seed=1)
    simulation.add("a")
    simulation.add("b")
    simulation.crash("b")
    observed = Observed(simulation)
    simulation.join("a", "b")
    simulation.run_for(1.0)
    (finished,) = [n for _, _, n in observed.told if isinstance(n, PushPullFinished)]
    assert finished.error == "dial tcp 10.0.0.2:7946: connect: connection refused"
    assert simulation.nodes["a"].running.statistics().member_time == 1


def test_join_into_a_partition_times_out() -> None:
    """Nothing answers at all: the engine's own time limit ends it."""
    simulation = Simulation(seed=1)
    simulation.add("a")
    simulation.add("b")
    simulation.partition(["a"], ["b"])
    observed = Observed(simulation)
    simulation.join("a", "b")
    simulation.run_for(11.0)
    (finished,) = [n for _, _, n in observed.told if isinstance(n, PushPullFinished)]
    assert finished.error == "dial tcp 10.0.0.2:7946: i/o timeout"


def test_ipv6_nodes_find_each_other() -> None:
    """Sixteen raw bytes are an address too."""
    simulation = Simulation(seed=1)
    for last in (1, 2, 3):
        simulation.add(f"n{last}", address=bytes(15) + bytes((last,)))
    assert simulation.nodes["n1"].address == Address("::1", 7946)
    simulation.join_all(through="n1")
    converges(simulation, limit=10.0)


def test_names_and_addresses_are_used_once() -> None:
    """Mistakes of an experiment are told."""
    simulation = Simulation(seed=1)
    simulation.add("a")
    with pytest.raises(ValueError, match="exists already"):
        simulation.add("a")
    with pytest.raises(RuntimeError, match="is running"):
        simulation.start("a")
    with pytest.raises(RuntimeError, match="a is running at"):
        simulation.add("b", address=bytes((10, 0, 0, 1)))
    simulation.crash("a")
    with pytest.raises(RuntimeError, match="is down"):
        simulation.statuses("a")
