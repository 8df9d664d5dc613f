"""Doing without a damaged log file.

What a node applied is in its memory, sound, whatever became of the bytes in its log. So the slots of which anything
lies in the damaged file are folded: their bases are made durable, and the file is put aside, or
let go with those before it.
A crash at any moment leaves the file, or the bases that stand for it. Where a slot cannot be folded now (an archived
batch is awaited), the file stays and the next attempt may do it.

A node mends by itself the file in which it finds damage when it wants to send an envelope from it.
"""

import asyncio
from typing import Any

from structlog import get_logger

from node.serving.driver import Driver

log = get_logger(__name__)


ATTEMPTS = 4
PAUSE = 1.5
"""Seconds between two: archived batches that a slot waits for are looked up every second."""


class Mender:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._busy = asyncio.Lock()
        self._tried: set[int] = set()

    def heal(self, number: int) -> None:
        """Mend a file in which something could not be read; once by itself, then when asked to."""
        if number not in self._tried:
            self._tried.add(number)
            self._driver.spawn(self._heal(number))

    async def _heal(self, number: int) -> None:
        await self.mend({"file": number})

    async def mend(self, arguments: dict[str, Any]) -> Any:
        """`{folded, gone}`: how many slots were folded, and whether the file is out of the log."""
        number = int(arguments["file"])
        folded, gone = 0, False
        async with self._busy:
            for attempt in range(ATTEMPTS):
                await asyncio.sleep(PAUSE if attempt else 0)
                folded += await self._leave(number)
                gone = await self._retire(number)
                if gone:
                    break
        log.warning("a damaged log file was mended", file=number, folded=folded, gone=gone)
        return {"folded": folded, "gone": gone}

    async def _leave(self, number: int) -> int:
        """Nothing is added to the file any more, and nothing in it needed; how many slots were folded."""
        driver = self._driver
        await self._in_order(lambda: driver.log.leave(number))
        slots = await asyncio.to_thread(driver.places.slots_in, number)
        slots = [
            slot
            for slot in slots
            if driver.keeping.allowed and not driver.core.replicator.ledger(slot).unresolved
        ]
        for slot in slots:
            driver.keeping.fold(slot)
            await asyncio.sleep(0)
        driver.keeping.store()
        return len(slots)

    async def _retire(self, number: int) -> bool:
        """Put the file aside, if nothing in it is needed; the log may have let go of it already."""
        driver = self._driver
        await self._in_order(lambda: None)  # what was stored is durable now, and the places are trimmed
        if number in {place.file for place in driver.loader.held()} or driver.places.slots_in(number):
            return False
        await self._in_order(lambda: driver.log.retire(number))
        return number not in driver.log.files()

    async def _in_order(self, work: Any) -> None:
        """On the log's thread, after all that was given to it before."""
        done = asyncio.Event()
        self._driver.in_order(work, done.set)
        await done.wait()
