"""The invariants of the end and of moments, by their names in the reliability reference. Those of every step: `watch`;
of clients, secrets and tenants: `sessions`, `secrecy`, `tenants`.

A checker raises AssertionError whose text begins with the invariant's name.
"""

from collections import Counter
from typing import TYPE_CHECKING

from gossip.member import State
from state import base as bases
from state import join
from state.entries import Batch
from state.envelope import decode
from state.ledger import Ledger
from state.model import FIRST_RUN
from tests.sim.model import Place
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.workload import Submitted
    from tests.sim.world import World


def copies_are_kept(world: "World") -> None:
    """I19: at each moment as many disks as were promised hold what was acknowledged, unless disks were replaced."""
    replaced = {"older copy", "empty disk"}.intersection(world.enabled)
    for task in world.tasks:
        if task.acked and not task.excused:
            copies = max(map(world.holders, task.names))
            promised = 1 if replaced else task.acked
            assert copies >= promised, f"I19: {task.id} was promised {promised} copies and has {copies}"


def members_agree(world: "World") -> None:
    """I13: all live nodes have equal member lists, and nobody who lives is dead to anyone."""
    expected = {node.name for node in world.members}
    for node in world.members:
        alive = {m.id for m in node.members().values() if m.state is State.ALIVE}
        assert alive == expected, f"I13: {node.name} sees {sorted(alive)}"


def replicas_agree(world: "World") -> None:
    """I10: all replicas of a slot, and the copy in another region, hold the same envelopes and the same content."""
    names = {node.name for node in world.members}
    some = world.members[0].core
    for slot in world.all_slots:
        owners = [owner for owner in some.ownership.placement.holders(slot) if owner in names]
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


def one_steward_each(world: "World") -> None:
    """I20: each slot with tasks has one steward, a live replica, and all replicas name that one. It is the first of
    them, unless that has died too often of late to be given slots.
    """
    names = {node.name for node in world.members}
    for slot in world.all_slots:
        holders = [node for node in world.members if _has_tasks(node, slot)]
        if not holders:
            continue
        told = {node.core.steward_of(slot) for node in holders}
        assert len(told) == 1, f"I20: slot {slot} is said to be of {told}"
        (steward,) = told
        stewards = [node for node in world.members if slot in node.core.steward.table.mine]
        wanted = [steward] if any(node.name == steward for node in holders) else []
        assert [node.name for node in stewards] in (wanted, [steward]), (
            f"I20: slot {slot} of {steward} is stewarded by {[node.name for node in stewards]}"
        )
        better = stewards[0].core.ownership.successor(slot, stewards[0].now) if stewards else None
        assert steward in names, f"I20: slot {slot} is of {steward}, which is gone"
        assert better is None, f"I20: slot {slot} should have gone from {steward} to {better}"


def all_vote(world: "World") -> None:
    """Nobody founded this mesh; all the same everybody votes on leases."""
    for node in world.members:
        maps = node.core.leases.maps
        assert maps.settled, f"{node.name} does not vote; it waits for {maps.missing()}"


def voters_agree(world: "World") -> None:
    """Everybody votes on leases in one map, of those who are there."""
    all_vote(world)
    wanted = {node.name for node in world.members if node.weight}
    for node in world.members:
        found = [set(one.members) for one in node.core.leases.maps.active]
        assert found == [wanted], f"{node.name} counts {found}, not {wanted}"


def _has_tasks(node: SimNode, slot: int) -> bool:
    ledger = node.core.replicator.ledgers.get(slot)
    alive = [b for b in ledger.batches.values() if b.parts] if ledger is not None else []
    return bool(alive) and node.core.replicates(slot)


def nothing_emitted(world: "World", tasks: list["Submitted"], since: float) -> None:
    """I9: nothing of these tasks has reached the sink since."""
    for task in tasks:
        at = world.sink.emitted.get(task.id, 0.0)
        assert at <= since, (
            f"I9: {task.id} was paused or cancelled and still emitted at {at:.2f} > {since:.2f}"
        )


def _entry(world: "World", task: "Submitted") -> Batch | None:
    owner = next(node for node in world.members if node.core.replicates(task.slot))
    entry = owner.entry_of(task.slot, task.batch)
    return entry if entry is not None and task.index in entry.present else None


def state_of(entry: Batch, index: int, run: str = FIRST_RUN) -> str:
    """The state of a run of the task."""
    outcome = entry.outcome(index) if run == FIRST_RUN else None
    if outcome is not None:
        return outcome.group.state
    facts = entry.tasks.get(index)
    if facts is None:
        return "open"
    known = join.run_fact(facts.runs[run].facts) if run in facts.runs else None
    if known is not None and known.state in join.TERMINAL:
        return known.state
    wanted = join.desired(facts.wishes)
    requests = [join.first_request(entry), *wanted.requests]
    gone = all(wanted.cancelled(request) for request in requests if request.run == run)
    return "cancelled" if gone else "open"


def tasks_end(world: "World") -> None:
    """I2: every acknowledged task is over within the bound; none has vanished."""
    for task in world.tasks:
        if not task.acked or task.excused:
            continue
        entry = _entry(world, task)
        assert entry is not None, f"I2: {task.id} has vanished"
        for run in _runs(world, task):
            state = state_of(entry, task.index, run)
            assert state in _allowed(world, task, run), (
                f"I2: {task.id} {run} is {state} ({task.raw.decode()})"
            )


def _runs(world: "World", task: "Submitted") -> list[str]:
    """The runs that were asked for, but for those whose asking is on no disk."""
    return [FIRST_RUN, *(run for run, names in task.runs.items() if any(map(world.holders, names)))]


def _allowed(world: "World", task: "Submitted", run: str) -> set[str]:
    broken = run == FIRST_RUN and task.grows and world.source(task)["fail"]
    return {"failed" if broken else "succeeded", *(["cancelled"] if task.cancelled else [])}


def nothing_lost(world: "World") -> None:
    """I5: every record of a succeeded task is in the sink; I6: only once if the sink compares, and otherwise as often
    at most as its shard was begun."""
    for task in world.tasks:
        entry = _entry(world, task)
        if not task.acked or task.excused or task.grows or entry is None:
            continue
        state = state_of(entry, task.index)
        world.hits[f"run {state}"] += 1
        if state != "succeeded":
            continue
        expected = list(range(world.source(task)["records"]))
        rows = world.sink.rows(task.id, FIRST_RUN)
        assert sorted(set(rows)) == expected, f"I5: {task.id}: {len(set(rows))} of {len(expected)} records"
        if task.plain:
            _duplicates_bounded(world, task)
        else:
            assert rows == expected, f"I6: {task.id} has {len(rows) - len(expected)} records twice"


def _duplicates_bounded(world: "World", task: "Submitted") -> None:
    for place in world.sink.by_run.get((task.id, FIRST_RUN), []):
        often = max(Counter(world.sink.records[place]).values(), default=0)
        begun = _begun(world, place)
        world.hits["record repeated by a sink without compare-and-set"] += often > 1
        assert often <= begun, (
            f"I6: a record of {place} came {often} times, its shard was begun {begun} times"
        )


def _begun(world: "World", place: Place) -> int:
    return world.sink.executions[place]


def cursors_skip_nothing(world: "World") -> None:
    """I5 of incremental tasks: what their succeeded runs published has no hole up to where the source ended."""
    for task in world.tasks:
        entry = _entry(world, task)
        if not task.grows or task.excused or not task.acked or entry is None:
            continue
        source = world.source(task)
        done = [run for run in (FIRST_RUN, *task.runs) if state_of(entry, task.index, run) == "succeeded"]
        if not done:
            continue
        world.hits["incremental run succeeded"] += len(done)
        size = max(world.sink.sizes.get((source["name"], run), source["records"]) for run in done)
        rows = {row for run in done for row in world.sink.rows(task.id, run)}
        assert rows == set(range(size)), f"I5: {task.id} has {len(rows)} of {size} records after {done}"


def specs_are_as_submitted(world: "World") -> None:
    """I7, I16: a task is what was submitted under its key, however often and through whomever."""
    for task in world.tasks:
        for node in world.members:
            ledger = node.ledger_of(task.slot, task.batch)
            if ledger is not None and task.batch in ledger.batches:
                entry = ledger.batches[task.batch]
                if task.index in entry.present:
                    raw = ledger.spec(task.batch, task.index)
                    assert raw == task.raw, f"I7: {task.id} is {raw!r} at {node.name}"


def meanings_agree(world: "World") -> None:
    """I10: replicas do not only hold the same facts, they read the same out of them."""
    for task in world.tasks:
        read = set()
        for node in world.members:
            entry = node.entry_of(task.slot, task.batch) if node.core.replicates(task.slot) else None
            if entry is not None:
                facts = entry.tasks.get(task.index)
                wanted = join.desired(facts.wishes) if facts is not None else join.NOTHING_DESIRED
                read.add((state_of(entry, task.index), repr(wanted)))
        assert len(read) <= 1, f"I10: {task.id} means {sorted(read)}"


def deleted_stays_deleted(world: "World") -> None:
    """I15: no deleted task returns."""
    for task in world.tasks:
        entry = _entry(world, task)
        if task.deleted and entry is not None and not task.excused:
            wanted = join.desired(entry.tasks[task.index].wishes)
            assert wanted.deleted, f"I15: {task.id} has returned"
            world.hits["deleted task stayed deleted"] += 1


def queues_drain(world: "World") -> None:
    """I18: at rest nothing is left in any queue."""
    for node in world.members:
        replicator, executor, table = node.core.replicator, node.core.executor, node.core.steward.table
        left = {
            "writes that wait": len(replicator._tickets),
            "appends under way": len(replicator._appending),
            "unwritten": len(node.disk.pending),
            "leases": executor.running,
            "final reports": len(executor._final),
            "jobs": len(node.runner.jobs),
            "works": sum(not work.desired.paused for work in table.works.values()),
            "bulk": sum(len(group) for groups in table.bulk.values() for group in groups),
        }
        assert not any(left.values()), f"I18: {node.name} still has {left}"


def log_is_the_state(world: "World", node: SimNode) -> None:
    """I11: what a node holds is the fold of its log: a restart would come to the same."""
    ledgers: dict[int, Ledger] = {}
    for folded in node.disk.content.bases.values():
        base = bases.decode(folded)
        ledgers.setdefault(base.slot, Ledger(base.slot, lambda: 1)).adopt(base)
    for data in node.disk.read():
        item = decode(data)
        ledgers.setdefault(item.slot, Ledger(item.slot, lambda: 1)).apply(item)
    for slot, ledger in node.core.replicator.ledgers.items():
        if ledger.heads:
            found = ledgers.get(slot)
            assert found is not None, f"I11: slot {slot} is not in the log of {node.name}"
            assert found.heads == ledger.heads, (
                f"I11: slot {slot} at {node.name}: {found.heads}, {ledger.heads}"
            )
            assert found.content_hash() == ledger.content_hash(), f"I11: slot {slot} differs at {node.name}"
