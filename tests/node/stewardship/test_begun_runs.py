"""A run that one steward began and another takes over before it had a plan starts from what is known by then, and one
of a task that pauses in a cut begins only where all is known.
"""

from typing import Any

import msgspec
import pytest

from gossip.member import State
from node.views import TaskReader
from sharding.key import parse
from state.model import FIRST_RUN, Ended, Finished, Totals, key_of
from tests.node.stewardship.desk import WALL, Desk, member, run_all, settle, spec
from tests.node.stewardship.test_meshes import mesh, steward_of
from tests.node.stewardship.test_pause import NAMES, TTL, Mesh

RANGE = {"mode": "range", "range": {"field": "day", "from": 0, "to": 30}}
SINCE = {"mode": "incremental", "incremental": {"field": "id", "start": 0}}


def collected(desks: list[Desk], task: str, **shard: Any) -> None:
    """The run that waits for its plan ends well."""
    owner = steward_of(desks, task)
    (holder,) = (desk for desk in desks if desk.waiting("plan", task))
    holder.plan(holder.one("plan", task), "x", x=(0, 30))
    run_all(desks, 0.5)
    (holder,) = (desk for desk in desks if desk.waiting("shard", task))
    holder.end(holder.one("shard", task), written=1, **shard)
    run_all(desks, 0.5)
    (holder,) = (desk for desk in desks if desk.waiting("publish", task))
    holder.end(holder.one("publish", task))
    run_all(desks, 0.5)
    assert steward_of(desks, task) is owner


def dead(desks: list[Desk], gone: Desk) -> list[Desk]:
    """The others, when they have taken over from the one that died."""
    rest = [desk for desk in desks if desk is not gone]
    for desk in rest:
        seen = (
            member(str(one.name), state=State.DEAD, since=desk.now) if one is gone else member(str(one.name))
            for one in desks
        )
        desk.join(*seen)
    run_all(rest, 4.0)
    return rest


def test_a_run_without_a_gap_that_is_taken_over_collects_nothing() -> None:
    desks = mesh("a", "b", "c")
    (task,) = desks[0].submit(spec("many", **RANGE))
    settle(*desks)
    run_all(desks, 0.5)
    collected(desks, task)
    desks[0].wish(task, "run", run="second")
    run_all(desks, 0.5)
    assert [desk.state(task, "second") for desk in desks] == ["running"] * 3, "nobody has published it yet"
    rest = dead(desks, steward_of(desks, task))
    assert not any(desk.waiting("plan", task) for desk in rest)
    assert any(desk.waiting("publish", task) for desk in rest)


def test_a_run_that_began_on_one_side_of_a_cut_starts_after_what_the_other_has_collected() -> None:
    desks = mesh("a", "b", "c")
    (task,) = desks[0].submit(spec("many", **SINCE))
    settle(*desks)
    run_all(desks, 0.5)
    collected(desks, task, high=50)
    lone = steward_of(desks, task)
    rest = dead(desks, lone)
    rest[0].wish(task, "run", run="20")
    run_all(rest, 0.5)
    collected(rest, task, high=100)
    lone.join(*(member(str(one.name), state=State.ALIVE if one is lone else State.DEAD) for one in desks))
    lone.core.executor.pause(paused=True)
    lone.wish(task, "run", run="21")
    lone.step()
    fact = lone.run_fact(task, "21")
    assert fact is not None
    assert (fact.since, lone.waiting("plan", task)) == ((50, True), [])
    lone.outbox = []
    for desk in desks:
        desk.join(*(member(str(one.name), since=desk.now) for one in desks))
    run_all(desks, 1.0)
    lone.core.executor.pause(paused=False)
    run_all(desks, 4.0)
    (planner,) = (desk for desk in desks if desk.waiting("plan", task))
    since = planner.one("plan", task).since
    assert since is not None
    assert since.value == 100


def test_what_a_run_that_is_prepared_anew_starts_from_is_said() -> None:
    """Else who takes it over starts its shards from before, and collects again what came in between."""
    desk = Desk()
    desk.join()
    (task,) = desk.submit(spec("many", **SINCE))
    desk.wish(task, "run", run="second")
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), high=50, written=1)
    desk.step()
    publish = desk.one("publish")
    desk.core.executor.pause(paused=True)
    desk.end(publish)
    desk.step()
    fact = desk.run_fact(task, "second")
    assert fact is not None
    assert (fact.since, desk.waiting("plan")) == ((50, True), [])
    at = parse(task)
    assert at is not None
    late = msgspec.structs.replace(fact, state="succeeded", cursor=100, published=True)
    desk.core.write(
        at.slot, [(at.batch, key_of("r", at.batch, at.place, "late", "other.1"), late)], desk.now, desk.wall
    )
    desk.core.executor.pause(paused=False)
    desk.step(2.0)
    since, fact = desk.one("plan").since, desk.run_fact(task, "second")
    assert since is not None
    assert since.value == 100
    assert fact is not None
    assert fact.since == (100, True)


@pytest.mark.parametrize("victim", NAMES)
def test_the_lesser_side_begins_no_run_of_a_task_that_pauses(victim: str) -> None:
    """It knows nothing of what the greater side collects meanwhile; the run would start with the cursor of before."""
    net = Mesh()
    (task,) = net.desks[0].submit(spec("many", on_partition="pause", **SINCE))
    net.run(2.0)
    lone = next(desk for desk in net.desks if desk.name == victim)
    for desk in net.desks:
        for job in desk.waiting("plan"):
            desk.end(job, "failed", error="x", code="x", retryable=False)
    net.run(1.0)
    net.cut = victim
    net.see(frozenset(frozenset({victim, name}) for name in NAMES if name != victim))
    net.run(2 * TTL)
    for desk in net.desks:
        desk.wish(task, "run", run=f"of-{desk.name}")
    net.run(2 * TTL)
    assert lone.run_fact(task, f"of-{victim}") is None
    at = parse(task)
    assert at is not None
    assert "no majority" in (TaskReader(lone.core, at, WALL).state()[1] or "")
    assert any(desk.waiting("plan", task) for desk in net.desks if desk is not lone)
    net.cut = None
    net.see(frozenset())
    net.run(3 * TTL)
    assert any(desk.waiting("plan", task) for desk in net.desks)


def test_a_published_run_counts_what_was_published_and_not_what_another_made_of_it_by_a_plan_of_his_own() -> (
    None
):
    """`collect verify` compares this with the manifest."""
    desk = Desk()
    desk.join()
    (task,) = desk.submit(spec("many"))
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), written=3)
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    at = parse(task)
    assert at is not None
    key = key_of("d", at.batch, at.place, FIRST_RUN, "other.1", 7)
    ended = Ended("y", (0, "other", 1), "succeeded", totals=Totals(2, 2))
    desk.core.write(at.slot, [(at.batch, key, Finished([ended]))], desk.now, desk.wall)
    desk.flush()
    (run,) = TaskReader(desk.core, at, WALL).runs()
    assert run.records.written == 3
