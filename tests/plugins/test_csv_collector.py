import csv
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.api import CollectContext, CollectError, Permanent, Range, Retryable, Since
from plugins.collectors.csv import CsvCollector, CsvOptions
from plugins.options import OptionErrors, decode
from plugins.testing import FolderRoots, multiset, plugin_context
from tests.plugins.materials import DATA, collected, full, needs_data, shared

CELLS = st.text(alphabet='ab,;"\n\r é\u2028\x0b\x1c\x85', max_size=6)


def options(**changes: Any) -> CsvOptions:
    return CsvOptions(**{"path": "x.csv", **changes})


async def gather(folder: Path, data: bytes, **changes: Any) -> tuple[list[Any], list[Any]]:
    (folder / "x.csv").write_bytes(data)
    shards = changes.pop("shards", 3)
    _, records, rejected = await collected(
        CsvCollector, options(**changes), folder, full(hints={"shards": shards})
    )
    return records, rejected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=30),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    trailing=st.booleans(),
    shards=st.integers(1, 6),
)
async def test_shards_never_tear_a_record(
    tmp_path: Path, rows: list[list[str]], end: str, bom: bool, trailing: bool, shards: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["p", "q"], *rows])
    data = text.getvalue().removesuffix("" if trailing else end).encode()
    records, rejected = await gather(tmp_path, (b"\xef\xbb\xbf" if bom else b"") + data, shards=shards)
    assert [[record["p"], record["q"]] for record in records] == rows
    assert not rejected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a,b\n", []),
        (b"a,b", []),
        (b"a,b\r\n1,2\r\n\r\n3,4", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
        (b'a,b\n5" pipe,x\n7" pipe,y\n', [{"a": '5" pipe', "b": "x"}, {"a": '7" pipe', "b": "y"}]),
        (b',b\n"",NA\n', [{"column_1": "", "b": "NA"}]),
        (b"a,b\nx\x00y,\xe2\x80\xa8\n", [{"a": "x\x00y", "b": "\u2028"}]),
        (b"\n\n", []),
        (b"\r\n\na,b\n1,2\n", [{"a": "1", "b": "2"}]),
    ],
)
async def test_edges(tmp_path: Path, data: bytes, expected: list[Any]) -> None:
    assert await gather(tmp_path, data) == (expected, [])


async def test_options_change_the_reading(tmp_path: Path) -> None:
    data = "1;'a;b';NA\n2;'it''s';\n".encode("cp1252")
    records, _ = await gather(
        tmp_path,
        data,
        header=False,
        columns=["n", "t", "v"],
        delimiter=";",
        quotechar="'",
        encoding="cp1252",
        null=["NA", ""],
    )
    assert records == [{"n": "1", "t": "a;b", "v": None}, {"n": "2", "t": "it's", "v": None}]


async def test_a_file_with_fewer_bytes_than_shards(tmp_path: Path) -> None:
    records, _ = await gather(tmp_path, b"1,x\n2,y\n", header=False, columns=["n", "t"], shards=12)
    assert records == [{"n": "1", "t": "x"}, {"n": "2", "t": "y"}]


async def test_blank_lines_before_the_header_of_a_compressed_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"\n\na\n" + b"".join(b"%d\n" % n for n in range(9))))
    _, records, _ = await collected(
        CsvCollector, options(path="x.csv.gz"), tmp_path, full(hints={"shards": 4})
    )
    assert [record["a"] for record in records] == [str(n) for n in range(9)]


async def test_a_header_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="header is not utf-8 text; name the file's encoding"):
        await gather(tmp_path, "a,gr\u00f6\u00dfe\n1,2\n".encode("cp1252"))


@pytest.mark.parametrize("shards", [1, 3])
async def test_a_quote_that_is_never_closed_is_no_record(tmp_path: Path, shards: int) -> None:
    records, rejected = await gather(tmp_path, b'a,b\n1,x\n2,"y\n3,z\n4,w\n', shards=shards)
    assert records == [{"a": "1", "b": "x"}]
    assert ["unexpected end of data" in one.reason for one in rejected] == [True]


async def test_what_cannot_be_read_is_set_aside_with_its_place(tmp_path: Path) -> None:
    data = b"a,b\n1,2\n3\n4,5,6\n\xff,7\n8,9\n"
    records, rejected = await gather(tmp_path, data, shards=1)
    assert records == [{"a": "1", "b": "2"}, {"a": "8", "b": "9"}]
    assert [(one.code, one.raw) for one in rejected] == [
        ("encoding", {"a": "\ufffd", "b": "7"}),
        ("ragged", {"a": "3"}),
        ("ragged", {"a": "4", "b": "5", "_extra": ["6"]}),
    ]
    assert "1 fields where the header has 2" in rejected[1].reason
    assert "x.csv, up to byte" in rejected[1].reason


async def test_a_field_without_end_is_one_dead_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.collectors.csv.WIDEST", 1000)
    data = b"a,b\n1,2\n" + b"3," + b"x" * 2000 + b"\n4,5\n"
    records, rejected = await gather(tmp_path, data, shards=1)
    assert records == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert ["field larger than field limit" in one.reason for one in rejected] == [True]


async def test_huge_fields(tmp_path: Path) -> None:
    big = "é\n" * 1_500_000
    records, rejected = await gather(tmp_path, f'a,b\n1,"{big}"\n2,x\n'.encode(), shards=2)
    assert [record["a"] for record in records] == ["1", "2"]
    assert records[0]["b"] == big
    assert not rejected


async def started(folder: Path, **changes: Any) -> tuple[CsvCollector, list[Any]]:
    collector = CsvCollector()
    await collector.initialize(plugin_context(options(**changes), roots=FolderRoots(folder)))
    return collector, list(await collector.plan(full(hints={"shards": 2})))


async def drained(collector: CsvCollector, plan: Any) -> list[Any]:
    context = CollectContext(request=full(), shard=plan)
    return [record async for batch in collector.collect(context) for record in batch.records]


async def test_a_growing_file_is_what_it_was_when_planned(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\n" + b"1\n" * 50)
    collector, plans = await started(tmp_path)
    with path.open("ab") as file:
        file.write(b"2\n" * 50)
    found = [record for plan in plans for record in await drained(collector, plan)]
    assert found == [{"a": "1"}] * 50


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        (lambda path: path.unlink(), Retryable, "source-missing"),
        (lambda path: path.write_bytes(b"a\n1\n"), Permanent, "source-changed"),
        (lambda path: path.write_bytes(b"a\n" + b"1234567890\n" * 50), Permanent, "source-changed"),
    ],
    ids=["gone", "shrunk", "rewritten"],
)
async def test_a_file_that_changes_under_the_run(
    tmp_path: Path, change: Any, error: type[CollectError], code: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\n" + b"1\n" * 50)
    collector, plans = await started(tmp_path)
    change(path)
    with pytest.raises(error) as caught:
        await drained(collector, plans[1])
    assert caught.value.code == code


async def test_a_compressed_file_that_changes_under_the_run(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a\n1\n2\n"))
    collector, plans = await started(tmp_path, path="x.csv.gz")
    path.write_bytes(gzip.compress(b"a\n1\n2\n3\n"))
    with pytest.raises(Permanent, match="has changed"):
        await drained(collector, plans[0])


@pytest.mark.parametrize("cut", [10, 60])
async def test_damaged_compression_is_a_clear_error(tmp_path: Path, cut: int) -> None:
    data = gzip.compress(b"a\n" + bytes(str(list(range(100))), "ascii").replace(b",", b"\n"))
    (tmp_path / "x.csv.gz").write_bytes(data[:-cut])
    with pytest.raises(Permanent, match="damaged"):
        await collected(CsvCollector, options(path="x.csv.gz"), tmp_path)
    (tmp_path / "x.zip").write_bytes(b"PK not a zip")
    with pytest.raises(Permanent, match="damaged"):
        await collected(CsvCollector, options(path="x.zip"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "mode", "part"),
    [
        ({"path": "none.csv"}, {}, "no such file"),
        ({"path": "*.tsv"}, {}, "no such file"),
        ({"path": "../x.csv"}, {}, "leads out"),
        ({}, {"mode": "incremental", "since": Since("tim", 5)}, "has no field 'tim'; it has: time, b"),
        ({}, {"mode": "range", "range": Range(field="time", from_=5, to=1)}, "after to"),
        ({}, {"mode": "range", "range": Range(field="time", from_="a", to="b", step=1)}, "leave step out"),
    ],
)
async def test_what_is_wrong_is_said(tmp_path: Path, changes: Any, mode: Any, part: str) -> None:
    (tmp_path / "x.csv").write_bytes(b"time,b\n1,2\n")
    with pytest.raises(Permanent, match=part):
        await collected(CsvCollector, options(**changes), tmp_path, full(**mode))


async def test_a_header_with_a_name_twice_is_read_with_other_names(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match='names a twice; set header = "skip"'):
        await gather(tmp_path, b"a,b,a\n1,2,3\n")
    records, rejected = await gather(
        tmp_path, b"a,b,a\n1,2,3\n4,5,6\n", header="skip", columns=["a", "b", "c"]
    )
    assert records == [{"a": "1", "b": "2", "c": "3"}, {"a": "4", "b": "5", "c": "6"}]
    assert not rejected


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_header_that_is_skipped_is_in_no_shard(tmp_path: Path, pack: Any) -> None:
    (tmp_path / "x").write_bytes(pack(b"\na,a\n" + b"".join(b"%d,x\n" % n for n in range(9))))
    renamed = options(path="x", header="skip", columns=["n", "t"])
    _, records, rejected = await collected(CsvCollector, renamed, tmp_path, full(hints={"shards": 4}))
    assert ([record["n"] for record in records], rejected) == ([str(n) for n in range(9)], [])


async def test_columns_for_a_header_are_as_many_as_it_has(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="has 3 columns where the option columns names 2"):
        await gather(tmp_path, b"a,b,a\n1,2,3\n", header="skip", columns=["a", "b"])
    assert await gather(tmp_path, b"", header="skip", columns=["a", "b"]) == ([], [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"delimiter": ",,"},
        {"quotechar": ","},
        {"header": False},
        {"columns": ["a"]},
        {"header": False, "columns": ["a", "a"]},
        {"header": "skip"},
        {"header": "skip", "columns": ["a", "a"]},
        {"header": "no", "columns": ["a"]},
        {"encoding": "utf-16"},
        {"encoding": "klingon"},
        {"compression": "rar"},
    ],
)
def test_options_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionErrors) as caught:
        decode(CsvOptions, {"path": "x", **wrong})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].pointer in [f"/{name}" for name in (*wrong, "columns")]


async def test_limits_of_a_batch_are_kept(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a\n" + b"".join(b"%d\n" % n for n in range(20_000)))
    collector, plans = await started(tmp_path)
    context = CollectContext(request=full(), shard=plans[0], batch_records=100)
    sizes = [len(batch.records) async for batch in collector.collect(context)]
    assert max(sizes) == 100
    context = CollectContext(request=full(), shard=plans[0], batch_bytes=500)
    sizes = [batch.bytes async for batch in collector.collect(context)]
    assert max(sizes) < 2000


@shared
@needs_data
async def test_flights_by_month_are_all_flights() -> None:
    request = full(
        mode="range", range=Range(field="time_hour", from_="2013-01-01", to="2014-02-01", step="month")
    )
    plans, records, rejected = await collected(CsvCollector, options(path="flights.csv.zip"), DATA, request)
    with zipfile.ZipFile(DATA / "flights.csv.zip") as archive:
        source = list(csv.DictReader(io.TextIOWrapper(archive.open("flights.csv"), "utf-8", newline="")))
    assert len(plans) == 13
    assert not rejected
    assert len(records) == 336_776
    assert multiset(records) == multiset(source)


@shared
@needs_data
@pytest.mark.parametrize("name", ["airlines", "airports", "planes", "weather"])
async def test_real_files_in_shards(name: str) -> None:
    plans, records, rejected = await collected(
        CsvCollector, options(path=f"{name}.csv"), DATA, full(hints={"shards": 5})
    )
    with (DATA / f"{name}.csv").open(newline="") as file:
        source = list(csv.DictReader(file))
    assert len(plans) > 1
    assert (records, rejected) == (source, [])
