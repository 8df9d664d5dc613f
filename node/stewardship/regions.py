"""When a region is given up for dead, so that others go on with its tasks. Pure.

A region is dark when none of its nodes has been alive, as seen from here, for `takeover` seconds, and when at least
half of all regions answer (a suspect does not): a region that is cut off from all others goes on with its own tasks and
leaves theirs alone, so that they run once. (Of two regions each is half: each takes over from the other.)
"""

from collections.abc import Container, Mapping

from gossip.identity import NodeId
from gossip.member import LIVE, Member, State


class Regions:
    """What this node, of region `own`, sees of all regions."""

    def __init__(self, own: str, takeover: float) -> None:
        self.own = own
        self.alive: frozenset[str] = frozenset((own,))
        self.answering: frozenset[str] = frozenset((own,))
        self.known: frozenset[str] = frozenset((own,))
        self._takeover = takeover
        self._began: float | None = None
        self._seen: dict[str, float] = {}

    def observe(self, members: Mapping[NodeId, Member], now: float) -> None:
        """Whenever the members change. Regions that were alive until now have been seen now."""
        if self._began is None:
            self._began = now
        before = self.alive
        self.alive = self._where(members, LIVE)
        self.answering = self._where(members, {State.ALIVE})
        self.known = self._where(members, set(State) - {State.LEFT})
        self._seen.update(dict.fromkeys(before | self.alive, now))

    def dark(self, region: str, now: float) -> bool:
        """Whether others may take over this region's tasks."""
        if region in self.alive or self._began is None or 2 * len(self.answering) < len(self.known):
            return False
        return now >= self._seen.get(region, self._began) + self._takeover

    def _where(self, members: Mapping[NodeId, Member], states: Container[State]) -> frozenset[str]:
        """The regions of the members in these states, and the own one."""
        return frozenset((self.own, *(m.meta.region for m in members.values() if m.state in states)))
