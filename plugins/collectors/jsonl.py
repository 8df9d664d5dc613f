"""JSON Lines: one JSON object a line, UTF-8. Values keep their JSON types; blank lines are skipped."""

import io
from collections.abc import Iterator

import msgspec

from plugins.api import Permanent, Record, Rejected
from plugins.collectors.files import FileCollector, FileOptions, Segment, Selection, Taken
from plugins.collectors.lines import BOM, blocks, line_cuts
from plugins.collectors.sources import Unit

_decoder = msgspec.json.Decoder(Record)
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""what a line that is no record raises, the last for one that is nested too deeply"""


class JsonlOptions(FileOptions, kw_only=True, forbid_unknown_fields=True):
    """Those of every file collector."""


class JsonlCollector(FileCollector):
    """Records of JSON Lines files, plain or compressed, in shards; full, incremental and range."""

    Options = JsonlOptions

    def _reader(self, segment: Segment, selection: Selection | None) -> "JsonlReader":
        return JsonlReader(segment, selection)

    def _cuts(self, unit: Unit, wanted: int) -> list[int]:
        if unit.plain:
            inner = line_cuts(unit, [unit.size * part // wanted for part in range(1, wanted) if unit.size])
            return [0, *sorted({cut for cut in inner if 0 < cut < unit.size}), unit.size]
        with unit.open() as stream:
            lines = sum(len(_lines(block)) for block in blocks(stream, unit.name))
        return [0, *sorted({lines * part // wanted for part in range(1, wanted)} - {0, lines}), lines]


class JsonlReader:
    """The lines of one segment as dicts; a line is a record for positions, whatever is in it."""

    def __init__(self, segment: Segment, selection: Selection | None) -> None:
        unit, start = segment.unit, segment.start or 0
        self._name, self._plain, self._selection = unit.name, unit.plain, selection
        self._stream = unit.open()
        self._ready: list[bytes] = []
        self._next = 0
        self._mean = 200.0
        self._end = None if unit.plain else segment.end
        self.position = 0
        try:
            self._source = (
                self._from(start, unit.size if segment.end is None else segment.end)
                if unit.plain
                else self._from_first()
            )
            if not unit.plain:
                self._skip(start)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._stream.close()

    def take(self, most: int, size: int) -> Taken:
        """About `most` records or `size` bytes, whichever is less; looks at no more than `size` bytes."""
        taken = Taken(records=[], rejected=[], scanned=0, size=0)
        while taken.size < size and 2 * len(taken.records) < most:
            count = max(1, min(most - len(taken.records), int((size - taken.size) / self._mean)))
            lines = self._pull(count if self._end is None else min(count, self._end - self.position))
            if not lines:
                break
            read = sum(map(len, lines))
            taken.size += read
            taken.scanned += len(lines)
            self._mean = max(1.0, (self._mean + read / len(lines)) / 2)
            self._convert(lines, taken)
        return taken

    def _from(self, start: int, end: int) -> Iterator[bytes]:
        size = self._stream.seek(0, io.SEEK_END)
        self._stream.seek(max(start - 1, 0))
        whole = start in (0, size) or self._stream.read(1) == b"\n"
        if not whole or size < max(start, end):
            raise Permanent(
                f"{self._name}: the file has changed since the run was planned; submit the task again",
                code="source-changed",
            )
        self._stream.seek(start)
        self.position = start
        return blocks(self._stream, self._name, end - start)

    def _from_first(self) -> Iterator[bytes]:
        return blocks(self._stream, self._name)

    def _skip(self, count: int) -> None:
        while self.position < count:
            if not self._pull(min(count - self.position, 10_000)):
                raise Permanent(
                    f"{self._name}: has fewer lines than before; submit the task again", code="source-changed"
                )

    def _pull(self, count: int) -> list[bytes]:
        """Up to `count` lines with their ends."""
        lines: list[bytes] = []
        while len(lines) < count:
            if self._next >= len(self._ready):
                block = next(self._source, None)
                if block is None:
                    break
                self._ready, self._next = _lines(block), 0
            more = self._ready[self._next : self._next + count - len(lines)]
            self._next += len(more)
            lines += more
        self.position += sum(map(len, lines)) if self._plain else len(lines)
        return lines

    def _convert(self, lines: list[bytes], taken: Taken) -> None:
        lines[0] = lines[0].removeprefix(BOM)
        try:
            # not decode_lines, for which a record may end within a line or go on in the next
            records = list(map(_decoder.decode, lines))
        except BROKEN:
            records = [record for line in lines if (record := self._single(line, taken)) is not None]
        selection = self._selection
        if selection is not None:
            field, keep = selection.field, selection.keep
            records = [record for record in records if keep(record.get(field))]
        taken.records += records

    def _single(self, line: bytes, taken: Taken) -> Record | None:
        """The record of a line; None for a blank or a broken one, which is set aside."""
        try:
            return _decoder.decode(line) if line.strip() else None
        except BROKEN as error:
            unit = "byte" if self._plain else "line"
            reason = f"{self._name}, up to {unit} {self.position}: {error}"
            taken.rejected.append(Rejected(raw=line.decode("utf-8", "replace").strip()[:4096], reason=reason))
            return None


def _lines(block: bytes) -> list[bytes]:
    return block.splitlines(keepends=True) if b"\r" not in block else io.BytesIO(block).readlines()
