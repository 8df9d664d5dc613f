"""A timer that judges its own lateness before anything is judged by it.

With the answer already in the socket buffer and the loop blocked for 0.2 s, a plain timer declared a false
time-out 25 times of 30; one that checks its lateness, drains the input and re-arms, never. So a timer that
comes late by more than max(50 ms, 10 % of its delay) first reports it, and fires `GRACE` later, once: the
receiving thread of the transport was late as well and needs that moment.
"""

import asyncio
from collections.abc import Callable

TOLERANCE = 0.05  # seconds
SHARE = 0.1  # of the delay
GRACE = 0.05  # seconds


class Alarm:
    """`on_due` is called at the time given; `on_late` (seconds late) before that, when it came late."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        *,
        on_due: Callable[[], None],
        on_late: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._on_due = on_due
        self._on_late = on_late
        self._handle: asyncio.TimerHandle | None = None
        self._wanted: float | None = None
        self._due = 0.0
        self._delay = 0.0
        self._not_before: float | None = None
        self.lag = 0.0
        """seconds that the last firing was late"""

    def set(self, due: float | None) -> None:
        """Fire at `due` (of the clock) instead of what was set before; None: not at all."""
        if due == self._wanted and self._handle is not None:
            return  # do not arm anew: its lateness would be forgotten
        self.cancel()
        self._wanted = due
        if due is None:
            return
        now = self._clock()
        self._due = max(due, self._not_before or due)
        self._delay = max(0.0, self._due - now)
        if due < now and self._not_before is None:
            self._due = now  # set in the past: that is the setter's lateness, not the loop's
        self._handle = self._loop.call_later(self._delay, self._fire)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self.lag = max(0.0, self._clock() - self._due)
        if self._not_before is None and self.lag > max(TOLERANCE, SHARE * self._delay):
            self._postpone()
            return
        self._not_before = None
        self._on_due()

    def _postpone(self) -> None:
        self._not_before = self._clock() + GRACE
        self.set(self._not_before)
        self._on_late(self.lag)
