"""Whole nodes under faults: the code that ships, on simulated time, network and disk."""

import os

import pytest

from tests.sim.world import World

SEEDS = int(os.environ.get("SIM_SEEDS", "300"))
FIRST = int(os.environ.get("SIM_SEED", "1"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_invariants_hold_under_faults(seed: int) -> None:
    world = World(seed)
    print(f"SIM_SEED={seed} SIM_SEEDS=1 faults={world.enabled}")
    world.run()


def test_same_seed_same_log() -> None:
    digests = []
    for _ in range(2):
        world = World(7, seconds=15.0)
        world.run()
        digests.append(world.digest())
    assert digests[0] == digests[1]
