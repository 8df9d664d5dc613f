"""What a discovery proposes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from node.discovery.base import Discovery


@contextlib.asynccontextmanager
async def proposing(discovery: Discovery) -> AsyncIterator[list[tuple[str, ...]]]:
    """What it proposes while it runs."""
    proposed: list[tuple[str, ...]] = []
    task = asyncio.ensure_future(discovery.run(lambda *addresses: proposed.append(addresses)))
    try:
        yield proposed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
