"""I22: what one tenant owns, no other reads or changes.

Access tokens are of the whole mesh so far, and who knows the id of a task may ask for it; so what is held here is the
part that there is: keys of two tenants that are alike are two tasks, jobs run for the tenant of their task, and a list
of one tenant has its tasks, all of them and no others. HTTP is not in the simulator's reach.
"""

from typing import TYPE_CHECKING

from node.serving.listing import Listing
from tests.sim.sessions import desired
from tests.sim.workload import SECOND

if TYPE_CHECKING:
    from tests.sim.world import World


def lists_are_apart(world: "World") -> None:
    """The list of the second tenant, slot by slot, by a replica of each."""
    owned = {task.id: task for task in world.tasks if task.tenant == SECOND}
    for slot in world.all_slots:
        node = next(one for one in world.members if one.core.replicates(slot))
        if slot not in node.core.replicator.ledgers:
            continue
        arguments = {"slots": [slot], "tenant": SECOND}
        listed = {task.id for task in Listing(node.core, node.keeping)._matching(arguments) if task}
        assert listed <= owned.keys(), f"I22: the list of {SECOND} at {node.name} has {listed - owned.keys()}"
        for task in owned.values():
            wishes = desired(node, task) if task.slot == slot and task.acked and not task.excused else None
            hidden = wishes is None or wishes.deleted or task.id in listed
            assert hidden, f"I22: the list of {SECOND} at {node.name} lacks {task.id}"
        world.hits["list of one tenant"] += bool(listed)
