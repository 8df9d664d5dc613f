"""How a file is packed: what its suffix says, else its first bytes.

What no collector reads (Zstandard, tar and others) is refused by name, so that it is never taken for text.
"""

import re
from pathlib import Path, PurePath
from typing import Literal

Compression = Literal["auto", "none", "gzip", "bz2", "xz", "zip"]

SUFFIXES: dict[str, Compression] = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".lzma": "xz",
    ".zip": "zip",
}
FOREIGN = {
    ".zst": "Zstandard",
    ".zstd": "Zstandard",
    ".lz4": "LZ4",
    ".lz": "lzip",
    ".lzo": "LZO",
    ".br": "Brotli",
    ".sz": "Snappy",
    ".z": "compress",
    ".7z": "7-Zip",
    ".rar": "RAR",
    ".tar": "tar",
    ".tgz": "tar",
    ".tbz": "tar",
    ".tbz2": "tar",
    ".txz": "tar",
}
FIRST_BYTES: tuple[tuple[Compression, re.Pattern[bytes]], ...] = (
    ("gzip", re.compile(rb"\x1f\x8b\x08")),
    ("bz2", re.compile(rb"BZh[1-9]1AY&SY")),  # the header alone could be text
    ("xz", re.compile(rb"\xfd7zXZ\x00")),
)
ZIP = b"PK\x03\x04"
"""So do spreadsheets and programs begin, hence it is not enough to read one."""
FOREIGN_BYTES = (
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"LZIP\x01", "lzip"),
    (b"\xff\x06\x00\x00sNaPpY", "Snappy"),
    (b"\x1f\x9d", "compress"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
)
READABLE = "plain text, .gz, .bz2, .xz, .lzma, .zip"
REMEDY = 'unpack it, or pack it with gzip, bzip2 or xz; compression = "none" reads it as it stands'
ZIP_REMEDY = 'if its members are what to read, set compression = "zip"'


class Foreign(ValueError):
    """The file is packed as no collector can read it (or, a zip, as only one that is told to). `remedy`."""

    def __init__(self, message: str, remedy: str = REMEDY) -> None:
        super().__init__(message)
        self.remedy = remedy


def by_name(name: str) -> Compression | None:
    """What the suffix says; None: nothing. Raises Foreign."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    last = suffixes[-1] if suffixes else ""
    foreign = "tar" if suffixes[-2:-1] == [".tar"] and last in SUFFIXES else FOREIGN.get(last)
    if foreign is not None:
        raise Foreign(f"is packed with {foreign}, which is not read")
    return SUFFIXES.get(last)


def recognised(file: Path) -> Compression:
    """How a file is packed, "none" for one that is not. Raises Foreign, OSError."""
    if (named := by_name(file.name)) is not None:
        return named
    with file.open("rb", buffering=0) as stream:
        first = stream.read(16)
    for mark, foreign in FOREIGN_BYTES:
        if first.startswith(mark):
            raise Foreign(f"is packed with {foreign}, which is not read")
    if first.startswith(ZIP):
        raise Foreign("is a zip archive without the suffix .zip", ZIP_REMEDY)
    for codec, begins in FIRST_BYTES:
        if begins.match(first):
            return codec
    return "none"
