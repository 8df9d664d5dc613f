"""A run that waits for the one before it begins where that one ended: with its cursor, and without what it covers."""

import pytest

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
