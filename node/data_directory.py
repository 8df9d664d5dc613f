"""A node's folder: one process at a time, in a format that this program reads, and how much room is left.

The file `format` says which layout of the folder (log, roster, keys) was written last, and by which version. A
folder without one is of format 1. A version that changes the layout so that older ones cannot read it raises
`FORMAT`; an older one then refuses the folder with nothing changed.
"""

import fcntl
import os
import re
import shutil
from pathlib import Path

from node.security.durable import replace

FORMAT = 1
FORMAT_FILE = "format"
_FORMAT = re.compile(r"format = (?P<format>[1-9][0-9]{0,3})\nversion = (?P<version>[^\n]{1,40})\n")

RESERVE = 32 << 20
"""Bytes kept free for the log of what is under way; a tenth of a small disk."""


class CannotStart(Exception):
    """The node refuses to start; the message says why and what to do. Nothing was changed."""


class DataDirectory:
    """One process a data directory: an flock that ends with the process.

    Raises CannotStart when it cannot be written, another process has it, or a later version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise _unusable(path, "it is no folder") from None
        except OSError as error:
            raise _unusable(path, str(error.strerror)) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise CannotStart(
                f"{path} is in use by another collect-node; give this one its own --data-dir"
            ) from None
        try:
            require_format(path)
        except CannotStart:
            os.close(self._fd)
            raise

    def used_by(self, version: str) -> None:
        """Say who uses the folder from now on, for a version that may not be able to."""
        text = f"format = {FORMAT}\nversion = {version}\n"
        path = self.path / FORMAT_FILE
        if not path.exists() or path.read_text() != text:
            replace(path, text.encode())

    def free(self) -> int:
        """Bytes that are free on the directory's disk."""
        return shutil.disk_usage(self.path).free

    @property
    def reserve(self) -> int:
        """Below so many free bytes nothing new is taken."""
        return min(RESERVE, shutil.disk_usage(self.path).total // 10)

    def close(self) -> None:
        os.close(self._fd)


def require_usable(path: Path) -> None:
    """Raises CannotStart where a DataDirectory could not be opened, by another process apart; changes nothing."""
    try:
        there = next(each for each in (path, *path.parents) if each.is_symlink() or each.exists())
        if not there.is_dir():
            raise _unusable(path, "it is no folder" if there == path else f"{there} is no folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise _unusable(path, f"this user cannot write in {there}")
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from None
    require_format(path)


def _unusable(path: Path, why: str) -> CannotStart:
    return CannotStart(
        f"node.data_dir {path} cannot be used: {why}; choose another with --data-dir, or give this user the right to "
        "write there"
    )


def require_format(folder: Path) -> None:
    """Raises CannotStart unless this program reads what is in the folder."""
    path = folder / FORMAT_FILE
    if not path.exists():
        return
    found = _FORMAT.fullmatch(path.read_text(errors="replace"))
    if found is None:
        raise CannotStart(
            f"{path} does not say which format {folder} has: restore the file from a backup, or remove it if no "
            "later version of collect-node was ever started here"
        )
    if int(found["format"]) > FORMAT:
        raise CannotStart(
            f"{folder} was last used by collect-node {found['version']} and has format {found['format']}; this "
            f"version reads formats up to {FORMAT}. Nothing was changed: start {found['version']} or later, or "
            "restore the backup from before the upgrade"
        )
