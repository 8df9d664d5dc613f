"""What leaves memory and the log, and when: folds ledgers, archives batches that are over, brings them back.

Every second the slots that are worth it are folded (`_due`): quiet ones, the largest when all together have grown too
much, and those that keep the oldest file of a long log. A fold costs a millisecond or so of the loop; its base and
rows are made durable on the log's thread, and only then is the log before it let go.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from structlog import get_logger

from node import messages
from node.ageing import Over, over
from node.serving.opened import damaged, opened
from state import base as bases
from state.base import Kept
from state.envelope import Writer
from state.ledger import Change, Ledger
from state.storage.archive import REMEDY, Archive, Rotten, Row, packed, unpacked
from state.storage.mark import write_mark

if TYPE_CHECKING:
    from node.serving.driver import Driver

log = get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two looks."""
AT_ONCE = 64
"""Slots folded in one look; the loop goes round between them."""
EXPIRE_EVERY = 600.0
STRANGER_SECONDS = 600.0
"""How long facts of a batch that nobody knows are kept: its part may still be under way."""
MAX_EARLY = 600.0
"""Seconds until a batch that ended in the future, by another node's clock, is looked at again."""


class Pace(NamedTuple):
    """`quiet`: seconds without a change after which a slot is folded; shorter means more folds of slots that are
    still at work. `settled`: seconds that a batch has been over before it is archived. `growth`: bytes of all slots
    since their last folds; beyond, the largest are folded. `files`: of the log, 64 MB each; beyond, the slots that
    keep the oldest are folded. `retention`: seconds for which unnamed tasks that are over are remembered.
    """

    quiet: float = 30.0
    settled: float = 10.0
    growth: int = 64 << 20
    files: int = 4
    retention: float = 30 * 86_400.0


class Keeping:
    """The driver's part that keeps memory, log and archive in bounds."""

    def __init__(self, driver: "Driver", archive: Archive, pace: Pace) -> None:
        self.driver, self.core, self.archive, self.pace = driver, driver.core, archive, pace
        self.folds = 0
        self._changed: dict[int, float] = {}
        self._floors: dict[int, dict[Writer, int]] = {}
        """Of the bases that are staged"""
        self._early: dict[int, float] = {}
        """Slots folded before all that is over was settled, and when it will be"""
        self._shadowed: dict[tuple[int, str], Row] = {}
        """Rows whose batch is alive again: it is counted there"""
        self._strangers: dict[tuple[int, str], float] = {}
        self._next_expiry = 0.0

    # ---- life

    def load(self) -> None:
        for data in self.archive.bases():
            base = bases.decode(data)
            self.core.replicator.restore(base)
            self.driver.places.trim(base.slot, self.core.replicator.ledger(base.slot).floors)

    def begin(self) -> None:
        """The log is read, nobody has looked at it yet: what is archived and in the log again is one."""
        for slot, ledger in self.core.replicator.ledgers.items():
            for row in self.archive.outlines(slot):
                if row.batch in ledger.batches:
                    self.core.replicator.thaw(slot, self._recall(slot, row.batch))
        now = self.driver.now()
        self._changed = dict.fromkeys(self.core.replicator.ledgers, now)
        self._next_expiry = now
        self.core.recall = self._recall_sound
        self.core.listeners.append(self._note)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                for _ in self.look():
                    await asyncio.sleep(0)
            except Rotten as error:  # what else is due is tried again in a second
                log.error("the archive is damaged", path=self.archive.path, error=str(error), remedy=REMEDY)
            except OSError as error:
                log.error("the archive cannot be read now", error=str(error))

    def look(self) -> Iterator[None]:
        """What is due now, in steps: others may have a turn between them."""
        now = self.driver.now()
        self._look_for_lost(now)
        for slot in self._due(now):
            self.fold(slot)
            yield
        self.store()
        if now >= self._next_expiry:
            self._next_expiry = now + EXPIRE_EVERY
            self._expire()

    def close(self) -> None:
        self.archive.close()

    def _note(self, slot: int, _changes: list[Change], _author: Writer) -> None:
        self.changed(slot)

    def changed(self, slot: int) -> None:
        """The slot is not quiet now."""
        self._changed[slot] = self.driver.now()

    def shadow(self, slot: int, row: Row) -> None:
        """The batch of this row is alive, and counted there."""
        if (slot, row.batch) not in self._shadowed:
            self._shadowed[slot, row.batch] = row
            self.archive.discount(slot, row, -1)

    # ---- folding

    @property
    def allowed(self) -> bool:
        """Whether all nodes of the mesh can do with a base in place of envelopes."""
        return self.core.protocol >= messages.BasePiece.since

    def _due(self, now: float) -> list[int]:
        if not self.allowed:
            return []
        ledgers = self.core.replicator.ledgers
        grown = {slot: ledger.growth for slot, ledger in ledgers.items() if ledger.growth}
        chosen = [slot for slot, at in self._early.items() if now >= at]
        chosen += [slot for slot in grown if now - self._changed.get(slot, now) >= self.pace.quiet]
        if sum(grown.values()) > self.pace.growth:
            chosen += sorted(grown, key=lambda slot: (-grown[slot], slot))
        chosen += self._holding_the_log()
        return [slot for slot in dict.fromkeys(chosen) if not ledgers[slot].unresolved][:AT_ONCE]

    def _holding_the_log(self) -> list[int]:
        try:
            files = len(self.driver.log.files())
        except OSError:  # no file can be opened at the moment, say; the next look is in a second
            return []
        if files <= self.pace.files:
            return []
        oldest = self.driver.places.oldest()
        return [] if not oldest else oldest[min(oldest)]

    def fold(self, slot: int) -> None:
        """Fold the slot; what is over is staged for the archive."""
        ledger = self.core.replicator.ledgers[slot]
        horizon = self.core.table.wall_ms - int(self.pace.settled * 1000)
        ended = {
            name: told for name in list(ledger.batches) if (told := over(self.core, slot, name)) is not None
        }
        early = [told.ended_ms - horizon for told in ended.values() if told.ended_ms > horizon]
        self._early.pop(slot, None)
        if early:
            self._early[slot] = self.driver.now() + min(max(early) / 1000, MAX_EARLY)
        ended = {name: told for name, told in ended.items() if told.ended_ms <= horizon}
        lasting_ms = self.core.table.wall_ms - int(self.pace.retention * 1000)
        gone = [name for name, told in ended.items() if not told.lasting and told.ended_ms < lasting_ms]
        outlines = {name: (ledger.batches[name].tenant, ledger.batches[name].name) for name in ended}
        kept = [name for name in ended if name not in gone]
        rows = self.core.replicator.fold(slot, kept, [*gone, *self._forgotten(slot)])
        for name, facts in rows.items():
            self._archive(slot, name, ended[name], *outlines[name], facts)
        self.stage_base(slot, ledger)
        self.folds += 1

    def _archive(
        self, slot: int, name: str, told: Over, tenant: str, task_name: str | None, facts: list[Kept]
    ) -> None:
        data = packed(facts)
        self.put(slot, Row(name, told.ended_ms, told.lasting, tenant, task_name, told.states, data))

    def put(self, slot: int, row: Row) -> None:
        shadow = self._shadowed.pop((slot, row.batch), None)
        if shadow is not None:
            self.archive.discount(slot, shadow, 1)
        self.archive.stage(slot, row)

    def stage_base(self, slot: int, ledger: Ledger) -> None:
        self.archive.stage_base(slot, bases.encode(ledger.base()))
        self._floors[slot] = dict(ledger.floors)

    def store(self) -> None:
        """Make what is staged durable, then let go of the log before it."""
        if not (self.archive.staged or self._floors):
            return
        floors, self._floors = self._floors, {}

        def done() -> None:
            for slot, authors in floors.items():
                self.driver.places.trim(slot, authors)
            before = self.driver.oldest_needed()
            self.driver.in_order(lambda: self.driver.log.drop(before), lambda: None)

        self.driver.in_order(self._commit, done)

    def _commit(self) -> None:
        write_mark(self.driver.log.folder)
        self.archive.commit()

    def _expire(self) -> None:
        """Drop what has been over for longer than the retention."""
        before = int(self.core.table.wall_ms - self.pace.retention * 1000)
        dropped = self.archive.expired(before)
        for slot, row in dropped:
            shadow = self._shadowed.pop((slot, row.batch), None)
            self.archive.discount(slot, row, -1 if shadow is None else 0)
        if dropped:
            self.driver.in_order(lambda: self.archive.delete(before), lambda: None)
            log.info("batches were dropped, their retention is over", batches=len(dropped))

    # ---- bringing back

    def find(self, slot: int, batch: str) -> Row | None:
        """The archived batch; None where it is alive, or not known."""
        ledger = self.core.replicator.ledgers.get(slot)
        entry = ledger.batches.get(batch) if ledger is not None else None
        return None if entry is not None and entry.parts else self.get(slot, batch)

    def get(self, slot: int, batch: str) -> Row | None:
        """The row of a batch, be it alive or not. Raises Rotten, and then has it mended."""
        try:
            return self.archive.get(slot, batch)
        except Rotten:
            self.driver.on_rot(slot, batch)
            raise

    def outlines(self, slot: int) -> list[Row]:
        """The slot's rows without their data, by name; those that cannot be read are left out, and mended."""
        return self.archive.outlines(slot, lambda batch: self.driver.on_rot(slot, batch))

    def read(self, slot: int, batch: str) -> Ledger | None:
        """A ledger of the archived batch alone, to look at. Raises Refused where it is damaged."""
        try:
            row = self.find(slot, batch)
            return None if row is None else opened(slot, row)
        except Rotten:
            raise damaged(self.archive.path, batch) from None

    def thaw(self, slot: int, batch: str) -> None:
        """Put an archived batch back into the ledger, before something is written about it. Raises Refused where it is
        damaged.
        """
        try:
            if self.find(slot, batch) is None:
                return
            self.core.replicator.thaw(slot, self._recall(slot, batch))
        except Rotten:
            raise damaged(self.archive.path, batch) from None
        self.changed(slot)
        self.driver.kick()

    def _recall(self, slot: int, batch: str) -> list[Kept]:
        """The facts of an archived batch, which counts as alive from here on."""
        row = None if (slot, batch) in self._shadowed else self.get(slot, batch)
        if row is None:
            return []
        facts = unpacked(row.data)
        self.shadow(slot, row)
        return facts

    def _recall_sound(self, slot: int, batch: str) -> list[Kept]:
        """As `_recall`; of a damaged row nothing, until it is mended and `restore`d."""
        with contextlib.suppress(Rotten):
            return self._recall(slot, batch)
        return []

    def restore(self, slot: int, row: Row) -> None:
        """Take a row that another replica has; a batch of which something is alive here is alive again."""
        self.put(slot, row)
        ledger = self.core.replicator.ledgers.get(slot)
        if ledger is not None and row.batch in ledger.batches:
            self.shadow(slot, row)
            self.core.replicator.thaw(slot, unpacked(row.data))

    def _look_for_lost(self, now: float) -> None:
        """Note since when batches are strangers; find whose the new values of archived facts are."""
        strangers, self.core.strangers = self.core.strangers, set()
        for slot, batch in sorted(strangers):
            self._strangers.setdefault((slot, batch), now)
        for slot, ledger in self.core.replicator.ledgers.items():
            if ledger.unresolved:
                self._resolve(slot, ledger)

    def _resolve(self, slot: int, ledger: Ledger) -> None:
        """New values of archived facts: find whose they are; what nobody knows was dropped."""
        for name in self.archive.names(slot):
            with contextlib.suppress(Rotten):
                row = self.find(slot, name)
                if row is not None and any(
                    (f.client, f.clock) in ledger.unresolved for f in unpacked(row.data)
                ):
                    self.thaw(slot, name)
        ledger.unresolved.clear()

    def _forgotten(self, slot: int) -> list[str]:
        """Batches of the slot that nobody has known for long."""
        now, batches = self.driver.now(), self.core.replicator.ledgers[slot].batches
        old = [
            at for at, since in self._strangers.items() if at[0] == slot and now - since > STRANGER_SECONDS
        ]
        for at in old:
            del self._strangers[at]
        return [name for _, name in old if name in batches and not batches[name].parts]
