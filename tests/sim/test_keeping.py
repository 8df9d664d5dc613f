"""What is over reaches the archive, however folds and ends fall together."""

import pytest

from node.ageing import over
from node.serving.keeping import Pace
from tests.sim import keeping
from tests.sim.world import World


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_fold_before_a_batch_is_settled_is_not_the_last(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PACE", Pace(quiet=1.0, settled=6.0))
    world = World(seed, seconds=5.0, faults=())
    world.run()
    world.clock.run_for(15.0)
    for node in world.members:
        for slot, ledger in node.core.replicator.ledgers.items():
            left = [name for name in ledger.batches if over(node.core, slot, name) is not None]
            assert not left, f"node {node.name} slot {slot}: {left} are over and not archived"
