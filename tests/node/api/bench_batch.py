"""What one line of a batch costs the API, over real HTTP, with a mesh that keeps nothing:

    python -m tests.node.api.bench_batch

Prints lines per second of processor time, client and server together. Measured on a 2-core machine that had
other work (Python 3.11, lines of 200 bytes): 44,000 in requests of 50 lines, 78,000 of 500, 88,000 of 10,000.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from node.api.access import Access
from node.client import Client
from node.service import Submitted
from tests.node.api.conftest import Server
from tests.node.api.memory import MemoryService
from tests.node.plugs import registry

LINES = 100_000


class Nowhere(MemoryService):
    """Takes everything and forgets it."""

    async def submit(
        self, specs: Sequence[bytes], *, tenant: str, key: str, durability: int | None, force: bool = False
    ) -> Submitted:
        return Submitted(ids=[f"{key}/{index}" for index in range(len(specs))], created=True, durability=2)


def line(number: int) -> bytes:
    """A task with options of its own, 200 bytes in all."""
    options = {"plugin": "files", "path": f"in/{number}.csv", "delimiter": f"{number:0100d}"}
    return msgspec.json.encode({"source": options, "sink": {"plugin": "log"}, "priority": number % 10})


async def measure(size: int) -> float:
    server = await Server(Nowhere(registry()), Access()).start()
    bodies = [b"\n".join(map(line, range(start, start + size))) for start in range(0, LINES, size)]
    async with Client([server.url]) as client:
        await client.submit_batch(bodies[0])
        start = time.process_time()
        for body in bodies:
            assert (await client.submit_batch(body)).accepted == size
        spent = time.process_time() - start
    await server.stop()
    return LINES / spent


if __name__ == "__main__":
    for size in (50, 500, 10_000):
        print(f"{size:>6} lines a request: {asyncio.run(measure(size)):>9,.0f} lines/s")
