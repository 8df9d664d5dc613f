"""How long a returning replica must be stable before it gets its slots back: the longer the more often it died.

A node that dies and comes back every few seconds would take its slots along each time. Each death within `WINDOW`
multiplies the time that it must have been alive; from the third on it is at least `FLAPPING`, so that a slot moves
at most once in five minutes. Every node counts what it saw itself: only the present steward of a slot hands it over,
so two that counted differently differ in when, never in who.
"""

from collections import deque
from collections.abc import Mapping

from gossip.identity import Boot, NodeId
from gossip.member import LIVE, Member, State

WINDOW = 600.0
"""Seconds for which a death is held against a node (penalty of ten minutes: reliability reference, section 3)."""
GROWTH = 4.0
"""Each further death makes the time so many times as long: 10, 40, 160 s in the default profile."""
FLAPPING = 300.0
MANY = 3
"""Deaths within the window that make a node a flapping one."""


class Damping:
    """What this node has seen of the others' deaths."""

    def __init__(self) -> None:
        self._lives: dict[NodeId, tuple[Boot, State]] = {}
        self._deaths: dict[NodeId, deque[float]] = {}

    def observe(self, members: Mapping[NodeId, Member], now: float) -> None:
        """A death is one that was told, or a new life of a member that nobody had seen dying. A leave is none."""
        for node, member in members.items():
            boot, state = self._lives.get(node, (member.boot, member.state))
            died = member.state is State.DEAD or member.boot != boot
            if state in LIVE and died:
                self._deaths.setdefault(node, deque()).append(now)
            self._lives[node] = (member.boot, member.state)
        for node in self._lives.keys() - members.keys():
            del self._lives[node]

    def deaths(self, node: NodeId, now: float) -> int:
        """Within the window."""
        seen = self._deaths.get(node)
        while seen and seen[0] <= now - WINDOW:
            seen.popleft()
        return len(seen) if seen else 0

    def stable_after(self, node: NodeId, base: float, now: float) -> float:
        """Seconds that the node must have been alive, where one that never died needs `base`."""
        deaths = self.deaths(node, now)
        grown = base * GROWTH ** min(max(0, deaths - 1), 16)
        return min(WINDOW, max(grown, FLAPPING) if deaths >= MANY else grown)
