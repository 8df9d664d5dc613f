"""Where the paths of a task lead on this host: what a submit may look at before it is answered.

Every look is short: it happens on the main loop, and the path is a stranger's.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

DEFAULT_ROOT = "default"
LOOKED_AT = 100
"""files that a pattern matches; a submit does not wait for more to be looked at"""
MAX_PATH = 4096
MAX_PART = 255
"""bytes; PATH_MAX and NAME_MAX of Linux. To compile a part of 60,000 brackets took a minute."""
MAX_WILD = 32
"""parts with a wildcard; each is a level of recursion in the standard library"""
WILD = "*?["


def split_path(path: str) -> tuple[str, str]:
    """("root", "relative") of "root:relative"; without a root it is the default one."""
    root, colon, relative = path.partition(":")
    return (root, relative) if colon and "/" not in root else (DEFAULT_ROOT, path)


def outside(relative: str) -> bool:
    """Whether a path leaves the folder that it is relative to."""
    return relative.startswith("/") or "\0" in relative or ".." in relative.split("/")


def excess(relative: str) -> str | None:
    """What of a path is more than any file system has, or a pattern needs; None if nothing is."""
    parts = relative.encode("utf-8", "surrogatepass").split(b"/")
    if sum(map(len, parts)) + len(parts) > MAX_PATH:
        return f"is longer than {MAX_PATH} bytes"
    if max(map(len, parts)) > MAX_PART:
        return f"has a part longer than {MAX_PART} bytes"
    if sum(is_pattern(part) for part in relative.split("/")) > MAX_WILD:
        return f"has more than {MAX_WILD} parts with a wildcard"
    return None


def is_pattern(relative: str) -> bool:
    return any(mark in relative for mark in WILD)


def _walks(pattern: str) -> bool:
    """Whether to look for it means to walk a tree."""
    return "**" in pattern or sum(map(is_pattern, pattern.split("/"))) > 1


def exists(folder: str, relative: str) -> bool:
    """Whether a source is there. Patterns need one match; those that walk a tree are left to the plugin."""
    if not is_pattern(relative):
        return os.path.exists(os.path.join(folder, relative))  # noqa: PTH110, PTH118 -- false for bad names too
    if _walks(relative):
        return True
    try:
        return next(Path(folder).glob(relative), None) is not None
    except (ValueError, OSError):
        return True


def files(folder: str, relative: str) -> Iterator[Path]:
    """The first files of a path or pattern, none that a link leads to outside of the folder; none of a pattern that
    walks a tree.
    """
    real = Path(folder).resolve()
    if _walks(relative):
        return
    try:
        found = Path(folder).glob(relative) if is_pattern(relative) else iter([Path(folder, relative)])
        for file in itertools.islice(found, LOOKED_AT):
            if file.is_file() and file.resolve().is_relative_to(real):
                yield file
    except (ValueError, OSError):
        return


def obstacle(folder: str, relative: str) -> str | None:
    """What keeps a sink from writing there: the nearest part of its path that exists, if not writable."""
    place = Path(folder, relative)
    try:
        while not place.exists() and place != Path(folder):
            place = place.parent
    except OSError:  # longer, with the folder, than the system takes
        return relative
    return None if os.access(place, os.W_OK) else str(place.relative_to(folder))
