"""Nothing is kept: for measurements, and for runs whose only use is the dead letters."""

import msgspec

from plugins.api import Batch, Effect, PluginContext, Position, RunSummary, SinkContext


class DiscardOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """None."""


class DiscardSink:
    """Takes everything and keeps nothing, also no position: after a crash the shard is read again."""

    effect = Effect.AT_LEAST_ONCE
    modes = frozenset({"append", "replace", "upsert"})
    inline = True
    Options = DiscardOptions

    async def initialize(self, context: PluginContext) -> None:
        """There is nothing to prepare."""

    async def open(self, context: SinkContext) -> Position:  # noqa: ARG002 -- the contract's
        return None

    async def write(self, batch: Batch) -> None:
        """Gone."""

    async def commit(self, expected: Position, to: Position) -> None:
        """Nothing was kept that could be committed."""

    async def publish(self, run: RunSummary) -> None:
        """Nothing is visible."""

    async def shutdown(self) -> None:
        """Nothing is held."""
