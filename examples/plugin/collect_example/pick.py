"""Keeps some fields of each record, under new names."""

from typing import Annotated

import msgspec

from plugins.api import Batch, PluginContext, Record, RecordError


class PickOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`fields`: old name -> new name; others are dropped. `strict`: a record that lacks one is refused."""

    fields: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    strict: bool = True


class PickTransform:
    """Keep and rename fields."""

    Options = PickOptions

    async def initialize(self, context: PluginContext) -> None:
        self._options: PickOptions = context.options

    def apply(self, batch: Batch) -> Batch:
        return msgspec.structs.replace(batch, records=[self._picked(record) for record in batch.records])

    def _picked(self, record: Record) -> Record:
        fields = self._options.fields
        if self._options.strict and (missing := [name for name in fields if name not in record]):
            raise RecordError(record, f"has no {', '.join(missing)}", code="missing-field")
        return {new: record[old] for old, new in fields.items() if old in record}
