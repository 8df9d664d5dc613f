"""The keeping that ships, on the simulated disk: an archive in memory, whose commits come in the order of the log."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gossip.identity import NodeId
from node import messages
from node.serving.keeping import Keeping, Pace
from node.serving.passing import Passing
from state.envelope import Writer
from state.ledger import Ledger
from state.storage.archive import Archive, Row

if TYPE_CHECKING:
    from node.serving.driver import Driver
    from tests.sim.node import SimNode

PACE = Pace(quiet=3.0, settled=1.0, growth=1 << 20, files=0)


class SimArchive:
    """As `state.storage.archive`: what is staged is seen at once, and lost at a crash before its commit."""

    path = Path("archive.sqlite")

    def __init__(self, node: "SimNode") -> None:
        self._content = node.disk.content
        self._rows: dict[tuple[int, str], Row] = dict(self._content.rows)
        self._bases: dict[int, bytes] = {}
        self._staged: set[tuple[int, str]] = set()
        self.counts: dict[int, Counter[tuple[str, str]]] = {}

    @property
    def staged(self) -> bool:
        return bool(self._bases or self._staged)

    def stage(self, slot: int, row: Row) -> None:
        self._rows[slot, row.batch] = row
        self._staged.add((slot, row.batch))

    def stage_base(self, slot: int, data: bytes) -> None:
        self._bases[slot] = data

    def take(self) -> Callable[[], None]:
        """What a commit of all that is staged now will do."""
        bases, rows = self._bases, {at: self._rows[at] for at in self._staged}
        self._bases, self._staged = {}, set()

        def commit() -> None:
            self._content.bases.update(bases)
            self._content.rows.update(rows)

        return commit

    def expired(self, before_ms: int) -> list[tuple[int, Row]]:
        return [
            (slot, row)
            for (slot, _), row in self._rows.items()
            if not row.lasting and row.ended_ms < before_ms
        ]

    def discount(self, slot: int, row: Row, sign: int) -> None:
        """Nobody counts here."""

    def bases(self) -> Iterator[bytes]:
        yield from (data for _, data in sorted(self._content.bases.items()))

    def get(self, slot: int, batch: str) -> Row | None:
        return self._rows.get((slot, batch))

    def outlines(self, slot: int, _rotten: object = None) -> list[Row]:
        return [row for (at, _), row in sorted(self._rows.items()) if at == slot]

    def names(self, slot: int) -> list[str]:
        return sorted(batch for at, batch in self._rows if at == slot)


class _Files:
    def files(self) -> dict[int, int]:
        return {}

    def drop(self, before: int) -> None:
        """`SimDriver.trim` has done it."""


class SimDriver:
    """What the keeping asks of its driver. The log lets go of each record as soon as its base is durable."""

    def __init__(self, node: "SimNode") -> None:
        self._node = node
        self.core = node.core
        self.places = self
        self.log = _Files()
        self.dropped = 0

    def now(self) -> float:
        return self._node.now

    def kick(self) -> None:
        self._node.flush()

    def send(self, to: NodeId, message: messages.Message) -> bool:
        self._node.send(to, message)
        return True

    def in_order(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        keeping = getattr(work, "__self__", None)
        commit = cast("SimArchive", keeping.archive).take() if isinstance(keeping, SimKeeping) else work
        self._node.in_order(commit, done)

    def trim(self, slot: int, floors: Mapping[Writer, int]) -> None:
        self._node.disk.let_go(slot, floors)

    def oldest_needed(self) -> int:
        return 0

    def oldest(self) -> dict[int, list[int]]:
        return {}


class SimKeeping(Keeping):
    def __init__(self, node: "SimNode") -> None:
        self._node = node
        super().__init__(cast("Driver", SimDriver(node)), cast("Archive", SimArchive(node)), PACE)
        self._passing = Passing(self.driver, self)
        self._opened: dict[tuple[int, str], tuple[Row, Ledger | None]] = {}

    def read(self, slot: int, batch: str) -> Ledger | None:
        """As it ships, but each row is opened once: checkers look often."""
        row = self.find(slot, batch)
        if row is None:
            return None
        opened = self._opened.get((slot, batch))
        if opened is None or opened[0] is not row:
            opened = self._opened[slot, batch] = (row, super().read(slot, batch))
        return opened[1]

    def offer(self, to: NodeId, slot: int) -> None:
        if self._passing.takes_bases(to):
            for message in self._passing.transfer(slot):
                self._node.send(to, message)

    def look_once(self) -> None:
        for _ in self.look():
            pass

    def received(self, sender: NodeId, message: Any) -> None:
        dropped = self.driver.dropped
        self._passing.received(sender, message)
        assert self.driver.dropped == dropped, "a base that a node made is refused by another"
