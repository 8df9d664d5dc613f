"""What runs beside everything else for as long as the node does. A part that fails is never silent."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from structlog import get_logger

log = get_logger(__name__)


class Background:
    """Coroutines on the running loop, until `stop`. One that ends by itself is no failure; one that raises is told."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=repr(coroutine))
        task.add_done_callback(_tell)
        self._tasks.append(task)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _tell(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical(
            "a part of this node has failed; restart it",
            part=task.get_name(),
            error=repr(error),
            exc_info=error,
        )
