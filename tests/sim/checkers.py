"""The invariants of the end, by their names in the reliability reference."""

from typing import TYPE_CHECKING

from gossip.member import State
from state import join
from state.entries import Batch
from state.model import FIRST_RUN
from tests.sim.model import source_of

if TYPE_CHECKING:
    from tests.sim.world import Submitted, World


def members_agree(world: "World") -> None:
    """I13: all live nodes have equal member lists, and nobody who lives is dead to anyone."""
    expected = {node.name for node in world.members}
    for node in world.members:
        alive = {m.id for m in node.members().values() if m.state is State.ALIVE}
        assert alive == expected, f"I13: {node.name} sees {sorted(alive)}"


def replicas_agree(world: "World") -> None:
    """I10: all replicas of a slot hold the same envelopes and the same content."""
    some = world.members[0].core
    for slot in range(some.config.slots):
        names = {node.name for node in world.members}
        owners = [owner for owner in some.ownership.placement.owners(slot) if owner in names]
        ledgers = [
            node.core.replicator.ledgers[slot]
            for node in world.members
            if node.name in owners and slot in node.core.replicator.ledgers
        ]
        heads = [dict(ledger.heads) for ledger in ledgers if ledger.heads]
        if not heads:
            continue
        assert len(heads) == len(owners), (
            f"I10: slot {slot} is held by {len(heads)} of {len(owners)} replicas"
        )
        assert all(h == heads[0] for h in heads), f"I10: slot {slot}: {heads}"
        contents = {ledger.content_hash() for ledger in ledgers}
        assert len(contents) == 1, f"I10: slot {slot} has {len(contents)} contents"


def _entry(world: "World", task: "Submitted") -> Batch | None:
    owner = next(node for node in world.members if node.core.replicates(task.slot))
    ledger = owner.core.replicator.ledgers.get(task.slot)
    return ledger.batches.get(task.batch) if ledger is not None else None


def state_of(entry: Batch, index: int) -> str:
    """The state of the task's first run."""
    outcome = entry.outcome(index)
    if outcome is not None:
        return outcome.group.state
    facts = entry.tasks.get(index)
    if facts is not None:
        run = facts.runs.get(FIRST_RUN)
        known = join.run_fact(run.facts) if run is not None else None
        if known is not None and known.state in join.TERMINAL:
            return known.state
        if join.desired(facts.wishes).cancelled_at >= 0:
            return "cancelled"
    return "open"


def tasks_end(world: "World") -> None:
    """I2: every acknowledged task is over within the bound; none has vanished."""
    for task in world.tasks:
        if not task.acked:
            continue
        entry = _entry(world, task)
        assert entry is not None, f"I2: {task.id} has vanished"
        state = state_of(entry, task.index)
        allowed = {"succeeded", "cancelled"} if task.cancelled else {"succeeded"}
        assert state in allowed, f"I2: {task.id} is {state} ({task.raw.decode()})"
        world.hits[state] += 1


def nothing_lost(world: "World") -> None:
    """I5: every record of a succeeded task is in the sink; with compare-and-set also only once."""
    for task in world.tasks:
        entry = _entry(world, task)
        if not task.acked or entry is None or state_of(entry, task.index) != "succeeded":
            continue
        source = source_of(task.raw)
        expected = sorted(
            (str(shard), record)
            for shard in range(max(1, source["shards"]))
            for record in range(source["records"])
        )
        rows = sorted(world.sink.rows(task.id, FIRST_RUN))
        assert rows == expected, f"I5: {task.id}: {len(rows)} rows, {len(expected)} expected"
