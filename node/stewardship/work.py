"""One task that its steward has to do something about: its wishes, its run, its schedule."""

import datetime as dt

from gossip.identity import NodeId
from node.execution.jobs import JobKey
from node.operations import instant_name
from node.schedules import next_instant
from node.schema import TaskSpec
from node.stewardship.eligibility import Needs, secrets_in
from node.stewardship.run import RunWork, ShardWork
from node.stewardship.specs import Effective, concurrent, rate_share
from sharding.key import TaskId
from state import join
from state.entries import Batch, TaskFacts
from state.join import Desired, Request
from state.model import FIRST_RUN

MAX_CATCH_UP = 1000
"""Missed instants that `catch_up = "all"` makes up for at most."""

WORTH_TELLING = 0.1
"""Of a shard's rate; less takes more messages when one of many shards ends."""

WorkKey = tuple[int, str, int]
_NO_FACTS = TaskFacts()


class TaskWork:
    """An Item of the backlog."""

    __slots__ = (
        "desired", "due", "effective", "entry", "id", "needs", "over", "queued", "run", "seen_ms", "wake_at",
    )  # fmt: skip

    def __init__(self, task: TaskId, entry: Batch, effective: Effective, desired: Desired) -> None:
        self.id = task
        self.entry = entry
        self.effective = effective
        self.desired = desired
        self.run: RunWork | None = None
        self.queued = False
        self.due: list[int] = []
        """Scheduled instants (ms) whose runs wait for their turn."""
        self.over: set[str] = set()
        """Runs that this steward has ended; their facts may still be on their way into the ledger."""
        self.seen_ms = 0
        self.wake_at = 0.0
        self.needs = needs_of(effective.spec, entry)

    @property
    def tenant(self) -> str:
        return self.entry.tenant

    @property
    def solo(self) -> bool:
        return self.run is not None and self.run.solo

    @property
    def priority(self) -> int:
        return self.effective.priority

    @property
    def pauses(self) -> bool:
        """Whether it runs only under its slot's majority lease."""
        return self.effective.spec.on_partition == "pause"

    @property
    def key(self) -> WorkKey:
        return (self.id.slot, self.id.batch, self.id.place)

    @property
    def facts(self) -> TaskFacts:
        return self.entry.tasks.get(self.id.place, _NO_FACTS)

    @property
    def scheduled(self) -> bool:
        """Whether the schedule is in force: a cancel ends it until the task is submitted again."""
        if self.effective.spec.schedule is None or self.desired.deleted:
            return False
        asked = max(
            (request.revision for request in self.desired.requests if request.kind == "run"), default=0
        )
        return asked > self.desired.cancelled_at

    def finished(self, run: str) -> bool:
        """Whether a run has ended, by whatever steward."""
        return run in self.over or self._recorded(run)

    @property
    def ending(self) -> bool:
        """Whether a run has ended here and the ledger does not have it yet: it is written with the next flush."""
        return not all(map(self._recorded, self.over))

    def _recorded(self, run: str) -> bool:
        if run == FIRST_RUN and self.id.place in self.entry.done:
            return True
        return self._state(run) in join.TERMINAL

    def _state(self, run: str) -> str | None:
        """Of a run, as the ledger has it."""
        facts = self.facts.runs.get(run)
        known = join.run_fact(facts.facts) if facts is not None else None
        return known.state if known is not None else None

    def end(self, run: str) -> None:
        """It has ended here; of those before it only what the ledger does not have yet is remembered."""
        self.over = {run, *(name for name in self.over if not self._recorded(name))}

    def requests(self) -> list[Request]:
        """Runs that were asked for, in order: the submit, what users asked later, what is due by schedule,
        and runs
        that an earlier steward began.
        """
        first = [] if self.effective.spec.schedule else [join.first_request(self.entry)]
        asked = [*first, *self.desired.requests]
        names = {request.run for request in asked}
        instants = [Request(instant_name(ms), 0, ms, "schedule") for ms in self.due]
        begun = [
            Request(name, 0, fact.scheduled_ms, "schedule")
            for name, facts in sorted(self.facts.runs.items())
            if name not in names
            and (fact := join.run_fact(facts.facts)) is not None
            and fact.state == "running"
        ]
        return [*asked, *begun, *(r for r in instants if r.run not in {b.run for b in begun})]

    def next_request(self) -> Request | None:
        """What is to be begun, or taken over: also what is cancelled, while the ledger says that it runs."""
        for request in self.requests():
            if not self.finished(request.run) and (
                not self.cancelled(request) or self._state(request.run) == "running"
            ):
                return request
        return None

    def cancelled(self, request: Request) -> bool:
        return not self.scheduled if request.kind == "schedule" else self.desired.cancelled(request)

    def leasable(self, now: float) -> ShardWork | None:
        """The next unit that could be leased now."""
        run = self.run
        if run is None or self.desired.paused or run.phase == "wait":
            return None
        if self.cancelled(run.request) and not (run.phase == "publish" and run.unsure):
            return None
        if run.phase in ("plan", "publish"):
            return run.step if run.step.state == "pending" and run.step.retry_at <= now else None
        room = concurrent(self.effective.limits, len(run.shards)) - len(run.leased())
        if room <= 0:
            return None
        return next((s for s in run.shards.values() if s.state == "pending" and s.retry_at <= now), None)

    def rate_share(self) -> float | None:
        """Of the task's rate, for each shard that runs now."""
        run = self.run
        if run is None or not self.effective.limits.rate:
            return None
        running = sum(shard is not run.step for shard in run.leased())
        return rate_share(self.effective.limits, len(run.open_shards()), running)

    def paced_anew(self) -> dict[NodeId, list[tuple[JobKey, float]]]:
        """Who is to be told of which rates: of shards whose share differs from what was told by enough."""
        found: dict[NodeId, list[tuple[JobKey, float]]] = {}
        run, share = self.run, self.rate_share()
        if run is None or share is None:
            return found
        for shard in run.leased():
            if shard.rate and shard.node is not None and abs(share / shard.rate - 1) > WORTH_TELLING:
                shard.rate = share
                found.setdefault(shard.node, []).append((run.job_key(str(self.id), shard), share))
        return found

    def retry_due(self, now: float) -> float | None:
        """When the next unit that waits for its retry can be leased."""
        if self.run is None or self.desired.paused:
            return None
        units = [self.run.step, *self.run.shards.values()]
        return min((u.retry_at for u in units if u.state == "pending" and u.retry_at > now), default=None)

    def last_scheduled_ms(self) -> int:
        """The latest instant for which there is a run, or the time from which the schedule counts."""
        runs = (fact.scheduled_ms for facts in self.facts.runs.values() for fact in facts.facts.values())
        resubmits = (request.at_ms for request in self.desired.requests if request.kind == "run")
        return max(self.entry.created_ms, self.desired.rescheduled_ms, self.seen_ms, *runs, *resubmits, 0)

    def collect_due(self, wall_ms: int, grace_ms: int = 60_000) -> None:
        """Put the instants that have come into `due`, by `catch_up` and `overlap`."""
        instants = self._instants_until(wall_ms)
        if not instants:
            return
        spec = self.effective.spec
        self.seen_ms = instants[-1]
        if len(instants) > 1 or wall_ms - instants[-1] > grace_ms:
            match spec.catch_up:
                case "none":
                    instants = [ms for ms in instants if wall_ms - ms <= grace_ms][-1:]
                case "last":
                    instants = instants[-1:]
                case "all":
                    pass
        if spec.overlap == "skip" and spec.catch_up != "all" and (self.run is not None or self.due):
            return
        self.due.extend(instants)

    def _instants_until(self, wall_ms: int) -> list[int]:
        """Instants since the last one: the oldest for "all"; else only the latest few count, so begin
        shortly before.
        """
        found: list[int] = []
        at = self.last_scheduled_ms()
        if self.effective.spec.catch_up != "all":
            span = 60_000
            while wall_ms - span > at and self.next_after(wall_ms - span) > wall_ms:
                span *= 2
            at = max(at, wall_ms - span)
        while len(found) < MAX_CATCH_UP:
            at = self.next_after(at)
            if at > wall_ms:
                break
            found.append(at)
        return found

    def next_after(self, ms: int) -> int:
        spec = self.effective.spec
        assert spec.schedule is not None
        after = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
        return int(next_instant(spec.schedule, spec.timezone, after).timestamp() * 1000)

    def until_next(self, wall_ms: int) -> float:
        """Seconds until the schedule is to be looked at again."""
        after = max(self.last_scheduled_ms(), wall_ms)
        return min(60.0, max(0.0, (self.next_after(after) - wall_ms) / 1000))


def needs_of(spec: TaskSpec, entry: Batch) -> Needs:
    """What the spec needs of a node that is to run it."""
    secrets = secrets_in(spec.source) | secrets_in(spec.sink) | secrets_in(spec.transform)
    return Needs(
        plugins=frozenset(
            [
                f"collector:{spec.source['plugin']}",
                *(f"sink:{sink['plugin']}" for sink in spec.sink),
                *(f"transform:{transform['plugin']}" for transform in spec.transform),
            ]
        ),
        secrets=frozenset(secrets),
        roots=entry.roots,
        origin=entry.origin,
        placement=spec.placement,
    )
