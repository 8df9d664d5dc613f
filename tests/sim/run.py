"""`make sim`: many seeds of the simulated mesh, in several processes; exit 1 if an invariant broke."""

import argparse
import functools
import multiprocessing
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.sim.world import World


class Result(NamedTuple):
    """`failure`: what broke, or None."""

    seed: int
    hits: Counter[str]
    failure: str | None


def play(seed: int, *, nodes: int, seconds: float) -> Result:
    """One world from its start to its end."""
    world = World(seed, nodes=nodes, seconds=seconds)
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 -- a crash of the code under test is a finding like any other
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Result(
            seed, world.hits, f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        )
    return Result(seed, world.hits, None)


def main(argv: Sequence[str] | None = None) -> int:
    flags = _flags(argv)
    seeds = range(flags.seed, flags.seed + flags.seeds)
    one = functools.partial(play, nodes=flags.nodes, seconds=flags.seconds)
    hits, failed = Counter[str](), 0
    with multiprocessing.get_context("spawn").Pool(flags.processes) as pool:
        for done, result in enumerate(pool.imap_unordered(one, seeds), 1):
            hits += result.hits
            if result.failure is not None:
                failed += 1
                print(f"seed {result.seed} failed: {result.failure}")
                print(f"  again: make sim SEED={result.seed} SEEDS=1 NODES={flags.nodes}", flush=True)
            if done % 50 == 0:
                print(f"{done} of {len(seeds)} seeds, {failed} failed", flush=True)
    print("what happened: " + ", ".join(f"{name} {count:,}" for name, count in sorted(hits.items())))
    print(f"{len(seeds) - failed} of {len(seeds)} seeds hold all invariants")
    return 1 if failed else 0


def _flags(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated seconds of faults")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
