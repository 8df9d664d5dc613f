"""How far the replicas are behind: the time from a write here until another disk has it. Pure."""

from collections import deque
from collections.abc import Iterable

from gossip.identity import NodeId

EVERY = 0.01
"""Seconds between two writes of which the lag is taken; by time, so that slow spells count by their length."""
KEPT = 6_000
"""Lags that are remembered, a minute's worth of a busy node with one peer."""
MAX_OPEN = 1_000
"""Writes that a peer has not stored yet; one that died or was cut off answers none of them."""

Place = tuple[int, int]
"""slot, sequence of this node's envelope"""


class Lag:
    """`sent` for each write to a peer, `stored` when the peer says that it is on its disk."""

    def __init__(self) -> None:
        self._open: dict[NodeId, dict[Place, float]] = {}
        self._next: dict[NodeId, float] = {}
        self._lags: deque[float] = deque(maxlen=KEPT)

    def sent(self, peer: NodeId, place: Place, now: float) -> None:
        if now < self._next.get(peer, 0.0):
            return
        self._next[peer] = now + EVERY
        waiting = self._open.setdefault(peer, {})
        if len(waiting) < MAX_OPEN:
            waiting[place] = now

    def stored(self, peer: NodeId, places: Iterable[Place], now: float) -> None:
        waiting = self._open.get(peer)
        if not waiting:
            return
        for place in places:
            since = waiting.pop(place, None)
            if since is not None:
                self._lags.append(now - since)

    def members(self, live: Iterable[NodeId]) -> None:
        """The lag of a node that is gone says nothing."""
        kept = set(live)
        self._open = {peer: waiting for peer, waiting in self._open.items() if peer in kept}

    def p99(self) -> float:
        """Seconds; 0 where nothing was written for others."""
        lags = sorted(self._lags)
        return lags[(len(lags) * 99 - 1) // 100] if lags else 0.0
