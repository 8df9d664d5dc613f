"""What is known of the mesh at the moment: fetched over HTTP, kept when a node dies, followed by events."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from node.client import Client, ProblemError, Unreachable
from node.schema import TASK_STATES, Cluster, Shard, Task
from tui.view import HISTORY, Looking, Snapshot

ACTIVE = ("running", "pending", "paused", "scheduled")
ENDED = tuple(state for state in TASK_STATES if state not in ACTIVE)
EVENTS = 50
RETRY = 2.0
"""Seconds until the events are asked for again after no node gave them."""


class Watcher:
    """Holds the last snapshot. `clock`: seconds, monotonic. `name`: of the mesh."""

    def __init__(self, client: Client, clock: Callable[[], float], name: str = "") -> None:
        self.client = client
        self.clock = clock
        self.name = name
        self.snapshot = Snapshot()
        self.events: deque[str] = deque(maxlen=EVENTS)

    async def refresh(self, looking: Looking, rows: int) -> None:
        """Fetch what `looking` needs, at most `rows` tasks. Where nobody answers, what was known stays."""
        try:
            cluster = await self.client.cluster()
            tasks = await self._tasks(looking, rows)
            task, shards = await self._task(looking)
        except (Unreachable, ProblemError) as error:
            self.snapshot = msgspec.structs.replace(self.snapshot, trouble=str(error))
            return
        self._hear(cluster, tasks=tuple(tasks), task=task, shards=tuple(shards), events=tuple(self.events))

    async def glance(self) -> None:
        """Only how the mesh is; for one that is not looked at."""
        try:
            self._hear(await self.client.cluster())
        except (Unreachable, ProblemError) as error:
            self.snapshot = msgspec.structs.replace(self.snapshot, trouble=str(error))

    def _hear(self, cluster: Cluster, **more: Any) -> None:
        self.snapshot = msgspec.structs.replace(
            self.snapshot,
            cluster=cluster,
            history=(*self.snapshot.history, cluster.records_per_s)[-HISTORY:],
            fetched=self.clock(),
            url=self.client.url,
            trouble=None,
            **more,
        )

    async def _tasks(self, looking: Looking, rows: int) -> list[Task]:
        """The active ones first; ended ones fill the screen. A state in the filter is asked for by itself."""
        states = tuple(word for word in looking.filter.split() if word in TASK_STATES)
        found = (await self.client.tasks(state=states or ACTIVE, limit=rows)).items
        if not states and len(found) < rows:
            found += (await self.client.tasks(state=ENDED, limit=rows - len(found))).items
        return found

    async def _task(self, looking: Looking) -> tuple[Task | None, list[Shard]]:
        if looking.place != "task":
            return None, []
        return await self.client.task(looking.ref), await self.client.shards(looking.ref)

    async def control(self, action: str, ref: str) -> str:
        """Tell a task what to do; what to say of it."""
        try:
            task = await self.client.control(ref, action)
        except (Unreachable, ProblemError) as error:
            return f"{action} {ref}: {error}"
        return f"{task.name or task.id}: {task.state}"

    async def follow(self) -> None:
        """Collect events for ever, from whichever node gives them."""
        while True:
            try:
                async for event in self.client.events():
                    what = event.data.get("task") or event.data.get("node") or event.data.get("id") or ""
                    self.events.append(f"{event.kind}  {what}  {event.data.get('state', '')}".rstrip())
            except (Unreachable, ProblemError):
                pass
            await asyncio.sleep(RETRY)
