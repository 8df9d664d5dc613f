"""This node's log against its memory: every record is read from the disk again, a little at a time."""

import asyncio
import time
from typing import Any

from node.serving.driver import Driver
from state import envelope
from state.envelope import BadEnvelope
from state.storage.log import Damaged, Location
from state.storage.scrub import numbers, scrub

SLICE = 2000
"""Envelopes of one answer; about 20 ms of reading."""
BREATH = 0.002
"""Seconds between two runs of records: the loop's thread has the interpreter meanwhile."""


Entry = tuple[int, str, int, Location]
"""`(slot, author, seq)` of an envelope that this node applied, and where its log has it."""


class DiskCheck:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def log(self, arguments: dict[str, Any]) -> Any:
        """The envelopes after `at`: `{next, envelopes, bytes, damaged: [[slot, author, seq, file, offset, why]]}`."""
        slot, author, seq = arguments["at"]
        entries = self._driver.places.after((slot, author, seq), SLICE)
        size, damaged = await asyncio.to_thread(self._read, entries)
        following = list(entries[-1][:3]) if len(entries) == SLICE else None
        return {"next": following, "envelopes": len(entries), "bytes": size, "damaged": damaged}

    async def files(self, arguments: dict[str, Any]) -> Any:
        """The first log file after `after`: `{next, bytes, wounds: [[number, path, offset, end]]}`."""
        log = self._driver.log
        number = next((found for found in numbers(log) if found > arguments["after"]), None)
        if number is None:
            return {"next": None, "bytes": 0, "wounds": []}
        size, wounds = await asyncio.to_thread(scrub, log, number, lambda: time.sleep(BREATH))
        return {
            "next": number,
            "bytes": size,
            "wounds": [[number, str(w.path), w.offset, w.end] for w in wounds],
        }

    async def behind(self, _: dict[str, Any]) -> Any:
        """What is on the disk and not applied, for want of an earlier envelope."""
        return [list(found) for found in self._driver.behind()]

    def _read(self, entries: list[Entry]) -> tuple[int, list[list[Any]]]:
        size, damaged = 0, []
        for number, (slot, author, seq, place) in enumerate(entries, 1):
            found, why = self._look(slot, author, seq, place)
            size += found
            if why:
                damaged.append([slot, author, seq, *place, why])
            if number % 500 == 0:
                time.sleep(BREATH)
        return size, damaged

    def _look(self, slot: int, author: str, seq: int, place: Location) -> tuple[int, str]:
        """How many bytes lie there, and what is wrong with them."""
        try:
            data = self._driver.log.read(place)
            item = envelope.decode(data)
        except FileNotFoundError:
            return 0, ""  # folded meanwhile: the file was let go
        except (Damaged, BadEnvelope, OSError) as error:
            return 0, str(error)
        other = (item.slot, item.author, item.seq) != (slot, author, seq)
        return len(data), "another envelope lies there" if other else ""
