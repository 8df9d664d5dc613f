import functools
from pathlib import Path

import pytest

from plugins.sinks.csv import CsvSink
from plugins.sinks.discard import DiscardSink
from plugins.sinks.jsonl import JsonlSink
from plugins.sinks.sqlite import SqliteSink
from plugins.testing import FolderRoots, Target, check_sink
from tests.plugins.materials import csv_stored, folder_target, jsonl_stored, table_stored, typed


@pytest.mark.parametrize("mode", ["append", "replace"])
async def test_jsonl(tmp_path: Path, mode: str) -> None:
    await check_sink(JsonlSink, folder_target(tmp_path, JsonlSink.Options, jsonl_stored, mode), seeds=6)


async def test_csv(tmp_path: Path) -> None:
    def read(folder: Path) -> list[dict[str, object]]:
        return typed(csv_stored(folder))

    await check_sink(CsvSink, folder_target(tmp_path, CsvSink.Options, read, "append"), seeds=3)


@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
async def test_sqlite(tmp_path: Path, mode: str) -> None:
    def target(name: str) -> Target:
        return Target(
            options=SqliteSink.Options(path=f"{name}.db", table='we"ird'),
            stored=functools.partial(table_stored, tmp_path / f"{name}.db", 'we"ird'),
            roots=FolderRoots(tmp_path),
            mode=mode,
            key=("id",) if mode == "upsert" else (),
        )

    await check_sink(SqliteSink, target, seeds=5)


async def test_discard() -> None:
    await check_sink(DiscardSink, lambda _: Target(options=DiscardSink.Options(), stored=None))
