"""What is folded, on disk: the base of each slot, and the batches that are over, with all their facts.

One SQLite file a node. Writes are staged (`stage`, `stage_base`) and become durable in `commit`, on the log's thread
and in its order, so that no envelope that stands on a base is acknowledged before the base itself; reads see what is
staged. A row is kept until its retention is over; rows of named tasks stay.

SQLite does not notice a bit that has turned, so each base and row has a checksum, in a table of its own (`sums`).
Versions before it write without: triggers take the checksum of what they replace away, so that none is ever stale.
"""

import contextlib
import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from xxhash import xxh3_64_digest

from state.base import Kept
from state.storage.log import Unreadable

VERSION = 1
REMEDY = (
    "stop this node and start it with --salvage: what is sound is kept, and the rest fetched from other nodes"
)
SCHEMA = """
create table if not exists base (slot integer primary key, data blob not null);
create table if not exists archived (
    slot integer not null, batch text not null, ended_ms integer not null, lasting integer not null,
    tenant text not null, name text, states blob not null, data blob not null, primary key (slot, batch)
);
create index if not exists archived_age on archived (lasting, ended_ms);
create table if not exists sums (
    slot integer not null, batch text not null, sum blob not null, primary key (slot, batch)
);
create trigger if not exists base_put after insert on base begin
    delete from sums where slot = new.slot and batch = '';
end;
create trigger if not exists archived_put after insert on archived begin
    delete from sums where slot = new.slot and batch = new.batch;
end;
create trigger if not exists archived_gone after delete on archived begin
    delete from sums where slot = old.slot and batch = old.batch;
end;
"""


BASE_COLUMNS = "base.slot, data, sum from base left join sums on sums.slot = base.slot and batch = ''"
_ROW = "batch, ended_ms, lasting, tenant, name, states, data"
ROW_COLUMNS = f"{_ROW}, sum from archived left join sums using (slot, batch)"


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A batch that is over. `states`: how many of its tasks are in which state. `lasting`: no retention ends it.
    `data`: see `packed`.
    """

    batch: str
    ended_ms: int
    lasting: bool
    tenant: str
    name: str | None
    states: dict[str, int]
    data: bytes


class Rotten(ValueError):
    """What is stored is not what was written."""


_kept = msgspec.msgpack.Decoder(list[Kept])
_states = msgspec.msgpack.Decoder(dict[str, int])


def packed(facts: Sequence[Kept]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(list(facts)), 1)


def unpacked(data: bytes) -> list[Kept]:
    """Raises Rotten for what `packed` did not make."""
    try:
        return _kept.decode(zlib.decompress(data))
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rotten(f"not an archived batch: {error}") from None


def readable(text: bytes) -> str:
    """What is no UTF-8 any more can be read, and has another checksum."""
    return text.decode("utf-8", "replace")


def base_sum(slot: int, data: bytes) -> bytes:
    return xxh3_64_digest(msgspec.msgpack.encode((slot, data)))


def row_sum(slot: int, row: Row) -> bytes:
    return xxh3_64_digest(msgspec.msgpack.encode((slot, row)))


def sound(sum_: bytes | None, computed: bytes) -> None:
    """Raises Rotten where a checksum was written and is another."""
    if sum_ is not None and sum_ != computed:
        raise Rotten("its checksum is wrong")


def merged(mine: Row, theirs: Row) -> Row:
    """Both rows' facts; of a key that both have the newer value."""
    facts = {fact.key: fact for fact in unpacked(mine.data)}
    for fact in unpacked(theirs.data):
        known = facts.get(fact.key)
        if known is None or known.seq < fact.seq:
            facts[fact.key] = fact
    later = max(mine, theirs, key=lambda row: row.ended_ms)
    return msgspec.structs.replace(later, data=packed([facts[key] for key in sorted(facts)]))


class Archive:
    """Used by two threads: `commit` on the log's, everything else on the loop's. `counts`: slot -> (tenant, state) ->
    tasks. Raises Unreadable when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[int, Counter[tuple[str, str]]] = {}
        self._staged: dict[tuple[int, str], Row] = {}
        self._bases: dict[int, bytes] = {}
        self._lock = threading.Lock()
        try:
            self._reader, self._writer = self._open(), self._open()
            self._begin()
            for slot, tenant, states in self._reader.execute("select slot, tenant, states from archived"):
                self._count(slot, tenant, _states.decode(states), 1)
        except sqlite3.OperationalError as error:
            raise Unreadable(f"{path}: {error}") from None
        except (sqlite3.DatabaseError, msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
            raise Unreadable(f"{path} is damaged ({error}); {REMEDY}") from None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        connection.text_factory = readable
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")
        return connection

    def _begin(self) -> None:
        (version,) = self._writer.execute("pragma user_version").fetchone()
        if version > VERSION:
            raise Unreadable(f"{self.path} has version {version}; this program reads up to {VERSION}")
        summed = self._writer.execute("select 1 from sqlite_master where name = 'archived_gone'").fetchone()
        if version < VERSION or not summed:  # a start that is refused for another reason changes nothing
            self._writer.executescript(SCHEMA)
            self._writer.execute(f"pragma user_version={VERSION}")

    # ---- writing

    def stage(self, slot: int, row: Row) -> None:
        """Put the row in, over an older one."""
        try:
            before = self.get(slot, row.batch)
        except Rotten:
            before = row  # what is damaged now was counted, as what replaces it
        if before is not None:
            self._count(slot, before.tenant, before.states, -1)
        self._count(slot, row.tenant, row.states, 1)
        with self._lock:
            self._staged[slot, row.batch] = row

    def stage_base(self, slot: int, data: bytes) -> None:
        with self._lock:
            self._bases[slot] = data

    def commit(self) -> None:
        """Make all that is staged durable. Raises OSError, and it stays staged."""
        with self._lock:
            rows, bases = dict(self._staged), dict(self._bases)
        try:
            self._writer.execute("begin immediate")
            self._writer.executemany("insert or replace into base values (?, ?)", bases.items())
            self._writer.executemany(
                "insert or replace into archived values (?, ?, ?, ?, ?, ?, ?, ?)",
                ((slot, *_columns(row)) for (slot, _), row in rows.items()),
            )
            sums = [(slot, "", base_sum(slot, data)) for slot, data in bases.items()]
            sums += [(*at, row_sum(at[0], row)) for at, row in rows.items()]
            self._writer.executemany("insert or replace into sums values (?, ?, ?)", sums)
            self._writer.execute("commit")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("rollback")
            busy = isinstance(error, sqlite3.OperationalError)
            raise OSError(
                f"{self.path}: {error}" if busy else f"{self.path} is damaged ({error}); {REMEDY}"
            ) from None
        with self._lock:
            self._staged = {at: row for at, row in self._staged.items() if rows.get(at) is not row}
            self._bases = {slot: data for slot, data in self._bases.items() if bases.get(slot) is not data}

    @property
    def staged(self) -> bool:
        """Whether anything waits to be durable."""
        return bool(self._staged or self._bases)

    def expired(self, before_ms: int) -> list[tuple[int, Row]]:
        """`(slot, row without data)` of what ended before and does not last, as far as it can be read."""
        found = self._read(
            "select slot, batch, ended_ms, lasting, tenant, name, states, x'' from archived"
            " where lasting = 0 and ended_ms < ?",
            before_ms,
        )
        rows = list[tuple[int, Row]]()
        for slot, *columns in found:
            with contextlib.suppress(Rotten):
                rows.append((slot, row_of(columns)))
        return rows

    def delete(self, before_ms: int) -> None:
        """Drop what `expired` names. On the log's thread. Raises OSError."""
        try:
            self._writer.execute("delete from archived where lasting = 0 and ended_ms < ?", (before_ms,))
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: {error}") from None

    def discount(self, slot: int, row: Row, sign: int) -> None:
        """A row's tasks are counted elsewhere for a while (-1), or here again (1)."""
        self._count(slot, row.tenant, row.states, sign)

    def _count(self, slot: int, tenant: str, states: dict[str, int], sign: int) -> None:
        counts = self.counts.setdefault(slot, Counter())
        for state, number in states.items():
            counts[tenant, state] += sign * number

    # ---- reading

    def bases(self) -> Iterator[bytes]:
        """As they are on the disk, by slot. Raises Rotten."""
        for (slot,) in self._read("select slot from base order by slot"):
            for _, data, sum_ in self._read(f"select {BASE_COLUMNS} where base.slot = ?", slot):
                sound(sum_, base_sum(slot, data))
                yield data

    def get(self, slot: int, batch: str) -> Row | None:
        """Raises Rotten."""
        with self._lock:
            staged = self._staged.get((slot, batch))
        if staged is not None:
            return staged
        found = self._stored(slot, batch)
        if found is None:
            return None
        row, sum_ = row_of(found[:-1]), found[-1]
        if sum_ is None:
            unpacked(row.data)
        sound(sum_, row_sum(slot, row))
        return row

    def _stored(self, slot: int, batch: str) -> tuple[Any, ...] | None:
        found = self._read(f"select {ROW_COLUMNS} where slot = ? and batch = ?", slot, batch)
        return found[0] if found else None

    def _read(self, query: str, *arguments: int | str) -> list[tuple[Any, ...]]:
        """Raises Rotten where the pages of the file do not fit together, OSError where it cannot be read now."""
        try:
            return self._reader.execute(query, arguments).fetchall()
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from None
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise Rotten(str(error)) from None

    def outlines(self, slot: int, rotten: Callable[[str], None] = lambda _: None) -> list[Row]:
        """The slot's rows without their data, by name. `rotten`: told the names of those that cannot be read."""
        found = self._read(
            "select batch, ended_ms, lasting, tenant, name, states, x'' from archived where slot = ?", slot
        )
        rows: dict[str, Row] = {}
        for columns in found:
            try:
                rows[columns[0]] = row_of(columns)
            except Rotten:
                rotten(columns[0])
        with self._lock:
            rows |= {batch: row for (at, batch), row in self._staged.items() if at == slot}
        return [rows[batch] for batch in sorted(rows)]

    def names(self, slot: int) -> list[str]:
        found = {batch for (batch,) in self._read("select batch from archived where slot = ?", slot)}
        with self._lock:
            found |= {batch for at, batch in self._staged if at == slot}
        return sorted(found)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def _columns(row: Row) -> Iterable[object]:
    states = msgspec.msgpack.encode(row.states)
    return (row.batch, row.ended_ms, int(row.lasting), row.tenant, row.name, states, row.data)


def row_of(found: Sequence[Any]) -> Row:
    """Of the columns from `batch` to `data`. Raises Rotten."""
    batch, ended_ms, lasting, tenant, name, states, data = found
    try:
        return Row(batch, ended_ms, bool(lasting), tenant, name, _states.decode(states), bytes(data))
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise Rotten(f"no row of the archive: {error}") from None
