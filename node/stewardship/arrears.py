"""How far this node is behind: envelopes that others say they have, of slots that it replicates, and it lacks."""

from collections.abc import Mapping

from gossip.identity import NodeId
from node.replication import Replicator
from state.envelope import Writer

FRESH = 3.0
"""Seconds for which what another said of its heads is good; who is equal says nothing."""


class Arrears:
    """From the heads that replicas send each other where their digests differ."""

    def __init__(self, replicator: Replicator) -> None:
        self._replicator = replicator
        self._said: dict[NodeId, tuple[float, int]] = {}

    def heard(self, sender: NodeId, slots: Mapping[int, Mapping[str, int]], now: float) -> None:
        ledgers, placement = self._replicator.ledgers, self._replicator.placement
        lacking = 0
        for slot, theirs in slots.items():
            if not 0 <= slot < placement.slots or self._replicator.me not in placement.owners(slot):
                continue
            mine: Mapping[Writer, int] = ledgers[slot].heads if slot in ledgers else {}
            lacking += sum(max(0, seq - mine.get(Writer(author), 0)) for author, seq in theirs.items())
        self._said[sender] = (now, lacking)

    def behind(self, now: float) -> int:
        """The most that one other has said within the last seconds."""
        return max((count for at, count in self._said.values() if now - at < FRESH), default=0)
