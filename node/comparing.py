"""With whom a node compares what it holds, and how often. Pure.

Near peers, those of the own region, are compared twice a second: replicas are to be equal within one. A far peer, of
another region, is compared every few seconds: what has gathered by then travels in one batch. Until a comparison
with it has found nothing lacking here (a cut has healed, this node has just started) it is compared as a near one.

Several replicas of a slot are compared with its one copy; what the copy lacks it asks of one of them (`asks`), so each
envelope crosses the wide area once. If that one does not deliver, another is asked at the next comparison. So it is
with one that is dead as seen from here: after a cut all the digests that waited for its end arrive at once, before the
news that it lives, and each would have everything sent again.
"""

from collections.abc import Container, Iterable, Sized
from typing import NamedTuple, Protocol

from gossip.identity import NodeId
from sharding.placement import Placement

NEAR_INTERVAL = 0.5
"""Seconds between digests to each peer; replicas are to be equal within a second."""
FAR_INTERVAL = 5.0
"""Seconds between digests to a peer of another region. Longer: larger batches that compress better, an older copy."""
NEAR_BASE = 3.0
"""Seconds between two offers of one slot's base to one node: it takes a while to arrive."""
FAR_BASE = 15.0
"""The same to another region, where it takes longer. Messages come in order, so an offer repeated too early only costs
traffic; one that was cut off is missed for so long.
"""
PATIENCE = 3.0
"""Seconds for which nobody is asked for a slot of which a far peer was asked and has not answered."""


class Comparing:
    """`far`: live nodes of other regions; `near`: those of the own one."""

    def __init__(self, me: NodeId, far_interval: float = FAR_INTERVAL) -> None:
        self.me = me
        self.far: frozenset[NodeId] = frozenset()
        self.near: frozenset[NodeId] = frozenset()
        self._interval = far_interval
        self._next_near = 0.0
        self._next_far: dict[NodeId, float] = {}
        self._asked: dict[int, tuple[NodeId, float]] = {}

    def members(self, live: frozenset[NodeId], far: frozenset[NodeId], now: float) -> None:
        """Those that have come are compared at once."""
        fresh = live - self.near - self.far
        self.near, self.far = live - far, far
        self._next_far = {node: at for node, at in self._next_far.items() if node in far - fresh}
        self._asked = {slot: (node, at) for slot, (node, at) in self._asked.items() if node in far}
        if fresh - far:
            self._next_near = min(self._next_near, now)

    def due(self, live: Iterable[NodeId], synced: Container[NodeId], now: float) -> list[NodeId]:
        """Who is to be sent a digest now; `synced`: those with whom this node was equal."""
        near = now >= self._next_near
        if near:
            self._next_near = now + NEAR_INTERVAL
        found = []
        for peer in sorted(live):
            if peer == self.me:
                continue
            if peer not in self.far:
                if near:
                    found.append(peer)
            elif now >= self._next_far.get(peer, now):
                self._next_far[peer] = now + (self._interval if peer in synced else NEAR_INTERVAL)
                found.append(peer)
        return found

    def asks(self, peer: NodeId, slot: int, now: float) -> bool:
        """Whether the peer is to be asked for what is lacking of the slot: not while one that is not near has not
        answered.
        """
        if peer in self.near:
            return True
        if now < self._asked.get(slot, (peer, 0.0))[1]:
            return False
        self._asked[slot] = (peer, now + PATIENCE)
        return True

    def answered(self, peer: NodeId, slot: int) -> None:
        """Envelopes of the slot came from the peer."""
        if self._asked.get(slot, ("", 0.0))[0] == peer:
            del self._asked[slot]

    def base_interval(self, peer: NodeId) -> float:
        """Seconds between two offers of a base to this peer."""
        return FAR_BASE if peer in self.far else NEAR_BASE


class Slots(NamedTuple):
    """`both`: the slots that we and a peer keep. `strays`: those that the peer owns, and we only happen to hold."""

    both: list[int]
    strays: list[int]


class _Held(Iterable[int], Sized, Protocol):
    """The slots held here: they only grow."""


class Overlap:
    """Which of the slots held here a peer keeps too. Asked for with each digest, it changes only with the map of the
    owners or when a slot is held for the first time."""

    def __init__(self, me: NodeId) -> None:
        self._me = me
        self._of: tuple[Placement | None, int] = (None, 0)
        self._found: dict[NodeId, Slots] = {}

    def of(self, peer: NodeId, placement: Placement, held: _Held) -> Slots:
        if self._of[0] is not placement or self._of[1] != len(held):
            self._of = placement, len(held)
            self._found.clear()
        if peer not in self._found:
            holders, owners, me = placement.holders, placement.owners, self._me
            self._found[peer] = Slots(
                [slot for slot in held if me in holders(slot) and peer in holders(slot)],
                [slot for slot in held if me not in holders(slot) and peer in owners(slot)],
            )
        return self._found[peer]
