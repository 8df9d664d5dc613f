"""How fast a shard may go: GCRA, the leaky bucket that needs one number (ITU-T I.371, generic cell rate
algorithm).
"""

import asyncio
from collections.abc import Awaitable, Callable


class Unlimited:
    """No limit."""

    async def take(self, amount: float = 1) -> None:
        pass


class Gcra:
    """At most `rate` units per second, with no burst: `amount` units push the next turn back by amount /
    rate.

    Hence in any window of T seconds at most rate * T units and one `take` more. `clock`: seconds, monotonic.
    `sleep`: waits that many seconds; both injected by tests.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = 1 / rate
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    def pace(self, rate: float) -> None:
        """Another rate from here on; turns that were given stay."""
        self._interval = 1 / rate

    async def take(self, amount: float = 1) -> None:
        """Wait for the turn of `amount` units. A wait that is cancelled gives its units back, if it was
        the last.
        """
        turn = max(self._next, self._clock())
        self._next = after = turn + amount * self._interval
        try:
            while (wait := turn - self._clock()) > 0:
                await self._sleep(wait)
        except BaseException:
            if self._next == after:
                self._next = turn
            raise
