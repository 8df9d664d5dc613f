"""Which files the log consists of, so that one which is gone, or was emptied, is damage like any other.

The roll, `files`, names the log's files by number. It is written after a file has begun and before one goes, so all
that it names are there, with their headers. A program that knows no roll leaves an older one behind: it has begun a
file beyond the last that is named, as a crash right after a beginning has, and then the roll says nothing.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
import xxhash

NAME = "files"


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """The files of the log, oldest first."""
    return sorted((int(p.stem), p) for p in folder.glob("*.log") if p.stem.isdigit() and int(p.stem))


def write_roll(folder: Path, numbers: Iterable[int]) -> None:
    """Durable on return. Raises OSError."""
    data = msgspec.json.encode(sorted(numbers))
    put(folder / NAME, data + b"\n" + xxhash.xxh3_64_hexdigest(data).encode() + b"\n")


def strike(folder: Path, kept: Iterable[int]) -> None:
    """Name no others than these, before the others go. On a full disk, which that may end, name none."""
    try:
        write_roll(folder, kept)
    except OSError:
        (folder / NAME).unlink(missing_ok=True)


def gone(folder: Path, header: int) -> list[int]:
    """The numbers of files that should be there and are not, or have lost even their headers, of so many bytes."""
    there = {number: path.stat().st_size for number, path in numbered(folder)}
    named = _named(folder)
    if not named or max(there, default=0) > max(named):
        return []
    return [number for number in named if there.get(number, 0) < header]


def put(path: Path, data: bytes) -> None:
    """A small file, whole or as it was, and durable on return. Raises OSError."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(folder: Path) -> list[int]:
    try:
        data, _, rest = (folder / NAME).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return []
    if rest.strip() != xxhash.xxh3_64_hexdigest(data).encode():
        return []
    return msgspec.json.decode(data, type=list[int])
