"""`make sim-mutants`: plant each bug of the catalogue and run seeds until a checker finds it; exit 1 if too few are."""

import argparse
import re
import sys
from collections.abc import Iterable, MutableMapping, Sequence
from typing import NamedTuple

from tests.sim.mutants import CATALOGUE
from tests.sim.patching import changed
from tests.sim.run import cheap_processes, play, tune

ROUNDS = (4, 16, 100, 500)
"""All mutants get so many seeds before any gets more."""
WANTED = 28 / 30
"""The share of the mutants that must be found."""


class Find(NamedTuple):
    """`seed`: of the world that failed; `checker`: the invariant's name, or the error."""

    mutant: str
    seed: int
    checker: str
    text: str


_found: MutableMapping[str, int] = {}
"""mutant -> smallest seed that found it, over all processes."""


def hunt(mutant: str, seeds: Iterable[int], *, seconds: float = 60.0) -> Find | None:
    """The first of these seeds that finds the mutant."""
    with changed(*CATALOGUE[mutant].change()):
        for seed in seeds:
            if _found.get(mutant, seed) < seed:
                return None
            failure = play(seed, seconds=seconds).failure
            if failure is not None:
                _found[mutant] = seed
                return Find(mutant, seed, checker_of(failure), failure)
    return None


def checker_of(failure: str) -> str:
    """The name of the invariant in the failure's text; of another error, its type."""
    named = re.match(r"AssertionError: (I\d+)", failure)
    return named[1] if named else failure.partition(":")[0]


def _start(found: MutableMapping[str, int]) -> None:
    global _found  # noqa: PLW0603 -- what the processes of a pool share is given to each when it starts
    _found = found
    tune()


def _hunt(work: tuple[str, range]) -> Find | None:
    return hunt(*work)


def hunt_all(names: Sequence[str], *, cap: int, processes: int) -> dict[str, Find]:
    """Mutants by name with the find of the smallest seed, round by round."""
    finds: dict[str, Find] = {}
    context = cheap_processes()
    with (
        context.Manager() as manager,
        context.Pool(processes, _start, (manager.dict(),), maxtasksperchild=2) as pool,
    ):
        begin = 1
        for end in [*(sum(ROUNDS[: i + 1]) for i in range(len(ROUNDS))), cap]:
            last = min(end, cap)
            left = [name for name in names if name not in finds]
            chunks = [(n, range(s, min(s + 4, last + 1))) for s in range(begin, last + 1, 4) for n in left]
            for find in pool.imap_unordered(_hunt, chunks):
                if find is not None and (find.mutant not in finds or find.seed < finds[find.mutant].seed):
                    finds[find.mutant] = find
                    print(f"  {find.mutant}: seed {find.seed}: {find.text[:150]}", flush=True)
            begin = max(begin, last + 1)
    return finds


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutation", description=__doc__)
    parser.add_argument("--cap", type=int, default=2000, help="seeds for each mutant at most")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("names", nargs="*", help="mutants; all when none is named")
    flags = parser.parse_args(argv)
    names = flags.names or sorted(CATALOGUE)
    finds = hunt_all(names, cap=flags.cap, processes=flags.processes)
    print(f"\n{'mutant':<42}{'found by':<16}{'seeds':>6}  what was planted")
    for name in names:
        find = finds.get(name)
        checker, seeds = (find.checker, str(find.seed)) if find else ("nobody", f">{flags.cap}")
        print(f"{name:<42}{checker:<16}{seeds:>6}  {CATALOGUE[name].description}")
    print(f"{len(finds)} of {len(names)} found")
    return 0 if len(finds) >= WANTED * len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
