"""Whole lines of a stream, in blocks, with the exact number of bytes behind each line.

Lines end at LF (a CR before it belongs to the line); only the last line of a stream may lack it. Memory is
bounded by one block and the longest line.
"""

import io
from collections.abc import Iterator, Sequence
from typing import IO

from plugins.api import Permanent
from plugins.collectors.sources import CORRUPT, Unit, failure

BLOCK = 1 << 20
LONGEST = 1 << 26
"""bytes; a longer line is no line but a file of another kind (or a decompression bomb)"""

BOM = b"\xef\xbb\xbf"


def blocks(stream: IO[bytes], name: str, limit: int | None = None) -> Iterator[bytes]:
    """Blocks that end with a line's end, up to `limit` bytes from here. Raises CollectError.

    A stream that ends before `limit` has shrunk since the limit was measured.
    """
    rest: list[bytes] = []
    held = 0
    while chunk := _read(stream, name, limit):
        limit = None if limit is None else limit - len(chunk)
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, chunk[:cut]])
            rest, held = [], 0
        rest.append(chunk[cut:])
        held += len(chunk) - cut
        if held > LONGEST:
            raise Permanent(f"{name}: a line is longer than {LONGEST} bytes", code="source-damaged")
    if held:
        yield b"".join(rest)


def line_cuts(unit: Unit, targets: Sequence[int]) -> list[int]:
    """The first line's start at or behind each byte offset of a plain file. Raises CollectError."""
    cuts = []
    try:
        with unit.path.open("rb") as file:
            for target in targets:
                if target <= 0:
                    cuts.append(0)
                    continue
                file.seek(target - 1)
                file.readline()
                cuts.append(file.tell())
    except OSError as error:
        raise failure(unit.name, error) from error
    return cuts


def _read(stream: IO[bytes], name: str, limit: int | None) -> bytes:
    if limit == 0:
        return b""
    try:
        chunk = stream.read(BLOCK if limit is None else min(BLOCK, limit))
    except (OSError, *CORRUPT) as error:
        raise failure(name, error) from error
    if not chunk and limit is not None:
        raise Permanent(f"{name}: the file has become shorter while it was collected", code="source-changed")
    return chunk


class Text:
    """The blocks as decoded lines, for a reader that pulls one line at a time.

    `offset` is where the line pulled last ends, in bytes. Bytes that do not decode become lone surrogates
    (PEP 383) and `garbled` is set, so that the one record can be refused, not the block.
    """

    def __init__(self, source: Iterator[bytes], encoding: str, start: int) -> None:
        self._source = source
        self._encoding = encoding
        self._behind = start
        self._block = b""
        self._text = ""
        self._lines = io.StringIO()
        self.garbled = False

    def files(self) -> Iterator[io.StringIO]:
        """One file of lines per block; chained, they are all the lines."""
        for block in self._source:
            self._behind += len(self._block)
            self._block, self._text = block, self._decode(block)
            self._lines = io.StringIO(self._text, newline="\n")
            yield self._lines

    def offset(self) -> int:
        at = self._lines.tell()
        if at == len(self._text):
            return self._behind + len(self._block)
        if self._block.isascii():
            return self._behind + at
        return self._behind + len(self._text[:at].encode(self._encoding, "surrogateescape"))

    def last_line(self) -> str:
        """The line pulled last, for an error message."""
        at = self._lines.tell()
        return self._text[self._text.rfind("\n", 0, max(0, at - 1)) + 1 : at].rstrip("\r\n")

    def _decode(self, block: bytes) -> str:
        try:
            return block.decode(self._encoding)
        except UnicodeDecodeError:
            self.garbled = True
            return block.decode(self._encoding, "surrogateescape")
