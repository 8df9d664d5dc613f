"""Lists of this node's tasks, alive and archived, in (slot, batch, index) order. Answers are plain data."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from node.clock import wall_ms
from node.core import Core
from node.schema import Task
from node.serving.keeping import Keeping
from node.views import TaskReader
from sharding.key import TaskId
from sharding.region import shown
from state.entries import Batch
from state.ledger import Ledger
from state.storage.archive import Row

TURN = 200
"""Tasks of a list that are read in one turn of the loop, about 8 ms."""


class Listing:
    """What the slots of this node hold."""

    def __init__(self, core: Core, keeping: Keeping) -> None:
        self.core = core
        self.keeping = keeping

    async def query(self, arguments: dict[str, Any]) -> Any:
        """Tasks of the given slots that match, in (slot, batch, index) order, after a place, at most `limit`."""
        found: list[Any] = []
        for task in self._matching(arguments):
            found.append(msgspec.to_builtins(task))
            if len(found) % TURN == 0:
                await asyncio.sleep(0)  # others have a turn
            if len(found) > arguments["limit"]:
                break
        return found

    def _matching(self, arguments: dict[str, Any]) -> Iterable[Task]:
        after = tuple(arguments["after"]) if arguments.get("after") else (-1, "", -1)
        states = frozenset(arguments.get("state") or ())
        tenant, name = arguments.get("tenant"), arguments.get("name")
        for slot in sorted(arguments["slots"]):
            if slot < after[0]:
                continue
            ledger = self.core.replicator.ledger(slot)
            for batch, row in self._batches(slot):
                about = row or ledger.batches[batch]
                if (tenant and about.tenant != tenant) or (name and about.name != name):
                    continue
                if row is not None and states and not states.intersection(row.states):
                    continue
                found = ledger if row is None else self.keeping.read(slot, batch)
                if found is not None:
                    yield from self._in_batch(found, batch, found.batches[batch], states, after)

    def _batches(self, slot: int) -> list[tuple[str, Row | None]]:
        """The slot's batches by name; with the outline of its row where it is archived."""
        found: dict[str, Row | None] = {row.batch: row for row in self.keeping.outlines(slot)}
        ledger = self.core.replicator.ledgers.get(slot)
        for batch, entry in ledger.batches.items() if ledger is not None else ():
            if entry.parts or batch not in found:
                found[batch] = None
        return sorted(found.items())

    def _in_batch(
        self, ledger: Ledger, batch: str, entry: Batch, states: frozenset[str], after: tuple[Any, ...]
    ) -> Iterable[Task]:
        if states and not _may_match(entry, states):
            return
        for index in entry.present:
            if (ledger.slot, batch, index) <= after:
                continue
            reader = TaskReader(self.core, TaskId(ledger.slot, batch, index), wall_ms(), ledger)
            if not reader.desired.deleted and (not states or reader.state()[0] in states):
                yield reader.task()

    async def resolve(self, arguments: dict[str, Any]) -> Any:
        """Ids that begin with a prefix, in the given slots; at most three."""
        prefix = arguments["prefix"]
        found = []
        for slot in arguments["slots"]:
            stem = f"{shown(slot)}-"
            if not (stem.startswith(prefix) or prefix.startswith(stem)):
                continue
            for batch, _ in self._batches(slot):
                if (stem + batch).startswith(prefix) or prefix.startswith(stem + batch):
                    ledger = self.keeping.read(slot, batch) or self.core.replicator.ledger(slot)
                    ids = (f"{stem}{batch}{index:03x}" for index in ledger.batches[batch].present)
                    found += [i for i in ids if i.startswith(prefix)][:3]
        return found[:3]


def _may_match(entry: Batch, states: frozenset[str]) -> bool:
    """False where every task of the batch has ended in a packed outcome of another state."""
    if entry.tasks or len(entry.done) < len(entry.present):
        return True
    return any(outcome.group.state in states for outcome in entry.outcomes)
