"""A task's rate is shared by the shards that run, whichever are left."""

import random

import pytest

from tests.node.stewardship.desk import Desk, member, run_all, settle, spec

ALL = [f"s{number}" for number in range(12)]


def rates(*desks: Desk) -> list[float]:
    """Of the shards that run now."""
    return [desk.rates[key] or 0.0 for desk in desks for key in desk.jobs if key.kind == "shard"]


def planned(desk: Desk, *shards: str, **limits: object) -> str:
    (task,) = desk.submit(spec("many", limits=limits))
    desk.plan(desk.one("plan"), *shards)
    desk.step()
    return task


def test_what_ends_leaves_its_share_to_the_others() -> None:
    desk = Desk()
    desk.join()
    planned(desk, "x", "y", "z", rate=12.0)
    assert rates(desk) == [4.0, 4.0, 4.0]
    desk.end(desk.waiting("shard")[0], written=1)
    assert rates(desk) == [6.0, 6.0]
    desk.end(desk.waiting("shard")[0], written=1)
    assert rates(desk) == [12.0]


def test_another_rate_reaches_what_runs() -> None:
    desk = Desk()
    desk.join()
    task = planned(desk, "x", "y", rate=12.0)
    desk.wish(task, "limits", limits={"rate": 4.0})
    assert rates(desk) == [2.0, 2.0]


def test_a_shard_of_another_node_is_told() -> None:
    desks = [Desk(name) for name in "ab"]
    for desk in desks:
        desk.join(member("a"), member("b"))
    settle(*desks)
    run_all(desks, 3.0)
    desks[0].submit(spec("many", limits={"rate": 12.0}))
    run_all(desks, 1.0)
    (planner,) = [desk for desk in desks if desk.waiting("plan")]
    planner.plan(planner.one("plan"), *ALL[:6])
    run_all(desks, 1.0)
    assert sorted(rates(*desks)) == [2.0] * 6
    assert all(desk.waiting("shard") for desk in desks), "both have some"
    for desk in desks:
        for job in desk.waiting("shard")[1:]:
            desk.end(job, written=1)
    run_all(desks, 1.0)
    assert rates(*desks) == [6.0, 6.0]


@pytest.mark.parametrize("seed", range(20))
def test_all_that_run_stay_within_the_rate(seed: int) -> None:
    """Whatever ends, fails and is tried again; and the last one has all of it."""
    print("seed", seed)
    rng = random.Random(seed)
    desk = Desk()
    desk.join()
    limits: dict[str, object] = {"rate": 30.0}
    if rng.random() < 0.5:
        limits["concurrency"] = rng.randint(1, 10)
    planned(desk, *ALL, **limits)
    last: list[float] = []
    for _ in range(500):
        if desk.waiting("publish"):
            break
        if jobs := desk.waiting("shard"):
            last = rates(desk)
            assert sum(last) <= 30.0 + 1e-9
            job = rng.choice(jobs)
            if rng.random() < 0.3:
                desk.end(job, "failed", error="not now", retryable=True, position=rng.random())
            else:
                desk.end(job, written=1)
        desk.step(rng.choice([0.1, 3.0]), pace=0.1)
    assert desk.waiting("publish"), "all shards ended"
    assert len(last) == 1
    assert last[0] >= 30.0 / 1.1


def test_the_share_of_a_shard_that_is_tried_again_is_kept_for_it() -> None:
    desk = Desk()
    desk.join()
    planned(desk, "x", "y", rate=12.0)
    desk.end(desk.waiting("shard")[0], "failed", error="not now", retryable=True)
    assert rates(desk) == [6.0]
    desk.step(5.0)
    assert rates(desk) == [6.0, 6.0]
