"""How packed files are told from text, and what is said of those that nobody reads."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.schema import ProblemItem
from node.spec import InvalidSpec, SpecChecker
from plugins.api import Permanent
from plugins.collectors.csv import CsvCollector, CsvOptions
from plugins.collectors.jsonl import JsonlCollector
from plugins.registry import Registry
from tests.node.plugs import facts, registry
from tests.plugins.materials import collected

TEXT = b"a,b\n1,x\n2,y\n"
ROWS = [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]
ZSTANDARD = b"\x28\xb5\x2f\xfd" + TEXT
LZ4 = b"\x04\x22\x4d\x18" + TEXT
ZIP = b"PK\x03\x04" + TEXT


def alone(data: bytes) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_ALONE)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("x.csv", bytes),
        ("x", gzip.compress),
        ("x.csv", bz2.compress),
        ("x.data", lzma.compress),
        ("x.csv.XZ", lzma.compress),
        ("x.csv.lzma", alone),
    ],
)
async def test_what_the_standard_library_unpacks_is_read(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / name).write_bytes(pack(TEXT))
    _, records, rejected = await collected(CsvCollector, CsvOptions(path=name), tmp_path)
    assert (records, rejected) == (ROWS, [])


@pytest.mark.parametrize("text", [b"BZh9,b\n1,x\n", b"P,b\n1,x\n", b"", b"B"])
async def test_text_that_begins_like_a_packed_file_is_text(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(text)
    _, records, _ = await collected(CsvCollector, CsvOptions(path="x.csv"), tmp_path)
    assert len(records) == max(0, text.count(b"\n") - 1)


@pytest.mark.parametrize(
    ("path", "name", "content", "told"),
    [
        ("x.csv", "x.csv", ZSTANDARD, "Zstandard"),
        ("*", "x.csv.zst", TEXT, "Zstandard"),
        ("x", "x", LZ4, "LZ4"),
        ("x.xlsx", "x.xlsx", ZIP, 'set compression = "zip"'),
    ],
)
async def test_a_run_fails_on_what_nobody_reads(
    tmp_path: Path, path: str, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Permanent, match=told) as caught:
        await collected(CsvCollector, CsvOptions(path=path), tmp_path)
    assert caught.value.code == "compression"


async def test_a_file_that_is_called_packed_is_read_when_told_so(tmp_path: Path) -> None:
    (tmp_path / "x.zst").write_bytes(TEXT)
    _, records, _ = await collected(CsvCollector, CsvOptions(path="x.zst", compression="none"), tmp_path)
    assert records == ROWS


def kinds() -> Registry:
    made = registry()
    made.add("collector", "csv", CsvCollector)
    made.add("collector", "jsonl", JsonlCollector)
    return made


def submitted(folder: Path, source: dict[str, Any]) -> list[ProblemItem]:
    checker = SpecChecker(kinds(), facts(folders={"default": str(folder)}))
    try:
        checker.check_line(msgspec.json.encode({"source": source, "sink": {"plugin": "log"}}))
    except InvalidSpec as error:
        return error.items
    return []


@pytest.mark.parametrize("plugin", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x.csv.zst", "is packed with Zstandard, which is not read"),
        ("*.zst", "is packed with Zstandard, which is not read"),
        ("lake:there.LZ4", "is packed with LZ4, which is not read"),
        ("x.tar.gz", "is packed with tar, which is not read"),
        ("hidden", "is packed with Zstandard, which is not read"),
        ("hid*", "hidden is packed with Zstandard, which is not read"),
    ],
)
def test_a_submit_says_that_nobody_reads_it(tmp_path: Path, plugin: str, path: str, message: str) -> None:
    for name in ("x.csv.zst", "x.tar.gz", "hidden"):
        (tmp_path / name).write_bytes(ZSTANDARD)
    (problem,) = submitted(tmp_path, {"plugin": plugin, "path": path})
    assert (problem.pointer, problem.value, problem.message) == ("/source/path", path, message)
    assert problem.allowed == "plain text, .gz, .bz2, .xz, .lzma, .zip"
    assert problem.remedy is not None
    assert "gzip" in problem.remedy


def test_a_submit_takes_what_is_read_or_said_to_be_text(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(TEXT))
    (tmp_path / "x.zst").write_bytes(TEXT)
    outside = tmp_path / "outside"
    outside.write_bytes(ZSTANDARD)
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link").symlink_to(outside)
    assert submitted(tmp_path, {"plugin": "csv", "path": "x.gz"}) == []
    assert submitted(tmp_path, {"plugin": "csv", "path": "x.zst", "compression": "none"}) == []
    assert submitted(inner, {"plugin": "csv", "path": "link"}) == []  # nothing is told of files elsewhere
