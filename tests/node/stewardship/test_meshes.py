"""Several nodes' cores: take-over, hand-over, lost messages."""

import pytest

from gossip.member import State
from node import messages
from node.core import Core
from node.execution.executor import HOLDING_INTERVAL
from node.stewardship.ownership import OwnershipConfig
from state.model import Claim, key_of
from tests.node.stewardship.desk import Desk, member, run_all, settle, spec

OWNERSHIP = OwnershipConfig(takeover_delay=2.0, stable_after=10.0)


def mesh(*names: str) -> list[Desk]:
    desks = [Desk(name, ownership=OWNERSHIP) for name in names]
    for desk in desks:
        desk.join(*(member(name) for name in names))
    settle(*desks)
    return desks


def steward_of(desks: list[Desk], task: str) -> Desk:
    (name,) = {desk.core.steward_of_task(task) for desk in desks}
    return next(desk for desk in desks if desk.name == name)


def hashes(core: Core) -> dict[int, bytes]:
    return {slot: ledger.content_hash() for slot, ledger in core.replicator.ledgers.items() if ledger.heads}


def test_a_task_is_run_once_and_known_everywhere() -> None:
    desks = mesh("a", "b", "c")
    ids = [desks[n % 3].submit(spec("many"))[0] for n in range(9)]
    settle(*desks)
    for _ in range(4):
        for desk in desks:
            for job in list(desk.jobs.values()):
                if job.key.kind == "plan":
                    desk.plan(job, "x", "y")
                else:
                    desk.end(job, written=1)
            run_all(desks, 0.3)
    assert [[desk.state(task) for desk in desks] for task in ids] == [["succeeded"] * 3] * 9
    started = [job.key for desk in desks for job in desk.started]
    assert len(started) == len(set(started)) == 9 * 4
    assert hashes(desks[0].core) == hashes(desks[1].core) == hashes(desks[2].core)


def test_one_submit_through_every_node_is_one_task() -> None:
    desks = mesh("a", "b", "c")
    ids = {task for desk in desks for task in desk.submit(spec(), spec(), key="once")}
    assert len(ids) == 2
    run_all(desks, 0.5)
    jobs = [(desk, job) for desk in desks for job in desk.started]
    assert sorted(job.key.task for _, job in jobs) == sorted(ids)
    for desk, job in jobs:
        desk.end(job, written=1)
    run_all(desks, 0.5)
    assert {desk.state(task) for desk in desks for task in ids} == {"succeeded"}


def test_a_dead_stewards_run_goes_on_under_another_with_what_is_known() -> None:
    desks = mesh("a", "b", "c")
    (task,) = desks[0].submit(spec("many"))
    settle(*desks)
    old = steward_of(desks, task)
    (planner,) = [desk for desk in desks if desk.jobs]
    planner.plan(planner.one("plan"), "x", "y", "z")
    run_all(desks, 0.5)
    done = next(desk for desk in desks if desk.waiting("shard"))
    job = done.waiting("shard")[0]
    done.end(job, written=10)
    run_all(desks, 0.5)
    rest = [desk for desk in desks if desk is not old]
    at = old.now
    for desk in rest:
        live = [member(d.name) for d in rest]
        desk.join(*live, member(old.name, state=State.DEAD, since=at))
    run_all(rest, 1.5)
    assert {desk.core.steward_of_task(task) for desk in rest} == {None}
    run_all(rest, 4.0)
    assert steward_of(rest, task) is not old
    jobs = [(desk, j) for desk in rest for j in desk.waiting("shard", task)]
    assert {j.key.shard for _, j in jobs} == {"x", "y", "z"} - {job.key.shard}
    for desk, j in jobs:
        desk.end(j, written=10)
    run_all(rest, 1.0)
    publisher = next(desk for desk in rest if desk.waiting("publish"))
    publisher.end(publisher.one("publish"))
    run_all(rest, 1.0)
    assert [desk.state(task) for desk in rest] == ["succeeded"] * 2
    assert rest[0].run_fact(task).totals.written == 30  # type: ignore[union-attr]


def test_an_executor_whose_job_is_leased_again_goes_on_and_tells_the_new_steward() -> None:
    """The steward dies, its executor lives: nothing is started twice."""
    desks = mesh("a", "b", "c")
    (task,) = desks[0].submit(spec("many"))
    settle(*desks)
    old = steward_of(desks, task)
    planner = next(desk for desk in desks if desk.jobs)
    planner.plan(planner.one("plan"), *"stuvwxyz")
    run_all(desks, 0.5)
    rest = [desk for desk in desks if desk is not old]
    for desk in rest:
        desk.join(*(member(d.name) for d in rest), member(old.name, state=State.DEAD, since=old.now))
    run_all(rest, 4.0)
    for desk in rest:
        keys = [job.key for job in desk.started]
        assert len(keys) == len(set(keys))
        for job in desk.waiting("shard"):
            desk.end(job, written=1)
    run_all(rest, 3.0)
    assert [desk.waiting("shard") for desk in rest if desk.waiting("shard")] == []
    for desk in rest:
        for job in desk.waiting("publish"):
            desk.end(job)
    run_all(rest, 1.0)
    assert rest[0].state(task) == "succeeded"


def test_a_dead_executors_shards_are_given_to_others() -> None:
    desks = mesh("a", "b", "c")
    (task,) = desks[0].submit(spec("many"))
    settle(*desks)
    steward = steward_of(desks, task)
    planner = next(desk for desk in desks if desk.jobs)
    planner.plan(planner.one("plan"), *"rstuvwxyz")
    run_all(desks, 0.5)
    gone = next(desk for desk in desks if desk is not steward and desk.waiting("shard"))
    lost = {job.key for job in gone.waiting("shard")}
    rest = [desk for desk in desks if desk is not gone]
    for desk in rest:
        desk.join(*(member(d.name) for d in rest), member(gone.name, state=State.DEAD, since=gone.now))
    run_all(rest, 1.0)
    for _ in range(4):
        for desk in rest:
            for job in desk.waiting("shard"):
                desk.end(job, written=1)
        run_all(rest, 0.5)
    assert lost <= {job.key for desk in rest for job in desk.started}
    for desk in rest:
        for job in desk.waiting("publish"):
            desk.end(job)
    run_all(rest, 0.5)
    assert steward.state(task) == "succeeded"


@pytest.mark.parametrize(("kind", "tasks"), [("many", 1), ("solo", 30)])
def test_an_executor_that_was_taken_for_dead_stops_what_others_have_by_now(kind: str, tasks: int) -> None:
    """Else both would go on, and each would find again and again that the other has moved the sink's position."""
    desks = mesh("a", "b", "c")
    for desk in desks:
        desk.submit(*[spec(kind)] * tasks)
    settle(*desks)
    for desk in desks:
        for job in desk.waiting("plan"):
            desk.plan(job, *"wxyz")
    run_all(desks, 1.0)
    away = desks[0]
    rest = desks[1:]
    for desk in rest:
        desk.join(*(member(d.name) for d in rest), member(away.name, state=State.DEAD, since=away.now))
    run_all(rest, 1.5)
    twice = {job.key for desk in rest for job in desk.jobs.values()} & away.jobs.keys()
    assert twice, "nothing of it was given to others"
    away.now = rest[0].now
    for desk in desks:
        desk.join(*(member(d.name) for d in desks))
    run_all(desks, 2 * HOLDING_INTERVAL)
    assert {key for key, drain in away.stops if not drain} == twice
    assert not any(desk.stops for desk in rest)


def test_a_lost_lease_is_given_again() -> None:
    desks = mesh("a", "b", "c")
    (task,) = desks[0].submit(spec("many"))
    settle(*desks)
    planner = next(desk for desk in desks if desk.jobs)
    planner.plan(planner.one("plan"), *"rstuvwxyz")
    run_all(desks, 0.5, lose=messages.Lease)
    assert sum(len(desk.waiting("shard")) for desk in desks) < 9
    run_all(desks, 12.0)
    assert sum(len(desk.waiting("shard", task)) for desk in desks) == 9


def test_lost_reports_are_repeated() -> None:
    desks = mesh("a", "b", "c")
    ids = [desk.submit(spec("many"))[0] for desk in desks for _ in range(4)]
    settle(*desks)
    for _ in range(8):
        for desk in desks:
            for job in list(desk.jobs.values()):
                if job.key.kind == "plan":
                    desk.plan(job, "x", "y", "z")
                else:
                    desk.end(job, written=1)
        run_all(desks, 0.2, lose=messages.Reports)
        run_all(desks, 4.0)
    assert {desk.state(task) for desk in desks for task in ids} == {"succeeded"}


def test_a_paused_node_gets_nothing_and_the_others_do_its_work() -> None:
    desks = mesh("a", "b", "c")
    paused = desks[1]
    paused.core.executor.pause(paused=True)
    run_all(desks, 3.0)
    ids = [desk.submit(spec("many"))[0] for desk in desks for _ in range(4)]
    for _ in range(5):
        run_all(desks, 1.0)
        for desk in desks:
            for job in list(desk.jobs.values()):
                desk.plan(job, "x") if job.key.kind == "plan" else desk.end(job)
    run_all(desks, 1.0)
    assert paused.started == []
    assert {desks[0].state(task) for task in ids} == {"succeeded"}


def test_a_leaving_node_gives_its_slots_away_and_a_stable_one_gets_them_back() -> None:
    desks = mesh("a", "b", "c")
    ids = [desks[0].submit(spec("many"))[0] for _ in range(12)]
    run_all(desks, 0.5)
    before = {task: steward_of(desks, task).name for task in ids}
    leaving = steward_of(desks, ids[0])
    leaving.core.steward.give_away()
    leaving.flush()
    settle(*desks)
    run_all(desks, 0.3)
    assert all(steward_of(desks, task) is not leaving for task in ids)
    for desk in desks:  # it did not leave after all: what it is preferred for comes back
        desk.now += 20.0
    run_all(desks, 5.0)
    assert {task: steward_of(desks, task).name for task in ids} == before


@pytest.mark.parametrize("phase", [0.2, 0.5, 0.8])
def test_the_slots_of_the_dead_are_taken_over_when_the_delay_ends(phase: float) -> None:
    """Not at the next of the looks that are taken each second."""
    desks = mesh("a", "b", "c")
    for n in range(24):
        desks[n % 3].submit(spec("many"))
    settle(*desks)
    run_all(desks, 1 + phase)
    old, *rest = desks
    slots = set(old.core.table.mine)
    assert slots
    for desk in rest:
        desk.join(*(member(d.name) for d in rest), member(old.name, state=State.DEAD, since=old.now))
    run_all(rest, OWNERSHIP.takeover_delay - 0.1)
    assert not slots & {slot for desk in rest for slot in desk.core.table.mine}
    run_all(rest, 0.2)
    assert slots <= {slot for desk in rest for slot in desk.core.table.mine}


def test_nothing_is_leased_under_a_claim_that_a_dead_node_replaced() -> None:
    """It claimed the slot while this one was cut off, and died; both its claim and its death become known here."""
    (desk,) = mesh("a")
    gone, (task,) = Desk("b"), desk.submit(spec("many"))
    (slot,) = desk.core.table.mine
    before = desk.one("plan").token
    desk.join(member("a"), member("b", state=State.DEAD, since=desk.now - 60.0))
    claim = (None, key_of("e", gone.core.writer), Claim(before[0] + 1))
    gone.core.write(slot, [claim], gone.now, gone.wall)
    gone.flush()
    (data,) = gone.log.values()
    desk.core.receive(gone.name, messages.Envelopes([data]), desk.now, desk.wall)
    desk.flush()
    desk.plan(desk.one("plan"), "x")
    desk.step()
    largest = desk.core.replicator.ledger(slot).claim()
    assert largest == (before[0] + 2, "a", 1)
    assert {job.token for job in desk.waiting("shard", task)} <= {largest}
    run_all([desk], 10.0)
    assert desk.one("shard", task).token == largest
