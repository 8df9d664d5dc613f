"""Files that survive a crash: written whole, synced, and made visible in one step."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from plugins.api import Permanent, Retryable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
)


@contextlib.contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Errors of the system become the contract's: a full disk may be emptied, a forbidden folder stays so."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Retryable(f"{where}: the disk is full", code="disk-full") from error
        if error.errno in _REFUSED:
            raise Permanent(
                f"{where}: cannot be written ({error.strerror})", code="sink-unwritable"
            ) from error
        raise Retryable(f"{where}: writing failed ({error.strerror})", code="sink-io") from error


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """The folder and those above it, durable."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in reversed(missing):
        sync_folder(part.parent)


def create_once(path: Path, data: bytes) -> bool:
    """Make the file with this content, durable, unless there is one of that name; whether it was made here.

    By link(2): of any number of callers on any number of hosts exactly one makes it, and no one ever reads a
    part of it. Raises FileNotFoundError if the folder is gone.
    """
    made = aside(path.parent, data)
    try:
        os.link(made, path)
        won = True
    except FileExistsError:
        won = made.stat().st_nlink > 1  # over a network the answer to a link that worked may be lost
    finally:
        made.unlink()
    sync_folder(path.parent)
    return won


def replace(path: Path, data: bytes) -> None:
    """Put this content in the place of whatever the file was, durable; readers see the old or the new one."""
    put(aside(path.parent, data), path)


def put(made: Path, path: Path) -> None:
    """The same with a file that is there already, from `aside`: it needs no room on the disk."""
    made.rename(path)
    sync_folder(path.parent)


def aside(folder: Path, data: bytes) -> Path:
    """A file with this content, under a name that nobody looks for. Where that fails nothing is left of it."""
    made = folder / f".{secrets.token_hex(8)}.new"
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):  # the reason is what the caller has to know
            made.unlink()
        raise
    return made
