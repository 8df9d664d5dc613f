"""To whom a steward gives its slots: to preferred replicas that are stable, or, when it leaves, to whoever is next."""

from collections.abc import Iterable

from gossip.identity import NodeId
from node import messages
from node.effects import Send
from node.stewardship.table import Table

MAX_HANDOVER = 256
"""Slots handed over at once to one node."""


def returned(table: Table) -> list[Send]:
    """Slots that go to replicas that are preferred to us, stable, and have what we have."""
    found = []
    for slot in sorted(table.mine):
        node = table.ownership.successor(slot, table.now)
        if node is not None and table.may_have(slot, node):
            found.append((node, slot))
    return _sent(found, MAX_HANDOVER)


def parting(table: Table) -> list[Send]:
    """This node leaves: every slot goes to its next replica now."""
    ready = table.ownership.ready
    found = []
    for slot in sorted(table.mine):
        owners = table.ownership.placement.owners(slot)
        node = next((node for node in owners if node != table.me and ready(node)), None)
        if node is not None:
            found.append((node, slot))
    return _sent(found, len(found))


def _sent(found: Iterable[tuple[NodeId, int]], most: int) -> list[Send]:
    offers: dict[NodeId, list[int]] = {}
    for node, slot in found:
        offers.setdefault(node, []).append(slot)
    return [Send(node, messages.Handover(slots[:most])) for node, slots in offers.items()]
