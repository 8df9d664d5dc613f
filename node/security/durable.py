"""How a small private file is replaced: whole, durable, readable by its owner only."""

import os
from pathlib import Path

from state.storage.roll import sync_folder


def replace(path: Path, data: bytes) -> None:
    """Put `data` at `path` by rename (mode 0600). Durable on return; a crash leaves the old or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
