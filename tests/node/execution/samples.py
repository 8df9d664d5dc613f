"""Small real plugins: a counting source, sinks with compare-and-set in memory and in a file, a transform."""

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar

import msgspec

from plugins.api import (
    Batch,
    CollectContext,
    CollectRequest,
    Effect,
    Permanent,
    PluginContext,
    PositionMoved,
    RecordError,
    Rejected,
    Retryable,
    RunSummary,
    ShardPlan,
    SinkContext,
)
from plugins.collectors.http import HttpCollector
from plugins.options import Secret
from plugins.registry import Registry


class CountSource:
    """Records {"n": 1} to {"n": total}; a position is how many there were."""

    class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
        total: int = 10
        size: int | None = None
        pause: float = 0.0
        bad: list[int] = []
        fail_at: int | None = None
        error: str = "retryable"
        kill_at: int | None = None
        hang_at: int | None = None
        spin_at: int | None = None
        skip_to: int | None = None
        password: Secret = ""

    inline: ClassVar[bool] = True
    options: Options
    context: PluginContext
    acknowledged: ClassVar[list[Any]] = []
    opened: ClassVar[list[Any]] = []

    async def initialize(self, context: PluginContext) -> None:
        self.context = context
        self.options = context.options

    async def plan(self, request: CollectRequest) -> Sequence[ShardPlan]:
        wanted = int(request.hints.get("shards", 2))
        return [ShardPlan(key=f"part-{index}") for index in range(wanted)]

    async def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        self.opened.append(context.resume)
        start = context.resume
        while (at := start or 0) < self.options.total:
            await self._trouble(at)
            size = self.options.size or context.batch_records
            end = min(at + size, self.options.total)
            numbers = range(at + 1, end + 1)
            records: list[dict[str, Any]] = [{"n": n} for n in numbers if n not in self.options.bad]
            bad = [n for n in numbers if n in self.options.bad]
            rejected = [Rejected(f"bad {n} {self.options.password}", "not good") for n in bad]
            yield Batch("numbers", records, start, end, 10 * len(numbers), rejected)
            start = end if self.options.skip_to is None else self.options.skip_to

    async def _trouble(self, at: int) -> None:
        options = self.options
        if options.pause:
            await asyncio.sleep(options.pause)
        if options.hang_at is not None and at >= options.hang_at:
            await asyncio.Event().wait()
        while options.spin_at is not None and at >= options.spin_at:
            pass
        if options.kill_at is not None and at >= options.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if options.fail_at is not None and at >= options.fail_at:
            raise {
                "retryable": Retryable("try later", after=7),
                "permanent": Permanent(f"no such thing {options.password}", code="gone"),
                "exit": SystemExit(3),
                "bug": KeyError(f"oops {options.password}"),
            }[options.error]

    async def acknowledge(self, position: Any) -> None:
        self.acknowledged.append(position)

    async def shutdown(self) -> None:
        pass


class HeavySource(CountSource):
    """The same, for worker processes."""

    inline: ClassVar[bool] = False


class LockedSource(CountSource):
    """The same, under a named lock."""

    async def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        assert self.context.locks is not None
        async with self.context.locks.hold("count", ttl=5) as lock:
            assert lock.number > 0
            async for batch in super().collect(context):
                lock.check()
                yield batch


class LockedHeavySource(LockedSource):
    """The same, for worker processes."""

    inline: ClassVar[bool] = False


class Store:
    """What a sink in memory holds, by its name: positions and records per shard, and what was published."""

    def __init__(self) -> None:
        self.positions: dict[tuple[str, str], Any] = {}
        self.records: dict[tuple[str, str], list[Any]] = {}
        self.highs: dict[tuple[str, str], Any] = {}
        self.published: list[RunSummary] = []
        self.commits: list[tuple[Any, Any]] = []
        self.events: list[str] = []
        self.before: Callable[[str, Any], None] = lambda _step, _value: None
        """called with ("write" | "commit" | "committed", value); may raise"""

    def all(self) -> list[Any]:
        return [record for records in self.records.values() for record in records]


STORES: dict[str, Store] = {}


class MemorySink:
    """Compare-and-set in memory, with a hook for faults."""

    class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
        store: str
        refuse: list[int] = []

    inline: ClassVar[bool] = True
    effect = Effect.EXACTLY_ONCE

    async def initialize(self, context: PluginContext) -> None:
        self.options: MemorySink.Options = context.options
        self.store = STORES.setdefault(self.options.store, Store())
        self.pending: list[Any] = []
        self.held: int | None = None
        self.high: Any = None

    async def open(self, context: SinkContext) -> Any:
        self.key = (context.run, context.shard)
        self.held = len(self.store.records.get(self.key, []))
        self.high = self.store.highs.get(self.key)
        return self.store.positions.get(self.key)

    async def write(self, batch: Batch) -> None:
        self.store.before("write", batch)
        await self.check(batch)
        self.pending += [record["n"] for record in batch.records]

    async def check(self, batch: Batch) -> None:
        for record in batch.records:
            if record["n"] in self.options.refuse:
                raise RecordError(record, f"{record['n']} is refused", code="refused")

    async def commit(self, expected: Any, to: Any) -> None:
        self.store.before("commit", to)
        if self.store.positions.get(self.key) != expected:
            self.pending = []
            raise PositionMoved(self.store.positions.get(self.key))
        self.store.positions[self.key] = to
        self.store.highs[self.key] = self.high
        self.store.records.setdefault(self.key, []).extend(self.pending)
        self.store.commits.append((expected, to))
        self.pending = []
        self.store.before("committed", to)

    async def publish(self, run: RunSummary) -> None:
        self.store.published.append(run)

    async def shutdown(self) -> None:
        self.pending = []


class FileSink(MemorySink):
    """One file with position and records, replaced under a lock: shared by processes."""

    class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
        path: str

    inline: ClassVar[bool] = False

    async def initialize(self, context: PluginContext) -> None:
        self.options = MemorySink.Options(store="")
        self.path = context.roots.resolve(context.options.path)
        self.count = context.metrics.count
        self.pending = []

    async def open(self, context: SinkContext) -> Any:
        position, records = self._load()
        self.held = len(records)
        return position

    async def write(self, batch: Batch) -> None:
        self.pending += [record["n"] for record in batch.records]

    async def commit(self, expected: Any, to: Any) -> None:
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            position, records = self._load()
            if position != expected:
                self.pending = []
                raise PositionMoved(position)
            new = self.path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps([to, records + self.pending]))
            new.rename(self.path)
        self.count("records", len(self.pending))
        self.pending = []

    async def publish(self, run: RunSummary) -> None:
        self.path.with_suffix(".published").write_text(str(run.records))

    def _load(self) -> tuple[Any, list[int]]:
        if not self.path.exists():
            return None, []
        position, records = json.loads(self.path.read_text())
        return position, records


class Picky:
    """Drops multiples of `drop`, refuses those in `refuse`, adds "seen"."""

    class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
        drop: int = 0
        refuse: list[int] = []

    inline: ClassVar[bool] = True

    async def initialize(self, context: PluginContext) -> None:
        self.options: Picky.Options = context.options

    def apply(self, batch: Batch) -> Batch:
        for record in batch.records:
            if record["n"] in self.options.refuse:
                raise RecordError(record, "picky", code="picky")
        drop = self.options.drop
        records = [{**record, "seen": True} for record in batch.records if not drop or record["n"] % drop]
        return msgspec.structs.replace(batch, records=records)


def registry() -> Registry:
    made = Registry()
    made.add("collector", "count", CountSource)
    made.add("collector", "heavy", HeavySource)
    made.add("collector", "http", HttpCollector)
    made.add("collector", "locked", LockedSource)
    made.add("collector", "locked-heavy", LockedHeavySource)
    made.add("sink", "memory", MemorySink)
    made.add("sink", "file", FileSink)
    made.add("transform", "picky", Picky)
    return made
