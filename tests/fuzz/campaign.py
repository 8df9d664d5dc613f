"""Very many hostile updates through the acceptance path, in child processes that may die without taking the
count along: `python -m tests.fuzz.campaign --updates 1000000 --seed 1`.
"""

import argparse
import multiprocessing
import os
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.acceptance import Life

UPDATES = 40
"""In one life of a ledger."""
LIVES = 250
"""In one child: a death is then one of a hundred children, and says which seed it was."""
THOROUGH = 20
"""Every so many lives the content is hashed before and after each refusal."""
MEMORY = 2 << 30
"""Bytes of address space of a child; an allocation without bound ends it."""


@dataclass
class Found:
    """slowest: seconds of CPU of the slowest life, per update. failures: seeds of lives that broke a property."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest: float = 0.0


def live(first: int, lives: int) -> Found:
    """Runs in the child: lives with the seeds from `first` on."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    found = Found()
    for seed in range(first, first + lives):
        started = time.process_time()
        try:
            Life(random.Random(seed), found.counts).run(UPDATES, thorough=seed % THOROUGH == 0)
        except BaseException as error:  # a panic of the library is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            found.failures.append((seed, f"{type(error).__name__}: {error}"))
        found.slowest = max(found.slowest, (time.process_time() - started) / UPDATES)
    return found


def campaign(updates: int, seed: int, processes: int) -> tuple[Found, list[int]]:
    """All findings joined, and the first seeds of the children that died."""
    total, deaths = Found(), list[int]()
    lives = -(-updates // UPDATES)
    chunks = [(seed + at, min(LIVES, lives - at)) for at in range(0, lives, LIVES)]
    context = multiprocessing.get_context("fork")
    for group in _groups(chunks, processes):
        children = []
        for first, count in group:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=lambda s, f, c: s.send(live(f, c)), args=(sender, first, count))
            child.start()
            sender.close()
            children.append((first, child, receiver))
        for first, child, receiver in children:
            try:
                part: Found = receiver.recv()
            except EOFError:
                deaths.append(first)
            else:
                total.counts += part.counts
                total.failures += part.failures
                total.slowest = max(total.slowest, part.slowest)
            child.join()
    return total, deaths


def _groups(chunks: list[tuple[int, int]], size: int) -> list[tuple[tuple[int, int], ...]]:
    return [tuple(chunks[at : at + size]) for at in range(0, len(chunks), size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    total, deaths = campaign(options.updates, options.seed, options.processes)
    for reason, count in total.counts.most_common():
        print(f"{count:>9}  {reason}")
    updates = total.counts.total() - total.counts["folds, not updates"]
    print(f"{updates:>9}  updates; slowest life {total.slowest * 1000:.1f} ms an update")
    for seed, failure in total.failures[:20]:
        print(f"broken: life {seed}: {failure[:200]}")
    print(f"broken properties: {len(total.failures)}; deaths: {len(deaths)} {deaths or ''}")
    sys.exit(bool(deaths or total.failures))


if __name__ == "__main__":
    main()
