"""This node's archive read again, and rows that are damaged or gone taken from the replicas that have them sound.

A base is in memory as well: it is written again from there. A row is not, and is asked for at all other replicas of its
slot; where none has it, it is told. A row that another replica has archived, and of which this one
knows nothing, is gone, unless its retention may have ended here. A node mends by itself a row that it finds
damaged when it is asked for it.
"""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from structlog import get_logger

from gossip.identity import NodeId
from node.clock import wall_ms
from node.core import Core
from node.service import Refused
from node.serving.calls import NoAnswer
from node.serving.driver import Driver
from node.serving.passing import decoded, encoded
from state.base import batch_of
from state.storage.archive import Rotten, Row, merged, packed
from state.storage.audit import BASE, audit

log = get_logger(__name__)

SLICE = 200
"""Rows of one answer; of 500 tasks each, about 20 ms of reading."""
MARGIN = 3600.0
"""Seconds before the end of a row's retention in which it may be gone already: by another clock, or on the way."""
PAUSE = 60.0
"""Seconds until a row that could not be mended is tried again by itself."""

Ask = Callable[[NodeId, str, dict[str, Any]], Awaitable[Any]]


class ArchiveCheck:
    """`ask`: another node's operation. Raises NoAnswer, Refused."""

    def __init__(self, core: Core, driver: Driver, ask: Ask) -> None:
        self._core, self._driver, self._ask = core, driver, ask
        self._healing: set[tuple[int, str]] = set()

    async def rows(self, arguments: dict[str, Any]) -> Any:
        """The rows after `at`: `{next, rows, bytes, file, damaged: [[slot, batch, why]]}`."""
        slot, batch = arguments["at"]
        path = self._driver.keeping.archive.path
        found = await asyncio.to_thread(audit, path, (slot, batch), SLICE)
        return {
            "next": found.next and list(found.next), "rows": found.rows, "bytes": found.size, "file": str(path),
            "damaged": [list(damage) for damage in found.damaged],
        }  # fmt: skip

    async def batches(self, arguments: dict[str, Any]) -> Any:
        """`slot -> comparing.Batches` of `[first, last)`."""
        keeping, found = self._driver.keeping, dict[int, Any]()
        since = wall_ms() - int((keeping.pace.retention - MARGIN) * 1000)
        for slot in range(arguments["first"], arguments["last"]):
            ledger = self._core.replicator.ledgers.get(slot)
            if ledger is None:
                continue
            known = [name for name, entry in ledger.batches.items() if entry.parts]
            rows = [
                (row.batch, None if row.lasting else row.ended_ms)
                for row in keeping.archive.outlines(slot, known.append)  # damaged is not gone
            ]
            found[slot] = [since, rows, known]
            await asyncio.sleep(0)
        return found

    async def row(self, arguments: dict[str, Any]) -> Any:
        """The row of an archived batch, None where this node has none that is sound. What is known of it since, where
        it is alive again, is in it too.
        """
        slot, batch = arguments["slot"], arguments["batch"]
        ledger = self._core.replicator.ledgers.get(slot)
        folded = ledger is not None and batch in ledger.batches and self._fold(slot)
        try:
            row = self._driver.keeping.archive.get(slot, batch)
        except Rotten:
            return None
        if row is not None and ledger is not None and folded and batch in ledger.batches:
            facts = [fact for fact in ledger.base().facts if batch_of(fact.key) == batch]
            row = merged(row, msgspec.structs.replace(row, data=packed(facts)))
        return None if row is None else encoded(row)

    async def mend(self, arguments: dict[str, Any]) -> Any:
        """`{mended}`: whether what was damaged there is sound now."""
        slot, batch = arguments["slot"], arguments["batch"]
        mended = slot >= 0 and (self._fold(slot) if batch == BASE else await self._fetch(slot, batch))
        if mended:
            await self._durable()
        log.warning("a damaged part of the archive was looked for", slot=slot, batch=batch, mended=mended)
        return {"mended": mended}

    def heal(self, slot: int, batch: str) -> None:
        """Mend a row by itself, in the background."""
        if (slot, batch) not in self._healing:
            self._healing.add((slot, batch))
            self._driver.spawn(self._heal(slot, batch))

    async def _heal(self, slot: int, batch: str) -> None:
        try:
            if not (await self.mend({"slot": slot, "batch": batch}))["mended"]:
                await asyncio.sleep(PAUSE)
        finally:
            self._healing.discard((slot, batch))

    def _fold(self, slot: int) -> bool:
        keeping, ledger = self._driver.keeping, self._core.replicator.ledgers.get(slot)
        if ledger is None or ledger.unresolved or not keeping.allowed:
            return False
        keeping.fold(slot)
        return True

    async def _fetch(self, slot: int, batch: str) -> bool:
        """What all others have of it: one alone may have an older one. With ours, which may be folded anew by then."""
        found = list[Row]()
        for node in self._core.ownership.placement.owners(slot):
            if node == self._core.me or node not in self._core.ownership.live():
                continue
            row = await self._row_of(node, slot, batch)
            if row is not None and row.batch == batch:
                found.append(row)
        with contextlib.suppress(Rotten):
            mine = self._driver.keeping.archive.get(slot, batch)
            found += [] if mine is None else [mine]
        if found:
            self._driver.keeping.restore(slot, functools.reduce(merged, found))
        return bool(found)

    async def _row_of(self, node: NodeId, slot: int, batch: str) -> Row | None:
        try:
            data = await self._ask(node, "archived-row", {"slot": slot, "batch": batch})
            return None if data is None else decoded(data)
        except (NoAnswer, Refused, ValueError):
            return None

    async def _durable(self) -> None:
        done = asyncio.Event()
        self._driver.keeping.store()
        self._driver.in_order(lambda: None, done.set)
        await done.wait()
