"""`make sim`: many seeds of the simulated mesh, in several processes; exit 1 if an invariant broke, or if a fault or
a rare path was never met."""

import argparse
import functools
import multiprocessing
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from typing import NamedTuple

from node.tuning import freeze_loaded, tune_interpreter
from tests.sim import coverage
from tests.sim.world import World


class Result(NamedTuple):
    """`failure`: what broke, or None. `seconds`: simulated. `digest`: of the event log, if it was kept."""

    seed: int
    hits: Counter[str]
    failure: str | None
    seconds: float
    digest: str


def play(
    seed: int, *, nodes: int | None = None, seconds: float = 60.0, counted: bool = True, logged: bool = False
) -> Result:
    """One world from its start to its end."""
    world = World(seed, nodes=nodes, seconds=seconds, counted=counted, logged=logged)
    failure = None
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 -- a crash of the code under test is a finding like any other
        where = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
    return Result(seed, world.hits, failure, world.clock.now, world.network.digest() if logged else "")


WORLDS = 10
"""That a process plays. To free a world, full of cycles, takes a twentieth of its time; who ends need not."""


def cheap_processes() -> ForkServerContext:
    """What starts them: they are forked off one that has loaded the code, and end without freeing anything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.sim.world"])
    return context


def tune() -> None:
    """As a node is."""
    tune_interpreter()
    freeze_loaded()


def main(argv: Sequence[str] | None = None) -> int:
    flags = _flags(argv)
    seeds = range(flags.seed, flags.seed + flags.seeds)
    one = functools.partial(play, nodes=flags.nodes or None, seconds=flags.seconds, logged=flags.seeds == 1)
    hits, met, failed, simulated = Counter[str](), Counter[str](), 0, 0.0
    with cheap_processes().Pool(flags.processes, tune, maxtasksperchild=WORLDS) as pool:
        for done, result in enumerate(pool.imap_unordered(one, seeds), 1):
            hits += result.hits
            met += Counter(dict.fromkeys(+result.hits, 1))
            simulated += result.seconds
            if result.failure is not None:
                failed += 1
                print(f"seed {result.seed} failed: {result.failure}")
                print(f"  again: {_again(result.seed, flags)}", flush=True)
            elif flags.seeds == 1:
                print(f"seed {result.seed}: event log {result.digest}")
            if done % 50 == 0:
                print(f"{done} of {len(seeds)} seeds, {failed} failed", flush=True)
    _report(hits, met, len(seeds))
    never = coverage.missing(hits) if len(seeds) >= coverage.ENOUGH else []
    if never:
        print(f"never met: {', '.join(never)}")
    print(
        f"{len(seeds) - failed} of {len(seeds)} seeds hold all invariants; {simulated / 3600:.1f} simulated hours"
    )
    return 1 if failed or never else 0


def _again(seed: int, flags: argparse.Namespace) -> str:
    nodes = f" NODES={flags.nodes}" if flags.nodes else ""
    return f"make sim SEED={seed} SEEDS=1{nodes} SECONDS={flags.seconds:g}"


def _report(hits: Counter[str], met: Counter[str], seeds: int) -> None:
    print(f"{'fault or path':<52}{'times':>10}{'seeds':>8}")
    for name in sorted(hits):
        print(f"{name:<52}{hits[name]:>10,}{met[name] / seeds:>8.0%}")


def _flags(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--nodes", type=int, default=0, help="0: 5 to 7, by the seed")
    parser.add_argument("--seconds", type=float, default=600.0, help="simulated seconds of faults")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
