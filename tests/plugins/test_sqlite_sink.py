import sqlite3
from pathlib import Path
from typing import Any

import pytest

from plugins.api import Batch, Permanent, PositionMoved, RecordError, RunSummary, SinkContext
from plugins.options import OptionErrors, decode
from plugins.sinks.sqlite import SqliteSink
from plugins.testing import FolderRoots, made_up, plugin_context
from tests.plugins.materials import table_stored

R1, R2, R3 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
ROWS = made_up(10)


async def made(base: Path, table: str = "rows") -> SqliteSink:
    sink = SqliteSink()
    options = SqliteSink.Options(path="out/x.db", table=table)
    await sink.initialize(plugin_context(options, roots=FolderRoots(base)))
    return sink


async def opened(base: Path, run: str = R1, table: str = "rows", **context: Any) -> SqliteSink:
    sink = await made(base, table)
    await sink.open(SinkContext(**{"task": "t", "run": run, "shard": "0", **context}))
    return sink


async def put(sink: SqliteSink, rows: list[dict[str, Any]], expected: Any = None) -> None:
    await sink.write(Batch(stream="", records=rows, start=expected, end="end"))
    await sink.commit(expected, "end")
    await sink.shutdown()


async def publish(base: Path, run: str, **summary: Any) -> None:
    sink = await made(base)
    await sink.publish(RunSummary(**{"task": "t", "run": run, "shards": ("0",), **summary}))
    await sink.shutdown()


def stored(base: Path, table: str = "rows") -> list[dict[str, Any]]:
    return table_stored(base / "out" / "x.db", table)


async def test_upsert_keeps_one_row_a_key(tmp_path: Path) -> None:
    context: dict[str, Any] = {"key": ("id", "k"), "mode": "upsert"}
    await put(await opened(tmp_path, **context), [{"id": 1, "k": "a", "v": 1}, {"id": 1, "k": "b", "v": 1}])
    await put(
        await opened(tmp_path, R2, **context),
        [{"id": 1, "k": "a", "v": 2}, {"id": 1, "k": "a", "v": 3}, {"id": 2, "k": "a", "w": [1, None]}],
    )
    assert stored(tmp_path) == [
        {"id": 1, "k": "a", "v": 3, "w": None},
        {"id": 1, "k": "b", "v": 1, "w": None},
        {"id": 2, "k": "a", "v": None, "w": "[1,null]"},
    ]


async def test_types_stay_what_they_are(tmp_path: Path) -> None:
    row = {"i": 2**62, "f": 0.1, "s": "007", "n": None, "t": True, "o": {"a": 1}}
    await put(await opened(tmp_path), [row])
    await publish(tmp_path, R1)
    assert stored(tmp_path) == [{**row, "t": 1, "o": '{"a":1}'}]


@pytest.mark.parametrize("name", ['a"; DROP TABLE rows; --', "select", "ü b", "'", "a.b"])
async def test_identifiers_are_quoted(tmp_path: Path, name: str) -> None:
    await put(await opened(tmp_path, table=name, key=(name,), mode="upsert"), [{name: 1, "x y": 2}])
    assert stored(tmp_path, name) == [{name: 1, "x y": 2}]


@pytest.mark.parametrize(
    ("row", "code"),
    [({"id": None}, "key"), ({"v": 1}, "key"), ({"id": 2**64}, "value"), ({"id": 1, "": 2}, "column")],
)
async def test_a_record_that_no_row_can_hold(tmp_path: Path, row: dict[str, Any], code: str) -> None:
    sink = await opened(tmp_path, key=("id",), mode="upsert")
    with pytest.raises(RecordError) as caught:
        await sink.write(Batch(stream="", records=[{"id": 5}, row], start=None, end=1))
    assert (caught.value.record, caught.value.code) == (row, code)
    await put(sink, [{"id": 5}])
    assert stored(tmp_path) == [{"id": 5}]


async def test_an_older_run_cannot_commit_once_a_newer_has_opened(tmp_path: Path) -> None:
    zombie = await opened(tmp_path, R1)
    await zombie.write(Batch(stream="", records=ROWS, start=None, end=1))
    await put(await opened(tmp_path, R2), ROWS[:3])
    with pytest.raises(Permanent) as caught:
        await zombie.commit(None, 1)
    assert caught.value.code == "superseded"
    with pytest.raises(Permanent):
        await opened(tmp_path, R1)
    await zombie.shutdown()
    await publish(tmp_path, R2)
    assert stored(tmp_path) == ROWS[:3]


async def test_a_run_is_not_published_silently_once_a_later_one_was(tmp_path: Path) -> None:
    """Its rows are gone: of a run that adds rows, they would be missing beside those of the later."""
    await put(await opened(tmp_path, R1), ROWS[:1])
    await put(await opened(tmp_path, R2), ROWS[1:2])
    await publish(tmp_path, R2)
    for later in (R2, R3):
        with pytest.raises(Permanent, match="followed by") as caught:
            await publish(tmp_path, R1)
        assert caught.value.code == "superseded"
        if later == R2:
            await put(await opened(tmp_path, R3), ROWS[2:3])
            await publish(tmp_path, R3)
    await publish(tmp_path, R2)
    assert stored(tmp_path) == ROWS[1:3]


@pytest.mark.parametrize("mode", ["upsert", "append"])
async def test_a_run_that_was_published_may_be_published_again_after_a_later_one(
    tmp_path: Path, mode: str
) -> None:
    for at, run in enumerate((R1, R2)):
        await put(await opened(tmp_path, run, key=("id",), mode=mode), ROWS[at : at + 1])
        await publish(tmp_path, run)
    await publish(tmp_path, R1)
    assert stored(tmp_path) == ROWS[:2]


async def test_data_and_position_are_one_transaction(tmp_path: Path) -> None:
    with_rules = "CREATE TABLE rows (id INTEGER CHECK (id < 5))"
    (tmp_path / "out").mkdir()
    with sqlite3.connect(tmp_path / "out" / "x.db") as db:
        db.execute(with_rules)
    db.close()
    upsert: dict[str, Any] = {"mode": "upsert", "key": ("id",)}
    sink = await opened(tmp_path, **upsert)
    await sink.write(Batch(stream="", records=[{"id": 1}, {"id": 7}], start=None, end=2))
    with pytest.raises(Permanent, match="rules that these records break"):
        await sink.commit(None, 2)
    await sink.shutdown()
    again = await opened(tmp_path, **upsert)
    await put(again, [{"id": 1}])
    late = await made(tmp_path)
    assert await late.open(SinkContext(task="t", run=R1, shard="0", mode="upsert", key=("id",))) == "end"
    assert late.held == 1
    with pytest.raises(PositionMoved):
        await late.commit(None, "other")
    await late.shutdown()
    assert stored(tmp_path) == [{"id": 1}]


async def test_replace_is_invisible_until_published_and_keeps_indexes(tmp_path: Path) -> None:
    await put(await opened(tmp_path), [{"id": 0, "old": 1}])
    await publish(tmp_path, R1)
    with sqlite3.connect(tmp_path / "out" / "x.db") as db:
        db.execute("CREATE INDEX mine ON rows (id)")
    db.close()
    await put(await opened(tmp_path, R2, mode="replace"), ROWS)
    assert stored(tmp_path) == [{"id": 0, "old": 1}]
    await publish(tmp_path, R2, replaces=True)
    await publish(tmp_path, R2, replaces=True)
    await publish(tmp_path, R1)
    assert stored(tmp_path) == [{"old": None, **row} | {"old": None} for row in ROWS]
    with sqlite3.connect(tmp_path / "out" / "x.db") as db:
        names = {
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        }
    db.close()
    assert names == {"rows", "mine", "_collect_positions", "_collect_targets"}


async def test_an_empty_replacing_run_empties_the_table(tmp_path: Path) -> None:
    await put(await opened(tmp_path), ROWS)
    await publish(tmp_path, R1)
    sink = await opened(tmp_path, R2, mode="replace")
    await sink.commit(None, "end")
    await sink.shutdown()
    await publish(tmp_path, R2, replaces=True)
    assert stored(tmp_path) == []


async def test_a_new_generation_replaces_when_published(tmp_path: Path) -> None:
    await put(await opened(tmp_path), ROWS)
    await publish(tmp_path, R1)
    await put(await opened(tmp_path, R2, generation=1), ROWS[:2])
    assert stored(tmp_path) == ROWS
    await publish(tmp_path, R2, generation=1)
    assert stored(tmp_path) == ROWS[:2]


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.db").write_bytes(b"not a database, but long enough to be read as one" * 50)
    with pytest.raises(Permanent, match=r"out/x\.db, table rows"):
        await opened(tmp_path)


@pytest.mark.parametrize("table", ["", "sqlite_x", "_collect_positions", "a\0b"])
def test_names_that_no_table_may_have(table: str) -> None:
    with pytest.raises(OptionErrors):
        decode(SqliteSink.Options, {"path": "x", "table": table})


async def test_a_full_run_in_append_mode_replaces_when_the_node_says_so(tmp_path: Path) -> None:
    for run, rows in ((R1, ROWS), (R2, ROWS[:4])):
        await put(await opened(tmp_path, run), rows)
        await publish(tmp_path, run, replaces=True)
        assert stored(tmp_path) == rows
    await put(await opened(tmp_path, R3), ROWS[4:])
    assert stored(tmp_path) == ROWS[:4]
    await publish(tmp_path, R3)
    assert stored(tmp_path) == ROWS


async def test_an_upsert_keeps_what_it_wrote_when_a_run_replaces(tmp_path: Path) -> None:
    upsert: dict[str, Any] = {"mode": "upsert", "key": ("id",)}
    for run, rows in ((R1, ROWS[:6]), (R2, ROWS[3:])):
        await put(await opened(tmp_path, run, **upsert), rows)
        await publish(tmp_path, run, replaces=True)
    assert stored(tmp_path) == ROWS


async def test_a_run_may_be_published_in_parts(tmp_path: Path) -> None:
    await put(await opened(tmp_path, shard="a"), ROWS[:4])
    half = await opened(tmp_path, shard="b")
    await half.write(Batch(stream="", records=ROWS[4:6], start=None, end=6))
    await half.commit(None, 6)
    await half.shutdown()
    await publish(tmp_path, R1, shards=("a",), complete=False, replaces=True)
    assert stored(tmp_path) == ROWS[:4]
    again = await made(tmp_path)
    assert await again.open(SinkContext(task="t", run=R1, shard="b")) == 6
    await put(again, ROWS[6:], 6)
    for _ in range(2):
        await publish(tmp_path, R1, shards=("a", "b"), replaces=True)
        assert stored(tmp_path) == ROWS


async def test_a_table_without_a_key_is_of_one_task(tmp_path: Path) -> None:
    await put(await opened(tmp_path), ROWS)
    with pytest.raises(Permanent, match="of task t, task other cannot write there"):
        await opened(tmp_path, task="other")


async def test_a_file_of_an_older_program_is_used_on(tmp_path: Path) -> None:
    """Its table of positions has no column for the highest value."""
    await put(await opened(tmp_path), ROWS[:2])
    with sqlite3.connect(tmp_path / "out" / "x.db") as db:
        db.execute("ALTER TABLE _collect_positions DROP COLUMN high")
    db.close()
    sink = await made(tmp_path)
    assert await sink.open(SinkContext(task="t", run=R1, shard="0")) == "end"
    assert (sink.held, sink.high) == (2, None)
    sink.high = 7
    await sink.write(Batch(stream="", records=ROWS[2:4], start="end", end="more"))
    await sink.commit("end", "more")
    await sink.shutdown()
    again = await opened(tmp_path)
    assert (again.held, again.high) == (4, 7)
    await again.shutdown()
