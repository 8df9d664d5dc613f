"""Runs many short jobs on one event loop with no asyncio task for each.

A lane is an asyncio task that runs one job after the other. While jobs end without ever suspending, one
lane runs them all; a job that suspends keeps its lane, and another lane takes the next. So there are as
many lanes as jobs that wait for something, and a job always has a proper task around it (time-outs,
cancellation).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from node.execution.control import TURN, Turn

T = TypeVar("T")

BUSY = 8
"""jobs that wait for nothing but their turn; with that many, another lane would only make the turns rarer"""


class Lanes(Generic[T]):
    """`run(job, task)` must not raise; `task` is the asyncio task around it (asking asyncio for it costs 5 us a
    job). `turn`: when it is over, the loop goes round before the next job.
    """

    def __init__(self, run: Callable[[T, "asyncio.Task[None]"], Awaitable[None]], turn: Turn) -> None:
        self._run = run
        self._turn = turn
        self._queue: deque[T] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = False
        """a lane will look at the queue before the loop waits for anything"""
        self._watched = False

    def add(self, item: T) -> None:
        self._queue.append(item)
        self._open()

    async def join(self) -> None:
        """Until no job is queued or running."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cancel(self) -> None:
        """Cut off every job, and forget what is queued."""
        self._queue.clear()
        for task in self._tasks:
            task.cancel()

    def _open(self) -> None:
        if not self._ready:
            self._ready = True
            task = asyncio.get_running_loop().create_task(self._lane())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _lane(self) -> None:
        turn, task = self._turn, asyncio.current_task()
        assert task is not None
        while self._queue:
            item = self._queue.popleft()
            self._ready = False
            self._watch()
            await self._run(item, task)
            if turn.over():
                self._ready = True
                await turn.pass_on()
        self._ready = False

    def _watch(self) -> None:
        """When this lane suspends within its job, the loop gets to `_look` and opens another."""
        if not self._watched:
            self._watched = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._watched = False
        if self._queue and len(self._turn) < BUSY:
            self._open()
        elif self._queue:
            self._watched = True
            asyncio.get_running_loop().call_later(TURN, self._look)
