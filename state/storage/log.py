"""The durable log: append-only files of checksummed records.

A file is `NNNNNNNN.log`: a header (magic, version, file number), then records `<length u32><kind u8><checksum u64>
payload`, the checksum being XXH3 over kind and payload. A clean close writes a record of kind CLOSED.

The header of version 1 has no checksum; it needs none, since all of it is known beforehand: any other bytes are
damage. From version 2 on a header is followed by the XXH3 of its 16 bytes, so that a damaged header is never taken for
one of a later version: `Unreadable` is said only of a header that checks.

What recovery decides. A record cut short by the end of the *last* file, or followed by nothing but zero bytes, is a
write that a crash interrupted: nothing in it was acknowledged, and it is cut off. Anything else that does not check is
damage: `Damaged` names the file and the offset, and nothing is changed, unless `salvage` is asked for; then the sound
records before and after it are copied to a new file of the same number, the damaged one is kept aside as `*.damaged`,
and what is missing is fetched from the other replicas (an author's sequence then has a gap, which anti-entropy closes).
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import xxhash

from state.storage.roll import gone, numbered, strike, sync_folder, write_roll

MAGIC = b"CMLOG\x00"
VERSION = 1
_FILE_HEADER = struct.Struct("<6sHQ")
_HEADER_CHECKSUM = struct.Struct("<Q")
_RECORD = struct.Struct("<IBQ")

ENVELOPE = 1
CLOSED = 2

FILE_BYTES = 64 << 20
"""A new file is begun beyond this size."""
MAX_RECORD = 2 << 20


class Location(NamedTuple):
    """Where a record lies: file number, byte offset of the record."""

    file: int
    offset: int


class Damaged(Exception):
    """The log is not what was written. `path`, `offset`: where; `sound`: good records before it."""

    def __init__(self, path: Path, offset: int, reason: str, sound: int) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset} ({reason}); {sound} sound records lie before it"
        )
        self.path, self.offset, self.reason, self.sound = path, offset, reason, sound


class Unreadable(Exception):
    """The log was written by a version that this one cannot read."""


class Torn(NamedTuple):
    """An interrupted write that recovery cut off."""

    path: Path
    offset: int
    bytes: int


def frame(payload: bytes, kind: int = ENVELOPE) -> bytes:
    return _RECORD.pack(len(payload), kind, _checksum(kind, payload)) + payload


def _checksum(kind: int, payload: bytes) -> int:
    return xxhash.xxh3_64_intdigest(payload, seed=kind)


def _write_all(fd: int, data: bytes) -> None:
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, data[done:])


def header(version: int, number: int) -> bytes:
    """As versions from 2 on write it, and none before can read."""
    plain = _FILE_HEADER.pack(MAGIC, version, number)
    return plain + _HEADER_CHECKSUM.pack(xxhash.xxh3_64_intdigest(plain))


class _Scan:
    """One file, record by record. After the loop `end` is the offset of the first byte that is not sound."""

    def __init__(self, number: int, path: Path) -> None:
        self.number, self.path = number, path
        self.data = path.read_bytes()
        self.end = self._header()

    def _header(self) -> int:
        if len(self.data) < _FILE_HEADER.size:
            return 0
        magic, version, number = _FILE_HEADER.unpack_from(self.data)
        if magic == MAGIC and version > VERSION and self._header_checks():
            raise Unreadable(
                f"{self.path} has log version {version}; this program reads up to {VERSION}: start the version "
                "that wrote it, or restore a backup from before the upgrade"
            )
        return _FILE_HEADER.size if (magic, version, number) == (MAGIC, VERSION, self.number) else 0

    def _header_checks(self) -> bool:
        _, version, number = _FILE_HEADER.unpack_from(self.data)
        return self.data.startswith(header(version, number))

    def records(self) -> Iterator[tuple[int, int, bytes]]:
        """`(offset, kind, payload)` of the sound records from the start up to the first unsound one."""
        while self.end and (found := self.at(self.end)) is not None:
            kind, payload = found
            yield self.end, kind, payload
            self.end += _RECORD.size + len(payload)

    def at(self, offset: int) -> tuple[int, bytes] | None:
        """The sound record at this offset, if there is one."""
        start = offset + _RECORD.size
        if start > len(self.data):
            return None
        length, kind, checksum = _RECORD.unpack_from(self.data, offset)
        if length > MAX_RECORD or kind not in (ENVELOPE, CLOSED) or start + length > len(self.data):
            return None
        payload = self.data[start : start + length]
        return (kind, payload) if _checksum(kind, payload) == checksum else None

    def complete(self) -> bool:
        """Whether all of the file is sound."""
        return 0 < self.end == len(self.data)

    def torn(self) -> bool:
        """Whether what is left is an interrupted write: cut short by the end of the file, or zeros."""
        rest = self.data[self.end :]
        if not rest.strip(b"\x00"):
            return True
        if self.end == 0:
            return len(self.data) < _FILE_HEADER.size
        if len(rest) < _RECORD.size:
            return True
        length, kind, checksum = _RECORD.unpack_from(rest)
        if _checksum(kind, rest[_RECORD.size :]) == checksum:
            return False  # all of it is here: its length is damaged
        return length <= MAX_RECORD and kind in (ENVELOPE, CLOSED) and len(rest) < _RECORD.size + length

    def resume(self, offset: int) -> int | None:
        """The offset of the next sound record after damage at `offset`, if any."""
        for at in range(offset + 1, len(self.data) - _RECORD.size + 1):
            if self.data[at + 4] in (ENVELOPE, CLOSED) and self.at(at) is not None:
                return at
        return None


class Log:
    """An open log. Not thread-safe: one thread appends and syncs; `read` may be called from another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.torn: Torn | None = None
        self.salvaged: list[Damaged] = []
        self._fd = -1
        self._number = 0
        self._size = self._durable = 0
        self._dirty = False
        self._readers: dict[int, int] = {}

    @classmethod
    def open(
        cls, folder: Path, on_record: Callable[[bytes, Location], None], *, salvage: bool = False
    ) -> "Log":
        """Read every record, oldest first, then be ready to append.

        Raises Damaged (nothing changed) unless `salvage`, Unreadable for a later version, OSError.
        """
        folder.mkdir(parents=True, exist_ok=True)
        log = cls(folder)
        for number in gone(folder, _FILE_HEADER.size):
            damaged = Damaged(log._path(number), 0, "the file is gone", 0)
            if not salvage:
                raise damaged
            log.salvaged.append(damaged)
        files = numbered(folder)
        sound = 0
        for number, path in files:
            last = number == files[-1][0]
            if salvage:
                log._mend(number, path, sound, last=last)
            sound += log._recover(_Scan(number, path), on_record, sound, last=last)
        log._begin(files[-1][0] + 1 if files else 1)
        return log

    def _recover(
        self, scan: _Scan, on_record: Callable[[bytes, Location], None], before: int, *, last: bool
    ) -> int:
        """Hand over the records of one file; how many there are."""
        count = 0
        for offset, kind, payload in scan.records():
            if kind == ENVELOPE:
                count += 1
                on_record(payload, Location(scan.number, offset))
        if scan.complete():
            return count
        if not (last and scan.torn() and self._whole_until(scan)):
            raise Damaged(scan.path, scan.end, "checksum or framing", before + count)
        self._cut(scan)
        return count

    def _mend(self, number: int, path: Path, before: int, *, last: bool) -> None:
        """Where the file is damaged, put a file of its sound records in its place; it is kept as
        `*.damaged`.
        """
        scan = _Scan(number, path)
        kept: list[bytes] = []
        damages: list[Damaged] = []
        while True:
            kept.extend(payload for _, kind, payload in scan.records() if kind == ENVELOPE)
            if scan.complete() or (last and scan.torn() and self._whole_until(scan)):
                break
            damages.append(Damaged(path, scan.end, "checksum or framing", before + len(kept)))
            found = scan.resume(scan.end)
            if found is None:
                break
            scan.end = found
        if damages:
            self._replace(number, path, kept)
            self.salvaged += damages

    def _replace(self, number: int, path: Path, payloads: Sequence[bytes]) -> None:
        fresh = path.with_suffix(".mended")
        with fresh.open("wb") as file:
            file.write(_FILE_HEADER.pack(MAGIC, VERSION, number) + b"".join(map(frame, payloads)))
            file.flush()
            os.fsync(file.fileno())
        aside = path.with_suffix(".damaged")
        aside.unlink(missing_ok=True)
        aside.hardlink_to(path)
        fresh.replace(path)
        sync_folder(self.folder)

    @staticmethod
    def _whole_until(scan: _Scan) -> bool:
        """Nothing sound lies behind the first unsound byte, so no completed write is cut off with it."""
        return scan.resume(scan.end) is None

    def _cut(self, scan: _Scan) -> None:
        self.torn = Torn(scan.path, scan.end, len(scan.data) - scan.end)
        if scan.end == 0:  # not even its header was written
            scan.path.unlink()
            return
        with scan.path.open("r+b") as file:
            file.truncate(scan.end)
            os.fsync(file.fileno())

    def _begin(self, number: int) -> None:
        """Go over to a new file; raises OSError, and the old one stays in use."""
        path = self._path(number)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        header = _FILE_HEADER.pack(MAGIC, VERSION, number)
        try:
            _write_all(fd, header)
            os.fsync(fd)
            write_roll(self.folder, [found for found, _ in numbered(self.folder)])
        except OSError:
            os.close(fd)
            path.unlink()
            strike(self.folder, [found for found, _ in numbered(self.folder)])
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._number = fd, number
        self._size = self._durable = len(header)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.log"

    def _write(self, data: bytes) -> None:
        """Append all of it or nothing."""
        if self._dirty:
            self._take_back()
        try:
            _write_all(self._fd, data)
        except OSError:
            self._dirty = True
            self._take_back()
            raise
        self._size += len(data)

    def _take_back(self) -> None:
        """Cut off what a failed write or sync left; until that works nothing more is written."""
        os.ftruncate(self._fd, self._size)
        self._dirty = False

    def append(self, payloads: Sequence[bytes]) -> list[Location]:
        """Write the records; durable after the next `sync`.

        Raises OSError (disk full), then nothing was written.
        """
        if self._size > FILE_BYTES:
            self.sync()
            self._begin(self._number + 1)
        locations = []
        at = self._size
        parts = []
        for payload in payloads:
            part = frame(payload)
            locations.append(Location(self._number, at))
            at += len(part)
            parts.append(part)
        self._write(b"".join(parts))
        return locations

    def sync(self) -> None:
        """Make what was appended durable. Raises OSError; then nothing since the last sync counts: append it
        again.

        After a failed sync the kernel may have dropped the bytes, so they must not stay in the file.
        """
        try:
            os.fdatasync(self._fd)
        except OSError:
            self._size, self._dirty = self._durable, True
            raise
        self._durable = self._size

    def read(self, location: Location) -> bytes:
        """The payload at a location. Raises Damaged when it does not check any more."""
        fd = self._readers.get(location.file)
        if fd is None:
            fd = self._readers[location.file] = os.open(self._path(location.file), os.O_RDONLY | os.O_CLOEXEC)
        header = os.pread(fd, _RECORD.size, location.offset)
        if len(header) == _RECORD.size:
            length, kind, checksum = _RECORD.unpack(header)
            if length <= MAX_RECORD:
                payload = os.pread(fd, length, location.offset + _RECORD.size)
                if len(payload) == length and _checksum(kind, payload) == checksum:
                    return payload
        raise Damaged(self._path(location.file), location.offset, "checksum", 0)

    def files(self) -> dict[int, int]:
        """Number -> bytes, the file in use among them."""
        return {number: path.stat().st_size for number, path in numbered(self.folder)}

    def drop(self, before: int) -> None:
        """Delete the files with smaller numbers; nothing in them is needed any more."""
        files = numbered(self.folder)
        kept = [number for number, _ in files if number >= min(before, self._number)]
        if len(kept) < len(files):
            strike(self.folder, kept)
        for number, path in files:
            if number not in kept:
                path.unlink()
                fd = self._readers.pop(number, None)
                if fd is not None:
                    os.close(fd)

    def scan(self, number: int) -> _Scan:
        """What lies in a file now, up to what is durable: for a check beside the thread that writes."""
        active, durable = number == self._number, self._durable
        scan = _Scan(number, self._path(number))
        if active:
            scan.data = scan.data[:durable]
        return scan

    def leave(self, number: int) -> None:
        """Go on in a new file if this one is in use. On the thread that appends. Raises OSError."""
        if number == self._number:
            self.sync()
            self._begin(self._number + 1)

    def retire(self, number: int) -> None:
        """Put a file aside, as `*.damaged`, in which nothing is needed any more. Raises OSError."""
        path = self._path(number)
        if number == self._number or not path.exists():
            return
        fd = self._readers.pop(number, None)
        if fd is not None:
            os.close(fd)
        strike(self.folder, [found for found, _ in numbered(self.folder) if found != number])
        path.rename(path.with_suffix(".damaged"))
        sync_folder(self.folder)

    def close(self) -> None:
        """Say that the log ends here on purpose, and release it."""
        if self._fd >= 0:
            try:
                self._write(frame(b"", CLOSED))
                os.fsync(self._fd)
            except OSError:
                pass  # a full disk: the records that matter are durable already
            os.close(self._fd)
            self._fd = -1
        for fd in self._readers.values():
            os.close(fd)
        self._readers.clear()
