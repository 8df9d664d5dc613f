"""Why a task that pauses during a cut, or whose region is dead, does not go on, for people."""

from node.core import Core
from node.stewardship.work import TaskWork


def held_back(core: Core, work: TaskWork) -> str | None:
    """None: neither its slot's lease nor its home region is the reason."""
    if work.run is None:
        if work.id.slot not in core.table.mine:
            return None
        if not core.table.may_run(work):
            return _kept_home(work)
    return _lease_missing(core, work.id.slot) if work.pauses else None


def _kept_home(work: TaskWork) -> str:
    home = work.id.region
    if work.effective.spec.placement.region is not None:
        return f"waits for region {home}, to which it is pinned; no node of it can be reached"
    return (
        f'waits for region {home}, of which no node can be reached: on_partition is "pause", and it may only be '
        "cut off; it goes on when the region is back, or elsewhere when all its nodes are forgotten"
    )


def _lease_missing(core: Core, slot: int) -> str | None:
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
