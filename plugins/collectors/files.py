"""How files are cut into shards and read on from a position; what `csv` and `jsonl` have in common.

Positions. Of a plain file: the byte offset behind the last record; of a compressed unit: the number of
records from its beginning. A shard that reads several units (a slice of a range over a glob) has
`[unit, position]`.

Shards. Full and incremental: parts of each unit, cut exactly between records. Range: one per slice, which
keeps the rows of its slice; where there are several slices of one unit, one look at all rows when the run is
planned tells each slice from where to where it has to read. What a plain file holds is fixed when the run is
planned: a shard never reads past its `end`, so a file may grow meanwhile. Shard keys carry the unit's mark.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from plugins import ordering
from plugins.api import (
    Batch,
    CollectContext,
    CollectRequest,
    Permanent,
    PluginContext,
    Record,
    Rejected,
    Retryable,
    ShardPlan,
)
from plugins.collectors.packing import READABLE, Compression, Foreign, by_name, recognised
from plugins.collectors.sources import Unit, unit_of, units
from plugins.options import InvalidOption

PART = 32 << 20
"""bytes of a shard where nobody asks for a number: a few seconds of work"""
MOST_SHARDS = 1024
FEW = 3
"""slices; fewer are not worth a look at all rows first"""
LOOK = 4096
"""records between two marks of that look: as much may a slice read in vain at each end"""
ALL = "all"

Keep = Callable[[Any], bool]


class FileOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`path`: `root:relative`, may hold `* ? [ ] **`. `compression`: "auto" goes by the suffix,
    else by the first bytes.

    `stream`: a label for the records.
    """

    path: str
    compression: Compression = "auto"
    stream: str = ""

    def __post_init__(self) -> None:
        if self.compression != "auto":
            return
        try:
            by_name(self.path)
        except Foreign as error:
            raise InvalidOption("path", str(error), allowed=READABLE, remedy=error.remedy) from None


class Taken(msgspec.Struct):
    """What a reader got: `scanned` records were looked at (0: the end), of `size` bytes."""

    records: list[Record]
    rejected: list[Rejected]
    scanned: int
    size: int


class Reader(Protocol):
    """Records of one segment, in order; `position` is behind the last one taken."""

    @property
    def position(self) -> int: ...
    def take(self, most: int, size: int) -> Taken: ...
    def close(self) -> None: ...


class Segment(msgspec.Struct, frozen=True):
    """A part of a unit: positions from `start` (None: the beginning) to `end` (None: the end)."""

    unit: Unit
    start: int | None = None
    end: int | None = None


class Selection(msgspec.Struct, frozen=True):
    """The rows that a shard keeps: those whose `field` passes."""

    field: str
    keep: Keep


class FileCollector:
    """The collector but for the format: a subclass says how records lie in bytes."""

    modes = frozenset({"full", "incremental", "range"})
    Options: type[FileOptions] = FileOptions
    _options: Any

    @staticmethod
    def paths(options: FileOptions) -> tuple[str, ...]:
        return (options.path,)

    @staticmethod
    def refuse(options: FileOptions, file: Path) -> None:
        """Raises InvalidOption for a file that is packed as this collector cannot read it; or OSError."""
        if options.compression != "auto":
            return
        try:
            recognised(file)
        except Foreign as error:
            raise InvalidOption("path", str(error), allowed=READABLE, remedy=error.remedy) from None

    async def initialize(self, context: PluginContext) -> None:
        self._options = context.options
        self._roots = context.roots

    async def plan(self, request: CollectRequest) -> Sequence[ShardPlan]:
        return await asyncio.to_thread(self._plan, request)

    async def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        """See the module for positions; the batches of a slice are often empty but for the position."""
        selection = selection_of(context)
        position = context.resume
        several = context.shard.key.endswith(f"-{ALL}")
        for segment in self._segments(context, several=several):
            reader = self._reader(segment, selection)
            try:
                while (taken := reader.take(context.batch_records, context.batch_bytes)).scanned:
                    end = [segment.unit.name, reader.position] if several else reader.position
                    yield Batch(
                        stream=self._options.stream,
                        records=taken.records,
                        start=position,
                        end=end,
                        bytes=taken.size,
                        rejected=taken.rejected,
                    )
                    position = end
                    await asyncio.sleep(0)
            finally:
                reader.close()

    async def shutdown(self) -> None:
        """Nothing is kept open between batches but the reader, which the generator closes."""

    def _reader(self, segment: Segment, selection: Selection | None) -> Reader:
        """A reader of the segment. Raises CollectError."""
        raise NotImplementedError

    def _cuts(self, unit: Unit, wanted: int) -> list[int]:
        """Positions between records: the first record's start, about `wanted - 1` cuts, the end."""
        raise NotImplementedError

    def _plan(self, request: CollectRequest) -> list[ShardPlan]:
        found = units(self._roots, self._options.path, self._options.compression)
        if request.mode == "range":
            return self._slices(request, found)
        wanted = request.hints.get("shards")
        total = sum(unit.size for unit in found) or 1
        plans: list[ShardPlan] = []
        for unit in found:
            parts = wanted * unit.size / total if wanted else unit.size / PART
            plans += self._parts(unit, min(max(round(parts), 1), MOST_SHARDS), len(plans))
        return plans

    def _parts(self, unit: Unit, wanted: int, first: int) -> Iterator[ShardPlan]:
        if wanted == 1 and not unit.plain:
            yield ShardPlan(key=f"{first:04d}-{unit.mark}")
            return
        cuts = self._cuts(unit, wanted)
        length = (cuts[-1] - cuts[0]) / wanted or 1
        for index, (start, end) in enumerate(itertools.pairwise(cuts)):
            weight = max((end - start) / length, 0.01)
            yield ShardPlan(key=f"{first + index:04d}-{unit.mark}", start=start, end=end, weight=weight)

    def _slices(self, request: CollectRequest, found: list[Unit]) -> list[ShardPlan]:
        slices = range_slices(request)
        if len(found) > 1 or request.range is None:
            return [ShardPlan(key=f"{index:04d}-{ALL}", covers=covers) for index, covers in enumerate(slices)]
        unit = found[0]
        if len(slices) < FEW:
            ends = self._cuts(unit, 1) if unit.plain else [None, None]
            return [
                ShardPlan(key=f"{index:04d}-{unit.mark}", start=ends[0], end=ends[-1], covers=covers)
                for index, covers in enumerate(slices)
            ]
        spans = self._spans(unit, request.range.field, slices)
        mean = sum(end - start for start, end in spans) / len(spans) or 1
        return [
            ShardPlan(
                key=f"{index:04d}-{unit.mark}",
                start=start,
                end=end,
                weight=max((end - start) / mean, 0.01),
                covers=covers,
            )
            for index, (covers, (start, end)) in enumerate(zip(slices, spans, strict=True))
        ]

    def _spans(self, unit: Unit, field: str, slices: list[tuple[Any, Any]]) -> list[tuple[int, int]]:
        """For each slice positions between which all its rows lie."""
        seen: list[Any] = []

        def note(value: Any) -> bool:
            seen.append(value)
            return False

        reader = self._reader(Segment(unit), Selection(field, note))
        finder = SliceFinder(slices)
        first = reader.position
        spans: list[tuple[int, int] | None] = [None] * len(slices)
        try:
            while (taken := reader.take(LOOK, LOOK * 100)).scanned:
                touched = finder.find(seen)
                if taken.rejected and not touched:
                    touched = [0]  # some slice must report what is broken
                for index in touched:
                    spans[index] = ((spans[index] or (first,))[0], reader.position)
                first = reader.position
                seen.clear()
        finally:
            reader.close()
        return [span or (first, first) for span in spans]

    def _segments(self, context: CollectContext, *, several: bool) -> list[Segment]:
        """What is left of the shard."""
        shard, resume = context.shard, context.resume
        where = (self._roots, self._options.path, self._options.compression)
        try:
            if several:
                name, at = resume or shard.start or ("", None)
                found = [unit for unit in units(*where) if unit.name >= name]
                return [Segment(unit, at if unit.name == name else None) for unit in found]
            unit = unit_of(*where, shard.key.rpartition("-")[2])
        except Permanent as error:
            if error.code != "source-missing":
                raise
            raise Retryable(f"path {self._options.path!r}: the file is gone", code=error.code) from None
        if unit is not None:
            return [Segment(unit, shard.start if resume is None else resume, shard.end)]
        raise Permanent(
            f"path {self._options.path!r}: what shard {shard.key} was planned on is gone or has changed; "
            "submit the task again",
            code="source-changed",
        )


class SliceFinder:
    """Which slices have any of some values."""

    def __init__(self, slices: list[tuple[Any, Any]]) -> None:
        self._tests = [ordering.predicate(*piece) for piece in slices]
        self._known: dict[Any, int | None] = {}

    def find(self, values: list[Any]) -> list[int]:
        """Indexes, sorted."""
        if len(self._known) > ordering.MEMO:
            self._known.clear()
        found = {self._slice_of(value) for value in values if isinstance(value, str | int | float)}
        return sorted(index for index in found if index is not None)

    def _slice_of(self, value: Any) -> int | None:
        key = (type(value), value)
        if key not in self._known:
            self._known[key] = next((index for index, test in enumerate(self._tests) if test(value)), None)
        return self._known[key]


def selection_of(context: CollectContext) -> Selection | None:
    """The rows that the request wants of this shard; None: all."""
    request, covers = context.request, context.shard.covers
    try:
        if request.range is not None and covers is not None:
            return Selection(request.range.field, ordering.predicate(*covers))
        if request.since is not None and request.since.value is not None:
            since = request.since
            return Selection(since.field, ordering.after(since.value, inclusive=since.inclusive))
    except ValueError as error:
        raise Permanent(str(error), code="range") from None
    return None


def range_slices(request: CollectRequest) -> list[tuple[Any, Any]]:
    """The slices of a range run: the gaps that are asked for (or the whole range), cut by its step."""
    wanted = request.range
    if wanted is None:
        raise Permanent("a range run needs a range: give field, from and to", code="range")
    try:
        gaps = request.ranges or [(wanted.from_, wanted.to)]
        return [piece for low, high in gaps for piece in ordering.steps(low, high, wanted.step)]
    except ValueError as error:
        raise Permanent(f"range: {error}", code="range") from None


def check_field(field: str, columns: Sequence[str], name: str) -> None:
    """Raises Permanent if the source has no such field."""
    if field not in columns:
        raise Permanent(
            f"{name}: has no field {field!r}; it has: {', '.join(columns)}",
            code="field",
        )
