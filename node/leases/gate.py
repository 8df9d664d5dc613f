"""Which jobs of tasks with `on_partition = "pause"` may run on this node, and until when.

The executor asks the steward for the rest of the slot's lease, naming its jobs, and counts it from the time at which
it asked, on its own clock. A job begins when there is such time, and is stopped before it ends: first with a commit of
what it has, then without. Nobody has to be reached for that.

Time is of a job, not of a slot: an executor that was lost for a while may still hold a job that its steward has leased
to another meanwhile, or that an earlier steward leased; what it is granted for the others is not for that one.
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
    __slots__ = ("job", "owner", "since", "slot", "stop", "until", "waits")

    def __init__(self, job: Job, owner: NodeId, slot: int, now: float) -> None:
        self.job, self.owner, self.slot, self.since = job, owner, slot, now
        self.until = now
        self.waits = True
        self.stop: bool | None = None
        """Whether it was told to stop with a last commit (True), or without (False)."""


class Gate:
    """`ttl`: of the slots' leases, seconds."""

    def __init__(self, ttl: float) -> None:
        self.ttl = ttl
        self._held: dict[JobKey, _Held] = {}
        self._next = 0.0
        self.ready: list[Job] = []
        """Jobs that may begin."""

    def add(self, job: Job, owner: NodeId, now: float) -> None:
        """A job was leased to this node; it is in `ready` when it may begin."""
        task = parse(job.key.task)
        if task is not None:
            self._held[job.key] = _Held(job, owner, task.slot, now)
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

    def told(self, steward: NodeId, told: messages.PauseTold, now: float) -> None:
        """The steward's answer to a question that we sent at its stamp."""
        if told.stamp > now:
            return
        strays = set(told.strays)
        for key, held in self._held.items():
            seconds = told.slots.get(held.slot)
            if seconds is None or held.owner != steward or held.since > told.stamp or key in strays:
                continue
            held.until = max(held.until, told.stamp + min(seconds, self.ttl) * DRIFT)
            if held.waits and held.until - now > self.ttl / 4:
                held.waits = False
                self.ready.append(held.job)

    def tick(self, now: float) -> list[Send | Stop]:
        if not self._held:
            return []
        out: list[Send | Stop] = []
        for key, held in self._held.items():
            left = held.until - now
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
        jobs: dict[NodeId, list[JobKey]] = {}
        for key, held in self._held.items():
            jobs.setdefault(held.owner, []).append(key)
        return [Send(owner, self._question(keys, now)) for owner, keys in sorted(jobs.items())]

    def _question(self, keys: list[JobKey], now: float) -> messages.PauseAsk:
        return messages.PauseAsk(now, sorted({self._held[key].slot for key in keys}), sorted(keys))
