"""Which leased jobs this node runs, and who hears of them. Pure: effects out, no I/O.

A lease is a job with a token and an owner, the steward that gave it. A job that is leased again while it runs
(its steward changed) goes on and takes the newer token and the new owner; nothing is started twice here. A
final report is kept and repeated, to whoever stewards the slot by then, until somebody has noted it.

Credit. Long jobs (plan, shard, publish) are limited by `concurrency`. Solo jobs may be tiny, so as many are
taken as this node does in `AHEAD` seconds, by the mean duration of the last ones: enough to keep busy, few
enough to pause.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gossip.identity import NodeId
from node import messages
from node.effects import Effect, Rate, Run, Send, Stop
from node.execution.jobs import Job, JobKey, Report
from node.leases.gate import Gate

AHEAD = 0.1
"""Seconds of work leased ahead. Longer: fewer messages, but pause and priority act later."""
MAX_SOLO = 2000
REPEAT = 1.0
"""Seconds until an unanswered final report is sent again."""
HOLDING_INTERVAL = 2.0
SAID = 64
"""Positions that are remembered of an execution; a steward goes on from one of the last."""
FINAL = frozenset({"done", "planned", "failed", "stopped"})


class _Lease:
    """`apart`: the steward was told of a position that is not of this execution, and would be taken back by what it
    reports. Where the sink tells positions that does not matter: all executions report the sink's.
    """

    __slots__ = ("apart", "at", "job", "owner", "said", "stopping", "token")

    def __init__(self, job: Job, owner: NodeId, at: float) -> None:
        self.job, self.owner, self.token, self.at = job, owner, job.token, at
        self.stopping = self.apart = False
        self.said = deque([job.resume], SAID)

    def renewed(self, job: Job, owner: NodeId) -> None:
        """Leased again, by this steward or the next, while it runs."""
        self.owner, self.token = owner, job.token
        self.apart = job.resume not in self.said

    def placed(self, report: Report) -> Report:
        """The report, without a position that would be another execution's."""
        if report.position is None:
            return report
        self.said.append(report.position)
        told = not self.apart or report.held is not None or report.state == "done"
        return report if told else msgspec.structs.replace(report, position=None)


class Credit(NamedTuple):
    solo: int
    other: int


class Executor:
    """`steward_of(task)`: who stewards the task's slot, as this node sees it (None: nobody now)."""

    def __init__(
        self,
        me: NodeId,
        *,
        concurrency: int,
        steward_of: Callable[[str], NodeId | None],
        gate: Gate | None = None,
    ) -> None:
        self.me = me
        self.concurrency = concurrency
        self.paused = False
        self.gate = gate or Gate(math.inf)
        self._steward_of = steward_of
        self._leases: dict[JobKey, _Lease] = {}
        self._final: dict[JobKey, tuple[Report, NodeId, float]] = {}
        self._solo = 0
        self._mean = AHEAD / concurrency
        self._outbox: dict[NodeId, list[Report]] = {}
        self._effects: list[Effect] = []
        self._run: list[Job] = []
        self._peers: frozenset[NodeId] = frozenset()
        self._next_holding = 0.0
        self._next_repeat = 0.0

    @property
    def running(self) -> int:
        return len(self._leases)

    @property
    def busy(self) -> int:
        """Jobs under way, and those whose end nobody has noted yet."""
        return len(self._leases) + len(self._final)

    def credit(self) -> Credit:
        """How many jobs more this node would take now."""
        if self.paused:
            return Credit(0, 0)
        depth = min(MAX_SOLO, max(self.concurrency, int(self.concurrency * AHEAD / max(self._mean, 1e-6))))
        other = len(self._leases) - self._solo
        return Credit(max(0, depth - self._solo), max(0, self.concurrency - other))

    def lease(self, owner: NodeId, jobs: list[Job], now: float) -> None:
        for job in jobs:
            held = self._leases.get(job.key)
            if held is not None:
                if job.token >= held.token:
                    held.renewed(job, owner)
                    self.gate.owned(job.key, owner)
                    self.pace([(job.key, job.rate or 0.0)], job.token)
                continue
            final = self._final.get(job.key)
            if final is not None and job.attempt <= final[0].attempt and final[0].state != "stopped":
                self._say(owner, msgspec.structs.replace(final[0], token=job.token))
                continue
            self._final.pop(job.key, None)
            self._leases[job.key] = _Lease(job, owner, now)
            self._solo += job.key.kind == "solo"
            if job.pause:
                self.gate.add(job, owner, now)
            else:
                self._run.append(job)
        self._begin()

    def pace(self, rates: list[tuple[JobKey, float]], token: tuple[int, str, int]) -> None:
        """The steward shares a task's rate anew. A job that began without one, or is not here any more, has none."""
        for key, rate in rates:
            held = self._leases.get(key)
            if held is None or not held.job.rate or held.token > tuple(token):
                continue
            if 0 < rate != held.job.rate:
                held.job = msgspec.structs.replace(held.job, rate=rate)
                self._effects.append(Rate(key, rate))

    def _begin(self) -> None:
        """Run what waited for its slot's lease."""
        self._run += [held.job for job in self.gate.ready if (held := self._leases.get(job.key))]
        self.gate.ready.clear()

    def may_go_on(self, steward: NodeId, told: messages.PauseTold, now: float) -> None:
        """A steward says for how long jobs under its slots' leases may run."""
        for key in told.strays:  # what runs is not extended, and ends in time by itself
            held = self._leases.get(key)
            if held is not None and held.owner == steward and not held.stopping and self.gate.waits(key):
                self._stop(key, held, drain=True)
        self.gate.told(steward, told, now)
        self._begin()

    def revoke(self, keys: list[JobKey], token: tuple[int, str, int], *, drain: bool) -> None:
        for key in keys:
            held = self._leases.get(key)
            if held is not None and held.token <= tuple(token) and not held.stopping:
                self._stop(key, held, drain=drain)

    def _stop(self, key: JobKey, held: _Lease, *, drain: bool) -> None:
        held.stopping = True
        if self.gate.waits(key):  # it has not begun: its end is said here
            job = held.job
            self.report(
                Report(key=key, state="stopped", token=job.token, position=job.resume, attempt=job.attempt),
                held.at,
            )
        else:
            self._effects.append(Stop(key, drain))

    def report(self, report: Report, now: float) -> None:
        """The runner says something of a job."""
        held = self._leases.get(report.key)
        if held is None:
            return
        if (report.token, report.attempt) != (held.token, held.job.attempt):
            report = msgspec.structs.replace(report, token=held.token, attempt=held.job.attempt)
        report = held.placed(report)
        if report.state in FINAL:
            del self._leases[report.key]
            self.gate.remove(report.key)
            if report.key.kind == "solo":
                self._solo -= 1
                self._mean += 0.05 * (max(report.seconds, 1e-6) - self._mean)
            self._final[report.key] = (report, held.owner, now + REPEAT)
        self._say(held.owner, report)

    def noted(self, keys: list[JobKey]) -> None:
        for key in keys:
            self._final.pop(key, None)

    def pause(self, *, paused: bool) -> None:
        """Take no more jobs, and stop those under way (they are leased elsewhere)."""
        self.paused = paused
        if paused:
            self.drain()

    def drain(self) -> None:
        for key, held in list(self._leases.items()):
            if not held.stopping:
                self._stop(key, held, drain=True)

    def members(self, live: frozenset[NodeId]) -> None:
        self._peers = live - {self.me}

    def tick(self, now: float) -> None:
        for effect in self.gate.tick(now):
            if isinstance(effect, Stop):
                self._leases[effect.key].stopping = True
            self._effects.append(effect)
        if now >= self._next_repeat:
            self._next_repeat = now + REPEAT / 2
            for key, (report, owner, due) in list(self._final.items()):
                if due <= now:
                    to = self._steward_of(key.task) or owner
                    self._final[key] = (report, to, now + REPEAT)
                    self._say(to, report)
        if now >= self._next_holding:
            self._next_holding = now + HOLDING_INTERVAL
            self._give_up_forsaken()
            self._hold(now)

    def _give_up_forsaken(self) -> None:
        """A job that waits for its slot's lease, and whose steward has died, would wait for ever."""
        for key, held in list(self._leases.items()):
            forsaken = held.owner != self.me and held.owner not in self._peers
            if forsaken and not held.stopping and self.gate.waits(key):
                self._stop(key, held, drain=True)

    def _hold(self, now: float) -> None:
        """Tell each owner what it still has here, and each peer how much more it could give."""
        keys: dict[NodeId, list[JobKey]] = {peer: [] for peer in sorted(self._peers)}
        for key, held in self._leases.items():
            if now - held.at > HOLDING_INTERVAL / 2 and held.owner != self.me:
                keys.setdefault(held.owner, []).append(key)
        for owner, held_keys in keys.items():
            self._effects.append(Send(owner, messages.Holding(held_keys)))
            self._outbox.setdefault(owner, [])

    def _say(self, owner: NodeId, report: Report) -> None:
        self._outbox.setdefault(owner, []).append(report)

    def flush(self) -> tuple[list[Effect], list[Report]]:
        """Effects since the last flush, and the reports for this node's own steward."""
        if self._run:
            self._effects.append(Run(self._run))
            self._run = []
        local = self._outbox.pop(self.me, [])
        if self._outbox:
            mine = self.credit()
            asking = len(self._peers) + 1
            # Rounded up: many peers would each be told of no room on a node that is idle.
            share = Credit(-(-mine.solo // asking), -(-mine.other // asking))
            for owner, reports in self._outbox.items():
                self._effects.append(Send(owner, messages.Reports(reports, share)))
            self._outbox.clear()
        effects, self._effects = self._effects, []
        return effects, local
