"""What is kept of an attempt when the source asks for a later one."""

import pytest

from tests.node.execution.conftest import Bench, job
from tests.node.execution.test_pipeline import Stores


@pytest.mark.parametrize(("error", "kept"), [("retryable", 6), ("permanent", None), ("bug", None)])
async def test_a_source_that_asks_for_a_later_try_is_read_on_from_there(
    bench: Bench, store: Stores, error: str, kept: int | None
) -> None:
    sink, held = store()
    report = await bench.run(job({"total": 9, "size": 3, "fail_at": 6, "error": error}, sink))
    assert (report.state, report.position, report.counts.written) == ("failed", kept, kept or 0)
    assert report.error.startswith("source count: ")
    assert held.commits == ([(None, 6)] if kept else [])
