"""How often one member may accuse others: an insider can disturb a mesh, but not without end."""

from gossip.identity import NodeId

AT_ONCE = 8
PER_INTERVAL = 4.0
"""A correct member accuses one other a probe interval by itself; the rest is room for what it passes on."""


class Allowances:
    """For each teller a bucket: as many new suspicions at once as there are live members (a rack or half a mesh
    may fail), at least 8, filled up by 4 a probe interval.
    """

    def __init__(self, probe_interval: float) -> None:
        self._rate = PER_INTERVAL / probe_interval
        self._spent: dict[NodeId, tuple[float, float]] = {}  # how much is gone, when that was so

    def take(self, teller: NodeId, live: int, now: float) -> bool:
        """Whether this teller may start one more suspicion now."""
        spent, at = self._spent.get(teller, (0.0, now))
        spent = max(0.0, spent - (now - at) * self._rate) + 1
        if spent > max(AT_ONCE, live):
            return False
        self._spent[teller] = spent, now
        return True

    def drop(self, teller: NodeId) -> None:
        self._spent.pop(teller, None)
