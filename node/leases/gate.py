"""Which jobs of tasks with `on_partition = "pause"` may run on this node, and until when.

The executor asks the steward for the rest of the slot's lease and counts it from the time at which it asked, on its
own clock. A job begins when there is such time, and is stopped before it ends: first with a commit of what it has,
then without. Nobody has to be reached for that.
"""

from gossip.identity import NodeId
from node import messages
from node.effects import Send, Stop
from node.execution.jobs import Job, JobKey
from sharding.key import parse

DRIFT = 0.98
"""Of the time granted, what is used: two clocks that are 1 % off."""
URGENT = 0.2
"""Seconds between two questions while a job waits."""


class _Held:
    __slots__ = ("job", "owner", "slot", "stop", "waits")

    def __init__(self, job: Job, owner: NodeId, slot: int) -> None:
        self.job, self.owner, self.slot = job, owner, slot
        self.waits = True
        self.stop: bool | None = None
        """Whether it was told to stop with a last commit (True), or without (False)."""


class Gate:
    """`ttl`: of the slots' leases, seconds."""

    def __init__(self, ttl: float) -> None:
        self.ttl = ttl
        self._held: dict[JobKey, _Held] = {}
        self._until: dict[int, float] = {}
        self._next = 0.0
        self.ready: list[Job] = []
        """Jobs that may begin."""

    def add(self, job: Job, owner: NodeId, now: float) -> None:
        """A job was leased to this node; it is in `ready` when it may begin."""
        task = parse(job.key.task)
        if task is None:
            return
        held = self._held[job.key] = _Held(job, owner, task.slot)
        self._open(held, now)
        if held.waits:
            self._next = 0.0

    def owned(self, key: JobKey, owner: NodeId) -> None:
        """Another steward leases the job now."""
        if key in self._held:
            self._held[key].owner = owner

    def waits(self, key: JobKey) -> bool:
        held = self._held.get(key)
        return held is not None and held.waits

    def remove(self, key: JobKey) -> None:
        self._held.pop(key, None)
        if not self._held:
            self._until.clear()

    def told(self, stamp: float, slots: dict[int, float], now: float) -> None:
        """The steward's answer to a question that we sent at `stamp`."""
        if stamp > now:
            return
        for slot, seconds in slots.items():
            until = stamp + min(seconds, self.ttl) * DRIFT
            self._until[slot] = max(until, self._until.get(slot, until))
        for held in self._held.values():
            if held.waits:
                self._open(held, now)

    def _open(self, held: _Held, now: float) -> None:
        if self._until.get(held.slot, 0.0) - now > self.ttl / 4:
            held.waits = False
            self.ready.append(held.job)

    def tick(self, now: float) -> list[Send | Stop]:
        if not self._held:
            return []
        out: list[Send | Stop] = []
        for key, held in self._held.items():
            left = self._until.get(held.slot, 0.0) - now
            if held.waits or left > self.ttl / 5:
                continue
            drain = left > self.ttl / 12
            if held.stop is None or (held.stop and not drain):
                held.stop = drain
                out.append(Stop(key, drain))
        if now >= self._next:
            out += self._questions(now)
        return out

    def _questions(self, now: float) -> list[Send | Stop]:
        waiting = any(held.waits for held in self._held.values())
        self._next = now + (URGENT if waiting else self.ttl / 8)
        slots: dict[NodeId, set[int]] = {}
        for held in self._held.values():
            slots.setdefault(held.owner, set()).add(held.slot)
        return [Send(owner, messages.PauseAsk(now, sorted(found))) for owner, found in sorted(slots.items())]
