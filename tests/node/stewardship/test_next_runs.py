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


def collect(desk: Desk, high: int | None) -> None:
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), written=int(high is not None), high=high)
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


def since(desk: Desk) -> tuple[object, bool]:
    bound = desk.one("plan").since
    assert bound is not None
    return bound.value, bound.inclusive


def test_a_first_run_that_finds_nothing_leaves_its_start_to_the_next(desk: Desk) -> None:
    sink = [{"plugin": "s"}]
    (task,) = desk.submit(spec("many", mode="incremental", incremental={"field": "d", "start": 7}, sink=sink))
    assert since(desk) == (7, True)
    for name, high, then in (
        ("second", None, (7, True)),
        ("third", 7, (7, False)),
        ("fourth", None, (7, False)),
    ):
        collect(desk, high=high)
        desk.wish(task, "run", run=name)
        assert since(desk) == then


@pytest.mark.parametrize("plugin", ["solo", "many"])
def test_a_retry_knows_the_highest_value_of_the_attempts_before(desk: Desk, plugin: str) -> None:
    """Else what they collected of a source that gives the newest first would be collected again."""
    (task,) = desk.submit(spec(plugin, mode="incremental", incremental={"field": "id"}))
    kind = {"solo": "solo", "many": "shard"}[plugin]
    if plugin == "many":
        desk.plan(desk.one("plan"), "x")
        desk.step()
    desk.end(desk.one(kind), "failed", error="down", retryable=False, position=3, high=50, written=3)
    desk.step()
    desk.wish(task, "retry", run="second", origin=FIRST_RUN)
    desk.step()
    job = desk.one(kind)
    assert (job.resume, job.high) == (3, 50)
    desk.end(job, written=9, high=50)
    desk.step()
    for publish in desk.waiting("publish"):
        desk.end(publish)
    fact = desk.run_fact(task, "second")
    assert fact is not None
    assert (fact.state, fact.cursor) == ("succeeded", 50)


def test_what_has_no_value_to_go_on_from_is_not_published(desk: Desk) -> None:
    """The next run would collect it all again."""
    (task,) = desk.submit(spec("many", mode="incremental", incremental={"field": "wrong"}))
    desk.plan(desk.one("plan"), "x", "y")
    desk.step()
    for job in desk.waiting("shard"):
        desk.end(job, written=5)
    desk.step()
    assert desk.waiting("publish") == []
    fact = desk.run_fact(task)
    assert fact is not None
    assert (fact.state, "'wrong'" in fact.error) == ("failed", True)


@pytest.mark.parametrize("plugin", ["solo", "many"])
def test_a_cursor_is_text_where_the_first_ids_only_look_like_numbers(desk: Desk, plugin: str) -> None:
    """The first commit told of numbers alone; from such a cursor on no text would ever be read."""
    (task,) = desk.submit(spec(plugin, mode="incremental", incremental={"field": "id"}))
    kind = {"solo": "solo", "many": "shard"}[plugin]
    if plugin == "many":
        desk.plan(desk.one("plan"), "x")
        desk.step()
    job = desk.one(kind)
    desk.end(job, "progress", position=3, high="1002", written=3)
    desk.step()
    desk.end(job, position=90, high="Z999", written=90)
    desk.step()
    for publish in desk.waiting("publish"):
        desk.end(publish)
    fact = desk.run_fact(task, FIRST_RUN)
    assert fact is not None
    assert fact.cursor == "Z999"
