"""Tasks of a source that is one shard."""

import pytest

from tests.node.stewardship.desk import Desk, spec
from tests.node.stewardship.test_runs import RANGE, finish, range_run


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


def test_a_bulk_task_that_takes_long_turns_single_and_shows_its_progress(desk: Desk) -> None:
    long, short = desk.submit(spec("solo"), spec("solo"))
    job = desk.one("solo", long)
    desk.end(job, "progress", written=7, position=7)
    desk.step()
    (work,) = desk.core.table.works.values()
    assert work.run is not None
    (shard,) = work.run.shards.values()
    assert (shard.state, shard.totals.written, shard.node) == ("running", 7, desk.core.me)
    assert len(desk.waiting("solo", long)) == 1  # it is not leased again
    for ended in desk.waiting("solo"):
        desk.end(ended, written=9)
    desk.step()
    assert (desk.state(long), desk.state(short)) == ("succeeded", "succeeded")


def test_an_unsharded_source_is_planned_for_a_range_too(desk: Desk) -> None:
    (task,) = desk.submit(spec("solo", mode="range", range=RANGE))
    range_run(desk, task, x=(0, 30))
    finish(desk, task)
    assert desk.state(task) == "succeeded"
    desk.wish(task, "run", run="second")
    desk.step()
    assert desk.waiting("plan") + desk.waiting("solo") + desk.waiting("shard") == []
