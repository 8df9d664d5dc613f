"""From a job's spec to initialized plugins: which classes, with which options, in which context."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import msgspec

from node.execution.budget import Gcra, Unlimited
from node.execution.control import Turn
from node.execution.holding import AskLock, TaskLocks
from node.execution.jobs import Job
from node.execution.letters import LetterSource
from node.execution.roots import FolderRoots
from node.execution.secrets import Secrets, scrub_record
from node.schema import TaskSpec
from plugins.api import (
    Budget,
    Collector,
    CollectRequest,
    Metrics,
    Permanent,
    PluginContext,
    Sink,
    SinkContext,
    Transform,
)
from plugins.options import OptionErrors, resolve

_decode = msgspec.json.Decoder(TaskSpec).decode
_UNLIMITED = Unlimited()
_SINK_WORDS = frozenset({"plugin", "key", "mode"})
_WORDS = frozenset({"plugin"})
_SLICE = 0.5
"""seconds of a rate limit that one batch may hold, so that progress and pauses stay smooth"""


def decode(spec: bytes) -> TaskSpec:
    """The canonical spec; raises Permanent (code "spec") for what is none."""
    try:
        return _decode(spec)
    except msgspec.MsgspecError as error:
        raise Permanent(f"the task's spec is damaged: {error}; submit the task again", code="spec") from None


class Registry(Protocol):
    """Plugin classes by name. Raises Permanent for a name that this node does not have."""

    def collector(self, name: str) -> type[Any]: ...
    def sink(self, name: str) -> type[Any]: ...
    def transform(self, name: str) -> type[Any]: ...


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """How often a shard commits and reports.

    `commit_seconds`, `commit_bytes`, `commit_letters`: a commit is due when any is reached (10 s and 64
    MB: design section 6; letters so that no report grows past a megabyte). Larger: fewer and larger parts,
    more to do again after a crash. `report_seconds`: at most one report in this time, commits apart.
    """

    commit_seconds: float = 10.0
    commit_bytes: int = 64_000_000
    commit_letters: int = 500
    report_seconds: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Host:
    """What one process offers to its jobs. `clock`: seconds since the epoch; `monotonic`: seconds, steady."""

    registry: Registry
    roots: FolderRoots
    secrets: Secrets
    metrics: Callable[[str], Metrics]
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    log: Callable[..., None]
    turn: Turn
    http: Callable[[], Any] | None = None
    locks: AskLock | None = None
    cadence: Cadence = field(default_factory=Cadence)


class Assembly:
    """One job's plugins. `seen`: the secret values that its options hold."""

    def __init__(self, job: Job, host: Host) -> None:
        self._host = host
        self.job = job
        self.seen: set[str] = set()
        self.spec = decode(job.spec)
        self.budget: Budget = Gcra(job.rate, host.monotonic) if job.rate else _UNLIMITED
        self.source = str(self.spec.source["plugin"])
        self.stream = str(self.spec.source.get("stream", ""))

    async def collector(self) -> Collector:
        if self.job.letters:
            return cast("Collector", LetterSource(self.job.letters, self.stream))
        kind = self._host.registry.collector(self.source)
        collector = kind()
        options = self._options(kind, self.spec.source, _WORDS, self.source)
        await collector.initialize(self._context(self.source, options, self.budget))
        return cast("Collector", collector)

    async def sink(self, index: int) -> Sink:
        chosen = self.spec.sink[index]
        name = str(chosen["plugin"])
        kind = self._host.registry.sink(name)
        sink = kind()
        options = self._options(kind, chosen, _SINK_WORDS, name)
        await sink.initialize(self._context(name, options, _UNLIMITED))
        return cast("Sink", sink)

    async def transform(self, index: int) -> Transform:
        chosen = self.spec.transform[index]
        name = str(chosen["plugin"])
        kind = self._host.registry.transform(name)
        transform = kind()
        options = self._options(kind, chosen, _WORDS, name)
        await transform.initialize(self._context(name, options, _UNLIMITED))
        return cast("Transform", transform)

    def pace(self, rate: float) -> None:
        """`rate`: the new share. A job that began without one has none to change."""
        if isinstance(self.budget, Gcra):
            self.budget.pace(rate)

    @property
    def budgeted(self) -> bool:
        """Whether the pipeline spends the budget, per record, because the collector does not."""
        if not self.job.rate or self.job.letters:
            return False
        return not getattr(self._host.registry.collector(self.source), "budgeted", False)

    def request(self) -> CollectRequest:
        job = self.job
        return CollectRequest(
            task=job.key.task,
            run=job.key.run,
            mode=job.mode,
            range=job.range,
            ranges=job.ranges,
            since=job.since,
            hints=job.hints,
        )

    def sink_context(self, index: int) -> SinkContext:
        job, chosen = self.job, self.spec.sink[index]
        key = chosen.get("key", ())
        return SinkContext(
            task=job.key.task,
            run=job.sink_run,
            shard=job.key.shard,
            token=job.token,
            stream=self.stream,
            generation=job.generation,
            key=key,
            mode=chosen.get("mode") or ("upsert" if key else "append"),
        )

    def batch_limits(self) -> tuple[int, int]:
        """(records, bytes) of a batch to aim at."""
        limits = self.spec.limits
        records = limits.batch_records or 2000
        if self.budgeted:
            records = max(1, min(records, int((self.job.rate or 0) * _SLICE)))
        return records, limits.batch_bytes or 1 << 20

    def _options(self, kind: type[Any], chosen: Mapping[str, Any], words: frozenset[str], name: str) -> Any:
        given = {key: value for key, value in chosen.items() if key not in words}
        try:
            return resolve(kind.Options, given, self._secret)
        except OptionErrors as error:
            raise Permanent(
                f"{error}; `collect plugins` shows the options of {name}", code="options"
            ) from None

    def _secret(self, name: str) -> str:
        value = self._host.secrets.get(name)
        self.seen.add(value)
        return value

    def _context(self, plugin: str, options: Any, budget: Budget) -> PluginContext:
        host = self._host
        return PluginContext(
            options=options,
            roots=host.roots,
            budget=budget,
            metrics=host.metrics(plugin),
            clock=host.clock,
            log=functools.partial(self._log, plugin),
            http=host.http,
            locks=None if host.locks is None else TaskLocks(host.locks, self.job.tenant, self._holder()),
        )

    def _holder(self) -> str:
        key = self.job.key
        return f"task {key.task}" + (f" shard {key.shard}" if key.shard else "")

    def _log(self, plugin: str, event: str, **fields: Any) -> None:
        if self.seen:
            event, fields = scrub_record(event, self.seen), scrub_record(fields, self.seen)
        self._host.log(event, plugin=plugin, task=self.job.key.task, **fields)
