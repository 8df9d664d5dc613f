"""I3 over random lives of a mesh: LEASE_SEEDS how many, LEASE_SEED the first one."""

import os
from collections import Counter

import pytest

from tests.node.leases.explorer import World

SEEDS = int(os.environ.get("LEASE_SEEDS", "25"))
FIRST = int(os.environ.get("LEASE_SEED", "1"))


@pytest.mark.parametrize("size", [3, 4])
def test_i3_no_two_hold_one_lease(size: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + SEEDS):
        world = World(seed, size)
        try:
            world.run()
        except AssertionError:
            print(f"LEASE_SEED={seed} LEASE_SEEDS=1 (size {size})")
            raise
        seen += world.seen
    print(dict(seen))
    if SEEDS > 20:
        for path in (
            "take won",
            "take lost",
            "renew won",
            "renew lost",
            "release won",
            "unsynced",
            "freeze",
            "cut",
            "map",
            "forgotten",
        ):
            assert seen[path] > 0, f"{path} never happened: {seen}"
