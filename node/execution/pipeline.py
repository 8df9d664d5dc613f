"""One shard, from its source to its sinks: batches -> transforms -> sinks -> commit.

Invariants:

- The checkpoint is never ahead of a sink: it is what the last of them committed. The source is
  acknowledged last.
- A commit that has begun is never cut off: a sink may be doing it in a thread, and releasing the sink
  meanwhile could take away what the commit is about.
- A commit that finds another position (PositionMoved) ends the attempt, not the shard: another executor was
  here. All plugins are made anew, the sinks are asked where they stand, and it goes on from there.

A commit is due every 10 s or 64 MB (`Cadence`), at the end of the source, when the source asks for a later
try (else one that allows some requests a minute would be read from the same page for ever), and when the job
is told to drain or runs out of time. While a slow source is waited for, `tick` commits beside the wait.
"""

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Callable

from node.execution.assembly import Assembly, Cadence, Host
from node.execution.control import Control, Wish
from node.execution.jobs import Report
from node.execution.letters import Letters, Sieve
from node.execution.outlets import Outlets, same
from node.execution.progress import Progress
from plugins.api import (
    Batch,
    CollectContext,
    Collector,
    Permanent,
    Position,
    PositionMoved,
    RecordError,
    Retryable,
    ShardPlan,
    Transform,
)

_WHOLE = ShardPlan(key="0")

_ONCE = Cadence(commit_seconds=math.inf, commit_bytes=sys.maxsize, commit_letters=sys.maxsize)
"""of a replay: one commit and one report, which says of each letter whether it was set aside again"""


class Pipeline:
    """One attempt at one shard. `emit` takes its progress reports; the last report is the caller's.

    `done`: the source was read to its end, and all sinks have committed that.
    """

    def __init__(
        self, assembly: Assembly, host: Host, control: Control, emit: Callable[[Report], None]
    ) -> None:
        self._assembly = assembly
        self._host = host
        self._control = control
        self._now = host.monotonic
        self._committed_at = now = self._now()
        self._cadence = _ONCE if assembly.job.letters else host.cadence
        self.progress = Progress(assembly, self._cadence, emit, now)
        self.done = False
        self._paid = assembly.budgeted
        self._source_step = f"source {assembly.source}"
        self._step = ""
        self._outlets = Outlets(assembly)
        self._collector: Collector | None = None
        self._transforms: list[Transform] = []
        self._side: asyncio.Task[None] | None = None
        self._read_to: Position = None
        self._bytes = 0
        self._dirty = False
        self._fresh = True
        self._first = True
        self._exhausted = False

    @property
    def step(self) -> str:
        """What is at work, for error messages."""
        return self._step or self._outlets.step

    async def run(self) -> None:
        """Until the source is exhausted or the control has a wish; raises what goes wrong."""
        stuck: list[Position] | None = None
        while True:
            try:
                await self._attempt()
            except PositionMoved:
                before = self._outlets.positions
                await self.close()
                self.progress.roll_back()
                self._dirty, self._bytes = False, 0
                self._committed_at = self._now()  # else who lost a race would commit each batch by itself
                if before == stuck:
                    raise Retryable("a sink says that its position has moved, but it has not") from None
                stuck = before
            else:
                return

    async def close(self) -> None:
        """Release all plugins; uncommitted work is discarded."""
        if self._side is not None:
            await asyncio.gather(self._side, return_exceptions=True)
            self._side = None
        try:
            await self._drop_collector()
        finally:
            for error in await self._outlets.close():
                task = self._assembly.job.key.task
                self._host.log("a sink did not close", error=type(error).__name__, task=task)

    def tick(self, now: float) -> None:
        """Now and then, from the loop: commit beside a source that keeps us waiting, say how far it is."""
        if not self._control.waiting:
            return
        if self._dirty and self._side is None and now - self._committed_at >= self._cadence.commit_seconds:
            self._side = asyncio.get_running_loop().create_task(self._store(last=False))
            self._side.add_done_callback(self._stored_beside)
        elif self.progress.due(now):
            self.progress.report(now)

    async def _attempt(self) -> None:
        self._step, self._first = "", True
        await self._outlets.open()
        self.progress.opened(self._outlets.held, self._outlets.high)
        if self._assembly.job.key.kind == "shard":  # not solo jobs: they may be tiny and many
            self.progress.report(self._now())
        await self._make_transforms()
        while True:
            await self._reading(self._start())
            if not self._exhausted:
                return
            if not self._outlets.end():
                self.progress.position = self._outlets.positions[-1]
                self.done = True
                return
            self._first = False

    def _start(self) -> Position:
        """Where to read from. The first time from where the steward has heard of, although the sinks have committed
        more: of what was committed and not told (the node died), the letters are not known, and the highest value only
        if the last sink has kept it. That one counts then: the source may have changed since, and a cursor above what
        the sink has would pass over what lies between.
        """
        least = self._outlets.least
        unheard = self._first and least is not None and not self._assembly.job.letters
        return self.progress.position if unheard else least

    async def _make_transforms(self) -> None:
        self._transforms = []
        for index, chosen in enumerate(self._assembly.spec.transform):
            self._step = f"transform {chosen['plugin']}"
            self._transforms.append(await self._assembly.transform(index))

    async def _reading(self, resume: Position) -> None:
        """Read the source from `resume` to its end, or until the control has a wish; commit the rest."""
        self._read_to, self._fresh, self._exhausted = resume, True, False
        self._outlets.join(resume, self.progress.letters)
        if self._first:
            self.progress.position = resume
        self._step = self._source_step
        self._collector = collector = await self._assembly.collector()
        stream = collector.collect(self._context(resume))
        try:
            while (batch := await self._next(stream)) is not None:
                await self._take(batch)
        finally:
            await _finish(stream)
        if self._exhausted:
            self._outlets.ended_at(self._read_to, self.progress.letters)
        await self._keep()
        await self._drop_collector()

    async def _next(self, stream: AsyncIterator[Batch]) -> Batch | None:
        """The next batch, paid for; None at the end, on a wish, or when a commit beside has failed."""
        self._step = self._source_step
        try:
            batch = await self._control.wait(stream.__anext__)
        except StopAsyncIteration:
            self._exhausted = True
            return None
        except Retryable:
            await self._keep()
            raise
        if batch is not None and self._paid:
            amount = len(batch.records) + len(batch.rejected)
            await self._control.wait(lambda: self._assembly.budget.take(amount))
        if self._control.wish is not None or self._failed_beside():
            return None
        return batch

    async def _take(self, batch: Batch) -> None:
        """One batch through transforms and sinks, and what is due after it."""
        await self._settle()
        self._check_chain(batch)
        self._outlets.join(batch.start, self.progress.letters)
        if self._first:
            self.progress.read(batch, self._step)
        if self._outlets.moving or (self._first and self._outlets.high is None):
            self.progress.follow(batch)
        skipped = 0
        passed = batch
        if self._transforms:
            passed, skipped = self._transform(batch)
        self._step = ""
        written = await self._outlets.write(passed, self.progress.letters)
        self.progress.passed(written=written, skipped=skipped if self._first else 0)
        self._dirty = self._dirty or not same(batch.end, self._read_to)
        self._read_to, self._fresh = batch.end, False
        self._bytes += batch.bytes
        await self._due()

    async def _due(self) -> None:
        now, cadence = self._now(), self._cadence
        if (
            now - self._committed_at >= cadence.commit_seconds
            or self._bytes >= cadence.commit_bytes
            or len(self.progress.letters.open) >= cadence.commit_letters
        ):
            await self._commit(last=False)
        elif self.progress.due(now):
            self.progress.report(now)
        if self._host.turn.over():
            await self._host.turn.pass_on()

    def _check_chain(self, batch: Batch) -> None:
        if not self._fresh and not same(batch.start, self._read_to):
            raise Permanent(
                f"the plugin is at fault: a batch starts at {batch.start!r}, "
                f"but the one before ended at {self._read_to!r}",
                code="plugin",
            )
        if (batch.records or batch.rejected) and same(batch.end, self._read_to):
            raise Permanent(
                f"the plugin is at fault: a batch with records ends where it starts, at {batch.end!r}",
                code="plugin",
            )

    def _transform(self, batch: Batch) -> tuple[Batch, int]:
        """The batch that comes out, and how many records were dropped on the way (refused ones apart)."""
        # The letters of a second reading were heard in the first.
        letters = (
            self.progress.letters
            if self._first
            else Letters("", allowed=sys.maxsize, keep=True, secrets=set())
        )
        before, dead = len(batch.records), letters.made
        for index, transform in enumerate(self._transforms):
            self._step = f"transform {self._assembly.spec.transform[index]['plugin']}"
            sieve: Sieve | None = None
            while True:
                try:
                    batch = transform.apply(batch)
                    break
                except RecordError as error:
                    sieve = sieve or Sieve(letters, batch, self._step, 1 + index)
                    batch = sieve.without(error)
        return batch, max(0, before - (letters.made - dead) - len(batch.records))

    async def _keep(self) -> None:
        """Commit what was written, unless the job is to stop at once."""
        if self._control.wish is not Wish.STOP:
            await self._settle()
            await self._commit(last=True)
        self._step = self._source_step

    async def _commit(self, *, last: bool) -> None:
        if self._dirty or self.progress.letters.open:
            self._control.held = True
            try:
                await self._store(last=last)
            finally:
                self._control.held = False

    async def _store(self, *, last: bool) -> None:
        """Commit all that was written. `last`: the job's last report follows, no other need tell of it."""
        to = self._read_to
        self._dirty, self._bytes = False, 0
        self._step = ""
        await self._outlets.commit(to, self.progress.open_high)
        acknowledge = getattr(self._collector, "acknowledge", None)
        if acknowledge is not None:
            await acknowledge(to)
        self._committed_at = now = self._now()
        self.progress.committed(to, moved=self._outlets.complete)
        if not last:
            self.progress.report(now)

    def _context(self, resume: Position) -> CollectContext:
        records, size = self._assembly.batch_limits()
        job = self._assembly.job
        return CollectContext(
            request=self._assembly.request(),
            shard=job.plan or _WHOLE,
            resume=resume,
            token=job.token,
            batch_records=records,
            batch_bytes=size,
        )

    async def _drop_collector(self) -> None:
        collector, self._collector = self._collector, None
        if collector is not None:
            await collector.shutdown()

    async def _settle(self) -> None:
        """Wait for the commit beside, and raise what it raised. An interrupt ends the wait, not the
        commit.
        """
        if self._side is not None:
            await asyncio.shield(self._side)
            self._side = None

    def _failed_beside(self) -> bool:
        side = self._side
        return side is not None and side.done() and side.exception() is not None

    def _stored_beside(self, side: asyncio.Task[None]) -> None:
        if not side.cancelled() and side.exception() is not None:
            self._control.wake()


async def _finish(stream: AsyncIterator[Batch]) -> None:
    """Close the generator, so that it lets go of its files before its collector is shut down."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
