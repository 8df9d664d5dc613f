"""What a cancel ends at once, and what it waits for: whoever may be publishing says what became of it."""

import pytest
from msgspec import structs

from gossip.identity import NodeId
from gossip.member import State
from node import messages
from node.stewardship.run import PATIENCE
from plugins.api import Since
from tests.node.stewardship.desk import Desk, facts_of, member, run_all, settle, spec

INCREMENTAL = {"mode": "incremental", "incremental": {"field": "id", "start": 0}}


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


def collected(desk: Desk, **fields: object) -> str:
    """A task whose only shard is done: what is left is to publish."""
    (task,) = desk.submit(spec("many", **fields))
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), high=50, written=1)
    return task


def apart(plugin: str) -> tuple[Desk, Desk, str]:
    """A steward that has no plugin, an executor, and an incremental task whose first job has been leased."""
    bare = structs.replace(facts_of("a"), plugins={})
    desks = [steward, executor] = [Desk("a"), Desk("b")]
    for one in desks:
        one.join(member("a"), member("b"))
        one.core.receive(NodeId("a"), bare, one.now, one.wall)
        one.flush()
    settle(*desks)
    run_all(desks, 3.0)
    for number in range(20):
        (task,) = steward.submit(spec(plugin, **INCREMENTAL), key=f"k{number}")
        run_all(desks, 1.0)
        if executor.jobs and steward.core.table.works:
            return steward, executor, task
        executor.jobs.clear()
    raise AssertionError("no task of twenty has its steward there")


def test_a_run_that_is_being_published_is_not_cancelled(desk: Desk) -> None:
    """Its rows may be there already: the next run would collect them again."""
    task = collected(desk, **INCREMENTAL)
    desk.step()
    job = desk.one("publish")
    desk.wish(task, "cancel")
    desk.step()
    assert (desk.state(task), desk.stops) == ("running", [])
    desk.end(job)
    desk.step()
    assert desk.state(task) == "succeeded"


def test_a_publish_that_failed_can_be_cancelled(desk: Desk) -> None:
    task = collected(desk, retry={"attempts": 9, "delay": 60})
    desk.step()
    desk.end(desk.one("publish"), "failed", code="disk-full", error="full")
    desk.wish(task, "cancel")
    desk.step()
    assert desk.state(task) == "cancelled"


@pytest.mark.parametrize(("said", "state"), [("done", "succeeded"), ("stopped", "cancelled")])
def test_a_job_that_publishes_by_itself_says_whether_it_could_be_cancelled(
    desk: Desk, said: str, state: str
) -> None:
    (task,) = desk.submit(spec("solo", **INCREMENTAL))
    job = desk.one("solo")
    desk.wish(task, "cancel")
    desk.step()
    assert desk.stops == [(job.key, False)]
    assert desk.state(task) != "cancelled"
    desk.end(job, said, high=50, written=1)
    desk.step()
    assert desk.state(task) == state


def test_a_publish_that_has_not_begun_is_cancelled_at_once(desk: Desk) -> None:
    (task,) = desk.submit(spec("many"))
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.wish(task, "pause")
    desk.end(desk.one("shard"), written=1)
    desk.step()
    desk.wish(task, "cancel")
    desk.step()
    assert (desk.state(task), desk.waiting("publish")) == ("cancelled", [])


def test_a_publish_that_was_stopped_is_cancelled_although_the_task_is_paused(desk: Desk) -> None:
    task = collected(desk)
    desk.step()
    job = desk.one("publish")
    desk.wish(task, "pause")
    desk.step()
    desk.end(job, "stopped")
    desk.wish(task, "cancel")
    desk.step()
    assert desk.state(task) == "cancelled"


def test_a_publish_that_somebody_may_have_begun_is_not_waited_for_for_ever() -> None:
    """The node that had it is gone, and no other can."""
    steward, executor, task = apart("many")
    executor.plan(executor.one("plan"), "x")
    run_all([steward, executor], 1.0)
    executor.end(executor.one("shard"), written=1)
    run_all([steward, executor], 1.0)
    executor.one("publish", task)
    steward.wish(task, "cancel")
    steward.core.members(
        {one.id: one for one in (member("a"), member("b", state=State.DEAD, since=steward.now))},
        steward.now,
        steward.wall,
    )
    steward.step(PATIENCE / 2, pace=1.0)
    assert steward.state(task) == "running"
    steward.step(PATIENCE, pace=1.0)
    assert steward.state(task) == "cancelled"


def test_the_next_steward_hears_what_became_of_a_cancelled_publish() -> None:
    steward, executor, task = apart("many")
    executor.plan(executor.one("plan"), "x")
    run_all([steward, executor], 1.0)
    executor.end(executor.one("shard"), high=50, written=1)
    run_all([steward, executor], 1.0)
    job = executor.one("publish", task)
    steward.wish(task, "cancel")
    run_all([steward, executor], 2.0)
    executor.core.members(
        {one.id: one for one in (member("a", state=State.DEAD, since=executor.now), member("b"))},
        executor.now,
        executor.wall,
    )
    executor.step(10.0)
    executor.end(job)
    executor.step(3.0)
    assert executor.state(task) == "succeeded"
    executor.wish(task, "run", run="second")
    executor.step(1.0)
    assert executor.one("plan").since == Since("id", 50, inclusive=True)


def test_a_stop_that_was_lost_is_said_again() -> None:
    steward, executor, task = apart("solo")
    job = executor.one("solo")
    steward.wish(task, "cancel")
    settle(steward, executor, lose=messages.Revoke)
    run_all([steward, executor], 3.0)
    assert (job.key, False) in executor.stops
    executor.end(job, "stopped")
    run_all([steward, executor], 3.0)
    assert steward.state(task) == "cancelled"


def test_a_cancelled_job_whose_executor_died_is_not_given_to_another() -> None:
    steward, _, task = apart("solo")
    steward.wish(task, "cancel")
    steward.outbox.clear()
    again = Desk("b", boot=2, now=steward.now)
    again.join(member("a"), member("b", boot=2))
    steward.core.members(
        {one.id: one for one in (member("a"), member("b", boot=2))}, steward.now, steward.wall
    )
    run_all([steward, again], 5.0)
    assert (steward.state(task), again.waiting("solo")) == ("cancelled", [])
