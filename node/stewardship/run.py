"""The state of one run in its steward's memory; rebuilt from the ledger's facts by whoever stewards next."""

from typing import Any

from gossip.identity import NodeId
from node.execution.jobs import JobKey, adrift
from node.stewardship.specs import Effective
from plugins.api import Since
from state import join, model
from state.entries import RunFacts
from state.join import Request
from state.model import Ended, Live, PlannedShard, Token, Totals

OPEN = ("pending", "leased", "running")


class ShardWork:
    """One shard: what is to be done of it, and who does it now."""

    __slots__ = (
        "_failed_at", "at_ms", "attempt", "base", "code", "error", "high", "in_vain", "key", "node", "plan", "position",
        "rate", "retry_at", "retry_ms", "since", "state", "totals",
    )  # fmt: skip

    def __init__(self, plan: PlannedShard) -> None:
        self.plan = plan
        self.key = plan.key
        self.state = "pending"
        self.node: NodeId | None = None
        self.rate: float | None = None
        """What its executor was told last."""
        self.attempt = 1
        self.in_vain = 0
        """Attempts in a row that failed without having moved the position."""
        self._failed_at: Any = None
        self.position: Any = None
        self.base = Totals()
        """Totals of the attempts before this lease."""
        self.totals = Totals()
        self.error = ""
        self.code = ""
        self.high: Any = None
        self.retry_at = 0.0
        self.retry_ms = 0
        self.since = 0.0
        self.at_ms = 0

    def live(self, token: Token) -> Live:
        return Live(
            token, self.state, self.node or "", self.attempt, self.position, self.totals, self.error, self.code,
            self.at_ms, self.retry_ms, self.high,
        )  # fmt: skip

    def ended(self, token: Token, at_ms: int) -> Ended:
        return Ended(
            self.key, token, self.state, self.position, self.totals, self.node or "", self.attempt, self.error,
            self.code, self.high, at_ms,
        )  # fmt: skip

    def count_failure(self) -> None:
        """An attempt failed. One that got further is no sign that the next will not, and begins the count anew."""
        self.in_vain = 1 if self.position != self._failed_at else self.in_vain + 1
        self._failed_at = self.position

    def release(self) -> None:
        """The lease is over without an end: it is to be leased again, from what is known."""
        self.state = "pending"
        self.node = None
        self.base = self.totals = _committed(self.totals)

    def restore_live(self, live: Live) -> None:
        self.attempt, self.position = live.attempt, live.position
        self.in_vain = 0 if live.position is not None else live.attempt - 1
        self._failed_at = live.position
        self.base = self.totals = _committed(live.totals)
        self.error, self.code, self.high, self.at_ms = live.error, live.code, live.high, live.at_ms

    def restore_end(self, ended: Ended) -> None:
        self.state, self.position, self.attempt = ended.state, ended.position, ended.attempt
        self.base = self.totals = ended.totals
        self.error, self.code, self.high = ended.error, ended.code, ended.high
        self.node = NodeId(ended.node) if ended.node else None
        self.at_ms = ended.at_ms


PATIENCE = 30.0
"""Seconds for which a publish of a cancelled run that somebody may have begun is tried again."""


def _committed(totals: Totals) -> Totals:
    """What the next attempt builds on: reading beyond the last commit is done again."""
    read = totals.written + totals.skipped + totals.dead
    return Totals(min(totals.read, read), totals.written, totals.skipped, totals.dead, totals.bytes)


class RunWork:
    """A run under way. `phase`: plan, wait (the plan is being made durable), shards, publish.

    `solo`: one job does all. Plan and publish are shards to the rest of the code: `step` is their ShardWork.
    """

    __slots__ = (
        "effective", "ended_unsaid", "error", "facts_dirty", "generation", "name", "origin", "phase", "published",
        "ranges", "request", "scheduled_ms", "shards", "since", "solo", "started_ms", "step", "token", "unsure",
        "with_letters", "withdrawn",
    )  # fmt: skip

    def __init__(
        self, request: Request, effective: Effective, token: Token, now_ms: int, *, solo: bool
    ) -> None:
        self.request = request
        self.name = request.run
        self.effective = effective
        self.generation = effective.generation
        self.token = token
        self.scheduled_ms = request.at_ms
        self.started_ms = now_ms
        self.origin = ""
        self.solo = solo
        self.phase = "shards" if solo else "plan"
        self.shards: dict[str, ShardWork] = {}
        self.step = ShardWork(PlannedShard("plan"))
        self.since: Any = None
        self.ranges: list[tuple[Any, Any]] = []
        self.error = ""
        self.with_letters = 0
        self.published = False
        self.unsure = False
        """Whether an executor may have published it, or may do so now, and has not said so."""
        self.withdrawn: float | None = None
        """Since when we know that it is cancelled."""
        self.facts_dirty = True
        self.ended_unsaid: list[Ended] = []
        if solo:
            self.shards["0"] = ShardWork(PlannedShard("0"))

    def restore(self, facts: RunFacts) -> None:
        """Take over from what the ledger says; executors of live shards are only remembered, nothing is
        leased.
        """
        known = join.run_fact(facts.facts)
        if known is not None:
            self.started_ms, self.scheduled_ms = known.started_ms, known.scheduled_ms
            self.origin, self.since, self.ranges = known.origin, known.since, list(known.ranges)
            self.generation = known.generation
        plan = join.plan_of(facts)
        if plan is not None and not self.solo:
            self.adopt_plan(plan.shards)
        for key, ended in facts.ended.items():
            if key in self.shards:
                self.shards[key].restore_end(ended)
        for key, live in join.live_shards(facts).items():
            if key in self.shards:
                self.shards[key].restore_live(live)
        self.with_letters = len([i for i in facts.letters if i not in facts.cleared])
        self.advance()
        self.unsure = self.phase == "publish"

    def adopt_plan(self, shards: list[PlannedShard]) -> None:
        self.shards = {shard.key: ShardWork(shard) for shard in shards}
        self.phase = "shards"

    def advance(self) -> None:
        """Go on to publish when every shard has ended: well, or, in a run over ranges, some of them."""
        if self.phase != "shards" or self.solo or self.open_shards() or self.adrift():
            return
        failed = self.failed()
        if not failed or (self.ranges and len(failed) < len(self.shards)):
            self.phase = "publish"
            self.step = ShardWork(PlannedShard("publish"))

    def adrift(self) -> str:
        """Why what the shards have collected may not be published; "" if it may."""
        high = next((shard.high for shard in self.shards.values() if shard.high is not None), None)
        return adrift(self.lower_bound, high, self.totals().written)

    @property
    def replaces(self) -> bool:
        """Whether what it publishes takes the place of what the runs before it have brought."""
        spec = self.effective.spec
        full = spec.mode == "full" and self.request.kind != "letters"
        return full and any(sink.get("mode") != "upsert" for sink in spec.sink)

    @property
    def lower_bound(self) -> Since | None:
        """What an incremental run reads from."""
        section = self.effective.spec.incremental
        return Since(section.field, *self.since) if section is not None and self.since else None

    def open_shards(self) -> list[ShardWork]:
        return [shard for shard in self.shards.values() if shard.state in OPEN]

    def failed(self) -> list[ShardWork]:
        return [shard for shard in self.shards.values() if shard.state in ("failed", "cancelled")]

    def leased(self) -> list[ShardWork]:
        shards = [*self.shards.values(), self.step]
        return [shard for shard in shards if shard.state in ("leased", "running")]

    def job_key(self, task: str, shard: ShardWork) -> JobKey:
        if shard is self.step:
            return JobKey(task, self.name, shard.key)
        return JobKey(task, self.name, "solo" if self.solo else "shard", shard.key)

    def shard_of(self, key: JobKey) -> ShardWork | None:
        if key.kind in ("plan", "publish"):
            return self.step if self.step.key == key.kind and self.phase in (key.kind, "wait") else None
        return self.shards.get(key.shard)

    def totals(self) -> Totals:
        total = Totals()
        for shard in self.shards.values():
            total = total.plus(shard.totals)
        return total

    def cancellable(self, now: float) -> bool:
        """Whether a run that is cancelled can end as that. What may be published is not: the next run would collect its
        rows again, so the executor's word is waited for, or another is asked to publish, for PATIENCE.
        """
        self.withdrawn = now if self.withdrawn is None else self.withdrawn
        if self.phase != "publish":
            return not (self.solo and self.effective.spec.incremental is not None and self.leased())
        return not (self.leased() or (self.unsure and now < self.withdrawn + PATIENCE))

    def states(self) -> dict[str, int]:
        count: dict[str, int] = {}
        for shard in self.shards.values():
            count[shard.state] = count.get(shard.state, 0) + 1
        return count

    def fact(self, state: str, *, finished_ms: int = 0, cursor: Any = None, error: str = "") -> model.RunFact:
        return model.RunFact(
            token=self.token,
            state=state,
            scheduled_ms=self.scheduled_ms,
            started_ms=self.started_ms,
            finished_ms=finished_ms,
            origin=self.origin,
            revision=self.effective.revision,
            generation=self.generation,
            totals=self.totals(),
            error=error,
            cursor=cursor,
            ranges=self.ranges,
            shards=self.states(),
            since=self.since,
            published=self.published,
        )
