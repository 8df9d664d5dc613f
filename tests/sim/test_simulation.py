"""Whole nodes under faults: the code that ships, on simulated time, network and disk."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.run import tune
from tests.sim.world import World

SEEDS = int(os.environ.get("SIM_SEEDS", "300"))
FIRST = int(os.environ.get("SIM_SEED", "1"))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def fewer_collections() -> Iterator[None]:
    """As `node.app` has it: worlds are large and short."""
    before = gc.get_threshold()
    tune()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_invariants_hold_under_faults(seed: int) -> None:
    world = World(seed)
    print(f"again: SIM_SEED={seed} SIM_SEEDS=1 pytest {__file__}; faults: {', '.join(world.enabled)}")
    world.run()


def test_same_seed_same_log_whatever_the_hash_seed() -> None:
    """Nothing hangs on the order of a set: processes with other string hashes log the same events."""
    script = "from tests.sim.world import World; w = World(7, seconds=15.0); w.run(); print(w.digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for hash_seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1
