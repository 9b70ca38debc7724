"""Experiments on healing: pools broken in virtual time, for the tests and for a long run.

Each function runs one experiment with one seed and raises AssertionError, naming the seed and what
was wrong, when the pool is not what it should be. `python tests/gossip/healing_experiments.py
[--seeds 20] [--nodes 50]` runs all of them with many seeds, on all cores.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys
import time
from collections import Counter
from collections.abc import Callable

from rookery.gossip.serf.members import MemberStatus
from rookery.gossip.simulation import Network, Simulation

PARTITION_TIME = 600.0
HEALING_TIME_MAX = 90.0
RESTART_TIME_MAX = 60.0
LOSS_TIME = 600.0
JOIN_TIME_MAX = 60.0


def pool(
    seed: int, nodes: int, *, loss: float = 0.0, reap_after: float | None = None
) -> Simulation:
    """Return a pool in which everybody knows everybody."""
    serf = {} if reap_after is None else {"reconnect_timeout": reap_after}
    simulation = Simulation(seed=seed, network=Network(), swim={"compression": False}, serf=serf)
    names = [f"n{number:02}" for number in range(nodes)]
    for name in names:
        simulation.add(name)
    simulation.join_all(through=names[0])
    assert simulation.run_until(simulation.is_converged, limit=JOIN_TIME_MAX), (
        f"seed {seed}: no pool"
    )
    simulation.network.loss = loss
    return simulation


def heals(seed: int, nodes: int, groups: list[int], reap_after: float | None) -> float:
    """Break a pool into groups of these sizes for ten minutes; return how long healing took."""
    simulation = pool(seed, nodes, reap_after=reap_after)
    names = list(simulation.nodes)
    parts, start = [], 0
    for size in groups:
        parts.append(names[start : start + size])
        start += size
    simulation.partition(*parts)
    simulation.run_for(PARTITION_TIME)
    for part in parts:
        for name in part:
            others = {n: s for n, s in simulation.statuses(name).items() if n not in part}
            if reap_after is None:
                assert set(others.values()) == {MemberStatus.FAILED}, (
                    f"seed {seed}: {name} {others}"
                )
            else:
                assert not others, f"seed {seed}: {name} has not reaped {others}"
    simulation.heal()
    healed_at = simulation.now
    is_healed = simulation.run_until(simulation.is_converged, limit=HEALING_TIME_MAX)
    seconds = simulation.now - healed_at
    assert is_healed, f"seed {seed}, groups {groups}, reaped {reap_after}: {misfits(simulation)}"
    return seconds


def halves(seed: int, nodes: int) -> float:
    """Two halves."""
    return heals(seed, nodes, [nodes // 2, nodes - nodes // 2], None)


def thirds(seed: int, nodes: int) -> float:
    """Three thirds."""
    third = nodes // 3
    return heals(seed, nodes, [third, third, nodes - 2 * third], None)


def one_alone(seed: int, nodes: int) -> float:
    """One against all others."""
    return heals(seed, nodes, [1, nodes - 1], None)


def halves_reaped(seed: int, nodes: int) -> float:
    """Two halves that have erased each other."""
    return heals(seed, nodes, [nodes // 2, nodes - nodes // 2], 60.0)


def thirds_reaped(seed: int, nodes: int) -> float:
    """Three thirds that have erased each other."""
    third = nodes // 3
    return heals(seed, nodes, [third, third, nodes - 2 * third], 60.0)


def one_alone_reaped(seed: int, nodes: int) -> float:
    """One that has erased all others, and they it."""
    return heals(seed, nodes, [1, nodes - 1], 60.0)


def restarts(seed: int, nodes: int) -> float:
    """Stop all and start all again from their snapshots within five seconds; return the time."""
    simulation = pool(seed, nodes)
    names = list(simulation.nodes)
    for number, name in enumerate(names):
        at = simulation.now + 2.5 * number / nodes
        simulation.at(at, lambda name=name: simulation.crash(name))  # type: ignore[misc]
        simulation.at(
            at + 2.5,
            lambda name=name: simulation.start(name, is_remembering=True),  # type: ignore[misc]
        )
    simulation.run_for(5.0)
    started = simulation.now
    is_whole = simulation.run_until(simulation.is_converged, limit=RESTART_TIME_MAX)
    assert is_whole, f"seed {seed}: after the restart {misfits(simulation)}"
    return simulation.now - started


def endures_loss(seed: int, nodes: int) -> float:
    """Lose 30 % of all packets for ten minutes; return the largest share of wrong lists."""
    simulation = pool(seed, nodes, loss=0.3)
    worst = 0.0
    end = simulation.now + LOSS_TIME
    while simulation.now < end:
        simulation.run_for(1.0)
        failed = Counter(
            member.name
            for node in simulation.running()
            for member in node.running.members()
            if member.status is MemberStatus.FAILED
        )
        if failed:
            name, count = failed.most_common(1)[0]
            worst = max(worst, count / nodes)
            assert count <= nodes / 2, (
                f"seed {seed}: {count} of {nodes} list {name} failed at {simulation.now:.0f} s"
            )
    return worst


def misfits(simulation: Simulation) -> Counter[str]:
    """Count what is not as it should be, for the message of a failure."""
    found: Counter[str] = Counter()
    expected = {node.name for node in simulation.running()}
    for node in simulation.running():
        statuses = simulation.statuses(node.name)
        for name in expected:
            status = statuses.get(name)
            if status is not MemberStatus.ALIVE:
                found[f"{name} is {status} for"] += 1
    return Counter(dict(found.most_common(5)))


EXPERIMENTS: dict[str, Callable[[int, int], float]] = {
    experiment.__name__: experiment
    for experiment in (
        halves,
        thirds,
        one_alone,
        halves_reaped,
        thirds_reaped,
        one_alone_reaped,
        restarts,
        endures_loss,
    )
}


def attempt(name: str, seed: int, nodes: int) -> tuple[str, int, float, str]:
    """Run one experiment in another process; return what came of it."""
    try:
        return name, seed, EXPERIMENTS[name](seed, nodes), ""
    except AssertionError as error:
        return name, seed, 0.0, str(error)


def main() -> int:
    """Run all experiments with many seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--only", choices=EXPERIMENTS, action="append")
    arguments = parser.parse_args()
    names = arguments.only or list(EXPERIMENTS)
    results: dict[str, list[float]] = {name: [] for name in names}
    problems = 0
    started = time.perf_counter()
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as executor:
        futures = [
            executor.submit(attempt, name, seed, arguments.nodes)
            for name in names
            for seed in range(arguments.seeds)
        ]
        for future in concurrent.futures.as_completed(futures):
            name, seed, figure, problem = future.result()
            if problem:
                problems += 1
                print(f"{name}: {problem}", flush=True)
                print(f"  replay: python {sys.argv[0]} --only {name} (seed {seed})", flush=True)
            else:
                results[name].append(figure)
    for name, figures in results.items():
        if figures:
            ordered = sorted(figures)
            print(
                f"{name:>18}: {len(figures)} of {arguments.seeds} runs as they should be;"
                f" median {ordered[len(ordered) // 2]:.2f}, worst {ordered[-1]:.2f}"
            )
    print(f"{problems} problems, {time.perf_counter() - started:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
