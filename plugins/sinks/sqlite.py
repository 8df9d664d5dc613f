"""A table of an SQLite file. Records and position are written in one transaction.

The table and its columns are made as records bring them; columns have no type, so values stay what they are
(true and false become 1 and 0, lists and objects JSON text). Beside it stand the sink's own tables:

    _collect_positions   (task, target, run, shard): the shard's position (NULL: it was given up unpublished), how many
                         records it has brought, and the highest value of the field that the host follows
    _collect_targets     (task, target): the newest run that has opened it, the one that was published last

`target` is the table. A run fences the ones before it: once a newer run of the task has opened the table, an
older one, still running somewhere, cannot commit. `upsert` writes into the table at once and never deletes
rows. `append`, `replace`, and any run of a new generation, fill a second table, which says of each row the
shard it is of; publishing moves the rows of the shards that are done, in one transaction, beside what is
there or in its place. A run that was published with some of its shards may be published again with more.
"""
# ruff: noqa: S608 -- identifiers are quoted, values are parameters

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from plugins import ordering
from plugins.api import (
    Batch,
    Effect,
    Permanent,
    PluginContext,
    Position,
    PositionMoved,
    Record,
    RecordError,
    Retryable,
    RunSummary,
    SinkContext,
)
from plugins.options import InvalidOption
from plugins.sinks.columns import columns_of, ensure_table, has_rows, quoted
from plugins.sinks.own_tables import lay
from plugins.sinks.staged import SHARD, filled, is_staged, move, staging

BUSY = 30.0
"""seconds to wait for another writer of the file; every shard of a run is one"""


class SqliteSinkOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`path`: the file, as `root:relative`; made if missing. `table`: made if missing."""

    path: str
    table: str

    def __post_init__(self) -> None:
        if not self.table or "\0" in self.table or self.table.lower().startswith(("sqlite_", "_collect_")):
            raise InvalidOption(
                "table", "is no name for a table", allowed="a name not of sqlite_ or _collect_"
            )


class SqliteSink:
    """Rows of an SQLite table: upsert by key, append or replace; each record exactly once."""

    effect = Effect.EXACTLY_ONCE
    modes = frozenset({"upsert", "append", "replace"})
    Options = SqliteSinkOptions

    def __init__(self) -> None:
        self.held = 0
        self.high: Any = None
        self._db: sqlite3.Connection | None = None
        self._rows: list[Record] = []
        self._position: Position = None
        self._staged = False
        self._closed = False
        self._busy = threading.Lock()  # a cancelled commit goes on in its thread; shutdown waits for it

    @staticmethod
    def paths(options: SqliteSinkOptions) -> tuple[str, ...]:
        return (options.path,)

    async def initialize(self, context: PluginContext) -> None:
        self._path = context.options.path
        self._file = context.roots.resolve(self._path)
        self._table = context.options.table

    async def open(self, context: SinkContext) -> Position:
        """Raises Permanent if a newer run of the task has opened the table before."""
        return await asyncio.to_thread(self._open, context)

    async def write(self, batch: Batch) -> None:
        await self.check(batch)
        self._rows += batch.records

    async def check(self, batch: Batch) -> None:
        for record in batch.records:
            self._check(record)

    async def commit(self, expected: Position, to: Position) -> None:
        await asyncio.to_thread(self._locked_commit, expected, to)

    async def publish(self, run: RunSummary) -> None:
        await asyncio.to_thread(self._publish, run)

    async def shutdown(self) -> None:
        await asyncio.to_thread(self._close)

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self._file, timeout=BUSY, isolation_level=None, check_same_thread=False
            )
            with self._transaction() as db:
                lay(db)
        return self._db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writing transaction; errors of the database become the contract's."""
        try:
            db = self._db or self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Exception:
        message = f"{self._path}, table {self._table}: {error}"
        if isinstance(error, sqlite3.IntegrityError):
            return Permanent(f"{message}; the table has rules that these records break", code="sink-refused")
        code = getattr(error, "sqlite_errorname", "")
        if code == "SQLITE_READONLY_DBMOVED":
            return Retryable(f"{self._path}: the file was removed while it was written", code="sink-lost")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return Retryable(f"{message}; another program holds the file", code="sink-busy")
        if code.startswith("SQLITE_FULL"):
            return Retryable(f"{message}; the disk is full", code="disk-full")
        if code.startswith(
            ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")
        ):
            return Permanent(message, code="sink-unwritable")
        return Retryable(message, code="sink-io")

    def _open(self, context: SinkContext) -> Position:
        if context.mode == "upsert" and not context.key:
            raise Permanent("sink sqlite: upsert needs key, the fields that name a record", code="options")
        self._context = context
        with self._transaction() as db:
            if context.mode != "upsert":
                self._claim(db)
            self._fence(db)
            published = db.execute(
                "SELECT published_generation FROM _collect_targets WHERE task = ? AND target = ?",
                (context.task, self._table),
            ).fetchone()[0]
            newer = published is not None and context.generation > published
            self._staged = context.mode != "upsert" or newer
            self._target = staging(self._table, context.task, context.run) if self._staged else self._table
            db.execute(
                "UPDATE _collect_targets SET staged = ? WHERE task = ? AND target = ? AND run = ?",
                (self._staged, context.task, self._table, context.run),
            )
            db.execute(
                "INSERT OR IGNORE INTO _collect_positions (task, target, run, shard, position, records)"
                " VALUES (?, ?, ?, ?, 'null', 0)",
                self._place(),
            )
            self._position, self.held, self.high = self._stored(db)
        return self._position

    def _claim(self, db: sqlite3.Connection) -> None:
        """Without a key a table has one task only: nothing tells its rows from another's."""
        task = self._context.task
        other = db.execute(
            "SELECT task FROM _collect_targets WHERE target = ? AND task <> ?", (self._table, task)
        ).fetchone()
        if other is not None:
            raise Permanent(
                f"table {self._table!r} of {self._path!r} holds the result of task {other[0]}, "
                f"task {task} cannot write there; give it another table, or use upsert with a key",
                code="table-taken",
            )

    def _fence(self, db: sqlite3.Connection) -> None:
        """Take the table for this run, or find that a newer one has it."""
        task, mine = self._context.task, (self._context.generation, self._context.run)
        row = db.execute(
            "SELECT generation, run FROM _collect_targets WHERE task = ? AND target = ?", (task, self._table)
        ).fetchone()
        if row is not None and _order(row) > _order(mine):
            raise Permanent(
                f"run {mine[1]} was followed by run {row[1]}, which writes now", code="superseded"
            )
        if row is None or _order(row) < _order(mine):
            db.execute(
                "INSERT INTO _collect_targets (task, target, generation, run) VALUES (?, ?, ?, ?) ON CONFLICT"
                " DO UPDATE SET generation = excluded.generation, run = excluded.run",
                (task, self._table, *mine),
            )

    def _stored(self, db: sqlite3.Connection) -> tuple[Position, int, Any]:
        row = db.execute(
            "SELECT position, records, coalesce(high, 'null') FROM _collect_positions"
            " WHERE task = ? AND target = ? AND run = ? AND shard = ?",
            self._place(),
        ).fetchone()
        if row is None or row[0] is None:
            return None, 0, None
        return msgspec.json.decode(row[0]), row[1], msgspec.json.decode(row[2])

    def _place(self) -> tuple[str, str, str, str]:
        return (self._context.task, self._table, self._context.run, self._context.shard)

    def _check(self, record: Record) -> None:
        """Raises RecordError for what no row can hold."""
        for field in self._context.key:
            if record.get(field) is None:
                raise RecordError(record, f"the key field {field!r} is missing or null", code="key")
        for name, value in record.items():
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise RecordError(record, f"{name!r} is beyond 64 bits", code="value")
            if not name or "\0" in name or name.lower() == SHARD:
                raise RecordError(record, f"{name!r} is no name for a column", code="column")

    def _locked_commit(self, expected: Position, to: Position) -> None:
        with self._busy:
            if self._closed:
                raise Permanent("the sink was shut down before the commit began", code="plugin")
            self._commit(expected, to)

    def _close(self) -> None:
        with self._busy:
            self._closed, self._rows = True, []
            if self._db is not None:
                self._db.close()
                self._db = None

    def _commit(self, expected: Position, to: Position) -> None:
        rows = [{name: _value(value) for name, value in record.items()} for record in self._rows]
        self._rows = []
        with self._transaction() as db:
            self._fence(db)
            found, held, _ = self._stored(db)
            if encoded(found) != encoded(expected):
                raise PositionMoved(found)
            if encoded(to) == encoded(expected) and not rows:
                return
            if rows:
                self._insert(db, rows)
            db.execute(
                "INSERT OR REPLACE INTO _collect_positions (task, target, run, shard, position, records, high)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*self._place(), encoded(to).decode(), held + len(rows), encoded(self.high).decode()),
            )
        self._position, self.held = to, held + len(rows)

    def _insert(self, db: sqlite3.Connection, rows: list[Record]) -> None:
        key, upsert = list(self._context.key), self._context.mode == "upsert"
        if self._staged:
            rows = [{**row, SHARD: self._context.shard} for row in rows]
        fields = list(dict.fromkeys(name for row in rows for name in row))
        columns = ensure_table(db, self._target, fields, key if upsert else [])
        names = ", ".join(quoted(columns[name.lower()]) for name in fields)
        statement = f"INSERT INTO {quoted(self._target)} ({names}) VALUES ({', '.join('?' * len(fields))})"
        if upsert:
            rest = [quoted(columns[name.lower()]) for name in fields if name not in key]
            change = (
                f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in rest)}" if rest else "NOTHING"
            )
            statement += f" ON CONFLICT ({', '.join(map(quoted, key))}) DO {change}"
        db.executemany(statement, ([row.get(name) for name in fields] for row in rows))

    def _publish(self, run: RunSummary) -> None:
        with self._transaction() as db:
            row = db.execute(
                "SELECT published_generation, published FROM _collect_targets WHERE task = ? AND target = ?",
                (run.task, self._table),
            ).fetchone()
            before = None if row is None or row[1] is None else row
            mine = (run.generation, run.run)
            if before is not None and _order(before) > _order(mine):
                self._refuse_late(db, run, before)
                return
            self._look(db, run)
            again = before is not None and _order(before) == _order(mine)
            newer = before is not None and before[0] < run.generation
            replaces = (run.replaces or newer) and not again
            if replaces and before is not None and not run.complete:
                return
            staged = staging(self._table, run.task, run.run)
            fills = columns_of(db, staged) or is_staged(db, self._table, run)
            if replaces and before is None and fills and has_rows(db, self._table):
                raise Permanent(
                    f"table {self._table!r} of {self._path!r} has rows of its own, which a full run would delete; "
                    "give it another table, or empty this one, and retry",
                    code="table-taken",
                )
            move(db, self._table, staged, run, replaces=replaces)
            self._remember(db, run)

    def _refuse_late(self, db: sqlite3.Connection, run: RunSummary, before: tuple[int, str]) -> None:
        """A newer run was published: raises Permanent if rows of this one would be missing beside its own."""
        if run.replaces or before[0] != run.generation:
            return
        given_up = db.execute(
            "SELECT shard FROM _collect_positions"
            " WHERE task = ? AND target = ? AND run = ? AND position IS NULL",
            (run.task, self._table, run.run),
        ).fetchall()
        waiting = filled(db, staging(self._table, run.task, run.run))
        if not waiting.union(shard for (shard,) in given_up).isdisjoint(run.shards):
            raise Permanent(
                f"{self._path}, table {self._table}: run {run.run} was followed by run {before[1]}, which was "
                "published first; what it collected was given up: submit the task again",
                code="superseded",
            )

    def _look(self, db: sqlite3.Connection, run: RunSummary) -> None:
        """Raises Retryable if a shard has left no trace, and records are missing: somebody removed the file.

        Either alone may be: older programs leave no row of an empty shard, of several sinks each refuses others.
        """
        found = dict(
            db.execute(
                "SELECT shard, records FROM _collect_positions WHERE task = ? AND target = ? AND run = ?",
                (run.task, self._table, run.run),
            )
        )
        lost = sorted({*run.shards} - {*found})
        if lost and sum(found.values()) < run.records:
            raise Retryable(
                f"{self._path}, table {self._table}: what the run has committed there (shard {lost[0]}) was removed; "
                "put it back and retry, or submit the task again",
                code="sink-lost",
            )

    def _remember(self, db: sqlite3.Connection, run: RunSummary) -> None:
        db.execute(
            "INSERT INTO _collect_targets (task, target, generation, run, published_generation, published)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " published_generation = excluded.published_generation, published = excluded.published",
            (run.task, self._table, run.generation, run.run, run.generation, run.run),
        )
        older = db.execute(
            "SELECT DISTINCT run FROM _collect_positions WHERE task = ? AND target = ?",
            (run.task, self._table),
        ).fetchall()
        for (name,) in older:
            if _order((0, name)) < _order((0, run.run)):
                self._give_up(db, run, name)

    def _give_up(self, db: sqlite3.Connection, run: RunSummary, older: str) -> None:
        """Nothing stays of an older run but the places of shards whose rows were not published: see `_refuse_late`."""
        staged, place = staging(self._table, run.task, older), (run.task, self._table, older)
        for shard in () if run.replaces else filled(db, staged):
            db.execute(
                "UPDATE _collect_positions SET position = NULL"
                " WHERE task = ? AND target = ? AND run = ? AND shard = ?",
                (*place, shard),
            )
        db.execute(f"DROP TABLE IF EXISTS {quoted(staged)}")
        db.execute(
            "DELETE FROM _collect_positions"
            " WHERE task = ? AND target = ? AND run = ? AND position IS NOT NULL",
            place,
        )


def encoded(position: Position) -> bytes:
    return msgspec.json.encode(position, order="deterministic")


def _order(run: tuple[int, str]) -> tuple[int, Any, str]:
    return (run[0], ordering.parse(run[1]), run[1])


def _value(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value
