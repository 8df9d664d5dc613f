"""What happens next in virtual time: a queue of callbacks, with no real time in it."""

import heapq
from collections.abc import Callable


class Timer:
    """A scheduled callback; `cancel` keeps it from running."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """now: virtual seconds. What is due at the same time runs in the order in which it was scheduled."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._queue: list[tuple[float, int, Timer]] = []
        self._order = 0

    def schedule(self, at: float, callback: Callable[[], None]) -> Timer:
        """A time in the past means now."""
        self._order += 1
        timer = Timer(callback)
        heapq.heappush(self._queue, (max(at, self.now), self._order, timer))
        return timer

    def after(self, delay: float, callback: Callable[[], None]) -> Timer:
        return self.schedule(self.now + delay, callback)

    def run_until(self, end: float) -> None:
        """Runs all that is due up to and at `end`, where time then stands."""
        queue = self._queue
        while queue and queue[0][0] <= end:
            at, _, timer = heapq.heappop(queue)
            callback = timer.callback
            if callback is not None:
                self.now = at
                timer.callback = None
                callback()
        self.now = max(self.now, end)

    def run_for(self, seconds: float) -> None:
        self.run_until(self.now + seconds)

    def run_while(self, condition: Callable[[], bool], *, limit: float, step: float = 0.01) -> float:
        """Runs until the condition is false, looked at each `step`; the seconds it took, at most `limit`."""
        start = self.now
        while condition() and self.now - start < limit:
            self.run_for(step)
        return self.now - start
