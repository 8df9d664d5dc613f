"""What one node answers about what it holds, a piece at a time."""

import asyncio
from collections.abc import Iterator
from typing import Any

from gossip.identity import NodeId
from node.clock import wall_ms
from node.core import Core
from node.serving.driver import Driver
from node.serving.export import FORMATS
from node.stewardship.eligibility import root_refusals
from node.views import TaskReader
from sharding.key import TaskId
from state import join
from state.ledger import Ledger

PAGE = 100
"""Tasks of one answer."""
TURN = 2000
"""Specs that are looked at in one turn of the loop."""
OVER = frozenset({"succeeded", "partial", "scheduled"})
_NEEDLES = tuple(f'"{plugin}"'.encode() for plugin in sorted(FORMATS))


class Answers:
    def __init__(self, core: Core, driver: Driver) -> None:
        self._core, self._driver = core, driver

    async def slots(self, arguments: dict[str, Any]) -> Any:
        """`slot -> [hash of the heads, content hash]` of `[first, last)`, each taken in one turn of the loop."""
        found = {}
        for slot in range(arguments["first"], arguments["last"]):
            ledger = self._core.replicator.ledgers.get(slot)
            if ledger is not None and ledger.heads:
                found[slot] = [ledger.hash, ledger.content_hash()]
                await asyncio.sleep(0)
        return found

    async def heads(self, arguments: dict[str, Any]) -> Any:
        """`slot -> author -> sequence`."""
        ledgers = self._core.replicator.ledgers
        return {slot: dict(ledgers[slot].heads) if slot in ledgers else {} for slot in arguments["slots"]}

    async def tasks(self, arguments: dict[str, Any]) -> Any:
        """`{next, tasks}`: tasks of these slots that have ended a run into a file sink, after a place."""
        after = tuple(arguments["after"])
        found: list[Any] = []
        seen = 0
        for ledger, name in self._batches(arguments["slots"], after):
            for start in sorted(ledger.batches[name].parts):
                for place, spec in enumerate(ledger.specs(name, start), start):
                    seen += 1
                    if seen % TURN == 0:
                        await asyncio.sleep(0)
                    if (ledger.slot, name, place) <= after or not any(needle in spec for needle in _NEEDLES):
                        continue
                    if (shown := self._task(ledger, name, place)) is not None:
                        found.append(shown)
                    if len(found) == PAGE:
                        return {"next": [ledger.slot, name, place], "tasks": found}
        return {"next": None, "tasks": found}

    def _batches(self, slots: list[int], after: tuple[Any, ...]) -> Iterator[tuple[Ledger, str]]:
        """Alive and archived, from a place on."""
        keeping = self._driver.keeping
        for slot in sorted(slots):
            alive = self._core.replicator.ledgers.get(slot)
            names = (
                {name for name, entry in alive.batches.items() if entry.parts} if alive is not None else set()
            )
            for name in sorted(names.union(keeping.archive.names(slot))):
                if (slot, name) < after[:2]:
                    continue
                ledger = keeping.read(slot, name) or self._core.replicator.ledgers.get(slot)
                if ledger is not None and name in ledger.batches:
                    yield ledger, name

    def _task(self, ledger: Ledger, name: str, place: int) -> dict[str, Any] | None:
        task = TaskId(ledger.slot, name, place)
        try:
            reader = TaskReader(self._core, task, wall_ms(), ledger)
        except KeyError:  # it went into the archive, or out of it, meanwhile
            now = self._driver.keeping.read(ledger.slot, name) or self._core.replicator.ledgers[ledger.slot]
            if name not in now.batches:
                return None
            reader = TaskReader(self._core, task, wall_ms(), now)
        sinks = [sink for sink in reader.effective.spec.sink if sink["plugin"] in FORMATS]
        state = reader.state()[0]
        if reader.desired.deleted or not sinks or state not in OVER:
            return None
        coverage = reader.coverage()
        return {
            "id": str(reader.id),
            "mode": reader.effective.spec.mode,
            "state": state,
            "paths": [sink["path"] for sink in sinks],
            "only": len(reader.effective.spec.sink) == 1,
            "written": _written(reader),
            "gaps": coverage.gaps if state in ("succeeded", "partial") else [],
            "field": coverage.field,
            "nodes": self._nodes(reader),
        }

    def _nodes(self, reader: TaskReader) -> list[NodeId]:
        """The live nodes that can reach its folders; this one first."""
        live, needs = self._core.ownership.live(), reader.work.needs
        facts = self._core.steward.leasing.facts.items()
        able = [node for node, told in facts if node in live and not root_refusals(node, told, needs)]
        return sorted(able, key=lambda node: (node != self._core.me, node))


def _written(reader: TaskReader) -> dict[str, int]:
    """run -> records that the ledger counts, of the runs whose count stands for what was published."""
    origins = {
        known.origin
        for facts in reader.facts.runs.values()
        if (known := join.run_fact(facts.facts)) is not None and known.origin
    }
    return {
        run.id: run.records.written
        for run in reader.runs()
        if run.state in ("succeeded", "partial") and run.id not in origins
    }
