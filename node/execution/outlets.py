"""The sinks of one shard, each with a position of its own.

Positions have no order that a pipeline could know; only equality. Two rules do without one:

- Sinks commit in the order of the spec, each only after the one before it. Hence the position of a sink is
  never ahead of that of a sink before it, and the last sink's position is the least: the shard resumes there.
- A sink that is further ahead than the reading is fed from the first batch on that starts exactly at its position (the
  usual case: batches are cut alike). If no batch did, it stands where it stood when the source has ended,
  and the source is read once more from there for that sink alone. Nothing is lost or doubled in either
  case, at worst read twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from node.execution.assembly import Assembly
from node.execution.letters import Letters, Sieve
from plugins.api import Batch, Position, RecordError, Sink


class Outlet:
    """One sink. `position`: what it has committed; `fed`: it takes the batches of the present reading.

    `passed_over`: what it refuses of the batches that it has committed already, for who committed them may have died
    before telling. It counts once the sink is fed from exactly its position on; None: no more of it is gathered.
    """

    __slots__ = ("fed", "finished", "ordinal", "passed_over", "position", "sink", "step")

    def __init__(self, sink: Sink, step: str, ordinal: int, passed_over: Letters) -> None:
        self.sink = sink
        self.step = step
        self.ordinal = ordinal
        self.passed_over: Letters | None = passed_over
        self.position: Position = None
        self.fed = False
        self.finished = False

    async def write(self, batch: Batch, letters: Letters) -> int:
        """Hand the batch to the sink, less what it refuses; how many records it took."""
        return await self._give(self.sink.write, batch, letters)

    async def pass_over(self, batch: Batch) -> None:
        """The sink has it, or will be read for anew."""
        check = getattr(self.sink, "check", None)
        if check is not None and self.passed_over is not None:
            await self._give(check, batch, self.passed_over)

    def tell(self, letters: Letters) -> None:
        """What was passed over is exactly what the sink has."""
        if self.passed_over is not None:
            letters.adopt(self.passed_over)
            self.passed_over = None

    async def _give(self, take: Callable[[Batch], Awaitable[None]], batch: Batch, letters: Letters) -> int:
        sieve: Sieve | None = None
        while True:
            try:
                await take(batch)
            except RecordError as error:
                sieve = sieve or Sieve(letters, batch, self.step, self.ordinal)
                batch = sieve.without(error)
            else:
                return len(batch.records)


class Outlets:
    """`step` names the sink that is at work, for error messages."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._all: list[Outlet] = []
        self.step = ""
        self.held: int | None = None
        """records that the last sink held when it was opened, where it knows"""
        self.high: Any = None
        """the highest value of the incremental field that the last sink kept with its position, where it does"""

    async def open(self) -> None:
        spec = self._assembly.spec
        for index, chosen in enumerate(spec.sink):
            self.step = f"sink {chosen['plugin']}"
            sink = await self._assembly.sink(index)
            job = self._assembly.job
            unheard = Letters(job.key.shard, allowed=job.dead_budget, keep=True, secrets=self._assembly.seen)
            outlet = Outlet(sink, self.step, 1 + len(spec.transform) + index, unheard)
            self._all.append(outlet)
            outlet.position = await sink.open(self._assembly.sink_context(index))
        self.held = getattr(self._all[-1].sink, "held", None)
        self.high = getattr(self._all[-1].sink, "high", None)

    @property
    def positions(self) -> list[Position]:
        return [outlet.position for outlet in self._all]

    @property
    def least(self) -> Position:
        """Where the last sink stands that has not been read for yet."""
        return next(outlet.position for outlet in reversed(self._all) if not outlet.finished)

    def join(self, start: Position, letters: Letters) -> None:
        """Sinks that stand exactly at `start` take part from here on."""
        for outlet in self._all:
            if not outlet.fed and not outlet.finished and same(outlet.position, start):
                outlet.fed = True
                outlet.tell(letters)

    def ended_at(self, position: Position, letters: Letters) -> None:
        """The source has no more: no batch will start where these sinks stand."""
        for outlet in self._all:
            if not outlet.fed and not outlet.finished and same(outlet.position, position):
                outlet.tell(letters)

    def end(self) -> bool:
        """The source has been read to its end; whether a sink is left that had no part in it."""
        for outlet in self._all:
            outlet.finished = outlet.finished or outlet.fed
            outlet.fed = False
            outlet.passed_over = None
        return not all(outlet.finished for outlet in self._all)

    @property
    def moving(self) -> bool:
        """The last sink takes part in this reading."""
        return self._all[-1].fed

    @property
    def complete(self) -> bool:
        """No sink waits to be fed, so the last commit is the least position of all."""
        return all(outlet.fed or outlet.finished for outlet in self._all)

    async def write(self, batch: Batch, letters: Letters) -> int:
        """How many records the last sink took (0 if it has no part in this reading)."""
        taken = 0
        for outlet in self._all:
            taken, self.step = 0, outlet.step
            if outlet.fed:
                taken = await outlet.write(batch, letters)
            elif not outlet.finished:
                await outlet.pass_over(batch)
        return taken

    async def commit(self, to: Position, high: Any) -> None:
        """In order; see above. `high`: for sinks that keep it. Raises PositionMoved."""
        for outlet in self._all:
            if outlet.fed and not same(outlet.position, to):
                self.step = outlet.step
                if hasattr(outlet.sink, "high"):
                    outlet.sink.high = high
                await outlet.sink.commit(outlet.position, to)
                outlet.position = to

    async def close(self) -> list[Exception]:
        """Shut all sinks down; what that raised (nothing committed depends on it)."""
        errors = []
        for outlet in self._all:
            try:
                await outlet.sink.shutdown()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 -- a sink that cannot close must not keep the others open
                errors.append(error)
        self._all = []
        return errors


def same(one: Any, other: Any) -> bool:
    """Whether two positions are the same JSON value, wherever they come from (a tuple there is a list
    here).
    """
    return bool(one == other) or msgspec.to_builtins(one) == msgspec.to_builtins(other)
