"""An archived batch as a ledger of its own, to look at."""

from pathlib import Path

from node.api.problems import refuse
from state.ledger import Ledger
from state.storage.archive import REMEDY, Row, unpacked


def opened(slot: int, row: Row, path: Path) -> Ledger:
    """Raises Refused, with the path of the archive, where the row is damaged."""
    ledger = Ledger(slot, lambda: 1)
    try:
        ledger.thaw(unpacked(row.data))
    except ValueError:
        raise refuse(500, "damaged", f"{path} is damaged at {row.batch}; {REMEDY}") from None
    return ledger
