"""The tables that an SQLite sink keeps for itself, beside those of its users; what they hold: see `sqlite`."""

import sqlite3

_TABLES = (
    """CREATE TABLE IF NOT EXISTS _collect_positions (
    task TEXT, target TEXT, run TEXT, shard TEXT, position TEXT, records INTEGER, high TEXT,
    PRIMARY KEY (task, target, run, shard)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS _collect_targets (
    task TEXT, target TEXT, generation INTEGER, run TEXT, staged INTEGER,
    published_generation INTEGER, published TEXT,
    PRIMARY KEY (task, target)) WITHOUT ROWID""",
)


def lay(db: sqlite3.Connection) -> None:
    """Make them, or bring those that an older program made up to date."""
    for statement in _TABLES:
        db.execute(statement)
    known = {name for _, name, *_ in db.execute("PRAGMA table_info(_collect_positions)")}
    if "high" not in known:
        db.execute("ALTER TABLE _collect_positions ADD COLUMN high TEXT")
