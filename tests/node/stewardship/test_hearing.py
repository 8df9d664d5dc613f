"""Whom we have heard since we were apart."""

from gossip.identity import NodeId
from node.stewardship.hearing import HEARD_AFTER, SETTLE, STALL, Hearing
from tests.node.stewardship.desk import run_all, spec
from tests.node.stewardship.test_meshes import mesh, steward_of

A, B = NodeId("a"), NodeId("b")


def hearing() -> tuple[Hearing, set[NodeId]]:
    """Equal with a and b at 10 s."""
    synced = {A, B}
    one = Hearing(synced)
    one.clock(10.0)
    one.members(frozenset({A, B}), 10.0)
    one.clock(10.1)
    assert one.heard(A, 10.1)
    return one, synced


def test_what_was_under_way_when_this_node_stood_still_does_not_count() -> None:
    one, synced = hearing()
    now = 10.2 + STALL
    one.clock(now)
    assert not one.heard(A, now)
    synced.add(A)
    one.clock(now + SETTLE / 2)
    assert not one.heard(A, now + SETTLE / 2)
    one.clock(now + SETTLE)
    synced.add(A)
    one.clock(now + SETTLE + 0.1)
    assert one.heard(A, now + SETTLE + 0.1)
    assert not one.heard(B, now + SETTLE + 0.1)


def test_who_comes_back_is_heard_anew_and_who_never_is_equal_not_waited_for() -> None:
    one, synced = hearing()
    one.clock(11.0)
    one.members(frozenset({A}), 11.0)
    synced.discard(B)
    one.clock(11.5)
    one.members(frozenset({A, B}), 11.5)
    synced.add(B)
    one.clock(11.6)
    assert not one.heard(B, 11.6)
    assert one.heard(A, 11.6)
    assert one.heard(B, 11.5 + HEARD_AFTER)


def test_a_slow_loop_does_not_wait_for_ever() -> None:
    """It stalls again before ten seconds are over, each time; a machine that was frozen once is another thing."""
    one, _ = hearing()
    now, began = 10.2, 0
    for stall in range(20):
        now += 2 * STALL
        one.clock(now)
        for _ in range(25):
            now += 0.2
            one.clock(now)
        if not began and one.heard(A, now):
            began = stall
    assert 3 < began < 8


def test_a_steward_that_stood_still_begins_no_run_before_it_has_heard_the_others() -> None:
    """They may have gone on meanwhile; a run that starts with the cursor of before collects their rows again."""
    desks = mesh("a", "b", "c")
    (task,) = desks[0].submit(spec("many", mode="incremental", incremental={"field": "id", "start": 0}))
    run_all(desks, 1.0)
    owner = steward_of(desks, task)
    owner.end(owner.one("plan", task), "failed", error="x", code="x", retryable=False)
    run_all(desks, 1.0)
    for desk in desks:
        desk.now += 2 * STALL
    owner.wish(task, "run", run="second")
    owner.step(0.2)
    assert owner.run_fact(task, "second") is None
    run_all(desks, 3.0)
    assert [desk.state(task, "second") for desk in desks] == ["running"] * 3
