"""What the plugin tests have in common: data to collect, and readers of what sinks have stored."""

import csv
import functools
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugins.api import CollectContext, CollectRequest, Record, Rejected, ShardPlan
from plugins.testing import RUN, TASK, FolderRoots, Target, plugin_context

DATA = Path(__file__).parents[3] / "shared" / "data"
EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
shared = pytest.mark.shared
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")


def full(**changes: Any) -> CollectRequest:
    return CollectRequest(**{"task": TASK, "run": RUN, **changes})


async def collected(
    make: Callable[[], Any], options: Any, folder: Path, request: CollectRequest | None = None
) -> tuple[list[ShardPlan], list[Record], list[Rejected]]:
    """Plans, records and rejects of a whole run."""
    request = request or full()
    collector = make()
    await collector.initialize(plugin_context(options, roots=FolderRoots(folder)))
    plans = list(await collector.plan(request))
    records: list[Record] = []
    rejected: list[Rejected] = []
    for plan in plans:
        async for batch in collector.collect(CollectContext(request=request, shard=plan)):
            records += batch.records
            rejected += batch.rejected
    await collector.shutdown()
    return plans, records, rejected


def manifest_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "_manifest.json").read_bytes())
    return content


def jsonl_stored(folder: Path) -> list[Record]:
    """The published records; the manifest must agree with the folder."""
    found = manifest_of(folder)
    files = [part["file"] for part in found["parts"]]
    assert sorted(path.name for path in folder.glob("*.jsonl")) == sorted(files)
    records = [json.loads(line) for name in files for line in (folder / name).read_bytes().splitlines()]
    assert found["records"] == len(records)
    return records


def csv_stored(folder: Path) -> list[Record]:
    """As `jsonl_stored`; text only."""
    files = [part["file"] for part in manifest_of(folder)["parts"]]
    assert sorted(path.name for path in folder.glob("*.csv")) == sorted(files)
    records: list[Record] = []
    for name in files:
        with (folder / name).open(newline="") as file:
            records += csv.DictReader(file)
    return records


def typed(records: list[Record]) -> list[Record]:
    """The contract's records again, from text."""
    return [{**r, "id": int(r["id"]), "half": float(r["half"])} for r in records]


def table_stored(file: Path, table: str) -> list[Record]:
    with sqlite3.connect(file) as db:
        db.row_factory = sqlite3.Row
        rows = (
            [dict(row) for row in db.execute('SELECT * FROM "' + table.replace('"', '""') + '"')]
            if _has(db, table)
            else []
        )
    db.close()
    return rows


def _has(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def folder_target(
    base: Path, options: type, read: Callable[[Path], list[Record]], mode: str
) -> Callable[[str], Target]:
    def target(name: str) -> Target:
        return Target(
            options=options(path=name),
            stored=functools.partial(read, base / name),
            roots=FolderRoots(base),
            mode=mode,
        )

    return target
