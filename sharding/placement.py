"""Which members hold a slot, in order of preference.

A slot has up to R owners, its replicas, in its home region, spread over zones; and one asynchronous copy in another
region, where there is one. A region of which nobody ranks any more (all left, or dead for long) is at home everywhere:
its slots have their owners among all.

Invariant: removing a member moves only its slots, each to the next in the same ranking; adding one takes
slots
for itself only. What happens in one region moves no owner in another.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import xxhash

from gossip.identity import NodeId
from sharding.region import LOCAL, number_of, region_of, valid
from sharding.slots import SLOTS

_FULL = float(1 << 64)


class Candidate(NamedTuple):
    """A member as placement sees it. `weight` 0: it keeps nothing."""

    id: NodeId
    weight: float = 1.0
    zone: str = ""
    region: str = LOCAL


_Column = tuple[NodeId, float, tuple[float, ...]]
"""A node, its weight, and its distance of each slot number."""


@lru_cache(maxsize=512)
def _distances(node: NodeId, slots: int) -> tuple[float, ...]:
    """`-ln(u)` of each slot for this node, u uniform in (0, 1]; the smallest distance over weight wins."""
    prefix = f"{node}:"
    digest = xxhash.xxh3_64_intdigest
    return tuple(-math.log((digest(f"{prefix}{slot}".encode()) + 1) / _FULL) for slot in range(slots))


class Placement:
    """The ranking of the candidates for every slot; immutable. Ranks are computed when first asked for."""

    __slots__ = (
        "_cache",
        "_columns",
        "_copies",
        "_holders",
        "_homes",
        "_zones",
        "candidates",
        "replicas",
        "slots",
    )

    def __init__(self, candidates: Iterable[Candidate], *, replicas: int = 3, slots: int = SLOTS) -> None:
        self.candidates: tuple[Candidate, ...] = tuple(sorted(c for c in candidates if c.weight > 0))
        self.replicas = replicas
        self.slots = slots
        self._columns = [(c.id, c.weight, _distances(c.id, slots)) for c in self.candidates]
        self._zones = {c.id: f"{c.region}/{c.zone}" if c.zone else "" for c in self.candidates}
        self._homes: dict[str, list[_Column]] = {}
        for candidate, column in zip(self.candidates, self._columns, strict=True):
            self._homes.setdefault(candidate.region, []).append(column)
        self._cache: dict[int, tuple[NodeId, ...]] = {}
        self._copies: dict[int, NodeId | None] = {}
        self._holders: dict[int, tuple[NodeId, ...]] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Placement):
            return NotImplemented
        return (self.candidates, self.replicas, self.slots) == (other.candidates, other.replicas, other.slots)

    def __hash__(self) -> int:
        return hash((self.candidates, self.replicas, self.slots))

    def valid(self, slot: int) -> bool:
        """Whether there can be such a slot."""
        return valid(slot, self.slots)

    def homeless(self, slot: int) -> bool:
        """Whether nobody of the slot's home region ranks."""
        return region_of(slot) not in self._homes

    def keepers(self, slot: int) -> list[NodeId]:
        """The candidates for its owners."""
        return [node for node, _, _ in self._homes.get(region_of(slot), self._columns)]

    def owners(self, slot: int) -> tuple[NodeId, ...]:
        """The replicas of the slot, the preferred one first; fewer than R when there are fewer members."""
        found = self._cache.get(slot)
        if found is None:
            columns = self._homes.get(region_of(slot), self._columns)
            found = self._cache[slot] = self._spread(_ranked(columns, slot))
        return found

    def copy(self, slot: int) -> NodeId | None:
        """Who keeps the asynchronous copy: the best ranked of all other regions; None where there is no other."""
        if slot not in self._copies:
            home = region_of(slot)
            others = [
                column for region, columns in self._homes.items() if region != home for column in columns
            ]
            there = bool(others) and home in self._homes
            self._copies[slot] = _ranked(others, slot)[0] if there else None
        return self._copies[slot]

    def holders(self, slot: int) -> tuple[NodeId, ...]:
        """All who keep the slot: its owners, then the keeper of the copy."""
        found = self._holders.get(slot)
        if found is None:
            copy = self.copy(slot)
            found = self._holders[slot] = self.owners(slot) + (() if copy is None else (copy,))
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


def _ranked(columns: Iterable[_Column], slot: int) -> list[NodeId]:
    number = number_of(slot)
    return [node for _, node in sorted((column[number] / weight, node) for node, weight, column in columns)]


def rank(key: str, nodes: Iterable[NodeId]) -> list[NodeId]:
    """The nodes ranked for any key (an executor for a shard's affinity), the best first."""
    return sorted(nodes, key=lambda node: xxhash.xxh3_64_intdigest(f"{node}:{key}".encode()), reverse=True)
