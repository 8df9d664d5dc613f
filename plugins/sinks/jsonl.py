"""JSON Lines files: one JSON object a line, UTF-8."""

import msgspec

from plugins.api import Batch, RecordError
from plugins.sinks.files import FileSink, FileSinkOptions

_encoder = msgspec.json.Encoder()


class JsonlSinkOptions(FileSinkOptions, kw_only=True, forbid_unknown_fields=True):
    """Those of every file sink."""


class JsonlSink(FileSink):
    """A folder of JSON Lines files with a manifest; each record exactly once."""

    Options = JsonlSinkOptions
    suffix = ".jsonl"

    def _encode(self, batch: Batch) -> bytes:
        try:
            return _encoder.encode_lines(batch.records)
        except (TypeError, ValueError, OverflowError):
            for record in batch.records:
                try:
                    _encoder.encode(record)
                except (TypeError, ValueError, OverflowError) as error:
                    raise RecordError(record, f"cannot be written as JSON: {error}", code="json") from None
            raise
