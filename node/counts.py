"""How many tasks are in which state, of the slots that this node stewards; bulk tasks are counted by
bitmap.
"""

from collections.abc import Mapping

from pyroaring import BitMap

from node.core import Core
from node.views import TaskReader
from sharding.key import TaskId
from state.entries import Batch


def counted(
    core: Core, archived: Mapping[int, Mapping[tuple[str, str], int]], tenant: str | None = None
) -> dict[str, int]:
    """How many tasks are in which state, of the slots that this node stewards. `archived`: slot ->
    (tenant, state) -> tasks that are not in memory any more.
    """
    counts: dict[str, int] = {}
    for slot, states in archived.items():
        if core.steward_of(slot) == core.me:
            for (of, state), number in states.items():
                if tenant is None or of == tenant:
                    _add(counts, state, number)
    singles: dict[tuple[int, str], list[int]] = {}
    for slot, name, index in core.table.works:
        singles.setdefault((slot, name), []).append(index)
    for slot, ledger in core.replicator.ledgers.items():
        if not ledger.batches or core.steward_of(slot) != core.me:
            continue
        for name, entry in ledger.batches.items():
            if tenant is None or entry.tenant == tenant:
                _count_batch(core, slot, name, entry, singles, counts)
    return counts


def _count_batch(
    core: Core,
    slot: int,
    name: str,
    entry: Batch,
    singles: dict[tuple[int, str], list[int]],
    counts: dict[str, int],
) -> None:
    special = BitMap(entry.tasks)
    plain = entry.present - special
    for state, amount in entry.packed(plain).items():
        _add(counts, state, amount)
    left = plain - entry.done
    leased = min(len(left), sum(len(group.leased) for group in core.table.bulk.get((slot, name), ())))
    special |= BitMap(singles.get((slot, name), ()))
    _add(counts, "running", leased)
    _add(counts, "pending", len(left - special) - leased)
    for index in special & entry.present:
        reader = TaskReader(core, TaskId(core.config.region, slot, name, index), core.table.wall_ms)
        if not reader.desired.deleted:
            _add(counts, reader.state()[0], 1)


def _add(counts: dict[str, int], state: str, amount: int) -> None:
    if amount > 0:
        counts[state] = counts.get(state, 0) + amount
