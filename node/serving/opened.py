"""An archived batch as a ledger of its own, to look at."""

from pathlib import Path

from node.api.problems import refuse
from node.service import Refused
from node.stewardship.specs import check
from state.ledger import Ledger
from state.storage.archive import REMEDY, Row, unpacked


def opened(slot: int, row: Row) -> Ledger:
    """Raises Rotten."""
    ledger = Ledger(slot, lambda: 1, check)
    ledger.thaw(unpacked(row.data))
    return ledger


def damaged(path: Path, batch: str) -> Refused:
    """What is answered for a batch whose row is damaged."""
    return refuse(
        500,
        "damaged",
        f"{path} is damaged at {batch}; collect verify --repair takes it from another node, or {REMEDY}",
    )
