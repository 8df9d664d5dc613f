"""A path that stands for many files: each shard finds its own, at a cost that does not grow with their number."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from plugins.api import CollectContext, Permanent, ShardPlan
from plugins.collectors import sources
from plugins.collectors.csv import CsvCollector, CsvOptions
from plugins.testing import FolderRoots, plugin_context
from tests.plugins.materials import full

MANY = 40


async def planned(folder: Path, path: str) -> tuple[CsvCollector, Sequence[ShardPlan]]:
    collector = CsvCollector()
    await collector.initialize(plugin_context(CsvOptions(path=path), roots=FolderRoots(folder)))
    return collector, await collector.plan(full())


async def read(collector: CsvCollector, plan: ShardPlan) -> list[Any]:
    stream = collector.collect(CollectContext(request=full(), shard=plan))
    return [record["a"] async for batch in stream for record in batch.records]


@pytest.mark.parametrize("path", ["in/*.csv", "*/?.csv", "**/*.csv", "default:in/*.csv"])
async def test_no_shard_looks_through_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "in").mkdir()
    names = [chr(ord("A") + number) for number in range(MANY)]
    for name in names:
        (tmp_path / f"in/{name}.csv").write_text(f"a\n{name}\n")
    looks: list[str] = []
    inside = sources._inside

    def counted(name: str, *rest: Any) -> Any:
        looks.append(name)
        return inside(name, *rest)

    monkeypatch.setattr(sources, "_inside", counted)
    collector, plans = await planned(tmp_path, path)
    assert [await read(collector, plan) for plan in plans] == [[name] for name in names]
    assert len(looks) < 4 * MANY


async def test_files_that_come_go_and_change_meanwhile(tmp_path: Path) -> None:
    for name in "bcd":
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(f"a\n{name}\n".encode()))
    collector, plans = await planned(tmp_path, "*.gz")
    assert await read(collector, plans[0]) == ["b"]
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a\na\n"))
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"a\nother\nrows\n"))
    (tmp_path / "d.csv.gz").unlink()
    assert await read(collector, plans[0]) == ["b"]
    for plan in plans[1:]:
        with pytest.raises(Permanent, match="gone or has changed"):
            await read(collector, plan)
    collector, plans = await planned(tmp_path, "*.gz")
    assert [await read(collector, plan) for plan in plans] == [["a"], ["b"], ["other", "rows"]]
