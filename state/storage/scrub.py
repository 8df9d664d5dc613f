"""Reading a log again beside the node that writes it: which bytes are not what was written."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from state.storage.log import Log

RUN = 1000
"""Records between two pauses."""


class Wound(NamedTuple):
    """Bytes `[offset, end)` of a file are not a sound record."""

    path: Path
    offset: int
    end: int


def numbers(log: Log) -> list[int]:
    """The files of the log, oldest first."""
    return sorted(log.files())


def scrub(log: Log, number: int, pause: Callable[[], None]) -> tuple[int, list[Wound]]:
    """How many bytes of the file were read, and the wounds; a file that is gone meanwhile has none."""
    try:
        scan = log.scan(number)
    except FileNotFoundError:
        return 0, []
    wounds: list[Wound] = []
    while True:
        for count, _ in enumerate(scan.records(), 1):
            if count % RUN == 0:
                pause()
        if scan.complete():
            return len(scan.data), wounds
        resumed = scan.resume(scan.end)
        wounds.append(Wound(scan.path, scan.end, len(scan.data) if resumed is None else resumed))
        if resumed is None:
            return len(scan.data), wounds
        scan.end = resumed
