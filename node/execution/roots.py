"""Where files may be: the folders of this host that plugins may touch, and which hosts share one."""

import contextlib
import hashlib
import os
import re
import secrets
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path

from plugins.api import Permanent

DEFAULT = "default"
_ROOTED = re.compile(r"([A-Za-z0-9_-]+):(.*)", re.DOTALL)
_MACHINE_ID = Path("/etc/machine-id")


MARKER = ".collect-root"


class FolderRoots:
    """The `[roots.NAME]` of a node. `roots`: name -> folder; a folder need not exist yet."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._roots = {name: Path(folder) for name, folder in roots.items()}

    def names(self) -> frozenset[str]:
        return frozenset(self._roots)

    def folders(self) -> dict[str, Path]:
        return dict(self._roots)

    def resolve(self, path: str) -> Path:
        """The absolute path, links followed, of `root:relative` or `relative` (in the root `default`).

        Raises Permanent (code "path") for an unknown root, a path that leads outside of its root (by `..`, an
        absolute path or a link), a NUL character, and for anything that is neither a file nor a folder.
        """
        root, relative = split(path)
        folder = self._roots.get(root)
        if folder is None:
            known = ", ".join(sorted(self._roots)) or "none"
            raise _refusal(
                f"path {path!r}: this node has no root {root!r} (it has: {known}); "
                f"declare [roots.{root}] in node.toml, or name one that exists"
            )
        if "\0" in relative:
            raise _refusal(f"path {path!r}: holds a NUL character; remove it")
        return _inside(folder, relative, root)


def split(path: str) -> tuple[str, str]:
    """`root:relative` as (root, relative); a path without a root is in `default`."""
    if rooted := _ROOTED.fullmatch(path):
        return rooted[1], rooted[2]
    return DEFAULT, path


def fingerprint(path: Path) -> str:
    """Two nodes that give the same fingerprint see the same folder: one machine, one real path, one file
    system.

    The folder is made if it is missing, since its identity is its inode. Raises OSError if that fails.
    """
    path.mkdir(parents=True, exist_ok=True)
    real = path.resolve()
    status = real.stat()
    parts = (_machine(), str(real), str(status.st_dev), str(status.st_ino))
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def shared_fingerprint(path: Path) -> str:
    """What stands for a folder that is declared the same everywhere: the id in its marker file, made once.

    So a host on which the share is not mounted is found out. A folder that nobody can write to has no marker; then the
    declaration has to do.
    """
    marker = path / MARKER
    try:
        return marker.read_text().strip()
    except FileNotFoundError:
        pass
    temporary = path / f"{MARKER}.{secrets.token_hex(8)}"
    try:
        temporary.write_text(secrets.token_hex(16) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, marker)
        return marker.read_text().strip()
    except OSError:
        return "shared"
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _machine() -> str:
    """The machine's id; where the system has none, its network address."""
    try:
        found = _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        found = ""
    return found or f"{uuid.getnode():012x}"


def _inside(folder: Path, relative: str, root: str) -> Path:
    real_root = os.path.realpath(folder)
    real = Path(os.path.realpath(os.path.join(real_root, relative)))  # noqa: PTH118 -- an absolute path must win here
    if not real.is_relative_to(real_root) or relative.startswith("/"):
        raise _refusal(
            f"path {relative!r}: lies outside of root {root!r}; give a path inside of it, "
            f"or declare the other folder as a root in node.toml"
        )
    if not _ordinary(real):
        raise _refusal(f"path {relative!r} in root {root!r}: neither a file nor a folder; name one of these")
    return real


def _ordinary(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _refusal(message: str) -> Permanent:
    return Permanent(message, code="path")
