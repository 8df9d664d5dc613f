"""What a sink refuses can be asked again, without writing, by who goes on where another has committed."""

from pathlib import Path
from typing import Any

import pytest

from plugins.api import Batch, RecordError, SinkContext
from plugins.sinks.csv import CsvSink
from plugins.sinks.jsonl import JsonlSink
from plugins.sinks.sqlite import SqliteSink
from tests.plugins.test_file_sinks import made as file_sink
from tests.plugins.test_sqlite_sink import made as sqlite_sink

GOOD = {"id": 1}


async def opened(base: Path, kind: type[Any]) -> Any:
    sink = await sqlite_sink(base) if kind is SqliteSink else await file_sink(base, kind)
    await sink.open(SinkContext(task="t", run="r", shard="0"))
    return sink


def batch(start: int | None, end: int, *records: dict[str, Any]) -> Batch:
    return Batch("", list(records), start, end)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [(JsonlSink, {"id": object()}), (CsvSink, {"id": 2, "new": 1}), (SqliteSink, {"id": 2**70})],
    ids=["jsonl", "csv", "sqlite"],
)
async def test_a_check_refuses_what_a_write_refuses_and_keeps_nothing(
    tmp_path: Path, kind: type[Any], bad: dict[str, Any]
) -> None:
    sink = await opened(tmp_path, kind)
    await sink.write(batch(None, 1, GOOD))
    with pytest.raises(RecordError) as written:
        await sink.write(batch(1, 2, bad))
    await sink.commit(None, 1)
    await sink.shutdown()
    sink = await opened(tmp_path, kind)
    with pytest.raises(RecordError) as checked:
        await sink.check(batch(1, 2, GOOD, bad))
    assert checked.value.record is written.value.record is bad
    assert (checked.value.reason, checked.value.code) == (written.value.reason, written.value.code)
    await sink.check(batch(1, 2, GOOD))
    await sink.commit(1, 2)
    await sink.shutdown()
    sink = await opened(tmp_path, kind)
    assert sink.held == 1
    await sink.shutdown()
