"""Which members hold a slot, in order of preference.

Invariant: removing a member moves only its slots, each to the next in the same ranking; adding one takes
slots
for itself only.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import xxhash

from gossip.identity import NodeId
from sharding.slots import SLOTS

_FULL = float(1 << 64)


class Candidate(NamedTuple):
    """A member as placement sees it. `weight` 0: it keeps nothing."""

    id: NodeId
    weight: float = 1.0
    zone: str = ""


@lru_cache(maxsize=512)
def _distances(node: NodeId, slots: int) -> tuple[float, ...]:
    """`-ln(u)` of each slot for this node, u uniform in (0, 1]; the smallest distance over weight wins."""
    prefix = f"{node}:"
    digest = xxhash.xxh3_64_intdigest
    return tuple(-math.log((digest(f"{prefix}{slot}".encode()) + 1) / _FULL) for slot in range(slots))


class Placement:
    """The ranking of the candidates for every slot; immutable. Ranks are computed when first asked for."""

    __slots__ = ("_cache", "_columns", "_zones", "candidates", "replicas", "slots")

    def __init__(self, candidates: Iterable[Candidate], *, replicas: int = 3, slots: int = SLOTS) -> None:
        self.candidates: tuple[Candidate, ...] = tuple(sorted(c for c in candidates if c.weight > 0))
        self.replicas = replicas
        self.slots = slots
        self._columns = [(c.id, c.weight, _distances(c.id, slots)) for c in self.candidates]
        self._zones = {c.id: c.zone for c in self.candidates}
        self._cache: dict[int, tuple[NodeId, ...]] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Placement):
            return NotImplemented
        return (self.candidates, self.replicas, self.slots) == (other.candidates, other.replicas, other.slots)

    def __hash__(self) -> int:
        return hash((self.candidates, self.replicas, self.slots))

    def owners(self, slot: int) -> tuple[NodeId, ...]:
        """The replicas of the slot, the preferred one first; fewer than R when there are fewer members."""
        found = self._cache.get(slot)
        if found is None:
            ranked = sorted((column[slot] / weight, node) for node, weight, column in self._columns)
            found = self._cache[slot] = self._spread([node for _, node in ranked])
        return found

    def _spread(self, ranked: Sequence[NodeId]) -> tuple[NodeId, ...]:
        """The first R, at first one a zone, then filled up in rank order; in rank order."""
        chosen: list[NodeId] = []
        zones: set[str] = set()
        for node in ranked:
            zone = self._zones[node]
            if len(chosen) < self.replicas and (not zone or zone not in zones):
                chosen.append(node)
                zones.add(zone)
        for node in ranked:
            if len(chosen) < self.replicas and node not in chosen:
                chosen.append(node)
        return tuple(node for node in ranked if node in chosen)


def rank(key: str, nodes: Iterable[NodeId]) -> list[NodeId]:
    """The nodes ranked for any key (an executor for a shard's affinity), the best first."""
    return sorted(nodes, key=lambda node: xxhash.xxh3_64_intdigest(f"{node}:{key}".encode()), reverse=True)
