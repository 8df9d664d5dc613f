"""What a control client feels while the mesh works: get, list, priority, pause, resume, cancel, timed."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from node.client import Client

PAUSE = 0.01
"""Seconds between two controls: a person or a scheduler, not a second load."""


RECENT = 5000
"""Ids to choose from, the last ones: the others have mostly ended."""


class ControlLoad:
    """Controls on `live`, a list of ids that grows; `times`: seconds of each call by its name."""

    def __init__(self, client: "Client", live: Sequence[str], chance: random.Random, *, ending: bool) -> None:
        """`ending`: whether tasks may be cancelled, too."""
        self.client = client
        self.live = live
        self.chance = chance
        self.times: dict[str, list[float]] = {}
        self.refused = 0
        self.ending = ending

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self.live:
                await self._one(self.chance.choice(self.live[-RECENT:]))
            await asyncio.sleep(PAUSE)

    async def _one(self, ref: str) -> None:
        client = self.client
        match self.chance.randrange(8 if self.ending else 6):
            case 0 | 1 | 2:
                await self._timed("get", lambda: client.task(ref))
            case 3 | 4:
                priority = self.chance.randrange(10)
                await self._timed("priority", lambda: client.patch(ref, {"priority": priority}))
            case 5:
                await self._timed("list", lambda: client.tasks(limit=100))
            case 6:
                await self._timed("pause", lambda: client.control(ref, "pause"))
                await self._timed("resume", lambda: client.control(ref, "resume"))
            case _:
                await self._timed("cancel", lambda: client.control(ref, "cancel"))

    async def _timed(self, name: str, call: Callable[[], Awaitable[Any]]) -> None:
        """A refusal (the task has ended already, say) is an answer, and is timed as well."""
        from node.client import ProblemError

        start = perf_counter()
        try:
            await call()
        except ProblemError:
            self.refused += 1
        self.times.setdefault(name, []).append(perf_counter() - start)

    def report(self) -> dict[str, str]:
        """p50 and p99 of all calls, and of each kind."""
        every = [seconds for times in self.times.values() for seconds in times]
        kinds = {f"  {name}": times for name, times in sorted(self.times.items())}
        return {name: _spread(times) for name, times in {"control": every, **kinds}.items()}


def _spread(times: Sequence[float]) -> str:
    if not times:
        return "none"
    ordered = sorted(times)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {ordered[-1] * 1000:.1f} ms ({len(ordered):,} calls)"
