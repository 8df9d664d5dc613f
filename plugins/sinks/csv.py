"""CSV files: RFC 4180 quoting, UTF-8, LF, a header in each part.

Columns are `columns` if given, else those that the task wants, else the fields of the shard's first batch in
the order they appear. They stay what they were for the whole shard. A field that is missing is null; a record
with a field that is no column is refused. Null is the text `null`, true and false are JSON's words, lists and
objects are JSON text.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from plugins.api import Batch, Position, Record, RecordError, SinkContext
from plugins.options import InvalidOption
from plugins.sinks.files import FileSink, FileSinkOptions

_PLAIN = frozenset({str, int, float})


class CsvSinkOptions(FileSinkOptions, kw_only=True, forbid_unknown_fields=True):
    """`columns`: in this order; empty: taken from the records. `null`: text for null and missing values."""

    columns: list[str] = []  # noqa: RUF012 -- msgspec copies it
    delimiter: str = ","
    null: str = ""

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '\r\n"':
            raise InvalidOption("delimiter", "is not one character", allowed="one, no quote or line end")
        if len(set(self.columns)) < len(self.columns):
            raise InvalidOption("columns", "hold a name twice", remedy="give each column its own name")


class CsvSink(FileSink):
    """A folder of CSV files with a manifest; each record exactly once."""

    Options = CsvSinkOptions
    suffix = ".csv"

    async def open(self, context: SinkContext) -> Position:
        position = await super().open(context)
        self.columns = list(self._options.columns) or self.columns or list(context.fields)
        self._known = frozenset(self.columns)
        return position

    def _encode(self, batch: Batch) -> bytes:
        if not self.columns:
            self.columns = list(dict.fromkeys(name for record in batch.records for name in record))
            self._known = frozenset(self.columns)
        columns, null = self.columns, self._options.null
        rows = []
        for record in batch.records:
            if not self._known.issuperset(record):
                raise self._refusal(record)
            rows.append([record.get(name) for name in columns])
        if not _PLAIN.issuperset({kind for row in rows for kind in map(type, row)}):
            rows = [[_text(value, null) for value in row] for row in rows]
        return self._lines(rows)

    def _header(self) -> bytes:
        return self._lines([self.columns])

    def _lines(self, rows: list[list[Any]]) -> bytes:
        text = self._written(rows, csv.QUOTE_MINIMAL)
        if "\r" in text:  # which Python's writer quotes only where it is part of the line's end
            text = "".join(
                self._written([row], csv.QUOTE_ALL if "\r" in "".join(map(str, row)) else csv.QUOTE_MINIMAL)
                for row in rows
            )
        return text.encode("utf-8", "replace")

    def _written(self, rows: Sequence[Sequence[Any]], quoting: Literal[0, 1]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=self._options.delimiter, lineterminator="\n", quoting=quoting).writerows(
            rows
        )
        return text.getvalue()

    def _refusal(self, record: Record) -> RecordError:
        new = sorted(set(record) - self._known)
        return RecordError(
            record,
            f"has fields that are no columns: {', '.join(new)}; name all in the sink's option columns",
            code="column",
        )


def _text(value: Any, null: str) -> Any:
    if value is None:
        return null
    if isinstance(value, bool | list | dict):
        return msgspec.json.encode(value).decode()
    return value
