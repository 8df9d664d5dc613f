"""Tables, views and queries of an SQLite file, read by key.

Positions are keys: a page holds all rows with `last < key <= k`, so equal keys are never torn apart and a
shard goes on exactly behind the last one. The key is `key`, else the only primary key column, else the rowid.
A full or incremental run fixes the highest key when it is planned; rows added later belong to the next run.
Range and incremental compare the field as `plugins.ordering` does, whatever type the column has.

Values are JSON: a BLOB becomes base64 text, an infinite number its name.
"""
# ruff: noqa: S608 -- identifiers are quoted, values are parameters

import asyncio
import base64
import math
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from plugins.api import (
    Batch,
    CollectContext,
    CollectRequest,
    Permanent,
    PluginContext,
    Position,
    Record,
    Rejected,
    Retryable,
    ShardPlan,
)
from plugins.collectors.files import MOST_SHARDS, Selection, check_field, range_slices, selection_of
from plugins.options import InvalidOption, nearest

ROWID = "rowid"
LONGEST = 1 << 26
"""bytes of a row, as of a line of a file. SQLite itself makes values of 1 GB: one such in a page took 7.6 GB."""
PAGE = 1 << 26
"""bytes of the values of a page; where more come, pages get fewer rows"""


class SqlOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`path`: the file, as `root:relative`. Either `table` (or view) or `query`, a SELECT that yields `key`.

    `key`: a column that is never null; best unique and indexed. `stream`: a label for the records.
    """

    path: str
    table: str | None = None
    query: str | None = None
    key: str | None = None
    stream: str = ""

    def __post_init__(self) -> None:
        if (self.table is None) == (self.query is None):
            raise InvalidOption("table", "either table or query must be given", remedy="give one of the two")
        if self.query is not None and not self.key:
            raise InvalidOption(
                "key", "is missing", remedy="name the column of the query that orders its rows"
            )


class SqlCollector:
    """Rows of a database file, in shards by key; full, incremental and range."""

    modes = frozenset({"full", "incremental", "range"})
    Options = SqlOptions

    @staticmethod
    def paths(options: SqlOptions) -> tuple[str, ...]:
        return (options.path,)

    async def initialize(self, context: PluginContext) -> None:
        self._options: SqlOptions = context.options
        self._roots = context.roots
        self._source: Source | None = None

    async def plan(self, request: CollectRequest) -> Sequence[ShardPlan]:
        return await asyncio.to_thread(self._plan, request)

    async def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        """Pages of about `batch_records` rows; a filtered page may have no records."""
        source = await asyncio.to_thread(self._opened)
        selection = selection_of(context)
        position = context.resume
        low, end = context.shard.start if position is None else position, context.shard.end
        count = context.batch_records
        while True:
            high = await asyncio.to_thread(source.next_key, low, end, count)
            if high is None:
                return
            try:
                records, rejected = await asyncio.to_thread(source.page, low, high, selection)
            except Wide:
                if count == 1:
                    raise
                count = -(-count // 10)
                continue
            yield Batch(
                stream=self._options.stream,
                records=records,
                start=position,
                end=high,
                bytes=sum(map(len, records)) * 10,
                rejected=rejected,
            )
            position = low = high

    async def shutdown(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _opened(self) -> "Source":
        if self._source is None:
            self._source = Source(self._roots.resolve(self._options.path), self._options)
        return self._source

    def _plan(self, request: CollectRequest) -> list[ShardPlan]:
        source = self._opened()
        low, high = source.bounds()
        if request.mode == "range":
            if request.range is not None:
                check_field(request.range.field, source.columns, source.name)
            return [
                ShardPlan(key=f"{index:04d}", end=high, covers=covers)
                for index, covers in enumerate(range_slices(request))
            ]
        if request.since is not None:
            check_field(request.since.field, source.columns, source.name)
        wanted = max(1, min(int(request.hints.get("shards") or 1), MOST_SHARDS))
        cuts: list[Any] = []
        if type(low) is int and type(high) is int:
            cuts = sorted({low - 1 + (high - low + 1) * part // wanted for part in range(1, wanted)})
            cuts = [cut for cut in cuts if low <= cut < high]
        return [
            ShardPlan(key=f"{index:04d}", start=start, end=end)
            for index, (start, end) in enumerate(zip([None, *cuts], [*cuts, high], strict=True))
        ]


class Garbled(Permanent):
    """Some text is not UTF-8."""


class Wide(Permanent):
    """A page has more bytes than it may."""


class Source:
    """One table or query over one read-only connection. Every error is a CollectError that names it."""

    def __init__(self, file: Path, options: SqlOptions) -> None:
        self.name = options.table or "query"
        if not file.is_file():
            raise Permanent(
                f"path {options.path!r}: no such file; check the path and the root", code="source-missing"
            )
        self._busy = threading.Lock()
        self._db = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=30)
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        try:
            self._describe(options)
        except sqlite3.Error as error:
            self.close()
            raise self._failure(error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends what is under way in another thread, whose reader has been cancelled."""
        self._db.interrupt()
        with self._busy:
            self._db.close()

    def bounds(self) -> tuple[Any, Any]:
        """The lowest and highest key; None without rows. Raises Permanent for keys that cannot order rows."""
        key = self._key
        if self._rows(f"SELECT 1 FROM {self._from} WHERE {key} IS NULL LIMIT 1"):
            raise Permanent(f"{self.name}: the key {key} is null in some rows; choose another", code="key")
        (low, high), *_ = self._rows(f"SELECT min({key}), max({key}) FROM {self._from}")
        for bound in (low, high):
            if isinstance(bound, bytes):
                raise Permanent(f"{self.name}: the key {key} holds BLOBs; choose another", code="key")
            if isinstance(bound, float) and not math.isfinite(bound):
                raise Permanent(
                    f"{self.name}: the key {key} is infinite in some rows; choose another", code="key"
                )
        return low, high

    def next_key(self, low: Position, end: Position, count: int) -> Any:
        """The key of the row `count` rows behind `low`, or of the last up to `end`; None: no more."""
        where, values = self._between(low, end)
        ordered = f"SELECT {self._key} AS k FROM {self._from} {where} ORDER BY {self._key}"
        rows = self._rows(f"SELECT max(k) FROM ({ordered} LIMIT {int(count)})", values)
        return rows[0][0]

    def page(
        self, low: Position, high: Position, selection: Selection | None
    ) -> tuple[list[Record], list[Rejected]]:
        """The rows with `low < key <= high`, in the order of the key; apart those whose text is no UTF-8."""
        where, values = self._between(low, high)
        if selection is not None:
            check_field(selection.field, self.columns, self.name)
            keep = selection.keep
            self._db.create_function("collect_keep", 1, lambda value: bool(keep(value)), deterministic=True)
            where += (
                f" AND collect_keep({quoted(selection.field)})"
                if where
                else f"WHERE collect_keep({quoted(selection.field)})"
            )
        names = ", ".join(map(quoted, self.columns))
        statement = f"SELECT {names} FROM {self._from} {where} ORDER BY {self._key}"
        try:
            rows, broken = self._rows(statement, values), list[Any]()
        except Garbled:
            rows, broken = _parted(self._rows(statement, values, text=_escaped))
        return [self._record(row) for row in rows], [
            Rejected(raw=self._record(row), reason=f"{self.name}: not utf-8 text", code="encoding")
            for row in broken
        ]

    def _record(self, row: Sequence[Any]) -> Record:
        return dict(zip(self.columns, map(_json, row), strict=True))

    def _between(self, low: Position, end: Position) -> tuple[str, list[Any]]:
        tests = [(f"{self._key} > ?", low), (f"{self._key} <= ?", end)]
        used = [(test, value) for test, value in tests if value is not None]
        return ("WHERE " + " AND ".join(test for test, _ in used)) if used else "", [
            value for _, value in used
        ]

    def _describe(self, options: SqlOptions) -> None:
        self._db.execute("PRAGMA query_only = ON")
        if options.table is not None:
            known = [
                row[0]
                for row in self._db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
            ]
            if options.table not in known:
                near = nearest(options.table, known)
                hint = f"did you mean {near}?" if near else f"it has: {', '.join(sorted(known))}"
                raise Permanent(
                    f"{options.path}: has no table {options.table!r}; {hint}", code="source-missing"
                )
            self._from = quoted(options.table)
        else:
            self._from = f"({(options.query or '').strip().rstrip(';')}\n)"  # the last line may be a comment
        self.columns = [
            item[0] for item in self._db.execute(f"SELECT * FROM {self._from} LIMIT 0").description
        ]
        if options.key is None or (options.key.lower() == ROWID and options.key not in self.columns):
            self._key = self._own_key(options.table or "", rowid=options.key is not None)
        else:
            check_field(options.key, self.columns, self.name)
            self._key = quoted(options.key)

    def _own_key(self, table: str, *, rowid: bool) -> str:
        described = self._db.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
        primary = [row[1] for row in described if row[5]]
        if len(primary) == 1 and not rowid:
            return quoted(primary[0])
        try:
            self._db.execute(f"SELECT {ROWID} FROM {self._from} LIMIT 0")
        except sqlite3.Error:
            primary = []
        else:
            if not self._db.execute(
                "SELECT 1 FROM sqlite_master WHERE type = 'view' AND name = ?", (table,)
            ).fetchone():
                return ROWID
        raise Permanent(f"{self.name}: has no key of one column; name one with key", code="key")

    def _rows(
        self, statement: str, values: Sequence[Any] = (), *, text: Callable[[bytes], str] = str
    ) -> list[Any]:
        try:
            with self._busy:
                self._db.text_factory = text
                return self._held(self._db.execute(statement, values))
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _held(self, rows: sqlite3.Cursor) -> list[Any]:
        found, size = list[Any](), 0
        for row in rows:
            size += sum(len(value) for value in row if isinstance(value, str | bytes))
            if size > PAGE:
                raise Wide(
                    f"{self.name}: the rows of one key are larger than {PAGE} bytes; choose another key",
                    code="source-refused",
                )
            found.append(row)
        return found

    def _failure(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR")):
            return Retryable(f"{self.name}: {error}", code="source-busy")
        if str(error).startswith("Could not decode"):
            return Garbled(f"{self.name}: {error}", code="encoding")
        if code == "SQLITE_TOOBIG":
            return Permanent(f"{self.name}: a row is longer than {LONGEST} bytes", code="source-refused")
        return Permanent(f"{self.name}: {error}", code="source-refused")


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _escaped(raw: bytes) -> str:
    """Bytes that do not decode become lone surrogates (PEP 383)."""
    return raw.decode("utf-8", "surrogateescape")


def _parted(rows: list[Any]) -> tuple[list[Any], list[Any]]:
    """The rows whose text decoded, and the others, with a mark in place of each byte that did not."""
    shown = [
        [
            value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            if isinstance(value, str)
            else value
            for value in row
        ]
        for row in rows
    ]
    pairs = [(tuple(row), tuple(seen)) for row, seen in zip(rows, shown, strict=True)]
    return [row for row, seen in pairs if row == seen], [seen for row, seen in pairs if row != seen]


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
