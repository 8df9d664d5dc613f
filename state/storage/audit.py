"""The archive read again, row by row: what is not what was written."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from state import base as bases
from state.storage.archive import (
    BASE_COLUMNS,
    ROW_COLUMNS,
    Rotten,
    base_sum,
    readable,
    row_of,
    row_sum,
    sound,
    unpacked,
)

BASE = ""
"""Stands for the base of a slot where a batch is named."""


class Damage(NamedTuple):
    """`batch`: or BASE. `slot` -1: of the file as a whole."""

    slot: int
    batch: str
    why: str


class Audit(NamedTuple):
    """`next`: where to go on, None at the end. `rows`: that were read; `size`: their bytes."""

    next: tuple[int, str] | None
    rows: int
    size: int
    damaged: list[Damage]


def audit(path: Path, after: tuple[int, str], limit: int) -> Audit:
    """The next rows after a place; before the first of them all bases, and how the pages fit together."""
    rows, size, damaged = 0, 0, list[Damage]()
    last = after
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        db.text_factory = readable
        try:
            if after < (0, ""):
                damaged += _pages(db)
                damaged += bad_bases(db)
            for slot, columns in _rows(db, after, limit):
                rows, last = rows + 1, (slot, columns[0])
                size += len(columns[6])
                if why := _bad_row(slot, columns):
                    damaged.append(Damage(slot, columns[0], why))
        finally:
            db.close()
    except sqlite3.OperationalError as error:
        raise OSError(f"{path}: {error}") from None
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return Audit(None, rows, size, [*damaged, Damage(-1, BASE, str(error))])
    return Audit(last if rows == limit else None, rows, size, damaged)


def bad_bases(db: sqlite3.Connection) -> Iterator[Damage]:
    for slot, data, sum_ in db.execute(f"select {BASE_COLUMNS}"):
        try:
            bases.decode(data)
            sound(sum_, base_sum(slot, data))
        except (bases.BadBase, Rotten, TypeError) as error:
            yield Damage(slot, BASE, str(error))


def bad_rows(db: sqlite3.Connection) -> Iterator[Damage]:
    for slot, columns in _rows(db, (-1, ""), -1):
        if why := _bad_row(slot, columns):
            yield Damage(slot, columns[0], why)


def _rows(
    db: sqlite3.Connection, after: tuple[int, str], limit: int
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Slot, and the columns of `row_of` with the checksum."""
    query = f"select slot, {ROW_COLUMNS} where (slot, batch) > (?, ?) order by slot, batch limit ?"
    for slot, *columns in db.execute(query, (*after, limit)):
        yield slot, tuple(columns)


def _bad_row(slot: int, columns: tuple[Any, ...]) -> str:
    """Why; empty where it is sound."""
    try:
        row = row_of(columns[:-1])
        unpacked(row.data)
        sound(columns[-1], row_sum(slot, row))
    except (Rotten, TypeError) as error:
        return str(error)
    return ""


def _pages(db: sqlite3.Connection) -> list[Damage]:
    (said,) = db.execute("pragma quick_check(1)").fetchone()
    return [] if said == "ok" else [Damage(-1, BASE, str(said))]
