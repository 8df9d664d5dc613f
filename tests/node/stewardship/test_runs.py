"""What a steward makes of a task: its runs, retries, gaps, schedule and the user's wishes."""

import pytest

from node.execution.jobs import Counts, DeadLetter, Job, Report
from node.views import TaskReader
from sharding.key import parse
from state.model import FIRST_RUN
from tests.node.stewardship.desk import Desk, spec

RANGE = {"field": "day", "from": 0, "to": 30}


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


def finish(desk: Desk, task: str, *, written: int = 1) -> None:
    """Let every shard and the publish of the task's run end well."""
    for job in desk.waiting("shard", task):
        desk.end(job, written=written)
    desk.step()
    desk.end(desk.one("publish", task))
    desk.step()


def test_a_run_goes_from_plan_to_shards_to_publish(desk: Desk) -> None:
    (task,) = desk.submit(spec("many"))
    assert [job.key.kind for job in desk.started] == ["plan"]
    desk.plan(desk.one("plan"), "x", "y")
    desk.step()
    assert [job.key.shard for job in desk.waiting("shard")] == ["x", "y"]
    desk.end(desk.waiting("shard")[0], written=3)
    assert desk.waiting("publish") == []
    finish(desk, task, written=4)
    assert desk.state(task) == "succeeded"
    fact = desk.run_fact(task)
    assert fact is not None
    assert (fact.totals.written, fact.shards) == (7, {"succeeded": 2})
    assert desk.jobs == {}


def test_a_run_whose_end_is_not_written_yet_still_runs(desk: Desk) -> None:
    """Nobody is told that it was cancelled, or how the run before it ended."""
    (task,) = desk.submit(spec("many"))
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"))
    desk.step()
    job = desk.one("publish")
    end = Report(key=job.key, state="done", token=job.token, counts=Counts(1, 1))
    desk.core.steward.reports(desk.name, [end])
    at = parse(task)
    assert at is not None
    assert TaskReader(desk.core, at, desk.wall).state()[0] == "running"
    desk.flush()
    assert TaskReader(desk.core, at, desk.wall).state()[0] == "succeeded"


def test_no_shard_is_leased_before_the_plan_is_durable(desk: Desk) -> None:
    desk.submit(spec("many"))
    desk.durable = False
    desk.plan(desk.one("plan"), "x")
    desk.step(3.0)
    assert desk.waiting("shard") == [], "the disk has not answered, though the write was given up waiting for"
    desk.durable = True
    desk.synced()
    desk.flush()
    desk.step()
    assert [job.key.shard for job in desk.waiting("shard")] == ["x"]


def test_bulk_tasks_end_as_bits(desk: Desk) -> None:
    ids = desk.submit(*[spec()] * 20)
    while desk.jobs:
        desk.end(next(iter(desk.jobs.values())), written=5)
        desk.step()
    assert [desk.state(task) for task in ids] == ["succeeded"] * 20
    batch, _ = desk.batch(ids[0])
    assert batch.tasks == {}
    assert len(desk.started) == 20
    assert desk.core.table.bulk == {}


def test_a_bulk_task_that_fails_turns_single_and_is_retried(desk: Desk) -> None:
    ids = desk.submit(spec(), spec(retry={"strategy": "fixed", "delay": 2.0, "attempts": 2}))
    desk.end(desk.one("solo", ids[0]))
    desk.end(desk.one("solo", ids[1]), "failed", error="down", code="io")
    desk.step(1.8)
    assert desk.waiting("solo") == []
    desk.step(0.5)
    again = desk.one("solo", ids[1])
    assert again.attempt == 2
    desk.end(again, written=2)
    desk.step()
    assert [desk.state(task) for task in ids] == ["succeeded", "succeeded"]
    batch, _ = desk.batch(ids[0])
    assert list(batch.tasks) == [1]


def test_a_task_out_of_attempts_fails_with_its_error(desk: Desk) -> None:
    (task,) = desk.submit(spec(retry={"strategy": "fixed", "delay": 0.1, "attempts": 3}))
    for attempt in (1, 2, 3):
        job = desk.one("solo")
        assert job.attempt == attempt
        desk.end(job, "failed", error=f"no {attempt}", code="io")
        desk.step(0.5)
    assert desk.jobs == {}
    fact = desk.run_fact(task)
    assert fact is not None
    assert (fact.state, fact.shards) == ("failed", {"failed": 1})
    assert "no 3" in fact.error


def test_attempts_that_get_further_do_not_count(desk: Desk) -> None:
    """An API that asks for patience again and again is read to its end; one that stands still is given up."""
    (task,) = desk.submit(spec("many", retry={"strategy": "exponential", "delay": 0.1, "attempts": 2}))
    desk.plan(desk.one("plan"), "x")
    for attempt, position in enumerate((10, 20, 30, 40, 40), 1):
        assert desk.one("shard").attempt == attempt
        desk.end(desk.one("shard"), "failed", error="429", code="io", position=position)
        desk.step(0.2)
    assert desk.state(task) == "failed"


def test_a_failure_that_is_said_twice_is_counted_once(desk: Desk) -> None:
    desk.submit(spec("many", retry={"strategy": "fixed", "delay": 0.1, "attempts": 3}))
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), "failed", error="down", code="io")
    desk.step(0.5)
    again = desk.one("shard")
    stale = Report(key=again.key, state="failed", token=again.token, error="down", code="io", attempt=1)
    desk.core.steward.reports(desk.name, [stale])
    desk.flush()
    desk.end(again, "failed", error="down", code="io")
    desk.step(0.5)
    assert desk.one("shard").attempt == 3


def test_progress_that_a_later_report_overtook_takes_nothing_back(desk: Desk) -> None:
    (task,) = desk.submit(spec("many"))
    desk.plan(desk.one("plan"), "x")
    job = desk.one("shard")
    for position, written in ((10, 10), (30, 30), (20, 20)):
        desk.end(job, "progress", position=position, written=written)
    (work,) = desk.core.table.works.values()
    assert work.run is not None
    (shard,) = work.run.shards.values()
    assert (str(work.id), shard.position, shard.totals.written) == (task, 30, 30)


def test_what_cannot_be_retried_is_not(desk: Desk) -> None:
    (task,) = desk.submit(spec())
    desk.end(desk.one("solo"), "failed", error="bad option", code="config", retryable=False)
    desk.step(5.0)
    assert (desk.state(task), desk.jobs) == ("failed", {})


def test_a_failed_shard_lets_the_others_end_first(desk: Desk) -> None:
    (task,) = desk.submit(spec("many"))
    desk.plan(desk.one("plan"), "x", "y")
    desk.step()
    x, y = desk.waiting("shard")
    desk.end(x, "failed", error="gone", code="io", retryable=False)
    desk.step()
    assert desk.state(task) == "running"
    desk.end(y)
    desk.step()
    assert desk.state(task) == "failed"
    assert "1 of 2 shards failed: gone" in desk.run_fact(task).error  # type: ignore[union-attr]


def test_a_record_set_aside_makes_the_run_partial(desk: Desk) -> None:
    (task,) = desk.submit(spec())
    letter = DeadLetter(
        shard="0", stream="s", position=[1, "x", 0], step="x", code="bad", reason="why", record={}
    )
    desk.end(desk.one("solo"), counts=Counts(2, 1, 0, 1), letters=(letter,))
    desk.step()
    assert desk.state(task) == "partial"
    batch, place = desk.batch(task)
    assert len(batch.tasks[place].runs[FIRST_RUN].letters) == 1


# ---- wishes


def test_a_pending_task_that_is_cancelled_never_runs(desk: Desk) -> None:
    desk.core.executor.pause(paused=True)
    ids = desk.submit(*[spec()] * 2, key="k")
    desk.wish(ids[1], "cancel")
    desk.core.executor.pause(paused=False)
    desk.step(1.0)
    assert [job.key.task for job in desk.started] == [ids[0]]


@pytest.mark.parametrize("plugin", ["solo", "many"])
def test_a_running_task_that_is_cancelled_is_stopped(desk: Desk, plugin: str) -> None:
    (task,) = desk.submit(spec(plugin))
    (job,) = desk.started
    desk.wish(task, "cancel")
    assert desk.stops == [(job.key, False)]
    assert desk.state(task) == "cancelled"
    desk.end(job, "stopped")
    desk.step(3.0)
    assert desk.started == [job]
    assert desk.core.table.works == {}


def test_an_end_that_comes_after_the_cancel_changes_nothing(desk: Desk) -> None:
    (task,) = desk.submit(spec())
    job = desk.one("solo")
    desk.wish(task, "cancel")
    desk.end(job, written=1)
    desk.step(3.0)
    assert desk.state(task) == "cancelled"


def test_pause_drains_and_resume_goes_on_from_the_sinks_position(desk: Desk) -> None:
    (task,) = desk.submit(spec("many"))
    desk.plan(desk.one("plan"), "x")
    desk.step()
    job = desk.one("shard")
    desk.wish(task, "pause")
    assert desk.stops == [(job.key, True)]
    desk.end(job, "stopped", written=4, position=4, held=0)
    desk.step(3.0)
    assert desk.jobs == {}
    desk.wish(task, "resume")
    desk.step()
    again = desk.one("shard")
    assert again.resume == 4
    desk.end(again, written=6, position=10, held=4)
    finish(desk, task)
    assert desk.run_fact(task).totals.written == 10  # type: ignore[union-attr]


def test_pause_and_resume_before_the_stop_arrives(desk: Desk) -> None:
    (task,) = desk.submit(spec())
    job = desk.one("solo")
    desk.wish(task, "pause")
    desk.wish(task, "resume")
    desk.end(job, "stopped", written=1, position=1)
    desk.step(1.0)
    desk.end(desk.one("solo"), written=1)
    desk.step()
    assert desk.state(task) == "succeeded"


def test_a_retry_goes_on_where_the_failed_run_stopped(desk: Desk) -> None:
    (task,) = desk.submit(spec("many", retry={"attempts": 1}))
    desk.plan(desk.one("plan"), "x", "y")
    desk.step()
    x, y = desk.waiting("shard")
    desk.end(x, written=5, position=10)
    desk.end(y, "failed", written=2, position=2, error="down", code="io")
    desk.step()
    assert desk.state(task) == "failed"
    desk.wish(task, "retry", run="retry-1", origin=FIRST_RUN)
    desk.step()
    again = desk.one("shard")
    assert (again.key.run, again.key.shard, again.resume, again.origin) == ("retry-1", "y", 2, FIRST_RUN)
    assert again.sink_run == FIRST_RUN
    desk.end(again, written=8, position=10, held=2)
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    assert desk.state(task, "retry-1") == "succeeded"
    assert desk.run_fact(task, "retry-1").totals.written == 15  # type: ignore[union-attr]
    assert desk.state(task) == "failed"


def test_a_retry_of_a_retry_keeps_the_first_runs_place_in_the_sinks(desk: Desk) -> None:
    (task,) = desk.submit(spec(retry={"attempts": 1}))
    desk.end(desk.one("solo"), "failed", error="1", code="io")
    desk.step()
    desk.wish(task, "retry", run="r1", origin=FIRST_RUN)
    desk.end(desk.one("solo"), "failed", error="2", code="io")
    desk.step()
    desk.wish(task, "retry", run="r2", origin="r1")
    job = desk.one("solo")
    assert (job.key.run, job.sink_run) == ("r2", FIRST_RUN)


def test_a_new_run_may_be_asked_for_after_a_cancel(desk: Desk) -> None:
    (task,) = desk.submit(spec())
    desk.wish(task, "cancel")
    desk.end(desk.started[0], "stopped")
    desk.step()
    desk.wish(task, "run", run="again")
    desk.step()
    desk.end(desk.one("solo"))
    desk.step()
    assert (desk.state(task), desk.state(task, "again")) == ("cancelled", "succeeded")


def test_priority_is_obeyed_while_work_waits() -> None:
    desk = Desk(concurrency=1)
    desk.join()
    busy = desk.submit(spec("many"))[0]
    low = desk.submit(spec("many"))[0]
    high = desk.submit(spec("many"))[0]
    assert [job.key.task for job in desk.started] == [busy]
    desk.wish(high, "priority", priority=9)
    desk.wish(busy, "cancel")
    desk.end(desk.started[0], "stopped")
    desk.step(1.0)
    assert [job.key.task for job in desk.started] == [busy, high]
    desk.wish(high, "cancel")
    desk.end(desk.started[1], "stopped")
    desk.step(1.0)
    assert [job.key.task for job in desk.started] == [busy, high, low]


def test_a_tasks_concurrency_limit_holds(desk: Desk) -> None:
    (task,) = desk.submit(spec("many", limits={"concurrency": 2, "rate": 10.0}))
    desk.plan(desk.one("plan"), *"vwxyz")
    desk.step()
    assert len(desk.waiting("shard")) == 2
    assert [job.rate for job in desk.waiting("shard")] == [5.0, 5.0]
    desk.wish(task, "limits", limits={"concurrency": 4})
    desk.step()
    assert len(desk.waiting("shard")) == 4


# ---- ranges


def range_run(desk: Desk, task: str, **covers: tuple[int, int]) -> Job:
    """Plan the waiting run with these shards; its plan job."""
    plan = desk.one("plan", task)
    desk.plan(plan, *covers, **covers)
    desk.step()
    return plan


def test_a_second_run_collects_only_the_gaps(desk: Desk) -> None:
    (task,) = desk.submit(spec("many", mode="range", range=RANGE))
    first = range_run(desk, task, x=(0, 10), y=(10, 20), z=(20, 30))
    assert first.ranges == ((0, 30),)
    for job in desk.waiting("shard"):
        if job.key.shard == "y":
            desk.end(job, "failed", error="hole", code="io", retryable=False)
        else:
            desk.end(job)
    desk.step()
    desk.end(desk.one("publish"))  # what was collected is shown, though the run as a whole failed
    desk.step()
    assert desk.state(task) == "failed"
    desk.wish(task, "run", run="second")
    second = range_run(desk, task, g=(10, 20))
    assert second.ranges == ((10, 20),)
    finish(desk, task)
    desk.wish(task, "run", run="third")
    desk.step()
    assert desk.waiting("plan") == []
    desk.end(desk.one("publish"))
    desk.step()
    assert desk.state(task, "third") == "succeeded"
    desk.wish(task, "run", run="fourth", force=True)
    assert desk.one("plan").ranges == ((0, 30),)


# ---- incremental


def test_the_cursor_moves_when_a_run_succeeded_and_not_before(desk: Desk) -> None:
    (task,) = desk.submit(
        spec("many", mode="incremental", incremental={"field": "id", "start": 0}, retry={"attempts": 1})
    )
    plan = desk.one("plan")
    assert plan.since is not None
    assert (plan.since.value, plan.since.inclusive) == (0, True)
    desk.plan(plan, "x", "y")
    desk.step()
    x, y = desk.waiting("shard")
    desk.end(x, high=50, written=1)
    desk.end(y, "failed", error="down", code="io")
    desk.step()
    desk.wish(task, "run", run="second")
    plan = desk.one("plan")
    assert plan.since is not None
    assert plan.since.value == 0
    desk.plan(plan, "x")
    desk.step()
    desk.end(desk.one("shard"), high=70, written=1)
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    desk.wish(task, "run", run="third")
    plan = desk.one("plan")
    assert plan.since is not None
    assert plan.since.value == 70


# ---- schedules
