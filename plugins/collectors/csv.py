"""CSV files: RFC 4180 quoting, any one-character delimiter, LF or CRLF. Values are strings.

Record borders are found by the reader that parses them, so line ends inside of quotes never cut a record. A
file without a single quote character is cut at line ends, without parsing it.
"""

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from plugins.api import Permanent, Record, Rejected
from plugins.collectors.files import FileCollector, FileOptions, Segment, Selection, Taken, check_field
from plugins.collectors.lines import BOM, Text, blocks, line_cuts
from plugins.collectors.sources import Unit
from plugins.options import InvalidOption

WIDEST = 1 << 24
"""characters of one field; more is a quote that was never closed"""
EXTRA = "_extra"
"""where a dead letter keeps the fields that its header has no name for"""


class CsvOptions(FileOptions, kw_only=True, forbid_unknown_fields=True):
    """`header`: the first record names the columns; else `columns` does. "skip": it is there, and `columns`
    name them all the same. `null`: text that means null.

    `quotechar` "" switches quoting off. `encoding`: one in which ASCII is one byte a character.
    """

    delimiter: str = ","
    quotechar: str = '"'
    header: bool | Literal["skip"] = True
    columns: list[str] = []  # noqa: RUF012 -- msgspec copies it
    encoding: str = "utf-8"
    null: list[str] = []  # noqa: RUF012 -- the same

    def __post_init__(self) -> None:
        super().__post_init__()
        one = "one character, not a line end"
        if len(self.delimiter) != 1 or self.delimiter in "\r\n":
            raise InvalidOption("delimiter", "is not one character", allowed=one, remedy='"," or "\\t"')
        if len(self.quotechar) > 1 or self.quotechar in ("\r", "\n", self.delimiter):
            raise InvalidOption("quotechar", "is not one character", allowed=f'{one}, not the delimiter; ""')
        if self.header is True and self.columns:
            raise InvalidOption(
                "columns",
                "are named by the header",
                remedy='set header = "skip" (the first record is a header) or false (it is none), or drop columns',
            )
        if self.header is not True and not self.columns:
            raise InvalidOption("columns", "are missing", remedy="name the columns, or set header = true")
        if len(set(self.columns)) < len(self.columns):
            raise InvalidOption("columns", "hold a name twice", remedy="give each column its own name")
        _check_encoding(self.encoding)


class CsvCollector(FileCollector):
    """Records of CSV files, plain or compressed, in shards; full, incremental and range."""

    Options = CsvOptions
    _options: CsvOptions

    def _reader(self, segment: Segment, selection: Selection | None) -> "CsvReader":
        return CsvReader(segment, self._options, selection)

    def _cuts(self, unit: Unit, wanted: int) -> list[int]:
        reader = CsvReader(Segment(unit), self._options, None)
        try:
            first = reader.position
            if not unit.plain:
                return _even_cuts(_count(reader), wanted)
            if wanted == 1 or first >= unit.size:
                return [first, max(unit.size, first)]
            targets = [first + (unit.size - first) * part // wanted for part in range(1, wanted)]
            quoted = self._options.quotechar.encode() and _holds(unit, self._options.quotechar.encode())
            inner = _parsed_cuts(reader, targets) if quoted else line_cuts(unit, targets)
            return [*sorted({first, *(cut for cut in inner if first < cut < unit.size)}), unit.size]
        finally:
            reader.close()


class CsvReader:
    """The records of one segment as dicts; counts positions as `plugins.collectors.files` says."""

    def __init__(self, segment: Segment, options: CsvOptions, selection: Selection | None) -> None:
        unit = segment.unit
        csv.field_size_limit(WIDEST)
        self._options, self._name, self._plain = options, unit.name, unit.plain
        self._stream = unit.open()
        self._mean = 200.0
        self._head = int(bool(options.header))
        self.position = 0
        self._end = None if unit.plain else segment.end
        try:
            limit = unit.size if unit.plain and segment.end is None else segment.end
            self._read_from(0, limit if unit.plain else None)
            self.columns = self._columns()
            self.position = self._text.offset() if unit.plain else 0
            if segment.start is not None and unit.plain:
                self._seek(segment.start, limit)
            elif segment.start:
                self._stream.close()
                self._stream = unit.open()
                self._skip(segment.start)
            self._index, self._keep = self._select(selection)
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
            if self._end is not None:
                count = min(count, self._end - self.position)
            before = self._text.offset()
            rows, error = self._pull(count)
            if not rows and error is None:
                break
            taken.size += (read := self._text.offset() - before)
            scanned = len(rows) + (error is not None)
            taken.scanned += scanned
            self._mean = max(1.0, (self._mean + read / scanned) / 2)
            self._convert(rows, taken)
            if error is not None:
                reason = f"{self._where()}: {error}"
                taken.rejected.append(Rejected(raw=self._text.last_line()[:4096], reason=reason))
        return taken

    def _read_from(self, start: int, limit: int | None) -> None:
        source = blocks(self._stream, self._name, None if limit is None else limit - start)
        self._parse(*((source, start) if start else _without_bom(source)))

    def _parse(self, source: Iterator[bytes], behind: int) -> None:
        self._text = Text(source, self._options.encoding, behind)
        lines = itertools.chain.from_iterable(self._text.files())
        quote = self._options.quotechar
        self._rows = csv.reader(
            lines,
            delimiter=self._options.delimiter,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            strict=True,  # else a quote that is never closed takes the rest of the file for one field
        )

    def _columns(self) -> list[str]:
        if not self._options.header:
            return list(self._options.columns)
        rows, error = self._pull(1)
        while rows == [[]]:
            self._head += 1
            rows, error = self._pull(1)
        self.position = 0
        if error is not None:
            raise Permanent(f"{self._name}: the header is not CSV: {error}", code="source-damaged")
        if self._options.header == "skip":
            return self._renamed(len(rows[0]) if rows else 0)
        columns = [name or f"column_{index}" for index, name in enumerate(rows[0] if rows else (), 1)]
        if any(map(_garbled, columns)):
            raise Permanent(
                f"{self._name}: the header is not {self._options.encoding} text; name the file's encoding",
                code="encoding",
            )
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise Permanent(
                f"{self._name}: the header names {', '.join(twice)} twice; "
                'set header = "skip" and name all columns in order in the option columns',
                code="source-damaged",
            )
        return columns

    def _renamed(self, width: int) -> list[str]:
        columns = list(self._options.columns)
        if width not in (0, len(columns)):
            raise Permanent(
                f"{self._name}: the header has {width} columns where the option columns names {len(columns)}; "
                "name each of them, in order",
                code="columns",
            )
        return columns

    def _seek(self, start: int, limit: int | None) -> None:
        """Go to a record's start, which is behind a line's end, if the file is still what it was."""
        size = self._stream.seek(0, io.SEEK_END)
        self._stream.seek(max(start - 1, 0))
        whole = start in (self.position, size) or self._stream.read(1) == b"\n"
        if not whole or size < max(start, limit or 0):
            raise Permanent(
                f"{self._name}: the file has changed since the run was planned; submit the task again",
                code="source-changed",
            )
        self._stream.seek(start)
        self._read_from(start, limit)
        self.position = start

    def _skip(self, count: int) -> None:
        """Go to a record of a compressed unit: by lines while there are no quotes, then by parsing."""
        quote = self._options.quotechar.encode()
        source, left = _behind_lines(blocks(self._stream, self._name), count + self._head, quote)
        self._parse(source, 0)
        while left > 0:
            rows, error = self._pull(min(left, 10_000))
            if not rows and error is None:
                raise Permanent(
                    f"{self._name}: has fewer records than before; submit the task again",
                    code="source-changed",
                )
            left -= len(rows) + (error is not None)
        self.position = count

    def _pull(self, count: int) -> tuple[list[list[str]], str | None]:
        """Up to `count` raw rows; the error that ended them early, whose record is used up as well."""
        rows: list[list[str]] = []
        error = None
        try:
            rows.extend(itertools.islice(self._rows, count))  # keeps what came before an error
        except csv.Error as raised:
            error = str(raised)
        self.position = (
            self._text.offset() if self._plain else self.position + len(rows) + (error is not None)
        )
        return rows, error

    def _select(self, selection: Selection | None) -> tuple[int, Callable[[Any], bool] | None]:
        if selection is None or not self.columns:
            return 0, None
        check_field(selection.field, self.columns, self._name)
        return self.columns.index(selection.field), selection.keep

    def _convert(self, rows: list[list[str]], taken: Taken) -> None:
        keep, index, width, columns = self._keep, self._index, len(self.columns), self.columns
        if keep is not None:
            rows = [row for row in rows if len(row) > index and keep(row[index])]
        if self._text.garbled:
            rows = [row for row in rows if self._legible(row, taken)]
        good = [row for row in rows if len(row) == width]
        if len(good) < len(rows):
            taken.rejected += [self._ragged(row) for row in rows if row and len(row) != width]
        if null := frozenset(self._options.null):
            taken.records += [
                {name: None if value in null else value for name, value in zip(columns, row, strict=True)}
                for row in good
            ]
        else:
            taken.records += [dict(zip(columns, row)) for row in good]  # noqa: B905 -- hot, and checked above

    def _ragged(self, row: list[str]) -> Rejected:
        raw: Record = dict(zip(self.columns, row, strict=False))
        if len(row) > len(self.columns):
            raw[EXTRA] = row[len(self.columns) :]
        reason = f"{self._where()}: {len(row)} fields where the header has {len(self.columns)}"
        return Rejected(raw=raw, reason=reason, code="ragged")

    def _legible(self, row: list[str], taken: Taken) -> bool:
        if not any(map(_garbled, row)):
            return True
        encoding = self._options.encoding
        text = [value.encode(encoding, "surrogateescape").decode(encoding, "replace") for value in row]
        reason = f"{self._where()}: not {encoding} text"
        raw = dict(zip(self.columns, text, strict=False))
        taken.rejected.append(Rejected(raw=raw, reason=reason, code="encoding"))
        return False

    def _where(self) -> str:
        unit = "byte" if self._plain else "record"
        return f"{self._name}, up to {unit} {self.position}"

    def advance(self, count: int) -> bool:
        """Go on by up to `count` records; False at the end."""
        rows, error = self._pull(count)
        return bool(rows) or error is not None


def _garbled(text: str) -> bool:
    """Whether it holds bytes that did not decode."""
    return any("\udc80" <= letter <= "\udcff" for letter in text)


def _check_encoding(encoding: str) -> None:
    allowed = 'an encoding that contains ASCII, like "utf-8", "latin-1", "cp1252", "shift_jis"'
    try:
        fits = '\n,"a'.encode(encoding) == b'\n,"a'
    except (LookupError, UnicodeError):
        fits = False
    if not fits:
        raise InvalidOption("encoding", "cannot be read", allowed=allowed, remedy="convert the file to UTF-8")


def _without_bom(source: Iterator[bytes]) -> tuple[Iterator[bytes], int]:
    """The blocks less a UTF-8 byte order mark, and how many bytes it took."""
    first = next(source, b"")
    behind = len(BOM) if first.startswith(BOM) else 0
    return itertools.chain([first[behind:]], source), behind


def _behind_lines(source: Iterator[bytes], count: int, quote: bytes) -> tuple[Iterator[bytes], int]:
    """The blocks behind `count` lines, and how many are still to skip: a block with quotes is not counted.

    Without quotes a line is a record, for the reader too.
    """
    for block in source:
        if quote and quote in block:
            return itertools.chain([block], source), count
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        if lines > count:
            rest = block.split(b"\n", count)[-1]
            return itertools.chain([rest], source), 0
        count -= lines
    return source, count


def _even_cuts(count: int, wanted: int) -> list[int]:
    return [0, *sorted({count * part // wanted for part in range(1, wanted)} - {0, count}), count]


def _count(reader: CsvReader) -> int:
    while reader.advance(10_000):
        pass
    return reader.position


def _parsed_cuts(reader: CsvReader, targets: Sequence[int]) -> list[int]:
    """The first record border at or behind each target; parses up to the last one."""
    cuts: list[int] = []
    for target in targets:
        while reader.position < target:
            if not reader.advance(max(1, min(2000, (target - reader.position) // 400))):
                return cuts
        cuts.append(reader.position)
    return cuts


def _holds(unit: Unit, mark: bytes) -> bool:
    """Whether the file has the character anywhere."""
    with unit.open() as stream:
        return any(mark in block for block in blocks(stream, unit.name))
