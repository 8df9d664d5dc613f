"""One job of any kind, from its start to its last report: plan, shard, solo (shard, then publish),
publish.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

from node.execution.assembly import Assembly, Host
from node.execution.control import Control, Wish
from node.execution.failures import failure, where
from node.execution.jobs import Job, Report, adrift
from node.execution.pipeline import Pipeline
from plugins.api import Permanent, RunSummary, ShardPlan

GRACE = 10.0
"""seconds that a job past its time limit has to commit what it wrote, before it is cut off"""

_SHARD_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Duty:
    """`emit` takes the reports; the last one (done, planned, failed, stopped) exactly once. `run` never
    raises, except when its asyncio task is cancelled by someone other than `control`.
    """

    __slots__ = (
        "_deadline",
        "_emit",
        "_host",
        "_pipeline",
        "_started",
        "_step",
        "assembly",
        "control",
        "job",
    )

    def __init__(self, assembly: Assembly, host: Host, emit: Callable[[Report], None]) -> None:
        self.assembly = assembly
        self.job: Job = assembly.job
        self.control = Control()
        self._host = host
        self._emit = emit
        self._pipeline: Pipeline | None = None
        self._started = host.monotonic()
        timeout = assembly.spec.limits.timeout
        self._deadline = None if timeout is None else self._started + timeout
        self._step = ""

    async def run(self, task: "asyncio.Task[None] | None" = None) -> None:
        """`task`: the asyncio task that this runs in, if the caller knows it."""
        self.control.begin(task)
        try:
            fields = await self._work()
        except asyncio.CancelledError:
            if not self.control.absorb():
                raise
            fields = self._ended()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 -- a plugin may raise anything, even SystemExit
            fields = self._failed(error)
        finally:
            self.control.close()
            await self._close()
        if self._pipeline is not None:
            fields = {**self._pipeline.progress.final(), **fields}
        seconds = self._host.monotonic() - self._started
        job = self.job
        self._emit(Report(key=job.key, token=job.token, attempt=job.attempt, seconds=seconds, **fields))

    def tick(self, now: float) -> None:
        """To be called a few times a second. `now`: monotonic seconds."""
        if self._deadline is not None and now > self._deadline:
            if self.control.wish is None:
                self.control.ask(Wish.TIMEOUT)
            elif now > self._deadline + GRACE:
                self.control.force()
        elif self._pipeline is not None:
            self._pipeline.tick(now)

    async def _work(self) -> dict[str, Any]:
        match self.job.key.kind:
            case "plan":
                return await self._plan()
            case "shard":
                return await self._shard(publish=False)
            case "solo":
                return await self._shard(publish=True)
            case "publish":
                await self._publish(self.job.shards, self.job.records)
                return {"state": "done"}
            case kind:
                raise Permanent(f"this node does not know jobs of kind {kind!r}; update it", code="kind")

    async def _plan(self) -> dict[str, Any]:
        self._step = f"source {self.assembly.source}"
        collector = await self.assembly.collector()
        try:
            plans = await self.control.wait(lambda: collector.plan(self.assembly.request()))
        finally:
            await collector.shutdown()
        if plans is None:
            return self._ended()
        _check(plans)
        return {"state": "planned", "plans": tuple(plans)}

    async def _shard(self, *, publish: bool) -> dict[str, Any]:
        self._pipeline = pipeline = Pipeline(self.assembly, self._host, self.control, self._emit)
        await pipeline.run()
        if not pipeline.done:
            return self._ended()
        if publish:
            await pipeline.close()
            if error := adrift(self.job.since, pipeline.progress.high, pipeline.progress.records):
                raise Permanent(error, code="field")
            if self.control.wish is Wish.STOP:
                return self._ended()
            self.control.held = True  # what is published half is not stopped
            await self._publish(("0",), pipeline.progress.records)
        return {"state": "done"}

    async def _publish(self, shards: Sequence[str], records: int) -> None:
        job = self.job
        summary = RunSummary(
            task=job.key.task,
            run=job.sink_run,
            generation=job.generation,
            shards=shards,
            records=records,
            replaces=job.replaces,
            complete=job.complete,
            token=job.token,
        )
        for index, chosen in enumerate(self.assembly.spec.sink):
            self._step = f"sink {chosen['plugin']}"
            sink = await self.assembly.sink(index)
            try:
                await sink.publish(summary)
            finally:
                await sink.shutdown()

    def _ended(self) -> dict[str, Any]:
        """The job ended before its source did, as it was told."""
        if self.control.wish is not Wish.TIMEOUT:
            return {"state": "stopped"}
        limit = self.assembly.spec.limits.timeout
        message = (
            f"took longer than limits.timeout ({limit:g} s); the next attempt goes on from its last commit"
        )
        return {"state": "failed", "code": "timeout", "error": message}

    def _failed(self, error: BaseException) -> dict[str, Any]:
        step = self._step or (self._pipeline.step if self._pipeline is not None else "")
        found = failure(error, step, self.assembly.seen)
        if self._pipeline is not None and found.code == "dead-letters":
            self._pipeline.progress.keep_open_letters()
        if not found.expected:
            self._host.log(
                "a job failed unexpectedly",
                task=self.job.key.task,
                shard=self.job.key.shard,
                error=found.message,
                where=where(error),
            )
        return {
            "state": "failed",
            "code": found.code,
            "error": found.message,
            "retryable": found.retryable,
            "after": found.after,
        }

    async def _close(self) -> None:
        if self._pipeline is None:
            return
        try:
            await self._pipeline.close()
        except Exception as error:  # noqa: BLE001 -- what is committed stays so, whatever closing does
            self._host.log("a plugin did not close", task=self.job.key.task, error=type(error).__name__)


def refusal(job: Job, error: BaseException, secrets: Sequence[str] = ()) -> Report:
    """The report of a job that could not even start."""
    found = failure(error, "", secrets)
    return Report(
        key=job.key,
        state="failed",
        token=job.token,
        attempt=job.attempt,
        position=job.resume,
        error=found.message,
        code=found.code,
        retryable=found.retryable,
    )


def _check(plans: Sequence[ShardPlan]) -> None:
    keys = [plan.key for plan in plans]
    wrong = next((key for key in keys if not _SHARD_KEY.fullmatch(key)), None)
    if wrong is not None:
        raise Permanent(
            f"the plugin is at fault: {wrong!r} is no shard key ([A-Za-z0-9._-], 1 to 64)", code="plugin"
        )
    if len(set(keys)) != len(keys):
        raise Permanent("the plugin is at fault: two shards have one key", code="plugin")
