"""How many tasks are in which state, of the slots that this node stewards; bulk tasks are counted by
bitmap.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from pyroaring import BitMap

from node.core import Core
from node.views import TaskReader
from sharding.key import TaskId
from state.entries import Batch


def counting(
    core: Core, archived: Mapping[int, Mapping[tuple[str, str], int]], into: Counter[str]
) -> Iterator[int]:
    """Count `into` the tasks of the slots that this node stewards; after each batch, how many were looked at one by
    one. Others may have a turn then: what moves meanwhile counts where it was met. `archived`: slot ->
    (tenant, state) -> tasks that are not in memory any more.
    """
    for slot, states in list(archived.items()):
        if core.steward_of(slot) == core.me:
            for (_, state), number in states.items():
                into[state] += number
    singles: dict[tuple[int, str], list[int]] = {}
    for slot, name, index in core.table.works:
        singles.setdefault((slot, name), []).append(index)
    for slot, ledger in list(core.replicator.ledgers.items()):
        if not ledger.batches or core.steward_of(slot) != core.me:
            continue
        for name, entry in list(ledger.batches.items()):
            if name in ledger.batches:
                yield _count_batch(core, slot, name, entry, singles.get((slot, name), ()), into)


def _count_batch(
    core: Core, slot: int, name: str, entry: Batch, singles: Iterable[int], counts: Counter[str]
) -> int:
    special = BitMap(entry.tasks)
    plain = entry.present - special
    for state, amount in entry.packed(plain).items():
        counts[state] += amount
    left = plain - entry.done
    leased = min(len(left), sum(len(group.leased) for group in core.table.bulk.get((slot, name), ())))
    special |= BitMap(singles)
    counts["running"] += leased
    counts["pending"] += max(0, len(left - special) - leased)
    special &= entry.present
    for index in special:
        reader = TaskReader(core, TaskId(slot, name, index), core.table.wall_ms)
        if not reader.desired.deleted:
            counts[reader.state()[0]] += 1
    return len(special)
