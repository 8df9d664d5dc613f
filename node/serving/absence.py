"""The standing warning of members that have left and still count for majorities: who, and what to do.

A node that is stopped leaves, and its copies are made elsewhere at once. But it may come back, so it goes on counting
among the voters of locks and of tasks that pause in a cut, until it is forgotten.
"""

from gossip.identity import NodeId
from gossip.member import State
from node.core import Core


def absent(core: Core) -> list[NodeId]:
    """Who has left, or is not even known to gossip any more, and still counts."""
    maps, members = core.leases.maps, core.ownership.members
    counted = maps.members - maps.forgotten - {core.me}
    return sorted(node for node in counted if node not in members or members[node].state is State.LEFT)


def warnings(core: Core) -> list[str]:
    """For people."""
    members = core.ownership.members
    names = [member.meta.name for member in members.values()]
    said = []
    for node in absent(core):
        name = members[node].meta.name if node in members else ""
        ref = name if names.count(name) == 1 else node
        shown = f"{name} ({node})" if name else node
        said.append(
            f"node {shown} has left and still counts for the majorities of locks; if it does not come back: "
            f"`collect drain {ref} --forget`"
        )
    return said
