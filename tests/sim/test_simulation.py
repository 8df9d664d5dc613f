"""Whole nodes under faults: the code that ships, on simulated time, network and disk."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.sim.run import play, tune

SEEDS = int(os.environ.get("SIM_SEEDS", "300"))
FIRST = int(os.environ.get("SIM_SEED", "1"))
ROOT = Path(__file__).parents[2]


def _give_way() -> None:
    os.nice(10)
    tune()


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    """One that gives way to the real nodes of other tests: time in a world does not depend on ours."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _give_way) as pool:
        yield pool


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_invariants_hold_under_faults(seed: int, process: ProcessPoolExecutor) -> None:
    print(f"again: make sim SEED={seed} SEEDS=1 SECONDS=60")
    assert process.submit(play, seed, counted=False).result().failure is None


def test_same_seed_same_log_whatever_the_hash_seed() -> None:
    """Nothing hangs on the order of a set: processes with other string hashes log the same events."""
    script = "from tests.sim.world import World; w = World(7, seconds=15.0, logged=True); w.run(); print(w.digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for hash_seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1
