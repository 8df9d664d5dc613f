"""The days of a period. A position is the last day that was given, as YYYY-MM-DD."""

import datetime as dt
from collections.abc import AsyncIterator, Sequence

import msgspec

from plugins import ordering
from plugins.api import Batch, CollectContext, CollectRequest, Permanent, PluginContext, ShardPlan
from plugins.options import InvalidOption

DAY = dt.timedelta(days=1)


class DatesOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`first` and `last`: the period, both days included."""

    first: dt.date
    last: dt.date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise InvalidOption("last", "is before first", allowed=f"{self.first} or later")


class DatesCollector:
    """A record for each day: date, weekday, day of the year."""

    modes = frozenset({"full", "range"})
    Options = DatesOptions

    async def initialize(self, context: PluginContext) -> None:
        self._options: DatesOptions = context.options

    async def plan(self, request: CollectRequest) -> Sequence[ShardPlan]:
        """Full: a shard a year. Range: a shard a slice."""
        if request.range is None:
            years = range(self._options.first.year, self._options.last.year + 1)
            return [
                ShardPlan(key=str(year), start=f"{year - 1}-12-31", end=f"{year}-12-31") for year in years
            ]
        if request.range.field != "date":
            raise Permanent(
                f"there is no field {request.range.field!r}; a range is one of date", code="field"
            )
        gaps = request.ranges or [(request.range.from_, request.range.to)]
        slices = [piece for gap in gaps for piece in ordering.steps(*gap, request.range.step)]
        return [ShardPlan(key=f"{index:04d}", covers=covers) for index, covers in enumerate(slices)]

    async def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        """From the day after `resume`, or after the shard's start, to the shard's end."""
        shard, position = context.shard, context.resume
        wanted = ordering.predicate(*shard.covers) if shard.covers else lambda _: True
        after = position or shard.start
        day = max(self._options.first, dt.date.fromisoformat(after) + DAY) if after else self._options.first
        last = min(self._options.last, dt.date.fromisoformat(shard.end)) if shard.end else self._options.last
        while day <= last:
            end = min(last, day + DAY * (context.batch_records - 1))
            days = [day + DAY * number for number in range((end - day).days + 1)]
            records = [_record(one) for one in days if wanted(one.isoformat())]
            yield Batch(stream="", records=records, start=position, end=end.isoformat(), bytes=len(days) * 50)
            position, day = end.isoformat(), end + DAY

    async def shutdown(self) -> None:
        """Nothing is held."""


def _record(day: dt.date) -> dict[str, object]:
    return {"date": day.isoformat(), "weekday": day.strftime("%A"), "day_of_year": day.timetuple().tm_yday}
