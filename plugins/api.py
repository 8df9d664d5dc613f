"""The contract between the mesh and a plugin: what a collector, a sink and a transform are.

Structural typing: a plugin needs no base class. A plugin class carries these class attributes beside
the methods of its Protocol (all optional but `Options`):

    Options   a msgspec.Struct subclass (kw_only, forbid_unknown_fields): the plugin's own options
    version   str, default "0"
    modes     frozenset; a collector's collection modes ("full", "incremental", "range"), default {"full"};
              a sink's write modes ("upsert", "append", "replace"), default {"append"}
    sharded   bool, default True. False: a run is always exactly one shard, key "0", with no start and no
              end, so the plan is a constant and need not be recorded before the shard runs; a run over a
              range is planned all the same, since its plan says what it covers
    inline    bool, default False. True: cheap enough (or purely asynchronous) to run on the node's event
              loop; otherwise a shard runs in a worker process
    paths     staticmethod(options) -> tuple of "root:relative" paths that the plugin touches
    refuse    staticmethod(options, file: Path): raises plugins.options.InvalidOption where a collector can
              tell from a file that it cannot read it; asked when a task is submitted, so it reads little

Positions. A `Position` is any JSON value; only the collector that made it gives it a meaning and an order.
`None` is "nothing yet". A batch covers the source positions `(start, end]`; consecutive batches of a shard
chain (`next.start == previous.end`). The sink's committed position is the truth about how far a shard is.

Exactly once. `Sink.commit(expected, to)` is compare-and-set on the shard's position, atomic with the data
written since the last commit. If the position is not `expected` any more, another executor of the same
shard was here: the sink discards what was written since the last commit and raises `PositionMoved` with
the position it found; the pipeline goes on from there.
"""

import enum
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

Record = dict[str, Any]
"""One record: field name -> JSON value. Collectors of untyped sources (CSV) give strings."""

Position = Any
"""Where a shard can resume; a JSON value ordered by its collector. None: nothing yet."""

Token = tuple[int, str, int]
"""`(epoch, node id, boot)`: the fence on leases and commits. Ordered as a tuple; larger is newer."""

MODES = frozenset({"full", "incremental", "range"})


class Effect(enum.Enum):
    """What a sink promises about a batch that is written again after a crash."""

    EXACTLY_ONCE = "exactly once"
    AT_LEAST_ONCE = "at least once"


class CollectError(Exception):
    """Base of the errors that a plugin raises on purpose. `code` is a short stable word for filters."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or type(self).code


class Retryable(CollectError):
    """It may work later: the shard is tried again, after `after` seconds if given, else as the task says."""

    code = "retryable"

    def __init__(self, message: str, *, after: float | None = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.after = after


class Permanent(CollectError):
    """It will not work, however often it is tried: the shard fails with this reason."""

    code = "permanent"


class RecordError(CollectError):
    """One record cannot be taken (by a transform or a sink): it becomes a dead letter, the rest goes on."""

    code = "record"

    def __init__(self, record: Record, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.record = record
        self.reason = reason


class PositionMoved(CollectError):
    """A commit found another position than it expected; nothing was stored. `position`: what it found."""

    code = "position-moved"

    def __init__(self, position: Position) -> None:
        super().__init__(f"the shard's position is now {position!r}")
        self.position = position


class Rejected(msgspec.Struct, frozen=True):
    """A record that the collector itself could not read, carried along so that it becomes a dead letter."""

    raw: Any
    reason: str
    code: str = "malformed"


class Batch(msgspec.Struct):
    """Records that cover the source positions `(start, end]`; `bytes`: their size in the source, about.

    `records` may be empty (the positions are covered all the same). `rejected`: what could not be read.
    """

    stream: str
    records: list[Record]
    start: Position
    end: Position
    bytes: int = 0
    rejected: Sequence[Rejected] = ()


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """A half-open range `[from, to)` of one field. Bounds: RFC 3339 instants in UTC, numbers or strings."""

    field: str
    from_: Any = msgspec.field(name="from")
    to: Any
    step: str | int | float | None = None


class Since(msgspec.Struct, frozen=True):
    """The lower bound of an incremental run: `field` > `value`, >= where `inclusive`. None: everything."""

    field: str
    value: Any = None
    inclusive: bool = False


class ShardPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of a run. `key` is unique within the run and safe as a file name ([A-Za-z0-9._-], <= 64).

    `start`/`end`: the positions it covers, None for "from the beginning"/"to the end of the source".
    `affinity`: shards with the same value are best run on one node (a target host, say). `weight`: relative
    amount of work. `covers`: the half-open part `[from, to)` of the requested range that this shard collects.
    """

    key: str
    start: Position = None
    end: Position = None
    affinity: str | None = None
    weight: float = 1.0
    covers: tuple[Any, Any] | None = None


class CollectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asks of its collector. Exactly one of `range`, `since` is set in those modes, none in full.

    `ranges`: in range mode, the parts of the range still to collect (the gaps); plan shards for these only.
    `hints`: `shards` (wanted number of shards, int), `record_bytes` (mean, learned from past runs).
    """

    task: str
    run: str
    mode: str = "full"
    range: Range | None = None
    ranges: Sequence[tuple[Any, Any]] = ()
    since: Since | None = None
    hints: Mapping[str, Any] = {}


class CollectContext(msgspec.Struct, frozen=True, kw_only=True):
    """One shard to collect: the request, the shard, the position after which to go on, the lease's token.

    `batch_records`/`batch_bytes`: aim for batches of about this size, whichever is reached first.
    """

    request: CollectRequest
    shard: ShardPlan
    resume: Position = None
    token: Token = (0, "", 0)
    batch_records: int = 2000
    batch_bytes: int = 1 << 20


class SinkContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink is told of the shard that it takes.

    `task`, `generation`: whose result this is; a new generation replaces the published result when complete.
    `key`: the fields that identify a record ([]: none). `mode`: upsert, append or replace.
    `fields`: the wanted columns in order, where known ([]: take them from the records).
    """

    task: str
    run: str
    shard: str
    token: Token = (0, "", 0)
    stream: str = ""
    generation: int = 0
    key: Sequence[str] = ()
    mode: str = "append"
    fields: Sequence[str] = ()


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run whose shards are done; `shards`: their keys. `replaces`: earlier runs give way to it.

    `complete` False: only these shards of it; it may be published again with more of them.
    """

    task: str
    run: str
    generation: int = 0
    shards: Sequence[str] = ()
    records: int = 0
    complete: bool = True
    replaces: bool = False
    token: Token = (0, "", 0)


class Roots(Protocol):
    """The folders of this host that plugins may touch. A path is `root:relative`; no root: `default`."""

    def resolve(self, path: str) -> Path:
        """The absolute path; raises Permanent (code "path") for an unknown root or a path outside of it."""
        ...


class Metrics(Protocol):
    """Counters of a plugin; they appear in the node's metrics under the plugin's name."""

    def count(self, name: str, amount: int = 1) -> None: ...


class Budget(Protocol):
    """The rate limit of this shard; collectors of request-based sources await it before each request."""

    async def take(self, amount: float = 1) -> None: ...


class HeldLock(Protocol):
    """A lock while it is held. `number`: its fencing token, larger each time that somebody takes the lock."""

    @property
    def number(self) -> int: ...
    @property
    def lost(self) -> bool:
        """Whether it could not be renewed in time: somebody else may have it."""
        ...

    def check(self) -> None:
        """Raises Retryable (code "lock-lost") when it is lost; call it before what the lock protects."""
        ...


class Locks(Protocol):
    """Named locks of the task's tenant, over the whole mesh: `async with context.locks.hold("name") as lock`.

    A lock needs a majority of the replicas of its slot; on the lesser side of a cut nobody gets or keeps one. It is
    renewed while it is held. It cannot stop a process that was frozen and wakes after the lock went to another: what
    must never happen twice has to be refused by the resource itself, by `number`.
    """

    def hold(
        self, name: str, *, ttl: float = 30.0, wait: float | None = None
    ) -> AbstractAsyncContextManager[HeldLock]:
        """Wait for the lock (`wait`: at most so many seconds; then Retryable, code "locked"), hold it, free it. When
        it is lost meanwhile, the end of the block raises Retryable (code "lock-lost")."""
        ...


class PluginContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a plugin instance gets at `initialize`.

    `options`: an instance of the plugin's `Options`, secrets already resolved into plain strings.
    `http`: callable giving the pooled aiohttp.ClientSession whose connector enforces `[network]`; None where
    the host offers none. `locks`: named locks; None likewise. `clock`: seconds since the epoch.
    `log(event, **fields)`: a structured log line.
    """

    options: Any
    roots: Roots
    budget: Budget
    metrics: Metrics
    clock: Callable[[], float]
    log: Callable[..., None]
    http: Callable[[], Any] | None = None
    locks: Locks | None = None


@runtime_checkable
class Collector(Protocol):
    """Reads a source. One instance serves one plan or one shard, in one process."""

    async def initialize(self, context: PluginContext) -> None: ...

    async def plan(self, request: CollectRequest) -> Sequence[ShardPlan]:
        """The shards of the run; no two overlap and together they cover the request. Reads, never writes."""
        ...

    def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        """The batches of the shard after `context.resume`, in order. Ends when the shard is exhausted."""
        ...

    async def shutdown(self) -> None: ...


@runtime_checkable
class Sink(Protocol):
    """Takes the records of one shard; compare-and-set on its position. One instance: a shard or a publish.

    Optional: `held`, set by `open`: how many records the sink holds for this shard at the position it
    returned (so that counts stay exact over a takeover). `high`, any JSON value or None: the host sets it
    before `commit`, the sink keeps it with the position, and `open` sets it to what the last commit kept (so
    that the cursor of an incremental task stays exact over a takeover). `check(batch)`, async: raises the RecordError
    that `write` would, and keeps nothing (so that what was refused before a takeover is told after it).
    """

    effect: Effect

    async def initialize(self, context: PluginContext) -> None: ...

    async def open(self, context: SinkContext) -> Position:
        """The position that the sink holds for this shard; None: nothing yet."""
        ...

    async def write(self, batch: Batch) -> None:
        """Take the batch; it counts from the next commit. May raise RecordError for one record only before
        anything of the batch is kept; the pipeline then sets the record aside and writes the rest again.
        """
        ...

    async def commit(self, expected: Position, to: Position) -> None:
        """Make durable what was written and move the position from `expected` to `to`, in one step."""
        ...

    async def publish(self, run: RunSummary) -> None:
        """All shards of the run are done: make the result visible. Idempotent; may run twice, on any node."""
        ...

    async def shutdown(self) -> None:
        """Release everything; what was written and not committed is discarded."""
        ...


@runtime_checkable
class Transform(Protocol):
    """Changes records between source and sink. Pure: it may run again on the same records."""

    async def initialize(self, context: PluginContext) -> None: ...

    def apply(self, batch: Batch) -> Batch:
        """The batch to pass on, same positions. May raise RecordError for one record."""
        ...
