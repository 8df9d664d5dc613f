"""A node is drained under faults, and its machine is scrapped as soon as it says that it may be."""

import pytest

from tests.sim import faults
from tests.sim.world import World

FAULTS = tuple(name for name in faults.NAMES if name not in ("older copy", "empty disk", "weight"))
"""Disks keep what they say that they hold; the weight is what is tested."""


class DrainWorld(World):
    """The first node is drained from the tenth second on; the wish outlives its crashes, as its file does."""

    def run(self) -> None:
        self.clock.after(10.0, self._wish)
        self.clock.after(10.0, self._look)
        super().run()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._seen: set[tuple[int, str, int]] = set()
        self._first, self._all = self.members[0], list(self.members)

    def _wish(self) -> None:
        """Now, and in every new life."""
        node = self._first
        if node.up and not node.core.custody.draining:
            node.core.custody.draining = True
            node.core.executor.pause(paused=True)
            node.weigh(0.0)
        self.clock.after(0.1, self._wish)

    def _look(self) -> None:
        """So often that an answer given before its disk was done would be seen."""
        if self._first in self.members:
            if self._first.up and not self._first.frozen:
                self._believed()
            self.clock.after(0.002, self._look)

    def _believed(self) -> None:
        """I19: what the node takes for safe is on so many other disks, whatever happens around it."""
        core = self._first.core
        custody, owners = core.custody, core.ownership.placement.owners
        unsafe, copies = set(custody.unsafe()), max(1, custody.wanted(0))
        others = [node.disk.synced for node in self._all if node is not self._first]
        for slot, ledger in core.replicator.ledgers.items():
            if not ledger.heads or slot in unsafe or self._first.name in owners(slot):
                continue
            self.hits["slot safe"] += 1
            for author, seq in ledger.heads.items():
                if (slot, author, seq) in self._seen:
                    continue
                self._seen.add((slot, author, seq))
                found = sum((slot, author, seq) in synced for synced in others)
                assert found >= copies, f"I19: slot {slot} {author}:{seq} is on {found} disks, not {copies}"

    def settle(self) -> None:
        """Once it is empty, it is gone for ever with its disk: nothing was only there."""
        if self._first in self.members:
            self.eventually(90.0, lambda _: self._empty())
            self._first.crash()
            self.members.remove(self._first)
            self.hits["scrapped"] += 1
        super().settle()

    def _empty(self) -> None:
        core = self._first.core
        assert core.custody.draining
        assert self._first.name not in {c.id for c in core.ownership.placement.candidates}, "it ranks"
        assert not core.table.mine, f"it still stewards {sorted(core.table.mine)}"
        assert not (unsafe := core.custody.unsafe()), f"copies of {unsafe} are not elsewhere"
        assert not core.executor.busy, "it still has jobs"
        assert not core.leases.counted, "it still votes on leases"


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_drained_node_is_scrapped_without_loss(seed: int) -> None:
    world = DrainWorld(seed, seconds=30.0, faults=FAULTS, counted=False)
    print(f"seed {seed} faults={world.enabled}")
    world.run()
    assert world.hits["slot safe"]
