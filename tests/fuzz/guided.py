"""Coverage-guided fuzzing of one target: `python -m tests.fuzz.guided TARGET --seconds 60`.

Needs the extra `fuzz` (atheris). Starts from the sound input of the target; what is new is kept in
`.fuzz/TARGET`. The end says how many inputs were tried; a find prints the input and ends with an error. An
input that takes longer than SLOW seconds is printed, not failed: the machine may be busy.
"""

import argparse
import os
import random
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gossip", "state", "node", "plugins"]):
    from tests.fuzz.corpus import SOUND, draw
    from tests.fuzz.targets import TARGETS, Target

SLOW = 0.05
CORPUS = Path(".fuzz")
MEMORY = 1024
"""MiB that one process may use."""
DRAWN = 200
"""Inputs drawn by structure that the corpus begins with."""


class Timed:
    """The target, with the slowest input seen (seconds of CPU)."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.slowest, self.tried, self.input = 0.0, 0, b""

    def __call__(self, data: bytes) -> None:
        started = time.process_time()
        self._target(data)
        taken = time.process_time() - started
        self.tried += 1
        if taken > self.slowest:
            self.slowest, self.input = taken, data
            if taken > SLOW and self.tried > 1:
                print(f"slow: {taken * 1000:.0f} ms for {len(data)} bytes: {data[:80].hex()}")


def seeded(name: str) -> Path:
    """The folder of the target's corpus, with its sound input in it."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    for number, data in enumerate((*SOUND.get(name, ()), *(draw(name, rng) for _ in range(DRAWN)))):
        (folder / f"seed-{number}").write_bytes(data)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    timed = Timed(TARGETS[options.target])
    arguments = [
        sys.argv[0],
        f"-max_total_time={options.seconds}",
        f"-rss_limit_mb={MEMORY}",
        "-timeout=10",
        "-print_final_stats=1",
        "-verbosity=0",
        f"-artifact_prefix={CORPUS}{os.sep}",
        str(seeded(options.target)),
    ]
    atheris.Setup(arguments, timed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
