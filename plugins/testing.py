"""The contract suite: what every collector and every sink must hold. For plugin authors and for ourselves.

    await check_collector(MyCollector, options, roots=FolderRoots(tmp_path), expected=records)
    await check_sink(MySink, target)

Both raise AssertionError with the rule that was broken. They use the plugin as a node does: a fresh instance
for each plan, shard and publish, options as an instance of `Options`, positions and plans as JSON.
"""

import collections
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from plugins.api import (
    Batch,
    CollectContext,
    Collector,
    CollectRequest,
    Effect,
    Permanent,
    PluginContext,
    Position,
    PositionMoved,
    Record,
    RunSummary,
    ShardPlan,
    Sink,
    SinkContext,
)
from plugins.registry import fault_of

TASK = "contract"
RUN = "2026-01-01T00:00:00Z"
_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")


class FolderRoots:
    """Every root is a folder below `base`: for tests."""

    def __init__(self, base: Path) -> None:
        self._base = base.resolve()

    def resolve(self, path: str) -> Path:
        _, _, relative = path.rpartition(":")
        found = (self._base / relative).resolve()
        if not found.is_relative_to(self._base):
            raise Permanent(f"path {path!r} leads out of its root", code="path")
        return found


class FreeBudget:
    """No limit; `taken` counts."""

    def __init__(self) -> None:
        self.taken = 0.0

    async def take(self, amount: float = 1) -> None:
        self.taken += amount


class Counters:
    """What a plugin counted."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()

    def count(self, name: str, amount: int = 1) -> None:
        self.counts[name] += amount


def plugin_context(
    options: Any, *, roots: Any = None, http: Callable[[], Any] | None = None
) -> PluginContext:
    """A host for one plugin instance."""
    return PluginContext(
        options=options,
        roots=roots,
        budget=FreeBudget(),
        metrics=Counters(),
        clock=time.time,
        log=lambda *_, **__: None,
        http=http,
    )


def multiset(records: Sequence[Record]) -> Mapping[bytes, int]:
    """The records without their order, comparable."""
    return collections.Counter(msgspec.json.encode(record, order="deterministic") for record in records)


async def check_collector(
    make: Callable[[], Collector],
    options: Any,
    *,
    roots: Any = None,
    http: Callable[[], Any] | None = None,
    request: CollectRequest | None = None,
    expected: Sequence[Record] | None = None,
    sizes: Sequence[int] = (1, 7, 1000),
) -> list[Record]:
    """Plan, collect all shards, resume from every batch boundary. All records that were collected.

    `expected`: what the request must give, in any order. `sizes`: batch sizes to try; small ones make many
    boundaries, each of which is resumed from.
    """
    kind = make if isinstance(make, type) else type(make())
    assert (fault := fault_of("collector", kind)) is None, f"shape: {fault}"
    suite = _CollectorSuite(
        make, plugin_context(options, roots=roots, http=http), request or CollectRequest(task=TASK, run=RUN)
    )
    plans = await suite.plan(sharded=getattr(kind, "sharded", True))
    found: list[Record] = []
    for plan in plans:
        whole = [await suite.check_shard(plan, size) for size in sizes]
        for size, records in zip(sizes, whole, strict=True):
            assert records == whole[0], (
                f"shard {plan.key}: batches of {size} give other records than of {sizes[0]}"
            )
        found += whole[0]
    if expected is not None:
        assert multiset(found) == multiset(expected), "the shards together are not what the request asks for"
    return found


class _CollectorSuite:
    def __init__(
        self, make: Callable[[], Collector], context: PluginContext, request: CollectRequest
    ) -> None:
        self._make = make
        self._context = context
        self._request = request

    async def plan(self, *, sharded: bool) -> list[ShardPlan]:
        collector = self._make()
        await collector.initialize(self._context)
        plans = [_stored(plan, ShardPlan) for plan in await collector.plan(self._request)]
        await collector.shutdown()
        await collector.shutdown()
        keys = [plan.key for plan in plans]
        assert len(set(keys)) == len(keys), f"plan: shard keys are not unique: {keys}"
        assert all(_KEY.fullmatch(key) for key in keys), f"plan: shard keys are no file names: {keys}"
        assert all(plan.weight > 0 for plan in plans), "plan: weights must be above 0"
        if not sharded and self._request.range is None:
            assert [(p.key, p.start, p.end) for p in plans] == [("0", None, None)], (
                "plan: an unsharded run is shard 0"
            )
        return plans

    async def check_shard(self, plan: ShardPlan, size: int) -> list[Record]:
        """The records of one shard, after its chain and its resumption are checked."""
        batches = await self._collect(plan, None, size)
        records = [record for batch in batches for record in batch.records]
        rest = list(records)
        for batch in batches:
            rest = rest[len(batch.records) :]
            again = await self._collect(plan, _stored(batch.end, Any), size)
            resumed = [record for one in again for record in one.records]
            assert resumed == rest, f"shard {plan.key}: resumed from {batch.end!r}, it does not give the rest"
        return records

    async def _collect(self, plan: ShardPlan, resume: Position, size: int) -> list[Batch]:
        collector = self._make()
        await collector.initialize(self._context)
        position, batches = resume, []
        context = CollectContext(request=self._request, shard=plan, resume=resume, batch_records=size)
        async for batch in collector.collect(context):
            assert _same(batch.start, position), (
                f"shard {plan.key}: a batch starts at {batch.start!r}, not at {position!r} where it must"
            )
            assert not (batch.records and _same(batch.end, batch.start)), (
                f"shard {plan.key}: a batch with records ends where it starts, at {batch.end!r}"
            )
            msgspec.json.encode(batch.records)
            position = batch.end
            batches.append(batch)
        await collector.shutdown()
        await collector.shutdown()
        return batches


class Target(msgspec.Struct, kw_only=True):
    """An empty place for a sink to write to. `stored()`: the published records there; None: it keeps none."""

    options: Any
    stored: Callable[[], list[Record]] | None
    roots: Any = None
    key: Sequence[str] = ()
    mode: str = "append"


async def check_sink(make: Callable[[], Sink], target: Callable[[str], Target], *, seeds: int = 20) -> None:
    """Commits, crashes, races and publishes; `target(name)` gives an empty target for each of them.

    `seeds`: how many interleavings of two writers are tried; each is printed by its number if it fails.
    """
    kind = make if isinstance(make, type) else type(make())
    assert (fault := fault_of("sink", kind)) is None, f"shape: {fault}"
    await _SinkSuite(make, target("chain")).chain()
    await _SinkSuite(make, target("crash")).crash()
    await _SinkSuite(make, target("empty")).empty()
    if getattr(kind, "effect", None) is Effect.EXACTLY_ONCE:
        await _SinkSuite(make, target("compare-and-set")).compare_and_set()
        for seed in range(seeds):
            await _SinkSuite(make, target(f"race-{seed}")).race(random.Random(seed), f"seed {seed}")


def made_up(count: int) -> list[Record]:
    """Records with an `id` of their own and values of several kinds."""
    return [{"id": number, "text": f'a "{number}",\nb', "half": number / 2} for number in range(1, count + 1)]


class _Writer:
    """One executor of the shard: it writes what comes after its position, commits, gives way when it must."""

    def __init__(self, suite: "_SinkSuite", chance: random.Random) -> None:
        self._suite = suite
        self._chance = chance
        self._sink: Sink | None = None
        self._position: Position = None
        self._written = 0

    async def step(self) -> bool:
        """One operation; False when the shard is done."""
        records = self._suite.records
        if self._sink is None:
            self._sink, self._position = await self._suite.opened()
            self._written = self._position or 0
        elif self._written < len(records) and (
            self._written == (self._position or 0) or self._chance.random() < 0.5
        ):
            end = min(self._written + self._chance.randint(1, 5), len(records))
            await self._sink.write(_batch(records, self._written, end))
            self._written = end
        elif self._written > (self._position or 0):
            await self._commit(self._sink)
        else:
            await self._sink.shutdown()
            return False
        return True

    async def _commit(self, sink: Sink) -> None:
        try:
            await sink.commit(self._position, self._written)
            self._position = self._written
        except PositionMoved:
            await sink.shutdown()
            self._sink = None


class _SinkSuite:
    def __init__(self, make: Callable[[], Sink], target: Target) -> None:
        self._make = make
        self._target = target
        self.records = made_up(40)

    async def made(self) -> Sink:
        sink = self._make()
        await sink.initialize(plugin_context(self._target.options, roots=self._target.roots))
        return sink

    async def opened(self, shard: str = "0000") -> tuple[Sink, Position]:
        sink = await self.made()
        target = self._target
        position = await sink.open(
            SinkContext(task=TASK, run=RUN, shard=shard, key=target.key, mode=target.mode)
        )
        return sink, position

    async def chain(self) -> None:
        """Positions and what is held survive the instance; publish is idempotent, on any instance."""
        sink, position = await self.opened()
        assert position is None, f"open: a new shard stands at {position!r}, not at null"
        await sink.write(_batch(self.records, 0, 10))
        await sink.write(_batch(self.records, 10, 25))
        kept: Any = "2013-03-01T00:00:00Z"
        if hasattr(sink, "high"):
            sink.high = kept
        await sink.commit(None, 25)
        await sink.commit(25, 30)
        await sink.shutdown()
        sink, position = await self.opened()
        if self._make().effect is Effect.EXACTLY_ONCE:
            assert position == 30, f"open: the committed position is 30, it says {position!r}"
            assert getattr(sink, "held", 25) == 25, (
                f"held is {getattr(sink, 'held', None)}, it took 25 records"
            )
            found = getattr(sink, "high", kept)
            assert found == kept, f"high is {found!r}, the last commit kept {kept!r}"
        await sink.write(_batch(self.records, 30, 40))
        await sink.commit(position, 40)
        await sink.shutdown()
        await sink.shutdown()
        await self.published(self.records[:25] + self.records[30:], "chain")
        await self.published(self.records[:25] + self.records[30:], "published again")

    async def crash(self) -> None:
        """What was written and not committed is as if it had never been, with a shutdown or without."""
        sink, _ = await self.opened()
        await sink.write(_batch(self.records, 0, 20))
        await sink.shutdown()
        sink, position = await self.opened()
        assert position is None, f"open: nothing was committed, yet the position is {position!r}"
        await sink.write(_batch(self.records, 0, 10))
        await sink.commit(None, 10)
        await sink.write(_batch(self.records, 10, 20))  # and here its process dies
        rest, position = await self.opened()
        await rest.write(_batch(self.records, position or 0, 40))
        await rest.commit(position, 40)
        await rest.shutdown()
        await sink.shutdown()
        await self.published(self.records, "after a crash")

    async def empty(self) -> None:
        """A shard without records, and one that no one opened."""
        sink, _ = await self.opened()
        await sink.commit(None, 5)
        await sink.shutdown()
        await self.published([], "empty", shards=("0000", "0001"))

    async def compare_and_set(self) -> None:
        """The second of two commits from one position is refused, says where the shard is, stores nothing."""
        first, _ = await self.opened()
        second, _ = await self.opened()
        await first.write(_batch(self.records, 0, 20))
        await second.write(_batch(self.records, 0, 15))
        await first.commit(None, 20)
        await _moved(second, None, 15, to=20)
        await second.shutdown()
        late, position = await self.opened()
        assert position == 20, f"open: after the race the position is 20, it says {position!r}"
        await late.write(_batch(self.records, 20, 40))
        await _moved(late, None, 40, to=20)
        await late.shutdown()
        await first.write(_batch(self.records, 20, 40))
        await first.commit(20, 40)
        await first.shutdown()
        await self.published(self.records, "compare-and-set")

    async def race(self, chance: random.Random, name: str) -> None:
        """Two executors at one shard, interleaved at random, end with exactly one copy."""
        writers = [_Writer(self, chance), _Writer(self, chance)]
        while writers:
            writer = chance.choice(writers)
            if not await writer.step():
                writers.remove(writer)
        await self.published(self.records, name)

    async def published(self, expected: list[Record], name: str, shards: Sequence[str] = ("0000",)) -> None:
        sink = await self.made()
        summary = RunSummary(
            task=TASK,
            run=RUN,
            shards=shards,
            records=len(expected),
            replaces=self._target.mode == "replace",
        )
        await sink.publish(summary)
        await sink.publish(summary)
        await sink.shutdown()
        if self._target.stored is None:
            return
        found = multiset(self._target.stored())
        wanted = multiset(expected)
        if self._make().effect is Effect.EXACTLY_ONCE:
            assert found == wanted, f"{name}: {sum(found.values())} records stored, {len(expected)} written"
        else:
            missing = [record for record in wanted if record not in found]
            assert not missing, f"{name}: {len(missing)} records are lost"


async def _moved(sink: Sink, expected: Position, wanted: Position, *, to: Position) -> None:
    try:
        await sink.commit(expected, wanted)
    except PositionMoved as moved:
        found = moved.position
    else:
        raise AssertionError(f"commit from {expected!r} was accepted, though the position is {to!r}")
    assert found == to, f"PositionMoved says {found!r}, the position is {to!r}"


def _batch(records: list[Record], start: int, end: int) -> Batch:
    return Batch(
        stream="", records=[dict(record) for record in records[start:end]], start=start or None, end=end
    )


def _stored(value: Any, kind: Any) -> Any:
    """The value as it is after a journey through the ledger."""
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def _same(one: Position, other: Position) -> bool:
    return bool(_stored(one, Any) == _stored(other, Any))
