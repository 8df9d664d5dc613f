"""The commit chain of a file sink: what was committed, by whom, in which order.

    <folder>/_commits/<run>/<shard>/<from>     one commit: the part, `from`, `to`, and what is in it
    <folder>/_commits/<run>/@run               the run has been opened
    <folder>/_commits/<run>/@published=<hash>  shards of the run are done; the markers of a run add up

A commit is a create-once record named by the position it starts from, so that of two writers that stand at
the same position exactly one commits. The chain of a shard starts at null and goes from each `to` to the
record of that name; its end is the shard's position. A *seal* is a record without `to`: whoever publishes a
run puts one at the end of each chain, and from then on the chain is fixed for ever.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from plugins.api import Permanent, Position, Token
from plugins.sinks.durable import create_once, make_folder

COMMITS = "_commits"
OPENED = "@run"
PUBLISHED = "@published="
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:+-]{0,63}")

Stored = TypeVar("Stored", bound=msgspec.Struct)


class Commit(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One link of a chain. `part`: the visible file ("": no records), `temp`: its name until it is visible.

    `columns`: of a CSV part. `high`: the highest value so far of the field that the host follows.
    """

    version: int = 1
    task: str
    run: str
    shard: str
    generation: int
    from_: Position
    to: Position
    records: int = 0
    bytes: int = 0
    sha256: str = ""
    part: str = ""
    temp: str = ""
    sealed: bool = False
    columns: list[str] = []
    high: Any = None
    token: Token = (0, "", 0)


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A run that may write here."""

    version: int = 1
    run: str
    generation: int


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """A published run: which shards belong to the result. It may be published again with more of them."""

    version: int = 1
    run: str
    generation: int
    complete: bool
    replaces: bool
    shards: list[str]


def safe(text: str) -> str:
    """The text as a file name: itself where possible, else a readable rest and a hash."""
    if _SAFE.fullmatch(text):
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{re.sub('[^A-Za-z0-9_-]+', '_', text)[:32]}={digest}"


def position_name(position: Position) -> str:
    """The file name of a commit from this position; different JSON values have different names."""
    if position is None:
        return "start"
    if isinstance(position, int) and not isinstance(position, bool) and abs(position) < 10**30:
        return f"{position:020d}"
    text = msgspec.json.encode(position, order="deterministic")
    return f"h={hashlib.blake2b(text, digest_size=16).hexdigest()}"


class Chain:
    """The chain of one shard, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, folder: Path, run: str, shard: str) -> "Chain":
        return cls(folder / COMMITS / safe(run) / safe(shard))

    def make(self, run: str, generation: int) -> None:
        """Make room for commits; from now on `runs` knows the run."""
        make_folder(self.folder)
        opened = self.folder.parent / OPENED
        if not opened.exists():
            create_once(opened, msgspec.json.encode(Opened(run=run, generation=generation)))

    def read(self) -> list[Commit]:
        """The commits in order; a seal, if there is one, is the last."""
        commits: list[Commit] = []
        seen: set[str] = set()
        position: Position = None
        while (commit := _load(self.folder / position_name(position), Commit)) is not None:
            commits.append(commit)
            if commit.sealed:
                break
            position = commit.to
            seen.add(position_name(commit.from_))
            if position_name(position) in seen:
                raise Permanent(f"{self.folder}: the commit chain runs in a circle", code="sink-damaged")
        return commits

    def add(self, commit: Commit) -> bool:
        """Whether it was the first from its position. Raises FileNotFoundError if the run was removed."""
        return create_once(self.folder / position_name(commit.from_), msgspec.json.encode(commit))

    def seal(self, task: str, run: str, generation: int) -> list[Commit]:
        """Fix the chain for ever; its commits, without the seal."""
        while True:
            commits = self.read()
            if commits and commits[-1].sealed:
                return commits[:-1]
            last = Commit(
                task=task,
                run=run,
                shard=self.folder.name,
                generation=generation,
                from_=end_of(commits),
                to=None,
                sealed=True,
            )
            self.add(last)


def end_of(commits: list[Commit]) -> Position:
    """The position of a shard with this chain."""
    ends = [commit.to for commit in commits if not commit.sealed]
    return ends[-1] if ends else None


def mark_published(folder: Path, marker: Marker) -> None:
    run = folder / COMMITS / safe(marker.run)
    make_folder(run)
    content = msgspec.json.encode(marker)
    create_once(run / f"{PUBLISHED}{hashlib.blake2b(content, digest_size=8).hexdigest()}", content)


def markers(folder: Path) -> list[Marker]:
    """The published runs, one marker a run."""
    found = []
    for run in _entries(folder / COMMITS):
        parts = [_load(path, Marker) for path in sorted(run.glob(f"{PUBLISHED}*"))]
        if marks := [mark for mark in parts if mark is not None]:
            found.append(_sum_of(marks))
    return found


def with_marker(done: list[Marker], marker: Marker) -> list[Marker]:
    """What `markers` will find when this one has been made."""
    same_run = [mark for mark in done if mark.run == marker.run]
    return [*(mark for mark in done if mark.run != marker.run), _sum_of([*same_run, marker])]


def _sum_of(marks: list[Marker]) -> Marker:
    return Marker(
        run=marks[0].run,
        generation=max(mark.generation for mark in marks),
        complete=any(mark.complete for mark in marks),
        replaces=any(mark.replaces for mark in marks),
        shards=sorted({shard for mark in marks for shard in mark.shards}),
    )


def runs(folder: Path) -> list[Opened]:
    """All runs that have been opened."""
    found = (_load(run / OPENED, Opened) for run in _entries(folder / COMMITS))
    return [opened for opened in found if opened is not None]


def chains_of(folder: Path, run: str) -> list[Chain]:
    """The chains of a run, by shard."""
    return [Chain(shard) for shard in _entries(folder / COMMITS / safe(run))]


def remove_run(folder: Path, run: str) -> None:
    """Forget a run's chain; a writer that is still at it finds its folder gone."""
    shutil.rmtree(folder / COMMITS / safe(run), ignore_errors=True)


def _entries(folder: Path) -> Iterator[Path]:
    try:
        found = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return
    yield from found


def _load(path: Path, kind: type[Stored]) -> Stored | None:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise Permanent(f"{path}: the record is damaged ({error})", code="sink-damaged") from error


def same(one: Any, other: Any) -> bool:
    """Whether two positions are the same JSON value."""
    return position_name(one) == position_name(other)
