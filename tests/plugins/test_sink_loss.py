"""Somebody removes what a run has committed before it is published: the run must not end as if all were there."""

import contextlib
import errno
import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugins.api import Batch, Permanent, Retryable, RunSummary, Sink, SinkContext
from plugins.sinks.durable import aside
from plugins.sinks.jsonl import JsonlSink
from plugins.sinks.sqlite import SqliteSink
from plugins.testing import FolderRoots, made_up, multiset, plugin_context
from tests.plugins.materials import jsonl_stored, table_stored

RUN = "2026-01-01T00:00:00Z"
ROWS = made_up(30)
Make = Callable[[], Any]


def jsonl() -> tuple[Any, Any]:
    return JsonlSink(), JsonlSink.Options(path="out")


def sqlite() -> tuple[Any, Any]:
    return SqliteSink(), SqliteSink.Options(path="out/x.db", table="rows")


async def made(base: Path, kind: Make) -> Any:
    sink, options = kind()
    await sink.initialize(plugin_context(options, roots=FolderRoots(base)))
    return sink


async def opened(base: Path, kind: Make, shard: str, mode: str = "append") -> Any:
    sink = await made(base, kind)
    await sink.open(SinkContext(task="t", run=RUN, shard=shard, mode=mode, key=("id",)))
    return sink


async def write(sink: Sink, rows: list[dict[str, Any]], start: int | None, end: int) -> None:
    await sink.write(Batch(stream="", records=rows, start=start, end=end))


async def committed(base: Path, kind: Make, shard: str, rows: list[dict[str, Any]], mode: str) -> None:
    sink = await opened(base, kind, shard, mode)
    await write(sink, rows, None, 10)
    await sink.commit(None, 10)
    await sink.shutdown()


async def publish(base: Path, kind: Make, *shards: str) -> None:
    sink = await made(base, kind)
    try:
        await sink.publish(RunSummary(task="t", run=RUN, shards=shards, records=len(ROWS)))
    finally:
        await sink.shutdown()


@pytest.mark.parametrize(("kind", "mode"), [(jsonl, "append"), (sqlite, "append"), (sqlite, "upsert")])
async def test_what_vanished_is_not_published_as_if_it_were_whole(
    tmp_path: Path, kind: Make, mode: str
) -> None:
    await committed(tmp_path, kind, "a", ROWS[:10], mode)
    shutil.rmtree(tmp_path / "out")
    await committed(tmp_path, kind, "b", ROWS[10:], mode)
    for _ in range(2):
        with pytest.raises(Retryable, match="shard a") as caught:
            await publish(tmp_path, kind, "a", "b")
        assert caught.value.code == "sink-lost"
    await committed(tmp_path, kind, "a", ROWS[:10], mode)
    await publish(tmp_path, kind, "a", "b")
    found = jsonl_stored(tmp_path / "out") if kind is jsonl else table_stored(tmp_path / "out/x.db", "rows")
    assert multiset(found) == multiset(ROWS)


async def test_a_part_that_vanished_is_not_published(tmp_path: Path) -> None:
    await committed(tmp_path, jsonl, "a", ROWS, "append")
    (part,) = (tmp_path / "out").glob(".*.tmp")
    part.rename(tmp_path / "aside")
    with pytest.raises(Retryable, match="was removed"):
        await publish(tmp_path, jsonl, "a")
    (tmp_path / "aside").rename(part)
    await publish(tmp_path, jsonl, "a")
    assert jsonl_stored(tmp_path / "out") == ROWS


@pytest.mark.parametrize(("kind", "gone"), [(jsonl, "out/_commits"), (sqlite, "out")])
async def test_a_writer_whose_commits_vanished_starts_anew(tmp_path: Path, kind: Make, gone: str) -> None:
    sink = await opened(tmp_path, kind, "a")
    await write(sink, ROWS[:10], None, 10)
    await sink.commit(None, 10)
    await write(sink, ROWS[10:], 10, 30)
    shutil.rmtree(tmp_path / gone)
    with pytest.raises(Retryable, match="was removed") as caught:
        await sink.commit(10, 30)
    assert caught.value.code == "sink-lost"
    await sink.shutdown()
    again = await made(tmp_path, kind)
    assert await again.open(SinkContext(task="t", run=RUN, shard="a")) is None
    await again.shutdown()


@pytest.mark.parametrize("kind", [jsonl, sqlite])
async def test_a_shard_that_had_nothing_to_write_is_not_missed(tmp_path: Path, kind: Make) -> None:
    await committed(tmp_path, kind, "a", ROWS, "append")
    empty = await opened(tmp_path, kind, "b")
    await empty.commit(None, None)
    await empty.shutdown()
    await publish(tmp_path, kind, "a", "b")


async def test_an_empty_shard_of_an_older_program_is_not_missed(tmp_path: Path) -> None:
    """That left no row of a shard that had nothing to commit."""
    await committed(tmp_path, sqlite, "a", ROWS, "append")
    empty = await opened(tmp_path, sqlite, "b")
    await empty.shutdown()
    with contextlib.closing(sqlite3.connect(tmp_path / "out/x.db")) as db:
        db.execute("DELETE FROM _collect_positions WHERE shard = 'b'")
        db.commit()
    await publish(tmp_path, sqlite, "a", "b")
    assert table_stored(tmp_path / "out/x.db", "rows") == ROWS


@pytest.mark.parametrize("replaces", [True, False])
async def test_a_table_with_rows_of_its_own_is_not_emptied(tmp_path: Path, replaces: bool) -> None:
    (tmp_path / "out").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "out/x.db")) as db:
        db.execute("CREATE TABLE rows (id, text, half)")
        db.execute("INSERT INTO rows VALUES (99, 'mine', 0)")
        db.commit()
    await committed(tmp_path, sqlite, "a", ROWS, "append")
    sink = await made(tmp_path, sqlite)
    run = RunSummary(task="t", run=RUN, shards=("a",), records=len(ROWS), replaces=replaces)
    if replaces:
        with pytest.raises(Permanent, match="rows of its own"):
            await sink.publish(run)
    else:
        await sink.publish(run)
    await sink.shutdown()
    found = [row["id"] for row in table_stored(tmp_path / "out/x.db", "rows")]
    assert found == [99] if replaces else [99, *(row["id"] for row in ROWS)]


async def test_a_publish_that_a_full_disk_stops_has_published_nothing(tmp_path: Path) -> None:
    """Else the next run of the task would show its rows, and those of the stopped one beside them."""
    for room in itertools.count():
        base = tmp_path / str(room)
        await committed(base, jsonl, "a", ROWS, "append")
        with pytest.MonkeyPatch.context() as patched:
            disk = FullDisk(patched, room)
            stopped = False
            try:
                await publish(base, jsonl, "a")
            except Retryable as error:
                stopped = error.code == "disk-full"
        assert stopped == (disk.left < 0)
        if not stopped:
            break
        assert not list((base / "out/_commits").glob("*/@published*")), f"room for {room} files"
    assert room > 2
    assert jsonl_stored(base / "out") == ROWS


def test_a_full_disk_keeps_nothing_of_what_it_did_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no room"):
        aside(tmp_path, b"x" * 1000)
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """Lets `left` more files be made, and then none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left, self._open = left, os.open
        monkeypatch.setattr(os, "open", self._made)

    def _made(self, path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "no room")
        return self._open(path, flags, mode)
