"""What the disks of stopped nodes hold, read without the node: the independent side of a comparison."""

import itertools
import shutil
import tempfile
from pathlib import Path

from state import envelope
from state.envelope import Envelope
from state.ledger import Ledger
from state.storage.log import Log


def read(data: Path) -> dict[int, Ledger]:
    """The ledgers in the log of this data directory, which is not changed."""
    found: dict[tuple[int, str], dict[int, Envelope]] = {}

    def take(payload: bytes, _: object) -> None:
        item = envelope.decode(payload)
        found.setdefault((item.slot, item.author), {}).setdefault(item.seq, item)

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "log")
        shutil.copytree(data / "log", copy)
        Log.open(copy, take).close()
    ids = itertools.count(1 << 40)
    ledgers: dict[int, Ledger] = {}
    for (slot, _), items in sorted(found.items()):
        ledger = ledgers.setdefault(slot, Ledger(slot, lambda: next(ids)))
        for seq in itertools.takewhile(items.__contains__, itertools.count(1)):
            ledger.apply(items[seq])
    return ledgers


def contents(data: Path) -> dict[int, tuple[dict[str, int], bytes]]:
    """slot -> (heads, content hash)."""
    return {
        slot: ({str(author): head for author, head in ledger.heads.items()}, ledger.content_hash())
        for slot, ledger in read(data).items()
    }
