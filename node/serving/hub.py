"""A stream of events, numbered, with a short memory for those who reconnect."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

MEMORY = 10_000
"""Events that are kept for a reconnect; more cost about 300 bytes each."""
QUEUE = 2_000
"""Events a slow listener may be behind; then it gets a reset, as after a gap."""

Event = tuple[int, str, dict[str, Any]]


class Hub:
    """`publish` from the loop; any number of listeners."""

    def __init__(self) -> None:
        self._last = 0
        self._memory: deque[Event] = deque(maxlen=MEMORY)
        self._listeners: set[asyncio.Queue[Event]] = set()

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    def publish(self, kind: str, data: dict[str, Any]) -> None:
        self._last += 1
        event = (self._last, kind, data)
        self._memory.append(event)
        for queue in self._listeners:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait((self._last, "reset", {"reason": "too slow"}))
            else:
                queue.put_nowait(event)

    async def listen(self, *, after: int | None, task: str | None) -> AsyncGenerator[Event | None, None]:
        """Events after `after` (None: from now on), with a "reset" first where some of them are gone. The very first
        item is None: nothing is missed from then on.
        """
        queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE)
        self._listeners.add(queue)
        try:
            missed = self.since(after)
            yield None
            for event in missed:
                if task is None or event[1] == "reset" or event[2].get("task") == task:
                    yield event
            while True:
                event = await queue.get()
                if task is None or event[1] == "reset" or event[2].get("task") == task:
                    yield event
        finally:
            self._listeners.discard(queue)

    async def beyond(self, number: int) -> None:
        """Until there is an event after this one."""
        async with contextlib.aclosing(self.listen(after=number, task=None)) as events:
            async for event in events:
                if event is not None:
                    return

    def since(self, after: int | None) -> list[Event]:
        """What is remembered of the events after `after`; a "reset" where some are gone."""
        if after is None or after == self._last:
            return []
        first = self._memory[0][0] if self._memory else self._last + 1
        if after + 1 < first or after > self._last:
            return [(self._last, "reset", {"reason": "events between are gone"})]
        return [event for event in self._memory if event[0] > after]
