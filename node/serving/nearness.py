"""How near this node is to a task's target: the time of a TCP connect, measured when asked and remembered.

The address is held against the same rules as the plugins' (`plugins.http`), so nobody can look at a private network
through this, and nothing is ever sent to the target.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from plugins.http import NetworkRules

T = TypeVar("T")

REMEMBERED = 300.0
"""Seconds for which a measurement is good: routes change seldom."""
MAX_REMEMBERED = 512
AT_ONCE = 8
"""Measurements under way; what is beyond waits, and its time-out with it."""
WITHIN = 1.0
"""Seconds; a target that takes longer is not near."""


class Remembered(Generic[T]):
    """The newest answers by key, bounded in number and age."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._found: OrderedDict[tuple[str, int], tuple[float, T]] = OrderedDict()

    def get(self, key: tuple[str, int]) -> tuple[T] | None:
        """In a tuple, since None is an answer too."""
        until, answer = self._found.get(key, (float("-inf"), None))
        return (answer,) if self._now() < until else None  # type: ignore[return-value]  # None only where it is too old

    def put(self, key: tuple[str, int], answer: T) -> T:
        self._found[key] = (self._now() + REMEMBERED, answer)
        self._found.move_to_end(key)
        while len(self._found) > MAX_REMEMBERED:
            self._found.popitem(last=False)
        return answer


class Nearness:
    def __init__(self, rules: NetworkRules) -> None:
        self._rules = rules
        self._measured: Remembered[float | None] = Remembered()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def operation(self, arguments: dict[str, Any]) -> float | None:
        """What another node asks: seconds to `host`, `port`."""
        return await self.seconds(str(arguments["host"]), int(arguments["port"]))

    async def seconds(self, host: str, port: int) -> float | None:
        """Of one TCP connect; None where there is none in time, or where it is not allowed."""
        known = self._measured.get((host, port))
        if known is not None:
            return known[0]
        try:
            async with asyncio.timeout(WITHIN), self._room:
                found = await self._measure(host, port)
        except (OSError, ValueError, TimeoutError):
            found = None
        return self._measured.put((host, port), found)

    async def _measure(self, host: str, port: int) -> float | None:
        """The name is looked up before the clock starts."""
        loop = asyncio.get_running_loop()
        for _, _, _, _, (address, *_) in await loop.getaddrinfo(host, port):
            if self._rules.refusal(str(address)) is None:
                began = time.monotonic()
                _, writer = await asyncio.open_connection(str(address), port)
                found = time.monotonic() - began
                writer.close()
                return found
        return None
