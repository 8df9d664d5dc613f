"""Lists of this node's tasks, alive and archived, in (slot, batch, index) order. Answers are plain data."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from pyroaring import BitMap

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
"""Tasks or batches that are looked at in one turn of the loop, 8 ms at most."""


class Listing:
    """What the slots of this node hold."""

    def __init__(self, core: Core, keeping: Keeping) -> None:
        self.core = core
        self.keeping = keeping

    async def query(self, arguments: dict[str, Any]) -> Any:
        """Tasks of the given slots that match, in (slot, batch, index) order, after a place, at most `limit`."""
        found: list[Any] = []
        for looked, task in enumerate(self._matching(arguments), 1):
            if looked % TURN == 0:
                await asyncio.sleep(0)  # others have a turn
            if task is not None:
                found.append(msgspec.to_builtins(task))
                if len(found) > arguments["limit"]:
                    break
        return found

    def _matching(self, arguments: dict[str, Any]) -> Iterable[Task | None]:
        """None for a batch or task that was looked at in vain. What moves into the archive meanwhile is read there."""
        after = tuple(arguments["after"]) if arguments.get("after") else (-1, "", -1)
        states = frozenset(arguments.get("state") or ())
        tenant, name = arguments.get("tenant"), arguments.get("name")
        for slot in sorted(arguments["slots"]):
            if slot < after[0]:
                continue
            for batch, row in self._batches(slot):
                yield None
                found = self.core.replicator.ledger(slot)
                if row is None and batch not in found.batches:
                    row = next((one for one in self.keeping.outlines(slot) if one.batch == batch), None)  # noqa: PLW2901
                    if row is None:
                        continue
                about = row or found.batches[batch]
                if (tenant and about.tenant != tenant) or (name and about.name != name):
                    continue
                if row is not None and states and not states.intersection(row.states):
                    continue
                if row is not None and (archived := self.keeping.read(slot, batch)) is not None:
                    found = archived
                if batch in found.batches:
                    yield from self._in_batch(found, batch, states, after)

    def _batches(self, slot: int) -> list[tuple[str, Row | None]]:
        """The slot's batches by name; with the outline of its row where it is archived."""
        found: dict[str, Row | None] = {row.batch: row for row in self.keeping.outlines(slot)}
        ledger = self.core.replicator.ledgers.get(slot)
        for batch, entry in ledger.batches.items() if ledger is not None else ():
            if entry.parts or batch not in found:
                found[batch] = None
        return sorted(found.items())

    def _in_batch(
        self, ledger: Ledger, batch: str, states: frozenset[str], after: tuple[Any, ...]
    ) -> Iterable[Task | None]:
        slot = ledger.slot
        for index in self._candidates(slot, batch, ledger.batches[batch], states):
            if (slot, batch, index) <= after:
                continue
            if batch not in ledger.batches and (archived := self.keeping.read(slot, batch)) is not None:
                ledger = archived
            if batch not in ledger.batches:
                return
            reader = TaskReader(self.core, TaskId(slot, batch, index), wall_ms(), ledger)
            wanted = not reader.desired.deleted and (not states or reader.state()[0] in states)
            yield reader.task() if wanted else None

    def _candidates(self, slot: int, batch: str, entry: Batch, states: frozenset[str]) -> BitMap:
        """The tasks that may be in one of the states. Of those about which nothing is known but their spec, and that
        they are over, that is told without a look at each.
        """
        if not states:
            return BitMap(entry.present)
        works = self.core.table.works
        plain = entry.present - BitMap(entry.tasks)
        left = plain - entry.done
        found = entry.present & BitMap(entry.tasks)
        if not states.isdisjoint(("pending", "scheduled")):
            found |= left
        elif works or "running" in states:
            leased = BitMap().union(
                *[BitMap(group.leased) for group in self.core.table.bulk.get((slot, batch), ())]
            )
            found |= left & (leased | BitMap(index for index in left if (slot, batch, index) in works))
        for outcome in entry.outcomes:
            if outcome.group.state in states:
                found |= outcome.bits & plain
        return found

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
