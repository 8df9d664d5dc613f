"""What a path of a file collector stands for: files, and the streams of bytes inside of them.

A *unit* is one stream with records from its beginning: a plain file, a compressed file, a member of a zip
archive. Units are ordered by name. A unit's `mark` names it in shard keys; for a compressed unit it covers
the size (and checksum) too, since record numbers mean nothing in another content. Plain files may grow.
"""

import bz2
import contextlib
import glob
import gzip
import hashlib
import lzma
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

import msgspec

from plugins.api import CollectError, Permanent, Retryable, Roots
from plugins.collectors.packing import Compression, Foreign, recognised

CORRUPT = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, NotImplementedError)
"""What the standard library raises for damaged or encrypted content (bz2 raises OSError)."""


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One stream. `name`: `root:relative` and the member; `size`: bytes, of a zip member when unpacked."""

    path: Path
    name: str
    codec: Compression
    size: int
    member: str | None = None
    checksum: int = 0

    @property
    def file(self) -> str:
        """The name of the file that it lies in."""
        return self.name if self.member is None else self.name.removesuffix(f"#{self.member}")

    @property
    def plain(self) -> bool:
        return self.codec == "none"

    @property
    def mark(self) -> str:
        content = "" if self.plain else f"\0{self.size}\0{self.checksum}"
        return hashlib.blake2b((self.name + content).encode(), digest_size=5).hexdigest()

    def open(self) -> IO[bytes]:
        """The bytes of the unit from its beginning. Raises CollectError."""
        try:
            return self._opened()
        except KeyError:
            raise Permanent(
                f"{self.name}: the archive has no such member any more", code="source-changed"
            ) from None
        except (OSError, RuntimeError, *CORRUPT) as error:  # RuntimeError: an encrypted member
            raise failure(self.name, error) from error

    def _opened(self) -> IO[bytes]:
        match self.codec:
            case "gzip":
                return cast("IO[bytes]", gzip.open(self.path, "rb"))
            case "bz2":
                return cast("IO[bytes]", bz2.open(self.path, "rb"))
            case "xz":
                return cast("IO[bytes]", lzma.open(self.path, "rb"))
            case "zip":
                with zipfile.ZipFile(self.path) as archive:  # the member keeps the file open
                    return archive.open(self.member or "")
            case _:
                return self.path.open("rb", buffering=0)


def units(roots: Roots, path: str, compression: Compression) -> list[Unit]:
    """The units of a path, which may hold `* ? [ ] **`; by name.

    Raises Permanent if there are none, or if one is packed as no collector reads it.
    """
    found = [unit for name, file in _files(roots, path) for unit in _inside(name, file, compression)]
    if not found:
        raise Permanent(f"path {path!r}: no such file; check the path and the root", code="source-missing")
    return sorted(found, key=lambda unit: unit.name)


_places: dict[tuple[str, str, Compression], dict[str, str]] = {}
"""Of the latest paths with wildcards, by the folder they begin in: mark -> name of the file. Without it each shard
would look through all files, and ten thousand small ones take hours."""
MOST_PLACES = 4


def unit_of(roots: Roots, path: str, compression: Compression, mark: str) -> Unit | None:
    """The unit that has this mark now; None if the path has no such unit. Raises as `units` does."""
    if not glob.has_magic(path.rpartition(":")[2]):
        return next((unit for unit in units(roots, path, compression) if unit.mark == mark), None)
    key = (str(_split(roots, path)[1]), path, compression)
    if (name := _places.get(key, {}).get(mark)) is not None:
        with contextlib.suppress(CollectError):  # it is gone, say: then all are looked through
            for unit in _inside(name, roots.resolve(name), compression):
                if unit.mark == mark:
                    return unit
    found = units(roots, path, compression)
    _places.pop(key, None)
    while len(_places) >= MOST_PLACES:
        del _places[next(iter(_places))]
    _places[key] = {unit.mark: unit.file for unit in found}
    return next((unit for unit in found if unit.mark == mark), None)


def failure(name: str, error: BaseException) -> CollectError:
    """What to raise for an error of the system or of a codec while reading `name`."""
    if isinstance(error, FileNotFoundError):
        return Retryable(f"{name}: the file is gone", code="source-missing")
    if isinstance(error, PermissionError | IsADirectoryError):
        return Permanent(f"{name}: cannot be read ({error.strerror})", code="source-unreadable")
    if isinstance(error, OSError) and error.errno is not None:
        return Retryable(f"{name}: reading failed ({error.strerror})", code="source-unreadable")
    return Permanent(
        f"{name}: the content is damaged or not what it should be ({error})", code="source-damaged"
    )


def _files(roots: Roots, path: str) -> list[tuple[str, Path]]:
    if not glob.has_magic(path.rpartition(":")[2]):
        file = roots.resolve(path)
        return [(path, file)] if file.is_file() else []
    fixed, base, pattern = _split(roots, path)
    names = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207 -- hidden files stay hidden
    # each match is resolved again: a link may lead out of the root
    matches = [(name, roots.resolve(name)) for name in (f"{fixed}{n}" for n in names)]
    return [(name, file) for name, file in matches if file.is_file()]


def _split(roots: Roots, path: str) -> tuple[str, Path, str]:
    """Of a path with wildcards: what comes before the first part with one, as text and as a folder, and the rest."""
    root, colon, relative = path.rpartition(":")
    parts = PurePosixPath(relative).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    before = "".join(f"{part}/" for part in parts[:fixed])
    return (
        f"{root}{colon}{before}",
        roots.resolve(f"{root}{colon}{before.rstrip('/')}"),
        "/".join(parts[fixed:]),
    )


def _inside(name: str, file: Path, compression: Compression) -> list[Unit]:
    try:
        codec = recognised(file) if compression == "auto" else compression
        if codec != "zip":
            return [Unit(path=file, name=name, codec=codec, size=file.stat().st_size)]
        with zipfile.ZipFile(file) as archive:
            return [
                Unit(
                    path=file,
                    name=f"{name}#{member.filename}",
                    codec="zip",
                    size=member.file_size,
                    member=member.filename,
                    checksum=member.CRC,
                )
                for member in archive.infolist()
                if not member.is_dir()
            ]
    except Foreign as error:
        raise Permanent(f"{name}: {error}; {error.remedy}", code="compression") from None
    except (OSError, *CORRUPT) as error:
        raise failure(name, error) from error
