"""The second table of an SQLite sink: what a run has committed, until it is published."""
# ruff: noqa: S608 -- identifiers are quoted, values are parameters

import hashlib
import sqlite3

from plugins.api import RunSummary
from plugins.sinks.columns import columns_of, ensure_table, quoted

SHARD = "_collect_shard"
"""the column of a second table that says which shard a row is of"""


def staging(table: str, task: str, run: str) -> str:
    """The table that a run fills until it is published."""
    digest = hashlib.blake2b(f"{task}\0{run}".encode(), digest_size=6).hexdigest()
    return f"{table}__{digest}"


def filled(db: sqlite3.Connection, staged: str) -> set[str]:
    """The shards that have rows in this second table; none if it is not there."""
    if not columns_of(db, staged):
        return set()
    return {shard for (shard,) in db.execute(f"SELECT DISTINCT {SHARD} FROM {quoted(staged)}")}


def move(db: sqlite3.Connection, table: str, staged: str, run: RunSummary, *, replaces: bool) -> None:
    """The staged rows of the run's shards into the table, whose indexes and views stay.

    What is there gives way if the run replaces it, unless the run is an upsert: that has no second table.
    """
    fresh = [name for low, name in columns_of(db, staged).items() if low != SHARD]
    if not fresh and not is_staged(db, table, run):
        return
    if replaces and columns_of(db, table):
        db.execute(f"DELETE FROM {quoted(table)}")
    if not fresh:
        return
    known = ensure_table(db, table, fresh, [])
    target = ", ".join(quoted(known[name.lower()]) for name in fresh)
    source = ", ".join(map(quoted, fresh))
    for shard in sorted(run.shards):
        where = f"FROM {quoted(staged)} WHERE {SHARD} = ?"
        db.execute(f"INSERT INTO {quoted(table)} ({target}) SELECT {source} {where}", (shard,))
        db.execute(f"DELETE {where}", (shard,))
    if not db.execute(f"SELECT 1 FROM {quoted(staged)} LIMIT 1").fetchone():
        db.execute(f"DROP TABLE {quoted(staged)}")


def is_staged(db: sqlite3.Connection, table: str, run: RunSummary) -> bool:
    """Whether the run's shards write to a second table, though none has had a record."""
    found = db.execute(
        "SELECT staged FROM _collect_targets WHERE task = ? AND target = ? AND run = ?",
        (run.task, table, run.run),
    ).fetchone()
    return found is not None and bool(found[0])
