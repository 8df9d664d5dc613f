"""What is kept of a damaged archive, when its node is told to start from what is sound."""

import shutil
import sqlite3
from pathlib import Path

from state import base as bases
from state.storage.archive import unpacked


def rescue(path: Path) -> list[int] | None:
    """The slots that were dropped: one with a base or a batch that cannot be read loses all, for other nodes send a
    slot as a whole. None: the file is no archive any more, a new one begins. What was there stays as `NAME.damaged`.

    Raises OSError, with the file as it was.
    """
    if not path.exists():
        return []
    aside = path.with_name(f"{path.name}.damaged")
    try:
        return _dropped(path, aside)
    except sqlite3.OperationalError as error:
        raise OSError(f"{path}: {error}") from None
    except sqlite3.DatabaseError:
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return None


def _dropped(path: Path, aside: Path) -> list[int]:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        if db.execute("pragma integrity_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the pages do not fit together")
        if not db.execute("select 1 from sqlite_master where name = 'archived'").fetchone():
            return []
        bad = {slot for slot, data in db.execute("select slot, data from base") if not _base(data)}
        bad |= {slot for slot, data in db.execute("select slot, data from archived") if not _batch(data)}
        if bad:
            db.execute("pragma wal_checkpoint(truncate)")
            shutil.copyfile(path, aside)
            db.execute("begin immediate")
            for table in ("base", "archived"):
                db.executemany(f"delete from {table} where slot = ?", [(slot,) for slot in bad])  # noqa: S608 -- of two
            db.execute("commit")
        return sorted(bad)
    finally:
        db.close()


def _base(data: bytes) -> bool:
    try:
        bases.decode(data)
    except bases.BadBase:
        return False
    return True


def _batch(data: bytes) -> bool:
    try:
        unpacked(data)
    except ValueError:
        return False
    return True
