"""A node's folder: one process at a time, and how much room is left."""

import fcntl
import os
import shutil
from pathlib import Path

RESERVE = 32 << 20
"""Bytes kept free for the log of what is under way; a tenth of a small disk."""


class CannotStart(Exception):
    """The node refuses to start; the message says why and what to do. Nothing was changed."""


class DataDirectory:
    """One process a data directory: an flock that ends with the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fd = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise CannotStart(
                f"{path} is in use by another collect-node; give this one its own --data-dir"
            ) from None

    def free(self) -> int:
        """Bytes that are free on the directory's disk."""
        return shutil.disk_usage(self.path).free

    @property
    def reserve(self) -> int:
        """Below so many free bytes nothing new is taken."""
        return min(RESERVE, shutil.disk_usage(self.path).total // 10)

    def close(self) -> None:
        os.close(self._fd)
