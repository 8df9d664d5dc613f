"""Model sources and sinks for the simulator: known content, commits with and without compare-and-set, and a runner.

A source is the numbers `0..n`. A full collection of it is planned into ranges that depend on who plans, as with a
collector that looks at its host; the keys of shards name their ranges. An incremental source grows between runs.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from node.execution.jobs import Counts, Job, JobKey, Report
from plugins.api import ShardPlan
from state.model import Token
from tests.sim import secrecy
from tests.sim.clock import Clock

STEP = 0.25
"""Seconds between two commits of a running shard."""
CHUNK = 7
"""Records a commit in the mean: more where it took longer, so that two executions of a shard cut it at other places."""

NOTHING: Mapping[str, Any] = {}

Place = tuple[str, str, str]
"""(task, run, shard)"""


class ModelSink:
    """Shared by all nodes, as a shared store is. Keeps what was committed, in order, by place.

    `sizes`: (source name, run) -> what the source holds for that run, where it grows. `emitted`: when something
    of a task last reached the sink.
    """

    def __init__(self) -> None:
        self.positions: dict[Place, int] = {}
        self.records: dict[Place, list[int]] = {}
        self.by_run: dict[tuple[str, str], list[Place]] = {}
        self.published: dict[tuple[str, str], tuple[str, ...]] = {}
        self.sizes: dict[tuple[str, str], int] = {}
        self.emitted: dict[str, float] = {}
        self.executions: Counter[Place] = Counter()
        self.refused = 0
        self.accepted: Callable[[Place, Token], None] = lambda _place, _token: None
        """Told of each commit that was taken, with the token of the lease under which it was made."""

    def commit(self, place: Place, start: int, expected: int, to: int, token: Token) -> bool:
        """Compare-and-set of the shard's position, atomic with the records."""
        if self.positions.get(place, start) != expected:
            self.refused += 1
            return False
        self.positions[place] = to
        self.append(place, expected, to)
        self.accepted(place, token)
        return True

    def append(self, place: Place, start: int, to: int) -> None:
        """What a sink does that knows no positions."""
        if place not in self.records:
            self.records[place] = []
            self.by_run.setdefault(place[:2], []).append(place)
        self.records[place].extend(range(start, to))

    def rows(self, task: str, run: str) -> list[int]:
        """The published records of a run, sorted."""
        shards = self.published.get((task, run), ())
        return sorted(r for shard in shards for r in self.records.get((task, run, shard), ()))


def spec(
    records: int,
    *,
    sharded: bool,
    fail: int = 0,
    name: str = "",
    sink: str = "model",
    grows: bool = False,
    secret: bool = True,
    more: Mapping[str, Any] = NOTHING,
) -> bytes:
    """A task of the model plugins. The first `fail` attempts of its first shard fail, in the first run. `more`: further
    keys of the task."""
    source: dict[str, Any] = {
        "plugin": "model" if sharded or grows else "solo",
        "records": records,
        "fail": fail,
        "name": name,
    }
    if secret:
        source["password"] = {"secret": secrecy.NAME}
    made: dict[str, Any] = {"source": source, "sink": [{"plugin": sink}], **more}
    if grows:
        made |= {"mode": "incremental", "incremental": {"field": "n"}}
        made |= {"retry": {"attempts": 2, "delay": 0.2, "strategy": "fixed"}}
    return json.dumps(made, sort_keys=True).encode()


def decoded(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(raw)
    return found


class ModelRunner:
    """The runner of one life of one node; its timers end with that life."""

    def __init__(
        self,
        clock: Clock,
        sink: ModelSink,
        rng: random.Random,
        report: Callable[[Report], None],
        later: Callable[..., None],
    ) -> None:
        self.clock, self.sink, self.rng, self.report, self.later = clock, sink, rng, report, later
        self.jobs: dict[JobKey, Job] = {}
        self.specs: dict[JobKey, dict[str, Any]] = {}
        self.stopping: dict[JobKey, bool] = {}
        self.counts: dict[JobKey, Counts] = {}
        self.opened: dict[JobKey, int | None] = {}

    def run(self, job: Job) -> None:
        assert job.key not in self.jobs, f"{job.key} is given to the runner twice"
        self.jobs[job.key] = job
        self.specs[job.key] = decoded(job.spec)
        self.counts[job.key] = Counts()
        self.later(self.rng.uniform(0.01, 0.05), lambda: self._begin(job))

    def stop(self, key: JobKey, *, drain: bool) -> None:
        if key in self.jobs:
            self.stopping[key] = drain

    # ---- steps

    def _begin(self, job: Job) -> None:
        source = self.specs[job.key]["source"]
        if job.key.kind == "plan":
            self._end(job, "planned", plans=tuple(self._plan(job)))
        elif job.key.kind == "publish":
            self.sink.published[job.key.task, job.sink_run] = job.shards
            self._end(job, "done")
        elif self._fails(job, source):
            self._end(job, "failed", **secrecy.refused(source))
        else:
            self._open(job)

    @staticmethod
    def _fails(job: Job, source: dict[str, Any]) -> bool:
        first = job.plan is None or job.plan.start == 0
        return first and job.key.run == "0-submit" and source["fail"] >= job.attempt

    def _plan(self, job: Job) -> list[ShardPlan]:
        """Ranges of random sizes; where they start, an incremental run is told."""
        start = job.since.value + 1 if job.since is not None and job.since.value is not None else 0
        end = self._size(job)
        cuts = {self.rng.randint(start, end) for _ in range(self.rng.randint(0, 2))} if end > start else set()
        edges = sorted({start, end, *cuts})
        return [ShardPlan(key=f"{a}-{b}", start=a, end=b) for a, b in itertools.pairwise(edges)]

    def _size(self, job: Job) -> int:
        source = self.specs[job.key]["source"]
        size: int = self.sink.sizes.get((source["name"], job.key.run), source["records"])
        return size

    def _bounds(self, job: Job) -> tuple[int, int]:
        return (job.plan.start, job.plan.end) if job.plan is not None else (0, self._size(job))

    def _place(self, job: Job) -> Place:
        return (job.key.task, job.sink_run, job.key.shard)

    def _compares(self, job: Job) -> bool:
        return bool(self.specs[job.key]["sink"][0]["plugin"] == "model")

    def _open(self, job: Job) -> None:
        start, _ = self._bounds(job)
        self.sink.executions[self._place(job)] += 1
        if self._compares(job):
            position = self.sink.positions.get(self._place(job), start)
            self.opened[job.key] = position - start
        else:
            position = start if job.resume is None else job.resume
            self.opened[job.key] = None
        self._step(job, position)

    def _step(self, job: Job, position: int) -> None:
        """Read a chunk, hold it for a while as a sink would, commit it, report."""
        if job.key in self.stopping and not self.stopping[job.key]:
            self._end(job, "stopped", position=position)
            return
        part = self.rng.uniform(0.5, 1.5)
        to = min(position + round(part * CHUNK), self._bounds(job)[1])
        self.later(part * STEP, lambda: self._commit(job, position, to))

    def _commit(self, job: Job, position: int, to: int) -> None:
        place, (start, end) = self._place(job), self._bounds(job)
        if not self._compares(job):
            self.sink.append(place, position, to)
            self._count(job, position, to)
        elif self.sink.commit(place, start, position, to, job.token):
            self._count(job, position, to)
        else:
            to = self.sink.positions.get(place, start)
        if to >= end:
            if job.key.kind == "solo":
                self.sink.published[place[:2]] = (place[2],)
            self._end(job, "done", position=to, high=to - 1 if to > start else None)
        elif job.key in self.stopping:
            self._end(job, "stopped", position=to)
        else:
            self.report(self._report(job, "progress", position=to, high=to - 1 if to > start else None))
            self._step(job, to)

    def _count(self, job: Job, position: int, to: int) -> None:
        self.sink.emitted[job.key.task] = self.clock.now
        counts = self.counts[job.key]
        counts.read += to - position
        counts.written += to - position

    # ---- reports

    def _report(self, job: Job, state: str, **fields: Any) -> Report:
        counts = self.counts[job.key]
        copy = Counts(counts.read, counts.written, counts.skipped, counts.dead, counts.bytes)
        return Report(
            key=job.key, state=state, token=job.token, counts=copy, held=self.opened.get(job.key), seconds=0.1,
            **fields,
        )  # fmt: skip

    def _end(self, job: Job, state: str, **fields: Any) -> None:
        report = self._report(job, state, **fields)
        for table in (self.jobs, self.specs, self.stopping, self.counts, self.opened):
            table.pop(job.key, None)
        self.report(report)
