"""Which nodes to ask about a slot, in which order, as this node sees the mesh.

A write goes to the home region; to the keeper of its copy only while nobody there lives. A read is answered in the
caller's region where that has the copy, which is some seconds old; else by the home region.
"""

from gossip.identity import NodeId
from gossip.member import State
from node.core import Core
from sharding.region import region_of, slot_in

LOOK = 0.5
"""Seconds for which the list of regions is good; finding it goes through all ledgers, which takes a millisecond."""


class Routes:
    def __init__(self, core: Core) -> None:
        self.core = core
        self._found: tuple[float, list[str]] = (float("-inf"), [])

    def replicas(self, slot: int, *, near: bool = False) -> list[NodeId]:
        """Live keepers of the slot, the steward first. `near`: a copy in the own region before all others."""
        placement, live = self.core.ownership.placement, self.core.ownership.live()
        steward, copy = self.core.steward_of(slot), self.near_copy(slot) if near else None
        found = [node for node in placement.holders(slot) if node in live]
        return sorted(found, key=lambda node: (node != copy, node != steward))

    def near_copy(self, slot: int) -> NodeId | None:
        """The live keeper of another region's slot, where it is in the own region."""
        copy, live = self.core.ownership.placement.copy(slot), self.core.ownership.live()
        return copy if copy is not None and copy in live - self.core.replicator.comparing.far else None

    def dark(self, slot: int) -> bool:
        """No replica of the slot's region lives: what it accepted last may not have come to the copy."""
        placement = self.core.ownership.placement
        live = self.core.ownership.live()
        return not placement.homeless(slot) and live.isdisjoint(placement.owners(slot))

    def regions(self) -> list[str]:
        """All that have members or tasks, as far as is known here."""
        if self.core.now - self._found[0] > LOOK:
            self._found = (self.core.now, self._regions())
        return self._found[1]

    def _regions(self) -> list[str]:
        members = self.core.ownership.members.values()
        found = {self.core.config.region, *(m.meta.region for m in members if m.state is not State.LEFT)}
        found.update(region_of(slot) for slot, ledger in self.core.replicator.ledgers.items() if ledger.heads)
        for facts in self.core.steward.leasing.facts.values():
            found.update(facts.holds)
        return sorted(found)

    def elsewhere(self) -> list[str]:
        """The other regions."""
        return [region for region in self.regions() if region != self.core.config.region]

    def by_node(self) -> tuple[dict[NodeId, list[int]], list[int]]:
        """Which node to ask for which slots, and the slots that nobody holds now."""
        found: dict[NodeId, list[int]] = {}
        missing: list[int] = []
        placement, live = self.core.ownership.placement, self.core.ownership.live()
        for region in self.regions():
            home = region == self.core.config.region
            for slot, steward in enumerate(self.core.stewards_in(region), slot_in(region, 0)):
                node = steward if home else self.near_copy(slot) or steward
                if node is None:
                    node = next((one for one in placement.holders(slot) if one in live), None)
                if node is None:
                    missing.append(slot)
                else:
                    found.setdefault(node, []).append(slot)
        return found, missing
