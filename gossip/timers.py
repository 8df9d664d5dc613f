"""What is due next. A timer has a key; setting it again replaces it."""

import heapq
from typing import NamedTuple

Key = tuple[str, str | int]
"""The kind of timer, and whom or which sequence it is about ("" where there is one of its kind)."""


class Timer(NamedTuple):
    """Ordered by due time, then by when it was set. span:
    seconds it was set for. again: it was late and got more time.
    """

    due: float
    order: int
    key: Key
    span: float
    again: bool


class Timers:
    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._current: dict[Key, Timer] = {}
        self._order = 0

    def set(self, key: Key, due: float, *, span: float = 0.0, again: bool = False) -> None:
        self._order += 1
        timer = Timer(due, self._order, key, span, again)
        self._current[key] = timer
        heapq.heappush(self._heap, timer)

    def cancel(self, key: Key) -> None:
        self._current.pop(key, None)

    def __contains__(self, key: Key) -> bool:
        return key in self._current

    def clear(self) -> None:
        self._heap.clear()
        self._current.clear()

    def due(self) -> float | None:
        heap, current = self._heap, self._current
        while heap:
            timer = heap[0]
            if current.get(timer.key) is timer:
                return timer.due
            heapq.heappop(heap)
        return None

    def pop(self, now: float) -> Timer | None:
        """The next timer that is due; it is no longer set."""
        due = self.due()
        if due is None or due > now:
            return None
        timer = heapq.heappop(self._heap)
        del self._current[timer.key]
        return timer
