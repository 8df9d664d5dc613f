"""What is kept of a damaged archive, when its node is told to start from what is sound."""

import shutil
import sqlite3
from pathlib import Path

from state.storage.archive import SCHEMA, readable
from state.storage.audit import bad_bases, bad_rows


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
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return None


def _dropped(path: Path, aside: Path) -> list[int]:
    db = sqlite3.connect(path, isolation_level=None)
    db.text_factory = readable
    try:
        if db.execute("pragma integrity_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the pages do not fit together")
        if not db.execute("select 1 from sqlite_master where name = 'archived'").fetchone():
            return []
        db.executescript(SCHEMA)  # an older version's file has no checksums
        bad = {damage.slot for find in (bad_bases, bad_rows) for damage in find(db)}
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
