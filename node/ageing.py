"""When a batch is over, so that it may leave memory for the archive. Pure."""

from typing import NamedTuple

from pyroaring import BitMap

from node.core import Core
from node.views import TaskReader
from sharding.key import TaskId
from state import join
from state.entries import Batch


class Over(NamedTuple):
    """A batch whose tasks have all ended. `lasting`: a named task, which no retention ends."""

    ended_ms: int
    lasting: bool
    states: dict[str, int]


def over(core: Core, slot: int, name: str) -> Over | None:
    """None while anything of the batch may still happen by itself."""
    entry = core.replicator.ledgers[slot].batches[name]
    if not entry.parts or len(entry.present) < entry.count or (slot, name) in core.table.bulk:
        return None
    special = BitMap(entry.tasks)
    plain = entry.present - special
    if not plain.issubset(entry.done):
        return None
    states = entry.packed(plain)
    ended = [entry.created_ms, *(outcome.at_ms for outcome in entry.outcomes)]
    lasting = False
    for index in special & entry.present:
        if (slot, name, index) in core.table.works:
            return None
        reader = TaskReader(core, TaskId(core.config.region, slot, name, index), core.table.wall_ms)
        state = reader.state()[0]
        if reader.work.scheduled or state not in join.TERMINAL:
            return None
        ended += [reader.desired.updated_ms, *_finished(entry, index)]
        if not reader.desired.deleted:
            states[state] = states.get(state, 0) + 1
            lasting |= entry.name is not None
    return Over(max(ended), lasting or (entry.name is not None and bool(plain)), states)


def _finished(entry: Batch, index: int) -> list[int]:
    return [fact.finished_ms for run in entry.tasks[index].runs.values() for fact in run.facts.values()]
