"""A model source and sink for the simulator: known content, compare-and-set commits, and a runner between them."""

import json
import random
from collections.abc import Callable
from typing import Any

from node.execution.jobs import Counts, Job, JobKey, Report
from plugins.api import ShardPlan
from tests.sim.clock import Clock

STEP = 0.25
"""Seconds between two commits of a running shard."""
CHUNK = 7
"""Records a commit."""


class ModelSink:
    """Shared by all nodes, as a shared store is. Keeps what was committed, in order, by (task, run, shard)."""

    def __init__(self) -> None:
        self.positions: dict[tuple[str, str, str], int] = {}
        self.records: dict[tuple[str, str, str], list[int]] = {}
        self.published: dict[str, int] = {}
        self.refused = 0

    def commit(self, key: tuple[str, str, str], expected: int, to: int) -> bool:
        """Compare-and-set of the shard's position, atomic with the records."""
        if self.positions.get(key, 0) != expected:
            self.refused += 1
            return False
        self.positions[key] = to
        self.records.setdefault(key, []).extend(range(expected, to))
        return True

    def rows(self, task: str, run: str) -> list[tuple[str, int]]:
        return [(k[2], r) for k, rows in sorted(self.records.items()) if k[:2] == (task, run) for r in rows]


def spec(records: int, shards: int, *, fail: int = 0, name: str = "") -> bytes:
    """A task of the model plugins: `shards` shards with `records` each; the first `fail` attempts of shard 0 fail."""
    source = {
        "plugin": "model" if shards else "solo",
        "records": records,
        "shards": shards,
        "fail": fail,
        "name": name,
    }
    return json.dumps({"source": source, "sink": [{"plugin": "model"}]}, sort_keys=True).encode()


def source_of(raw: bytes) -> dict[str, Any]:
    source: dict[str, Any] = json.loads(raw)["source"]
    return source


class ModelRunner:
    """The runner of one life of one node. `alive()` false: it was killed, and its timers do nothing any more."""

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
        self.stopping: dict[JobKey, bool] = {}
        self.counts: dict[JobKey, Counts] = {}
        self.opened: dict[JobKey, int] = {}
        self.steps: list[tuple[float, JobKey, int]] = []

    def run(self, job: Job) -> None:
        if job.key in self.jobs:
            return
        self.jobs[job.key] = job
        self.counts[job.key] = Counts()
        self.later(self.rng.uniform(0.01, 0.05), lambda: self._begin(job))

    def stop(self, key: JobKey, *, drain: bool) -> None:
        if key in self.jobs:
            self.stopping[key] = drain

    def _place(self, job: Job) -> tuple[str, str, str]:
        return (job.key.task, job.sink_run, job.key.shard)

    def _begin(self, job: Job) -> None:
        source = source_of(job.spec)
        if job.key.kind == "plan":
            plans = tuple(
                ShardPlan(key=str(i), start=0, end=source["records"]) for i in range(source["shards"])
            )
            self._end(job, "planned", plans=plans)
        elif job.key.kind == "publish":
            self.sink.published[job.key.task] = self.sink.published.get(job.key.task, 0) + 1
            self._end(job, "done")
        elif source["fail"] >= job.attempt and job.key.shard == "0":
            self._end(job, "failed", error="model failure", code="model")
        else:
            self.opened[job.key] = self.sink.positions.get(self._place(job), 0)
            self._step(job, self.opened[job.key])

    def _step(self, job: Job, position: int) -> None:
        """Read a chunk, hold it for a while as a sink would, commit it, report."""
        if job.key in self.stopping and not self.stopping[job.key]:
            self._end(job, "stopped", position=self.sink.positions.get(self._place(job), 0))
            return
        to = min(position + CHUNK, source_of(job.spec)["records"])
        self.later(self.rng.uniform(0.5, 1.5) * STEP, lambda: self._commit(job, position, to))

    def _commit(self, job: Job, position: int, to: int) -> None:
        place = self._place(job)
        if self.sink.commit(place, position, to):
            counts = self.counts[job.key]
            counts.read += to - position
            counts.written += to - position
        else:
            to = self.sink.positions.get(place, 0)
        if to >= source_of(job.spec)["records"]:
            self._end(job, "done", position=to)
        elif job.key in self.stopping:
            self._end(job, "stopped", position=to)
        else:
            self.report(self._report(job, "progress", position=to))
            self._step(job, to)

    def _report(self, job: Job, state: str, **fields: Any) -> Report:
        counts = self.counts[job.key]
        held = self.opened.get(job.key)
        copy = Counts(counts.read, counts.written, counts.skipped, counts.dead, counts.bytes)
        return Report(
            key=job.key, state=state, token=job.token, counts=copy, held=held, seconds=0.1, **fields
        )

    def _end(self, job: Job, state: str, **fields: Any) -> None:
        report = self._report(job, state, **fields)
        for table in (self.jobs, self.stopping, self.counts, self.opened):
            table.pop(job.key, None)
        self.report(report)
