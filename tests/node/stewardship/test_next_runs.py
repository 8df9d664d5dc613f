"""A run that waits for the one before it begins where that one ended: with its cursor, and without what it covers."""

import pytest

from state.model import FIRST_RUN
from tests.node.stewardship.desk import Desk, spec


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


def test_what_was_covered_by_the_run_before_is_not_collected_again(desk: Desk) -> None:
    (task,) = desk.submit(spec("many", mode="range", range={"field": "day", "from": 0, "to": 30}))
    desk.wish(task, "run", run="second")
    desk.plan(desk.one("plan"), "x", x=(0, 30))
    desk.step()
    desk.end(desk.one("shard"), written=30)
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    assert desk.waiting("plan") == []
    desk.end(desk.one("publish"))
    desk.step()
    assert desk.state(task, "second") == "succeeded"


def test_the_cursor_of_the_run_before_is_known(desk: Desk) -> None:
    (task,) = desk.submit(spec("many", mode="incremental", incremental={"field": "id", "start": 0}))
    desk.wish(task, "run", run="second")
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), high=50, written=1)
    desk.step()
    desk.end(desk.one("publish"))
    plan = desk.one("plan")
    assert plan.since is not None
    assert (plan.key.run, plan.since.value) == ("second", 50)


def test_it_begins_with_the_end_of_the_run_before_and_not_later(desk: Desk) -> None:
    (task,) = desk.submit(spec("many"))
    desk.wish(task, "run", run="second")
    desk.end(desk.one("plan"), "failed", error="x", code="x", retryable=False)
    assert desk.one("plan").key.run == "second"
    assert desk.state(task) == "failed"


def fail(desk: Desk, code: str = "io") -> None:
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), "failed", error="down", code=code, retryable=False)
    desk.step()


def collect(desk: Desk, high: int) -> None:
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), written=1, high=high)
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()


def test_the_retry_of_a_run_that_a_later_one_has_made_good_collects_nothing_twice(desk: Desk) -> None:
    (task,) = desk.submit(spec("many", mode="incremental", incremental={"field": "id", "start": 0}))
    fail(desk)
    desk.wish(task, "run", run="second")
    collect(desk, high=50)
    desk.wish(task, "retry", run="third", origin=FIRST_RUN)
    plan = desk.one("plan")
    assert plan.since is not None
    assert (plan.since.value, plan.sink_run) == (50, "third")


def test_the_retry_of_what_nothing_has_made_good_goes_on(desk: Desk) -> None:
    (task,) = desk.submit(spec("many", mode="incremental", incremental={"field": "id", "start": 0}))
    fail(desk)
    desk.wish(task, "retry", run="second", origin=FIRST_RUN)
    desk.step()
    assert [job.sink_run for job in desk.waiting("shard")] == [FIRST_RUN]


@pytest.mark.parametrize(("other", "kind"), [((0, 20), "plan"), ((30, 40), "shard")])
def test_the_retry_of_a_range_goes_on_if_no_later_run_covers_any_of_it(
    desk: Desk, other: tuple[int, int], kind: str
) -> None:
    (task,) = desk.submit(spec("many", mode="range", range={"field": "day", "from": 0, "to": 30}))
    fail(desk)
    desk.wish(
        task,
        "replace",
        spec=spec("many", mode="range", range={"field": "day", "from": other[0], "to": other[1]}),
        generation=0,
    )
    desk.wish(task, "run", run="second")
    desk.plan(desk.one("plan"), "x", x=other)
    desk.step()
    desk.end(desk.one("shard"), written=1)
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    whole = spec("many", mode="range", range={"field": "day", "from": 0, "to": 30})
    desk.wish(task, "replace", spec=whole, generation=0)
    desk.wish(task, "retry", run="third", origin=FIRST_RUN)
    desk.step()
    job = desk.one(kind)
    assert job.ranges == (((20, 30),) if kind == "plan" else ((0, 30),))


def test_the_retry_of_a_task_that_was_replaced_is_planned_anew(desk: Desk) -> None:
    (task,) = desk.submit(spec("many"))
    fail(desk)
    desk.wish(task, "replace", spec=spec("many", priority=3), generation=1)
    desk.wish(task, "retry", run="second", origin=FIRST_RUN)
    desk.step()
    assert desk.one("plan").sink_run == "second"
