"""Unsharded one-off tasks of one batch and priority that nothing is known about but their spec.

They cost a place in a deque until leased and a bit in a bitmap when done. The first thing out of the
ordinary (a wish,
a failure, a dead letter) makes a task leave for a `work.TaskWork` of its own.
"""

from collections import deque
from collections.abc import Iterable

from pyroaring import BitMap

from gossip.identity import NodeId
from node.execution.jobs import Counts
from state.model import Group, Outcomes

OutcomeKey = tuple[str, int, int, int, int]


class BulkGroup:
    """An Item of the backlog. `pending`: indices to lease; `leased`: index -> (node, since)."""

    solo = True

    __slots__ = ("batch", "leased", "outcomes", "pending", "priority", "queued", "slot", "tenant")

    def __init__(self, slot: int, batch: str, tenant: str, priority: int, indices: Iterable[int]) -> None:
        self.slot, self.batch, self.tenant, self.priority = slot, batch, tenant, priority
        self.pending: deque[int] = deque(indices)
        self.leased: dict[int, tuple[NodeId, float]] = {}
        self.outcomes: dict[OutcomeKey, BitMap] = {}
        self.queued = False

    def __len__(self) -> int:
        return len(self.pending) + len(self.leased)

    def take(self, count: int, node: NodeId, now: float) -> list[int]:
        taken = [self.pending.popleft() for _ in range(min(count, len(self.pending)))]
        for index in taken:
            self.leased[index] = (node, now)
        return taken

    def remove(self, index: int) -> NodeId | None:
        """The task leaves the group; the node that has it leased, if any."""
        held = self.leased.pop(index, None)
        if held is not None:
            return held[0]
        if index in self.pending:
            self.pending.remove(index)
        return None

    def settle(self, index: int, counts: Counts) -> None:
        """The task's run succeeded without incident."""
        self.leased.pop(index, None)
        key = ("succeeded", counts.read, counts.written, counts.skipped, counts.bytes)
        bits = self.outcomes.get(key)
        if bits is None:
            bits = self.outcomes[key] = BitMap()
        bits.add(index)

    def give_up(self, node: NodeId) -> int:
        """The node is gone: its leases are to be given again."""
        lost = [index for index, (holder, _) in self.leased.items() if holder == node]
        for index in lost:
            del self.leased[index]
        self.pending.extendleft(reversed(lost))
        return len(lost)

    def overdue(self, node: NodeId, before: float, held: set[int]) -> list[int]:
        """Leases to the node from before that it does not hold."""
        return [
            i for i, (holder, at) in self.leased.items() if holder == node and at < before and i not in held
        ]

    def give_back(self, indices: list[int]) -> None:
        for index in indices:
            if self.leased.pop(index, None) is not None:
                self.pending.appendleft(index)

    def drop_done(self, done: BitMap) -> None:
        """Another steward's outcomes say that these are over."""
        self.pending = deque(index for index in self.pending if index not in done)
        self.leased = {index: lease for index, lease in self.leased.items() if index not in done}

    def ended(self) -> BitMap:
        """The indices whose outcome has not been taken yet."""
        return BitMap.union(BitMap(), *self.outcomes.values())

    def take_outcomes(self, at_ms: int) -> Outcomes | None:
        if not self.outcomes:
            return None
        groups = [
            Group(state, bits.serialize(), read, written, skipped, size)
            for (state, read, written, skipped, size), bits in self.outcomes.items()
        ]
        self.outcomes = {}
        return Outcomes(at_ms, groups)
