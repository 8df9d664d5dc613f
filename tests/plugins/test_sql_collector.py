import sqlite3
from pathlib import Path
from typing import Any

import pytest

from plugins.api import Permanent, Range
from plugins.collectors import sql
from plugins.collectors.sql import SqlCollector
from plugins.options import OptionErrors, decode
from tests.plugins.materials import collected, full


def database(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "x.db") as db:
        for statement in statements:
            db.execute(statement)
    db.close()


async def rows(folder: Path, hints: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    chosen = SqlCollector.Options(path="x.db", **options)
    _, records, _ = await collected(SqlCollector, chosen, folder, full(hints=hints or {}))
    return records


async def test_values_are_json(tmp_path: Path) -> None:
    database(
        tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
        "INSERT INTO t VALUES (1, x'00ff'), (2, 9e999), (3, 1.5), (4, NULL), (5, 'é'), (6, 9007199254740993)",
    )
    found = await rows(tmp_path, table="t")
    assert [record["v"] for record in found] == ["AP8=", "inf", 1.5, None, "é", 9007199254740993]


async def test_text_that_is_not_utf8_is_set_aside(tmp_path: Path) -> None:
    database(
        tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        "INSERT INTO t VALUES (1, 'a'), (2, CAST(x'ff41' AS TEXT)), (3, '\u00e9')",
    )
    chosen = SqlCollector.Options(path="x.db", table="t")
    _, records, rejected = await collected(SqlCollector, chosen, tmp_path, full())
    assert records == [{"id": 1, "v": "a"}, {"id": 3, "v": "\u00e9"}]
    assert [(one.raw, one.code) for one in rejected] == [({"id": 2, "v": "\ufffdA"}, "encoding")]


async def test_the_rowid_orders_rows_whose_primary_key_is_null(tmp_path: Path) -> None:
    database(
        tmp_path,
        "CREATE TABLE t (k TEXT PRIMARY KEY, v)",
        "INSERT INTO t VALUES (NULL, 1), (NULL, 2), ('a', 3)",
    )
    assert [record["v"] for record in await rows(tmp_path, table="t", key="rowid")] == [1, 2, 3]


async def test_an_infinite_key_is_no_position(tmp_path: Path) -> None:
    database(tmp_path, "CREATE TABLE t (k REAL PRIMARY KEY)", "INSERT INTO t VALUES (1.5), (9e999)")
    with pytest.raises(Permanent, match="is infinite in some rows; choose another"):
        await rows(tmp_path, table="t")


async def test_a_query_may_end_in_a_comment(tmp_path: Path) -> None:
    database(tmp_path, "CREATE TABLE t (k INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    assert await rows(tmp_path, query="SELECT k FROM t -- all", key="k") == [{"k": 1}]


@pytest.mark.parametrize("shards", [1, 3, 50])
async def test_shards_by_key_range_cover_negative_and_sparse_keys(tmp_path: Path, shards: int) -> None:
    keys = [-1000, -3, -2, 0, 1, 2, 500, 10**12]
    database(
        tmp_path,
        "CREATE TABLE t (k INTEGER PRIMARY KEY)",
        f"INSERT INTO t VALUES ({'),('.join(map(str, keys))})",
    )
    found = await rows(tmp_path, {"shards": shards}, table="t")
    assert [record["k"] for record in found] == keys


async def test_names_are_quoted_and_checked(tmp_path: Path) -> None:
    name = 'we"ird; --'
    quoted = '"' + name.replace('"', '""') + '"'
    database(tmp_path, f"CREATE TABLE {quoted} ({quoted} TEXT)", f"INSERT INTO {quoted} VALUES ('a'), ('b')")
    assert await rows(tmp_path, table=name, key=name) == [{name: "a"}, {name: "b"}]
    with pytest.raises(Permanent, match="has no table 'werid; --'; did you mean"):
        await rows(tmp_path, table="werid; --")
    with pytest.raises(Permanent, match="has no field 'x'"):
        await rows(tmp_path, table=name, key="x")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"query": "DELETE FROM t", "key": "k"}, "syntax error"),
        ({"query": "SELECT 1 AS k; DROP TABLE t", "key": "k"}, "syntax error"),
        ({"table": "v"}, "has no key of one column"),
        ({"table": "nulls", "key": "k"}, "is null in some rows"),
        ({"table": "blobs", "key": "k"}, "holds BLOBs"),
    ],
)
async def test_what_is_wrong_is_said(tmp_path: Path, options: dict[str, Any], part: str) -> None:
    database(
        tmp_path,
        "CREATE TABLE t (k)",
        "INSERT INTO t VALUES (1)",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE TABLE nulls (k)",
        "INSERT INTO nulls VALUES (NULL), (1)",
        "CREATE TABLE blobs (k)",
        "INSERT INTO blobs VALUES (x'00')",
    )
    with pytest.raises(Permanent, match=part):
        await rows(tmp_path, **options)
    assert await rows(tmp_path, table="t") == [{"k": 1}]


async def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="no such file"):
        await rows(tmp_path, table="t")
    assert not (tmp_path / "x.db").exists()


async def test_a_field_that_is_not_there(tmp_path: Path) -> None:
    database(tmp_path, "CREATE TABLE t (k)")
    request = full(mode="range", range=Range(field="z", from_=1, to=5))
    with pytest.raises(Permanent, match="has no field 'z'"):
        await collected(SqlCollector, SqlCollector.Options(path="x.db", table="t"), tmp_path, request)


@pytest.mark.parametrize("options", [{}, {"table": "a", "query": "b", "key": "c"}, {"query": "SELECT 1"}])
def test_options_that_cannot_be(options: dict[str, str]) -> None:
    with pytest.raises(OptionErrors):
        decode(SqlCollector.Options, {"path": "x", **options})


async def test_a_row_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    """One value of a gigabyte, which a query can make of nothing, took a worker 7.6 GB."""
    database(tmp_path, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    for value in ("zeroblob(1000000000)", "randomblob(900000000)", "hex(zeroblob(60000000))"):
        with pytest.raises(Permanent, match="a row is longer than 67108864 bytes"):
            await rows(tmp_path, query=f"SELECT id, {value} AS v FROM t", key="id")


async def test_pages_of_large_rows_have_fewer_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "PAGE", 10_000)
    wide = "SELECT value AS k, CASE WHEN value % 7 THEN 'x' ELSE hex(zeroblob(2000)) END AS v FROM generate"
    database(
        tmp_path,
        "CREATE VIEW generate AS WITH RECURSIVE n(value) AS"
        " (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 300) SELECT value FROM n",
    )
    found = await rows(tmp_path, query=wide, key="k")
    assert [record["k"] for record in found] == list(range(1, 301))
    with pytest.raises(
        Permanent, match="the rows of one key are larger than 10000 bytes; choose another key"
    ):
        await rows(tmp_path, query=wide.replace("value AS k", "value / 100 AS k"), key="k")
