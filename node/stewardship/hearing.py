"""Whether what other replicas wrote while we were apart is here. Pure.

We are apart from a node while gossip holds it for dead, and from all while this one stands still: a frozen machine
wakes with the members of before. What was under way then may say that all is equal, so that does not count at first.
"""

from gossip.identity import NodeId

STALL = 1.2
"""Seconds without an event, several ticks, after which others may have taken this node for dead."""
SETTLE = 0.5
"""Seconds in which what was under way arrives."""
HEARD_AFTER = 10.0
"""Seconds after which a replica that was never quite equal, as it has always something new, is not waited for."""
AWAKE_AFTER = 30.0
"""Seconds of being awake after which it is not waited for either: a loop that stalls again and again is slow, not
frozen, and would wait for ever."""


class Hearing:
    """`synced`: with whom this node was equal since they came, as the replicator keeps it."""

    def __init__(self, synced: set[NodeId]) -> None:
        self._synced = synced
        self._since: dict[NodeId, float] = {}
        """When each live node came, or we awoke."""
        self._known: set[NodeId] = set()
        self._last: float | None = None
        self._settled = 0.0
        self._awake = 0.0
        """Seconds that we were awake."""
        self._apart: dict[NodeId, float] = {}
        """What that was when we began to wait for a node."""

    def members(self, live: frozenset[NodeId], now: float) -> None:
        fresh = live - self._since.keys()
        self._since = {node: self._since.get(node, now) for node in live}
        if fresh & self._known:
            self._settled = now + SETTLE
        self._wait_for(fresh)
        self._known |= live

    def clock(self, now: float) -> None:
        """Before each event."""
        passed = 0.0 if self._last is None else now - self._last
        self._last = now
        self._awake += min(passed, STALL)
        if passed > STALL:
            self._since = dict.fromkeys(self._since, now)
            self._settled = now + SETTLE
            self._wait_for(frozenset(self._since))
        if now < self._settled:
            self._synced -= {node for node, since in self._since.items() if now < since + SETTLE}
        if self._apart:
            self._apart = {node: at for node, at in self._apart.items() if node not in self._synced}

    def heard(self, node: NodeId, now: float) -> bool:
        return (
            node in self._synced
            or now >= self._since.get(node, now) + HEARD_AFTER
            or self._awake >= self._apart.get(node, self._awake) + AWAKE_AFTER
        )

    def _wait_for(self, nodes: frozenset[NodeId]) -> None:
        for node in nodes:
            self._apart.setdefault(node, self._awake)
