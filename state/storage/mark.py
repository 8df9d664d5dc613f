"""A mark in the log's folder that programs which know no folds cannot read past.

The log of a folded ledger begins in the middle; what lies before is in the archive. A program that does not know the
archive would take the rest for all there is. So, before the first fold is made durable, a file of number 0 is laid down
that is nothing but the header of log version 2: older programs refuse the folder, with the reason and nothing changed.
"""

from pathlib import Path

from state.storage.log import Unreadable, header
from state.storage.roll import put

FOLDED = 2
MARK = "00000000.log"


def write_mark(folder: Path) -> None:
    """Durable on return. Raises OSError."""
    path = folder / MARK
    if path.exists():
        return
    put(path, header(FOLDED, 0))


def folded(folder: Path) -> bool:
    """Whether the log begins in the middle."""
    return (folder / MARK).exists()


def check_mark(folder: Path) -> None:
    """Raises Unreadable where a later program left its mark; a damaged one is written again with the next fold."""
    path = folder / MARK
    if not path.exists():
        return
    found = path.read_bytes()
    if found == header(FOLDED, 0):
        return
    version = int.from_bytes(found[6:8], "little")
    if version > FOLDED and found == header(version, 0):
        raise Unreadable(f"{path} is the mark of log version {version}; this program reads up to {FOLDED}")
    path.unlink()
