"""Run a large pool in virtual time, twice, and check what its members believe.

    python tests/bench/simulate_large_pool.py [--nodes 1000] [--kill 10] [--seed 1] [--runs 2]

All nodes join through one seed node. When all list all alive, some are killed; when all others
list exactly these as failed, the run is over. Two runs of one seed must give the same trace of
notices. Prints virtual and real times; exits with 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import gc
import multiprocessing
import resource
import sys
import time

from rookery.gossip.serf.members import MemberStatus
from rookery.gossip.simulation import Network, Simulation


def run_once(run: int, nodes: int, kill: int, seed: int, limit: float) -> tuple[str, bool]:
    """Run one experiment; return the trace's digest and whether everything was as it should be."""
    gc.disable()  # engines make millions of small values and no garbage cycles worth looking for
    started = time.perf_counter()
    # Compression is pure Python and costs ten times the protocol; it changes no decision.
    simulation = Simulation(seed=seed, network=Network(), swim={"compression": False})
    names = [f"node-{number:04}" for number in range(nodes)]
    for name in names:
        simulation.add(name)
    simulation.join_all(through=names[0])
    is_joined = simulation.run_until(simulation.is_converged, limit=limit, check_interval=0.5)
    print(
        f"run {run}: all {nodes} list {nodes} alive: {is_joined},"
        f" at {simulation.now:.1f} s virtual, {time.perf_counter() - started:.1f} s real",
        flush=True,
    )
    doomed = names[7 :: max(nodes // kill, 1)][:kill]
    for name in doomed:
        simulation.crash(name)
    killed_at = simulation.now
    expected = {
        name: MemberStatus.FAILED if name in doomed else MemberStatus.ALIVE for name in names
    }
    is_detected = simulation.run_until(
        lambda: simulation.is_converged(expected), limit=limit, check_interval=0.5
    )
    elapsed = time.perf_counter() - started
    print(
        f"run {run}: the {nodes - kill} others list exactly these {kill} failed: {is_detected},"
        f" {simulation.now - killed_at:.1f} s virtual after the kill, {elapsed:.1f} s real",
        flush=True,
    )
    print(
        f"run {run}: {simulation.packets_sent} packets,"
        f" {simulation.packets_sent / elapsed:.0f} a real second,"
        f" {simulation.events_run} steps,"
        f" peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB",
        flush=True,
    )
    digest = simulation.trace_digest()
    print(f"run {run}: trace {digest}")
    return digest, is_joined and is_detected


def main() -> int:
    """Run the experiment as often as asked and compare the traces."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--kill", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300.0, help="virtual seconds for each part")
    arguments = parser.parse_args()
    experiment = (arguments.nodes, arguments.kill, arguments.seed, arguments.limit)
    # Processes of their own: the runs share nothing that could make them alike, not even hash
    # seeds.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.runs, mp_context=context) as executor:
        outcomes = [
            future.result()
            for future in [
                executor.submit(run_once, run + 1, *experiment) for run in range(arguments.runs)
            ]
        ]
    is_same = len({digest for digest, _ in outcomes}) == 1
    print(f"same trace in all runs: {is_same}")
    return 0 if is_same and all(is_right for _, is_right in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
