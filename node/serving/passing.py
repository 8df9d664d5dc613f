"""A slot's base and its archived batches, to other replicas and from them.

A replica that lacks what has been folded here is offered the slot: its rows in pieces, then the base, both as they are
after a fold. The base is taken when all rows that it names have come; a transfer that lost a piece is offered again.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from structlog import get_logger

from gossip.identity import NodeId
from node import messages
from node.serving.keeping import Keeping
from sharding.region import valid
from state import base as bases
from state.base import Base
from state.storage.archive import Rotten, Row, merged, unpacked

if TYPE_CHECKING:
    from node.serving.driver import Driver

log = get_logger(__name__)

PIECE = 1 << 20
"""Bytes of one message of rows or of a base."""
MAX_BASE = 256 << 20

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Row)


def encoded(row: Row) -> bytes:
    return _encoder.encode(row)


def decoded(data: bytes) -> Row:
    """Raises ValueError for what is no sound row."""
    try:
        row = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    unpacked(row.data)
    return row


class _Coming(NamedTuple):
    """A transfer under way. `names`: of the rows that have come."""

    serial: int
    data: bytearray
    names: set[str]


class Passing:
    """The driver's part that hands slots over."""

    def __init__(self, driver: "Driver", keeping: Keeping) -> None:
        self._driver, self._core, self._keeping = driver, driver.core, keeping
        self._coming: dict[tuple[NodeId, int], _Coming] = {}
        self._offers: asyncio.Queue[tuple[NodeId, int]] = asyncio.Queue()
        self._offered: set[tuple[NodeId, int]] = set()
        self._serial = 0

    def takes_bases(self, to: NodeId) -> bool:
        return self._core.protocol_of(to) >= messages.BasePiece.since

    def offer(self, to: NodeId, slot: int) -> None:
        """Send the slot's archive and base, one slot after the other."""
        if (to, slot) not in self._offered and self.takes_bases(to):
            self._offered.add((to, slot))
            self._offers.put_nowait((to, slot))

    async def run(self) -> None:
        while True:
            to, slot = await self._offers.get()
            self._offered.discard((to, slot))
            try:
                await self._send(to, slot)
            except (Rotten, OSError) as error:  # the slot is asked for again
                log.error("a slot could not be handed over", to=to, slot=slot, error=str(error))

    async def _send(self, to: NodeId, slot: int) -> None:
        for message in self.transfer(slot):
            for _ in range(50):
                if self._driver.send(to, message) or to not in self._core.ownership.live():
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(0)

    def transfer(self, slot: int) -> Iterable[messages.Message]:
        """The rows in pieces, then the base; both as they are after a fold. Raises Rotten, OSError."""
        ledger = self._core.replicator.ledgers.get(slot)
        if ledger is None or ledger.unresolved:
            return
        self._keeping.fold(slot)
        names = self._keeping.archive.names(slot)
        data = bases.encode(ledger.base([name for name in names if name not in ledger.batches]))
        self._keeping.store()
        self._serial += 1
        serial = self._serial
        rows: list[tuple[str, bytes]] = []
        size = 0
        for name in names:
            row = self._keeping.get(slot, name)  # one that is damaged is being mended
            if row is None:
                continue
            rows.append((name, encoded(row)))
            size += len(row.data)
            if size > PIECE:
                yield messages.Archived(slot, serial, rows)
                rows, size = [], 0
        if rows:
            yield messages.Archived(slot, serial, rows)
        for at in range(0, len(data), PIECE):
            yield messages.BasePiece(slot, serial, at, len(data), data[at : at + PIECE])

    def received(self, sender: NodeId, message: messages.Archived | messages.BasePiece) -> None:
        try:
            if isinstance(message, messages.Archived):
                self._take_rows(message, self._transfer(sender, message))
            else:
                self._take_piece(sender, message)
        except (ValueError, msgspec.DecodeError) as error:
            self._driver.dropped += 1
            log.warning("a base was dropped", sender=sender, error=str(error))

    def _transfer(self, sender: NodeId, message: messages.Archived | messages.BasePiece) -> _Coming:
        """The transfer that the message belongs to; a later one takes the place of an earlier."""
        coming = self._coming.get((sender, message.slot))
        if coming is None or coming.serial != message.serial:
            coming = self._coming[sender, message.slot] = _Coming(message.serial, bytearray(), set())
        return coming

    def _take_rows(self, message: messages.Archived, coming: _Coming) -> None:
        for name, data in message.rows:
            row = decoded(data)
            if row.batch != name or not valid(message.slot, self._core.config.slots):
                raise ValueError(f"row of {row.batch!r} under the name {name!r}")
            coming.names.add(name)
            with contextlib.suppress(Rotten):  # then theirs alone is taken
                mine = self._keeping.archive.get(message.slot, name)
                row = row if mine is None else merged(mine, row)
            self._keeping.restore(message.slot, row)

    def _take_piece(self, sender: NodeId, piece: messages.BasePiece) -> None:
        coming = self._transfer(sender, piece)
        if len(coming.data) != piece.offset:
            return  # a piece was lost; the base is offered again
        if len(coming.data) + len(piece.data) > min(piece.size, MAX_BASE):
            raise ValueError("base larger than announced")
        coming.data.extend(piece.data)
        if len(coming.data) == piece.size:
            del self._coming[sender, piece.slot]
            base = bases.decode(bytes(coming.data))
            if coming.names.issuperset(base.archived):
                self._adopt(base, piece.slot)

    def _adopt(self, base: Base, slot: int) -> None:
        """Take the base; it is on the disk before anything that stands on it is acknowledged."""
        if base.slot != slot or not valid(slot, self._core.config.slots):
            raise bases.BadBase(f"base of slot {base.slot} under {slot}")
        ledger = self._core.replicator.ledger(slot)
        alive = [name for name in base.archived if name in ledger.batches]
        rows = {
            name: unpacked(row.data) for name in alive if (row := self._keeping.get(slot, name)) is not None
        }
        self._core.replicator.adopt(base, rows)
        self._keeping.stage_base(slot, ledger)
        self._keeping.changed(slot)
        self._keeping.store()
        self._driver.kick()
