"""Why the tasks of a slot that pause during a cut do not go on, for people."""

from node.core import Core


def held_back(core: Core, slot: int) -> str | None:
    """None: the slot's lease is held, nothing is held back."""
    leases = core.leases
    if leases.keeper.left(slot, leases.now) > 0:
        if leases.keeper.clear(slot, leases.live, leases.now):
            return None
        return "paused: a node that cannot be reached may still run a part of it; it goes on when that must have ended"
    last = leases.keeper.last(slot)
    if last is None or not last.ready:
        return "waiting for the lease of its slot"
    if last.grant is not None and not last.silent:
        return f"paused: {last.note or 'another node'} still has the lease of its slot, for {last.left:.0f} s at most"
    members = core.ownership.members
    names = ", ".join(members[node].meta.name if node in members else node for node in last.silent)
    silent = f" (no answer from {names})" if names else ""
    return (
        f"paused: this side of the cut has no majority of the slot's replicas{silent}; it goes on by itself"
    )
