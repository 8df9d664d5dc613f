"""Made-up records, always the same: to measure all that is not a source."""

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import msgspec

from plugins.api import Batch, CollectContext, CollectRequest, PluginContext, ShardPlan

Count = Annotated[int, msgspec.Meta(ge=0)]


class BenchOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`records` of about `record_bytes` bytes in `columns` columns; `payload`: any text, without effect.

    No records: the task does nothing but be a task.
    """

    records: Count = 0
    record_bytes: Count = 92
    columns: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 19
    payload: str = ""


class BenchCollector:
    """Synthetic records; a run is one shard. Positions count records."""

    modes = frozenset({"full"})
    sharded = False
    inline = True
    Options = BenchOptions

    async def initialize(self, context: PluginContext) -> None:
        self._options: BenchOptions = context.options

    async def plan(self, request: CollectRequest) -> Sequence[ShardPlan]:  # noqa: ARG002 -- the contract's
        return [ShardPlan(key="0")]

    async def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        """Record `n` holds its number in `c1`; the other columns share the rest of the bytes."""
        options = self._options
        rest = _rest(options.columns, max(options.record_bytes // options.columns - 1, 1))
        size = max(1, min(context.batch_records, context.batch_bytes // max(options.record_bytes, 1)))
        position = context.resume
        start = position or context.shard.start or 0
        while start < options.records:
            end = min(start + size, options.records)
            yield Batch(
                stream="",
                records=[{"c1": str(number), **rest} for number in range(start, end)],
                start=position,
                end=end,
                bytes=(end - start) * options.record_bytes,
            )
            position = start = end
            if start < options.records:
                await asyncio.sleep(0)

    async def shutdown(self) -> None:
        """Nothing is held."""


@functools.lru_cache(maxsize=16)
def _rest(columns: int, width: int) -> dict[str, str]:
    """All columns but the first; the same for every record, and not to be changed."""
    return {f"c{index}": "x" * width for index in range(2, columns + 1)}
