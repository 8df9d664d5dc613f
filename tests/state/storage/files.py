"""Real log files for the tests of storage."""

import struct
from pathlib import Path

from state.storage.log import Location, Log

HEADER = struct.calcsize("<6sHQ")
RECORD = struct.calcsize("<IBQ")


def read_all(folder: Path, *, salvage: bool = False) -> tuple[Log, list[bytes]]:
    """Open the log; it, and its payloads in order."""
    found: list[bytes] = []

    def keep(payload: bytes, _: Location) -> None:
        found.append(payload)

    return Log.open(folder, keep, salvage=salvage), found


def written(folder: Path, payloads: list[bytes], *, closed: bool = False) -> Path:
    """A log of one file with these records; unless `closed` as a crash after the last sync leaves it."""
    log, _ = read_all(folder)
    log.append(payloads)
    log.sync()
    path = folder / "00000001.log"
    data = path.read_bytes()
    log.close()
    if not closed:
        path.write_bytes(data)
    return path


def starts(payloads: list[bytes]) -> list[int]:
    """The offset of each record, and of the end."""
    at = [HEADER]
    for payload in payloads:
        at.append(at[-1] + RECORD + len(payload))
    return at
