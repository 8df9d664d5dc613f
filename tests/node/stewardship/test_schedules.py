"""Runs that begin by the clock: instants, overlap, what was missed."""

import pytest

from tests.node.stewardship.desk import Desk, spec


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


EVERY = {"schedule": "every 1m"}


def scheduled(desk: Desk, **fields: object) -> str:
    """A task on a schedule, submitted under its name."""
    (task,) = desk.submit(spec("many", name="n", **EVERY, **fields), name="n")
    desk.wish(task, "run", run="asked")
    return task


def until_plan(desk: Desk, seconds: float) -> list[str]:
    """The runs that were begun meanwhile, each ended at once."""
    runs = []
    for _ in range(round(seconds / 5)):
        desk.step(5.0, pace=5.0)
        for job in desk.waiting("plan"):
            runs.append(job.key.run)
            desk.end(job, "failed", error="x", code="x", retryable=False)
    return runs


def test_a_schedule_runs_at_each_instant(desk: Desk) -> None:
    task = scheduled(desk)
    desk.end(desk.one("plan"), "failed", error="x", code="x", retryable=False)
    runs = until_plan(desk, 300)
    assert len(runs) == 5
    assert len(set(runs)) == 5
    desk.wish(task, "cancel")
    assert until_plan(desk, 300) == []
    desk.wish(task, "run", run="back")
    assert until_plan(desk, 120)[0] == "back"


@pytest.mark.parametrize(("overlap", "runs"), [("skip", 0), ("queue", 3)])
def test_instants_that_pass_while_a_run_goes_on(desk: Desk, overlap: str, runs: int) -> None:
    scheduled(desk, overlap=overlap)
    busy = desk.one("plan")
    for _ in range(36):
        desk.step(5.0, pace=5.0)
    assert len(desk.jobs) == 1
    desk.end(busy, "failed", error="x", code="x", retryable=False)
    left = int(60 - desk.wall % 60_000 / 1000)
    assert len(until_plan(desk, left - 10)) == runs


@pytest.mark.parametrize(("catch_up", "expected"), [("none", 0), ("last", 1), ("all", 60)])
def test_what_was_missed_while_nobody_was_there(desk: Desk, catch_up: str, expected: int) -> None:
    scheduled(desk, catch_up=catch_up)
    desk.end(desk.one("plan"), "failed", error="x", code="x", retryable=False)
    desk.now += 3600 + 45  # the next instants are far enough away
    desk.now += (60_000 - desk.wall % 60_000) / 1000 + 59.5 if catch_up == "none" else 0
    runs = []
    for _ in range(100):
        desk.now += 0.001
        desk.core.tick(desk.now, desk.wall)
        desk.flush()
        for job in desk.waiting("plan"):
            runs.append(job.key.run)
            desk.end(job, "failed", error="x", code="x", retryable=False)
    assert len(set(runs)) == len(runs)
    assert abs(len(runs) - expected) <= 1


def test_only_the_latest_of_very_many_missed_instants_is_made_up_for(desk: Desk) -> None:
    (task,) = desk.submit(spec("many", name="n", schedule="every 1s", catch_up="last"), name="n")
    desk.wish(task, "run", run="asked")
    desk.end(desk.one("plan"), "failed", error="x", code="x", retryable=False)
    desk.now += 3 * 3600
    desk.core.tick(desk.now, desk.wall)
    desk.flush()
    job = desk.one("plan")
    work = next(iter(desk.core.table.works.values()))
    assert work.run is not None
    assert desk.wall - work.run.scheduled_ms < 1000
    assert job.key.run == work.run.name


@pytest.mark.parametrize(("rescheduled", "runs"), [(True, 1), (False, 61)])
def test_instants_before_there_was_a_schedule_were_not_missed(
    desk: Desk, rescheduled: bool, runs: int
) -> None:
    (task,) = desk.submit(spec("many", name="n", schedule="0 0 1 1 *", catch_up="all"), name="n")
    desk.step(3600, pace=60)
    often = spec("many", name="n", **EVERY, catch_up="all")
    desk.wish(task, "replace", spec=often, generation=0, rescheduled=rescheduled)
    assert len(until_plan(desk, 60 * 15)) - 14 == runs
