"""What the disks of stopped nodes hold, read without the node: the independent side of a comparison."""

import itertools
import shutil
import tempfile
from pathlib import Path

from state import base, envelope
from state.envelope import Envelope, Writer
from state.ledger import Ledger
from state.storage.archive import Archive
from state.storage.log import Log


def read(data: Path) -> dict[int, Ledger]:
    """The ledgers in the archive and the log of this data directory, which is not changed."""
    found: dict[tuple[int, str], dict[int, Envelope]] = {}

    def take(payload: bytes, _: object) -> None:
        item = envelope.decode(payload)
        found.setdefault((item.slot, item.author), {}).setdefault(item.seq, item)

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(data / "log", copy / "log")
        for path in data.glob("archive.sqlite*"):
            shutil.copy(path, copy)
        Log.open(copy / "log", take).close()
        archive = Archive(copy / "archive.sqlite")
        found_bases = [base.decode(data) for data in archive.bases()]
        archive.close()
    ids = itertools.count(1 << 40)
    ledgers: dict[int, Ledger] = {}
    for beginning in found_bases:
        ledgers[beginning.slot] = Ledger(beginning.slot, lambda: next(ids))
        ledgers[beginning.slot].adopt(beginning)
    for (slot, author), items in sorted(found.items()):
        ledger = ledgers.setdefault(slot, Ledger(slot, lambda: next(ids)))
        first = ledger.heads.get(Writer(author), 0) + 1
        for seq in itertools.takewhile(items.__contains__, itertools.count(first)):
            ledger.apply(items[seq])
    return ledgers


def contents(data: Path) -> dict[int, tuple[dict[str, int], bytes]]:
    """slot -> (heads, content hash)."""
    return {
        slot: ({str(author): head for author, head in ledger.heads.items()}, ledger.content_hash())
        for slot, ledger in read(data).items()
    }
