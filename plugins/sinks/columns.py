"""Columns of an SQLite table, which are made as records bring them."""
# ruff: noqa: S608 -- identifiers are quoted

import sqlite3
from collections.abc import Iterable

from plugins.api import Permanent


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def columns_of(db: sqlite3.Connection, table: str) -> dict[str, str]:
    """The table's columns by their lower-case name; empty if there is no such table."""
    return {name.lower(): name for _, name, *_ in db.execute(f"PRAGMA table_info({quoted(table)})")}


def has_rows(db: sqlite3.Connection, table: str) -> bool:
    """Whether there is such a table, and a row in it."""
    return bool(columns_of(db, table)) and bool(
        db.execute(f"SELECT 1 FROM {quoted(table)} LIMIT 1").fetchone()
    )


def ensure_table(db: sqlite3.Connection, table: str, fields: Iterable[str], key: list[str]) -> dict[str, str]:
    """Make the table, its missing columns and the unique index that an upsert needs; its columns."""
    wanted = list(dict.fromkeys([*key, *fields]))
    if len({name.lower() for name in wanted}) < len(wanted):
        raise Permanent("two fields differ only in case, which columns of a table may not", code="column")
    found = columns_of(db, table)
    if not found and wanted:
        db.execute(f"CREATE TABLE {quoted(table)} ({', '.join(map(quoted, wanted))})")
    for name in wanted:
        if found and name.lower() not in found:
            db.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(name)}")
    if key:
        index = quoted(f"{table}__by__{'__'.join(key)}")
        db.execute(
            f"CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {quoted(table)} ({', '.join(map(quoted, key))})"
        )
    return columns_of(db, table)
