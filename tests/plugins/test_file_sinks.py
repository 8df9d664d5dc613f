import asyncio
import itertools
import json
import multiprocessing
import os
import random
from pathlib import Path
from typing import Any

import pytest

from plugins.api import Batch, Permanent, PositionMoved, RecordError, Retryable, RunSummary, SinkContext
from plugins.sinks.chain import position_name, safe
from plugins.sinks.csv import CsvSink
from plugins.sinks.jsonl import JsonlSink
from plugins.testing import FolderRoots, made_up, multiset, plugin_context
from tests.plugins.materials import csv_stored, jsonl_stored, manifest_of

R1, R2, R3 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
ROWS = made_up(30)


async def made(base: Path, kind: Any = JsonlSink, **options: Any) -> Any:
    sink = kind()
    chosen = kind.Options(**{"path": "out", **options})
    await sink.initialize(plugin_context(chosen, roots=FolderRoots(base)))
    return sink


async def opened(base: Path, run: str = R1, **context: Any) -> Any:
    sink = await made(base)
    await sink.open(SinkContext(**{"task": "t", "run": run, "shard": "0", **context}))
    return sink


def batch(rows: list[dict[str, Any]], start: Any, end: Any) -> Batch:
    return Batch(stream="", records=rows, start=start, end=end)


async def run_of(
    base: Path, run: str, rows: list[dict[str, Any]], *, replaces: bool = False, **context: Any
) -> None:
    sink = await opened(base, run, mode="replace" if replaces else "append", **context)
    await sink.write(batch(rows, None, len(rows)))
    await sink.commit(None, len(rows))
    await sink.shutdown()
    await publish(base, run, replaces=replaces, generation=context.get("generation", 0))


async def publish(base: Path, run: str, **summary: Any) -> None:
    sink = await made(base)
    await sink.publish(RunSummary(**{"task": "t", "run": run, "shards": ("0",), **summary}))


class Crash(BaseException):
    """The process is gone."""


class Failpoint:
    """Lets the process die at the n-th call that touches the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for owner, name in ((os, "link"), (os, "fsync"), (Path, "rename"), (Path, "unlink"), (os, "open")):
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))

    def _wrapped(self, call: Any) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise Crash
            return call(*arguments, **named)

        return wrapped


async def attempt(base: Path, *, replaces: bool) -> None:
    """What the executor and then the steward do, from wherever the sink stands."""
    sink = await made(base)
    context = SinkContext(task="t", run=R2, shard="0", mode="replace" if replaces else "append")
    position = await sink.open(context)
    for start in range(position or 0, 30, 10):
        await sink.write(batch(ROWS[start : start + 10], start or None, start + 10))
        await sink.commit(start or None, start + 10)
    await publish(base, R2, replaces=replaces)


# a dead process closes its files; a dead object leaves that to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("replaces", [False, True])
async def test_a_crash_at_any_moment_loses_and_doubles_nothing(tmp_path: Path, replaces: bool) -> None:
    for at in itertools.count(1):
        base = tmp_path / str(at)
        await run_of(base, R1, [{"id": 0}])
        with pytest.MonkeyPatch.context() as monkeypatch:
            failpoint = Failpoint(monkeypatch, at)
            try:
                await attempt(base, replaces=replaces)
            except Crash:
                pass
        if failpoint.left > 0:
            break
        visible = {path.name for path in (base / "out").glob("*.jsonl")}
        chain = {
            json.loads(path.read_bytes())["part"] for path in (base / "out/_commits").glob("*/0/*[0-9t]")
        }
        assert visible <= chain, f"crash at {at}: a visible part is not in the chain"
        await attempt(base, replaces=replaces)
        rows = jsonl_stored(base / "out")
        wanted = ROWS if replaces else [{"id": 0}, *ROWS]
        assert multiset(rows) == multiset(wanted), f"crash at {at}"
        assert not list((base / "out").glob("*.tmp")), f"crash at {at}: dot files are left"
    assert at > 20


async def test_the_manifest_is_the_same_whoever_writes_it(tmp_path: Path) -> None:
    for run in (R2, R1):
        await run_of(tmp_path, run, ROWS)
    path = tmp_path / "out" / "_manifest.json"
    before = path.read_bytes()
    found = manifest_of(tmp_path / "out")
    assert list(found) == ["version", "task", "generation", "runs", "records", "complete", "parts"]
    assert list(found["parts"][0]) == ["file", "run", "shard", "from", "to", "records", "bytes", "sha256"]
    assert (found["runs"], found["records"], found["complete"]) == ([R1, R2], 60, True)
    path.unlink()
    await publish(tmp_path, R1)
    assert path.read_bytes() == before


async def test_another_task_is_refused(tmp_path: Path) -> None:
    await run_of(tmp_path, R1, ROWS)
    with pytest.raises(Permanent, match="task t, task other cannot write there; give it another path"):
        await opened(tmp_path, R1, task="other")
    assert multiset(jsonl_stored(tmp_path / "out")) == multiset(ROWS)


async def test_a_replacing_run_is_invisible_until_it_is_complete(tmp_path: Path) -> None:
    await run_of(tmp_path, R1, [{"id": 0}])
    sink = await opened(tmp_path, R2, mode="replace")
    await sink.write(batch(ROWS, None, 30))
    await sink.commit(None, 30)
    assert jsonl_stored(tmp_path / "out") == [{"id": 0}]
    await publish(tmp_path, R2, replaces=True, complete=False)
    assert jsonl_stored(tmp_path / "out") == [{"id": 0}]
    await run_of(tmp_path, R3, ROWS[:5], replaces=True)
    assert jsonl_stored(tmp_path / "out") == ROWS[:5]
    assert [path.name for path in (tmp_path / "out" / "_commits").iterdir()] == [safe(R3)]
    await publish(tmp_path, R1)
    assert jsonl_stored(tmp_path / "out") == ROWS[:5]


async def test_a_new_generation_replaces_when_complete(tmp_path: Path) -> None:
    await run_of(tmp_path, R1, [{"id": 0}])
    sink = await opened(tmp_path, R2, generation=1)
    await sink.write(batch(ROWS, None, 30))
    await sink.commit(None, 30)
    assert jsonl_stored(tmp_path / "out") == [{"id": 0}]
    await publish(tmp_path, R2, generation=1)
    assert jsonl_stored(tmp_path / "out") == ROWS
    assert manifest_of(tmp_path / "out")["generation"] == 1


async def test_a_zombie_cannot_add_to_a_published_run(tmp_path: Path) -> None:
    zombie = await opened(tmp_path)
    await zombie.write(batch(ROWS[:10], None, 10))
    await run_of(tmp_path, R1, ROWS)
    with pytest.raises(PositionMoved) as moved:
        await zombie.commit(None, 10)
    assert moved.value.position == 30
    late = await opened(tmp_path)
    await late.write(batch(ROWS[:3], 30, 33))
    await publish(tmp_path, R1)
    with pytest.raises(Permanent, match="is published") as sealed:
        await late.commit(30, 33)
    assert sealed.value.code == "published"
    assert jsonl_stored(tmp_path / "out") == ROWS


async def test_a_zombie_of_a_replaced_run_is_refused(tmp_path: Path) -> None:
    zombie = await opened(tmp_path, R1)
    await zombie.write(batch(ROWS, None, 30))
    await run_of(tmp_path, R2, ROWS[:5], replaces=True)
    with pytest.raises(Permanent, match="replaced by a newer one"):
        await zombie.commit(None, 30)
    with pytest.raises(Permanent, match="replaced by a newer one"):
        await opened(tmp_path, R1)
    await publish(tmp_path, R2, replaces=True)
    assert jsonl_stored(tmp_path / "out") == ROWS[:5]
    assert not list((tmp_path / "out").glob(".*.tmp"))


async def test_parts_of_a_running_run_are_not_swept(tmp_path: Path) -> None:
    sink = await opened(tmp_path, R2)
    await sink.write(batch(ROWS, None, 30))
    await run_of(tmp_path, R1, [{"id": 0}])
    await sink.commit(None, 30)
    await publish(tmp_path, R2)
    assert jsonl_stored(tmp_path / "out") == [{"id": 0}, *ROWS]


async def test_a_cancelled_commit_is_whole_or_not_at_all(tmp_path: Path) -> None:
    for turns in range(6):
        base = tmp_path / str(turns)
        sink = await opened(base)
        await sink.write(batch(ROWS, None, 30))
        commit = asyncio.create_task(sink.commit(None, 30))
        for _ in range(turns):
            await asyncio.sleep(0)
        commit.cancel()
        await asyncio.gather(commit, return_exceptions=True)
        await sink.shutdown()
        again = await made(base)
        position = await again.open(SinkContext(task="t", run=R1, shard="0"))
        assert position in (None, 30)
        if position is None:
            await again.write(batch(ROWS, None, 30))
            await again.commit(None, 30)
        await publish(base, R1)
        assert jsonl_stored(base / "out") == ROWS


async def test_a_record_that_is_no_json_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    sink = await opened(tmp_path)
    bad = {"id": 2, "x": object()}
    with pytest.raises(RecordError) as caught:
        await sink.write(batch([{"id": 1}, bad], None, 2))
    assert caught.value.record is bad
    await sink.write(batch([{"id": 1}], None, 2))
    await sink.commit(None, 2)
    await publish(tmp_path, R1)
    assert jsonl_stored(tmp_path / "out") == [{"id": 1}]


async def test_a_full_disk_may_be_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = await opened(tmp_path)
    await sink.write(batch(ROWS, None, 30))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Retryable) as caught:
            await sink.commit(None, 30)
    assert caught.value.code == "disk-full"
    await sink.shutdown()
    await run_of(tmp_path, R1, ROWS)
    assert jsonl_stored(tmp_path / "out") == ROWS


@pytest.mark.parametrize("damage", [b"", b'{"version": 1', b"[]"])
async def test_a_damaged_chain_is_named_and_nothing_is_written(tmp_path: Path, damage: bytes) -> None:
    await run_of(tmp_path, R1, ROWS)
    path = tmp_path / "out" / "_commits" / safe(R1) / "0" / "start"
    path.write_bytes(damage)
    with pytest.raises(Permanent, match="start: the record is damaged"):
        await opened(tmp_path)


@pytest.mark.parametrize(
    "position",
    [None, 0, -7, 2**70, 1.5, "a/b", "../x", "start", "", ["x", 1], {"b": 1, "a": [None]}, True, "x" * 900],
)
async def test_any_position_is_a_name(tmp_path: Path, position: Any) -> None:
    name = position_name(position)
    assert len(name) < 60
    assert "/" not in name
    if position is None:
        return
    sink = await opened(tmp_path)
    await sink.write(batch(ROWS, None, position))
    await sink.commit(None, position)
    again = await made(tmp_path)
    assert await again.open(SinkContext(task="t", run=R1, shard="0")) == position
    assert again.held == 30


def test_names_differ() -> None:
    positions = [None, 0, "0", "start", False, 0.5, [0], {"a": 0}, "", []]
    assert len({position_name(position) for position in positions}) == len(positions)
    assert len({safe(name) for name in ("a*b", "a_b", "a/b", ".", "..", "", "a" * 65, "a" * 66)}) == 8


def _race(base: str, seed: int, go: Any) -> None:
    async def work() -> None:
        chance = random.Random(seed)
        while True:
            sink = await made(Path(base))
            position = await sink.open(SinkContext(task="t", run=R1, shard="0", token=(1, f"n{seed}", 1)))
            try:
                while (position or 0) < 30:
                    end = min((position or 0) + chance.randint(1, 4), 30)
                    await sink.write(batch(ROWS[position or 0 : end], position, end))
                    await sink.commit(position, end)
                    position = end
            except PositionMoved:
                continue
            finally:
                await sink.shutdown()
            break

    go.wait()
    asyncio.run(work())


async def test_processes_that_race_for_a_shard_end_with_one_copy(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    racers = [context.Process(target=_race, args=(str(tmp_path), seed, go)) for seed in range(3)]
    for racer in racers:
        racer.start()
    go.set()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    await publish(tmp_path, R1)
    assert jsonl_stored(tmp_path / "out") == ROWS


async def test_csv_columns_stay_what_they_were(tmp_path: Path) -> None:
    async def again() -> Any:
        sink = await made(tmp_path, CsvSink)
        await sink.open(SinkContext(task="t", run=R1, shard="0"))
        return sink

    sink = await again()
    await sink.write(batch([{"a": 1, "b": None}, {"c": [1, {"x": True}], "a": "q,\n"}], None, 2))
    await sink.commit(None, 2)
    sink = await again()
    with pytest.raises(RecordError, match="no columns: d; name all in the sink's option columns"):
        await sink.write(batch([{"a": 3, "d": 1}], 2, 3))
    await sink.write(batch([{"c": True, "a": 3}], 2, 3))
    await sink.commit(2, 3)
    await publish(tmp_path, R1)
    assert csv_stored(tmp_path / "out") == [
        {"a": "1", "b": "", "c": ""},
        {"a": "q,\n", "b": "", "c": '[1,{"x":true}]'},
        {"a": "3", "b": "", "c": "true"},
    ]


async def test_csv_is_read_as_it_was_whatever_is_in_it(tmp_path: Path) -> None:
    rows = [
        {"a\rb": text, "last": text} for text in ("x\ry", "x\r", "\r", "a\nb", "\r\n", 'q"', ",", "", "z")
    ]
    sink = await made(tmp_path, CsvSink)
    await sink.open(SinkContext(task="t", run=R1, shard="0"))
    await sink.write(batch(rows, None, 9))
    await sink.commit(None, 9)
    await sink.publish(RunSummary(task="t", run=R1, shards=("0",)))
    assert csv_stored(tmp_path / "out") == rows


async def test_csv_columns_may_be_given(tmp_path: Path) -> None:
    sink = await made(tmp_path, CsvSink, columns=["b", "a"], null="NA", delimiter=";")
    await sink.open(SinkContext(task="t", run=R1, shard="0"))
    await sink.write(batch([{"a": 1.5}], None, 1))
    await sink.commit(None, 1)
    await publish(tmp_path, R1)
    (part,) = (tmp_path / "out").glob("*.csv")
    assert part.read_bytes() == b"b;a\nNA;1.5\n"


async def test_a_run_may_be_published_in_parts(tmp_path: Path) -> None:
    done = await opened(tmp_path, shard="a")
    await done.write(batch(ROWS[:4], None, 4))
    await done.commit(None, 4)
    half = await opened(tmp_path, shard="b")
    await half.write(batch(ROWS[4:6], None, 6))
    await half.commit(None, 6)
    await half.write(batch(ROWS[6:], 6, 30))
    await publish(tmp_path, R1, shards=("a",), complete=False)
    assert jsonl_stored(tmp_path / "out") == ROWS[:4]
    assert manifest_of(tmp_path / "out")["complete"] is False
    await half.commit(6, 30)
    await publish(tmp_path, R1, shards=("a", "b"))
    assert jsonl_stored(tmp_path / "out") == ROWS
    assert manifest_of(tmp_path / "out")["complete"] is True


async def test_nothing_is_visible_before_it_is_published(tmp_path: Path) -> None:
    sink = await opened(tmp_path)
    await sink.write(batch(ROWS, None, 30))
    await sink.commit(None, 30)
    assert not list((tmp_path / "out").glob("*.jsonl"))
    await publish(tmp_path, R1)
    assert jsonl_stored(tmp_path / "out") == ROWS


async def test_what_an_older_program_committed_last_has_no_highest_value(tmp_path: Path) -> None:
    """That of the commit before is none of its rows: the host reads them again to know theirs."""
    sink = await opened(tmp_path)
    for end, high in ((1, 5), (2, None)):
        sink.high = high
        await sink.write(batch([{"n": end}], sink._position, end))
        await sink.commit(sink._position, end)
        again = await opened(tmp_path)
        assert (again.held, again.high) == (end, high)
        await again.shutdown()
    await sink.shutdown()
