import bz2
import csv
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugins.api import Range, Record, Since
from plugins.collectors.bench import BenchCollector
from plugins.collectors.csv import CsvCollector
from plugins.collectors.jsonl import JsonlCollector
from plugins.collectors.sql import SqlCollector
from plugins.testing import FolderRoots, check_collector
from tests.plugins.materials import full

ROWS: list[Record] = [
    {
        "id": str(number),
        "at": f"2024-{1 + number % 3:02d}-{1 + number % 28:02d}T10:00:00+02:00" if number % 10 else "NA",
        "text": ["plain", 'a "quoted", field', "two\r\nlines", "naïve\n\nüñí", ""][number % 5],
    }
    for number in range(1, 61)
]
RANGE = Range(field="at", from_="2024-01-01", to="2024-04-01", step="month")
REQUESTS = {
    "full": (full(), ROWS),
    "shards": (full(hints={"shards": 4}), ROWS),
    "range": (full(mode="range", range=RANGE), [row for row in ROWS if row["at"] != "NA"]),
    "gaps": (
        full(mode="range", range=RANGE, ranges=[("2024-01-01", "2024-02-01"), ("2024-03-01", "2024-04-01")]),
        [row for row in ROWS if row["at"].startswith(("2024-01", "2024-03"))],
    ),
    "incremental": (
        full(mode="incremental", since=Since("id", "9")),
        [row for row in ROWS if int(row["id"]) > 9],
    ),
    "inclusive": (
        full(mode="incremental", since=Since("id", 9, inclusive=True)),
        [row for row in ROWS if int(row["id"]) >= 9],
    ),
    "first": (full(mode="incremental", since=Since("id")), ROWS),
}
requests = pytest.mark.parametrize("name", sorted(REQUESTS))


def as_csv(rows: list[Record]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(rows: list[Record]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def check(kind: Any, options: dict[str, Any], folder: Path, name: str) -> None:
    request, expected = REQUESTS[name]
    await check_collector(
        kind,
        kind.Options(**options),
        roots=FolderRoots(folder),
        request=request,
        expected=expected,
        sizes=(3, 1000),
    )


@requests
@pytest.mark.parametrize("suffix", ["", ".gz", ".zip", ".bz2", ".xz"])
async def test_csv(tmp_path: Path, name: str, suffix: str) -> None:
    data = as_csv(ROWS)
    pack: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    if suffix == ".zip":
        with zipfile.ZipFile(tmp_path / "rows.csv.zip", "w") as archive:
            archive.writestr("one.csv", as_csv(ROWS[:20]))
            archive.writestr("two/two.csv", as_csv(ROWS[20:]))
    else:
        (tmp_path / f"rows.csv{suffix}").write_bytes(pack[suffix](data))
    await check(CsvCollector, {"path": f"rows.csv{suffix}"}, tmp_path, name)


@requests
async def test_csv_glob(tmp_path: Path, name: str) -> None:
    (tmp_path / "2024" / "a").mkdir(parents=True)
    (tmp_path / "2024" / "a" / "x.csv").write_bytes(as_csv(ROWS[:7]))
    (tmp_path / "2024" / "y.csv.gz").write_bytes(gzip.compress(as_csv(ROWS[7:30])))
    (tmp_path / "2024" / "z.csv").write_bytes(as_csv(ROWS[30:]))
    await check(CsvCollector, {"path": "data:2024/**/*.csv*"}, tmp_path, name)


@requests
@pytest.mark.parametrize("suffix", ["", ".gz"])
async def test_jsonl(tmp_path: Path, name: str, suffix: str) -> None:
    data = as_jsonl(ROWS)
    (tmp_path / f"rows.jsonl{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    await check(JsonlCollector, {"path": f"rows.jsonl{suffix}"}, tmp_path, name)


@requests
@pytest.mark.parametrize(
    "options",
    [
        {"table": "rows"},
        {"table": "rows", "key": "number"},
        {"table": "rows", "key": "at"},
        {"query": 'SELECT id, at, text FROM "rows";', "key": "id"},
    ],
    ids=["rowid", "key", "ties", "query"],
)
async def test_sql(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    wanted = {**REQUESTS}
    with sqlite3.connect(tmp_path / "rows.db") as db:
        if options.get("key") == "number":
            db.execute("CREATE TABLE rows (id TEXT, at TEXT, text TEXT, number INTEGER)")
            db.executemany("INSERT INTO rows VALUES (:id, :at, :text, :id)", ROWS)
        else:
            db.execute("CREATE TABLE rows (id TEXT, at TEXT, text TEXT)")
            db.executemany("INSERT INTO rows VALUES (:id, :at, :text)", ROWS)
    db.close()
    request, expected = wanted[name]
    if options.get("key") == "number":
        expected = [{**row, "number": int(row["id"])} for row in expected]
    await check_collector(
        SqlCollector,
        SqlCollector.Options(path="rows.db", **options),
        roots=FolderRoots(tmp_path),
        request=request,
        expected=expected,
        sizes=(3, 1000),
    )


async def test_bench() -> None:
    found = await check_collector(
        BenchCollector, BenchCollector.Options(records=20, columns=3, record_bytes=30)
    )
    assert [record["c1"] for record in found] == [str(number) for number in range(20)]
    assert len(found[0]) == 3
    assert await check_collector(BenchCollector, BenchCollector.Options(payload="x" * 200)) == []
