"""Tasks of a source that is one shard."""

import pytest

from node.stewardship.table import FEW
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


@pytest.mark.parametrize(("count", "kinds"), [(2, {"task"}), (FEW, {"task"}), (FEW + 1, {"batch"})])
def test_the_end_of_bulk_tasks_is_told_one_by_one_or_as_a_number(
    desk: Desk, count: int, kinds: set[str]
) -> None:
    tasks = desk.submit(*[spec("solo")] * count, tenant="t")
    desk.notices.clear()
    for job in desk.waiting("solo"):
        desk.end(job)
    desk.step()
    assert {notice.kind for notice in desk.notices} == kinds
    assert {(notice.data["state"], notice.data["tenant"]) for notice in desk.notices} == {("succeeded", "t")}
    if kinds == {"task"}:
        assert sorted(str(notice.data["task"]) for notice in desk.notices) == sorted(tasks)
    else:
        assert [(notice.data["first"], notice.data["tasks"]) for notice in desk.notices] == [
            (tasks[0], count)
        ]
    desk.notices.clear()
    desk.step(5.0)
    assert desk.notices == [], "once"


def test_an_unsharded_source_is_planned_for_a_range_too(desk: Desk) -> None:
    (task,) = desk.submit(spec("solo", mode="range", range=RANGE))
    range_run(desk, task, x=(0, 30))
    finish(desk, task)
    assert desk.state(task) == "succeeded"
    desk.wish(task, "run", run="second")
    desk.step()
    assert desk.waiting("plan") + desk.waiting("solo") + desk.waiting("shard") == []
