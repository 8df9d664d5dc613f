"""The event stream: what this node learns, numbered, with a short memory for those who reconnect."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
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

    async def listen(self, *, after: int | None, task: str | None) -> AsyncIterator[Event]:
        """Events after `after` (None: from now on); a "reset" first where some of them are gone."""
        queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE)
        self._listeners.add(queue)
        try:
            for event in self._replay(after):
                if task is None or event[1] == "reset" or event[2].get("task") == task:
                    yield event
            while True:
                event = await queue.get()
                if task is None or event[1] == "reset" or event[2].get("task") == task:
                    yield event
        finally:
            self._listeners.discard(queue)

    def _replay(self, after: int | None) -> list[Event]:
        if after is None or after == self._last:
            return []
        first = self._memory[0][0] if self._memory else self._last + 1
        if after + 1 < first or after > self._last:
            return [(self._last, "reset", {"reason": "events between are gone"})]
        return [event for event in self._memory if event[0] > after]
