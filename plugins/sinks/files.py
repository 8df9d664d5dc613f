"""The sink of a folder of files, but for their format: `jsonl` and `csv`.

    <folder>/.collect-owner             the one task that may write here
    <folder>/<run>~<shard>~<from>.ext   parts, of published records only
    <folder>/.….tmp                     a part that is being written, or not published yet
    <folder>/_commits/…                 the chain (`plugins.sinks.chain`), the truth
    <folder>/_manifest.json             what is published (`plugins.sinks.manifest`)

Commit: sync the part under its dot name, then create its record. The record is the commit: a crash before it
loses only what will be read again. Of two writers from one position the second finds the record there, drops
its own part and takes over the position that the chain then has.

Publish: seal the chains of the shards that are done, mark them, give their parts visible names, write the
manifest, and only then remove what it supersedes and the dot files of sealed chains, which no one can commit
any more. Each step may be done again, by anyone. So the folder shows exactly the published parts (while a
publish is at work, both those of before and of after). A run that was published with some of its shards may
be published again with more of them.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import threading
from pathlib import Path
from typing import IO, Any

import msgspec

from plugins.api import (
    Batch,
    Effect,
    Permanent,
    PluginContext,
    Position,
    PositionMoved,
    Retryable,
    RunSummary,
    SinkContext,
)
from plugins.sinks.chain import (
    Chain,
    Commit,
    Marker,
    Opened,
    chains_of,
    end_of,
    mark_published,
    markers,
    position_name,
    remove_run,
    runs,
    safe,
    same,
    with_marker,
)
from plugins.sinks.durable import aside, create_once, disk_errors, make_folder, put, replace, sync_folder
from plugins.sinks.manifest import Verdict, judge, manifest

OWNER = ".collect-owner"
MANIFEST = "_manifest.json"


class FileSinkOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`path`: the folder, as `root:relative`."""

    path: str


class Owner(msgspec.Struct, kw_only=True):
    version: int = 1
    task: str


class Part:
    """The file being written: one commit's records."""

    def __init__(self, folder: Path, visible: str) -> None:
        self.visible = visible
        self.temp = f".{visible}.{secrets.token_hex(8)}.tmp"
        self.path = folder / self.temp
        self.records = self.bytes = 0
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = self.path.open("xb")

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes, records: int) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)
        self.records += records

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sync_folder(self.path.parent)

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # a full disk fails the flush; the file goes anyway
            self._file.close()
        self.path.unlink(missing_ok=True)


class FileSink:
    """A subclass gives `suffix` and `_encode`; `columns` is kept in the chain for it."""

    effect = Effect.EXACTLY_ONCE
    modes = frozenset({"append", "replace"})
    Options: type[FileSinkOptions] = FileSinkOptions
    suffix = ""

    def __init__(self) -> None:
        self.held = 0
        self.high: Any = None
        self.columns: list[str] = []
        self._part: Part | None = None
        self._position: Position = None
        self._closed = False
        self._busy = threading.Lock()  # a cancelled commit goes on in its thread; shutdown waits for it

    @staticmethod
    def paths(options: FileSinkOptions) -> tuple[str, ...]:
        return (options.path,)

    async def initialize(self, context: PluginContext) -> None:
        self._options: Any = context.options
        self._where = context.options.path
        self._folder = context.roots.resolve(context.options.path)

    async def open(self, context: SinkContext) -> Position:
        """Raises Permanent if the folder is another task's, or if a newer run has replaced this one."""
        return await asyncio.to_thread(self._open, context)

    async def write(self, batch: Batch) -> None:
        if not batch.records:
            return
        data = self._encode(batch)
        with disk_errors(self._where):
            if self._part is None:
                self._part = Part(self._folder, self._visible())
                data = self._header() + data
            self._part.write(data, len(batch.records))

    async def check(self, batch: Batch) -> None:
        if batch.records:
            self._encode(batch)

    async def commit(self, expected: Position, to: Position) -> None:
        """Raises PositionMoved; Permanent where the run is published or replaced and takes nothing more."""
        await asyncio.to_thread(self._locked_commit, expected, to)

    async def publish(self, run: RunSummary) -> None:
        await asyncio.to_thread(self._publish, run)

    async def shutdown(self) -> None:
        await asyncio.to_thread(self._close)

    def _encode(self, batch: Batch) -> bytes:
        """The records as they stand in the file. Raises RecordError."""
        raise NotImplementedError

    def _header(self) -> bytes:
        return b""

    def _visible(self) -> str:
        context = self._context
        return f"{safe(context.run)}~{safe(context.shard)}~{position_name(self._position)}{self.suffix}"

    def _open(self, context: SinkContext) -> Position:
        self._context = context
        self._chain = Chain.of(self._folder, context.run, context.shard)
        with disk_errors(self._where):
            self._claim(context.task)
            self._chain.make(context.run, context.generation)
            # only now the markers: who replaces this run later finds the chain
            if self._replaced(context.generation, context.run):
                raise self._superseded()
            commits = self._chain.read()
        self.held = sum(commit.records for commit in commits)
        self.high = next((commit.high for commit in reversed(commits) if not commit.sealed), None)
        self.columns = next((commit.columns for commit in reversed(commits) if commit.columns), [])
        self._position = end_of(commits)
        return self._position

    def _claim(self, task: str) -> None:
        make_folder(self._folder)
        path = self._folder / OWNER
        if not path.exists():
            create_once(path, msgspec.json.encode(Owner(task=task)))
        try:
            owner = msgspec.json.decode(path.read_bytes(), type=Owner).task
        except msgspec.DecodeError:
            owner = "unknown"
        if owner != task:
            raise Permanent(
                f"folder {self._where!r} holds the result of task {owner}, task {task} cannot write there; "
                "give it another path, or move the folder away if its task is gone",
                code="folder-taken",
            )

    def _locked_commit(self, expected: Position, to: Position) -> None:
        with self._busy:
            if self._closed:
                raise Permanent("the sink was shut down before the commit began", code="plugin")
            self._commit(expected, to)

    def _close(self) -> None:
        with self._busy:
            self._closed = True
            self._discard()

    def _commit(self, expected: Position, to: Position) -> None:
        part = self._part
        if part is None and same(expected, to):
            return
        if not same(expected, self._position):
            raise self._moved()
        if same(expected, to):
            raise Permanent("the plugin is at fault: records, but the position stays", code="plugin")
        with disk_errors(self._where):
            if part is not None:
                part.sync()
            commit = self._record(to)
            try:
                won = self._chain.add(commit)
            except FileNotFoundError:
                if self._replaced(commit.generation, commit.run):
                    raise self._superseded() from None
                self._discard()
                raise self._lost("its records of commits") from None
            if not won:
                raise self._moved()
            self._part = None  # it is the chain's now
            self._position = to
            self.held += commit.records

    def _record(self, to: Position) -> Commit:
        context, part = self._context, self._part
        return Commit(
            task=context.task,
            run=context.run,
            shard=context.shard,
            generation=context.generation,
            from_=self._position,
            to=to,
            records=part.records if part else 0,
            bytes=part.bytes if part else 0,
            sha256=part.sha256 if part else "",
            part=part.visible if part else "",
            temp=part.temp if part else "",
            columns=self.columns,
            high=self.high,
            token=context.token,
        )

    def _moved(self) -> Exception:
        """What to raise when the position is not what was expected; drops what was written."""
        self._discard()
        commits = self._chain.read()
        if commits and commits[-1].sealed and same(end_of(commits), self._position):
            return Permanent(f"run {self._context.run} is published and takes nothing more", code="published")
        return PositionMoved(end_of(commits))

    def _superseded(self) -> Permanent:
        self._discard()
        return Permanent(f"run {self._context.run} was replaced by a newer one", code="superseded")

    def _show(self, commits: list[Commit]) -> None:
        """Give parts their visible names where they do not have them yet."""
        shown = False
        for commit in commits:
            if commit.temp and (self._folder / commit.temp).exists():
                with contextlib.suppress(FileNotFoundError):  # somebody else was faster
                    (self._folder / commit.temp).rename(self._folder / commit.part)
                shown = True
        if shown:
            sync_folder(self._folder)

    def _discard(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.discard()

    def _publish(self, run: RunSummary) -> None:
        folder = self._folder
        with disk_errors(self._where):
            self._claim(run.task)
            if not self._replaced(run.generation, run.run):
                self._seal(run)
            mark = Marker(
                run=run.run,
                generation=run.generation,
                complete=run.complete,
                replaces=run.replaces,
                shards=sorted(run.shards),
            )
            # the manifest takes its room before the marker is made: a run that was marked and then failed for a full
            # disk would show up with the next one, which collects the same again
            _, _, content = self._result(run.task, with_marker(markers(folder), mark))
            spare = aside(folder, content)
            try:
                mark_published(folder, mark)
                while True:
                    done = markers(folder)
                    self._settle(run.task, done, spare)
                    if markers(folder) == done:  # else our manifest may have replaced that of a newer run
                        return
            finally:
                spare.unlink(missing_ok=True)

    def _seal(self, run: RunSummary) -> None:
        """Fix the chains of the shards that are done. Raises Retryable where one, or a part, is not there: somebody
        removed it, or a network's file system does not show it yet.
        """
        for shard in sorted(run.shards):
            chain = Chain.of(self._folder, run.run, shard)
            if run.records and not chain.folder.is_dir():
                raise self._lost(f"shard {shard}")
            chain.make(run.run, run.generation)
            for commit in chain.seal(run.task, run.run, run.generation):
                if commit.part and not self._there(commit):
                    raise self._lost(commit.part)

    def _there(self, commit: Commit) -> bool:
        return (self._folder / commit.temp).exists() or (self._folder / commit.part).exists()

    def _lost(self, what: str) -> Retryable:
        return Retryable(
            f"{self._where}: what the run has committed there ({what}) was removed; put it back and retry, or submit "
            "the task again",
            code="sink-lost",
        )

    def _replaced(self, generation: int, run: str) -> bool:
        """Whether a newer run has taken the place of this one."""
        return judge(markers(self._folder)).supersedes(generation, run)

    def _result(self, task: str, done: list[Marker]) -> tuple[Verdict, list[list[Commit]], bytes]:
        """What these markers publish: the runs, the chains, the content of the manifest."""
        verdict = judge(done)
        listed = {mark.run: mark.shards for mark in done if mark.run in verdict.published}
        published = [
            Chain.of(self._folder, name, shard).read() for name in verdict.published for shard in listed[name]
        ]
        return verdict, published, manifest(task, verdict, published)

    def _settle(self, task: str, done: list[Marker], spare: Path) -> None:
        """Make the folder what the chains and markers say it is. `spare`: a file that may be its manifest."""
        folder = self._folder
        verdict, published, content = self._result(task, done)
        hidden = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".tmp"))
        every = runs(folder)
        gone = [run for run in every if verdict.supersedes(run.generation, run.run)]
        self._show([commit for chain in published for commit in chain])
        path = folder / MANIFEST
        if not path.exists() or path.read_bytes() != content:
            if spare.exists() and spare.read_bytes() == content:
                put(spare, path)
            else:
                replace(path, content)
        for run in gone:
            self._remove(task, run)
        self._sweep(hidden, published, gone)

    def _sweep(self, hidden: list[str], published: list[list[Commit]], gone: list[Opened]) -> None:
        """Remove the dot files of sealed chains and of superseded runs: no one can commit them any more."""
        ended = {safe(run.run) for run in gone}
        sealed = {(safe(commit.run), safe(commit.shard)) for chain in published for commit in chain}
        for name in hidden:
            run, shard = name[1:].split("~")[:2] if name.count("~") > 1 else ("", "")
            if run in ended or (run, shard) in sealed:
                (self._folder / name).unlink(missing_ok=True)

    def _remove(self, task: str, run: Opened) -> None:
        """A superseded run: fix its chains, so that nobody adds to them, then remove parts, then chains."""
        for chain in chains_of(self._folder, run.run):
            for commit in chain.seal(task, run.run, run.generation):
                for name in filter(None, (commit.temp, commit.part)):
                    (self._folder / name).unlink(missing_ok=True)
        remove_run(self._folder, run.run)
