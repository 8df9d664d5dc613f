from pathlib import Path
from typing import Any

import pytest

from plugins.collectors.jsonl import JsonlCollector, JsonlOptions
from tests.plugins.materials import collected, full


async def gather(folder: Path, data: bytes, shards: int = 1) -> tuple[list[Any], list[Any]]:
    (folder / "x.jsonl").write_bytes(data)
    _, records, rejected = await collected(
        JsonlCollector, JsonlOptions(path="x.jsonl"), folder, full(hints={"shards": shards})
    )
    return records, [one.raw for one in rejected]


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("more", [b"", b"no record\n"])
@pytest.mark.parametrize(
    ("lines", "broken"),
    [
        (b'{"a":1}{"a":2}\n', ['{"a":1}{"a":2}']),
        (b'{"a":\n1}\n', ['{"a":', "1}"]),
        (b'{"a":1}\n\n \n', []),
    ],
)
async def test_a_line_is_a_record_whatever_else_is_in_its_batch(
    tmp_path: Path, lines: bytes, broken: list[str], more: bytes, shards: int
) -> None:
    records, rejected = await gather(tmp_path, lines + b'{"a":3}\n' + more, shards)
    assert records == [{"a": 3}] if broken else [{"a": 1}, {"a": 3}]
    assert rejected == [*broken, *([more.decode().strip()] if more else [])]


async def test_a_line_that_is_nested_too_deeply_is_set_aside(tmp_path: Path) -> None:
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    records, rejected = await gather(tmp_path, f'{{"a":0}}\n{deep}\n{{"a":2}}\n'.encode())
    assert records == [{"a": 0}, {"a": 2}]
    assert rejected == [deep[:4096]]


async def test_a_file_with_fewer_bytes_than_shards(tmp_path: Path) -> None:
    assert await gather(tmp_path, b"{}\n", shards=16) == ([{}], [])
