"""The highest value of the incremental field, from which the cursor moves: of what the sink holds, exactly."""

from typing import Any

import pytest

from node.execution.assembly import Cadence
from plugins.api import Since
from tests.node.execution.conftest import Bench, job
from tests.node.execution.test_pipeline import SMALL, Stores


async def test_high_is_of_committed_batches_only(bench: Bench, store: Stores) -> None:
    sink, _ = store()
    bench.cadence = Cadence(commit_bytes=60)
    source = {"total": 20, "size": 3, "fail_at": 9, "error": "bug"}
    report = await bench.run(job(source, sink, mode="incremental", since=Since("n")))
    assert (report.position, report.high) == (6, 6)


@pytest.mark.parametrize("commits", [2, 4])
async def test_who_goes_on_knows_the_high_of_what_another_has_committed_and_not_told(
    bench: Bench, store: Stores, commits: int
) -> None:
    """Else the cursor stays below rows that are in the sink, and the next run brings them again."""
    sink, held = store()
    bench.cadence = SMALL

    def crash(at: str, _value: Any) -> None:
        if at == "committed" and len(held.commits) == commits:
            raise RuntimeError("crash")

    held.before = crash
    work = job({"total": 12, "size": 3}, sink, mode="incremental", since=Since("n"))
    assert (await bench.run(work)).state == "failed"
    assert held.commits[-1][1] == 3 * commits
    report = await bench.run(work)
    assert (report.state, report.high) == ("done", 12)
    held.before = lambda _step, _value: None
    report = await bench.run(work)
    assert (report.state, report.high) == ("done", 12)
