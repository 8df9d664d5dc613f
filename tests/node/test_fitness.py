"""When a node gives its slots up by itself, and when it takes them again."""

import pytest

from gossip.identity import NodeId
from node import messages
from node.fitness import CLEAR, Cause, Fitness, Lateness, Pulse, deaf
from node.stewardship.arrears import FRESH
from tests.node.stewardship.desk import Desk, member, run_all, settle, spec

DISK = Cause("disk", "no disk", 0.0, fatal=True)
LOOP = Cause("loop", "late", 5.0, fatal=False)


def looks(fitness: Fitness, *causes: Cause, start: float, end: float, others_fit: bool = True) -> str:
    at = start
    while at <= end + 1e-9:
        fitness.look(causes, at, others_fit=others_fit)
        at += 0.1
    return fitness.reason


@pytest.mark.parametrize("others_fit", [True, False])
def test_without_a_disk_it_is_unfit_at_once_whatever_the_others_are(others_fit: bool) -> None:
    assert looks(Fitness(), DISK, start=0.0, end=0.0, others_fit=others_fit) == "no disk"


def test_a_slow_loop_must_last() -> None:
    fitness = Fitness()
    assert looks(fitness, LOOP, start=0.0, end=4.8) == ""
    assert looks(fitness, LOOP, start=4.9, end=5.1) == "late"


def test_a_short_fault_is_forgotten() -> None:
    fitness = Fitness()
    looks(fitness, LOOP, start=0.0, end=4.0)
    looks(fitness, start=4.1, end=4.2)
    assert looks(fitness, LOOP, start=4.3, end=9.0) == ""


def test_it_is_fit_again_when_nothing_has_been_wrong_for_a_while() -> None:
    fitness = Fitness()
    looks(fitness, DISK, start=0.0, end=1.0)
    assert looks(fitness, start=1.1, end=1.0 + CLEAR - 0.2) == "no disk"
    looks(fitness, DISK, start=3.0, end=3.0)
    assert looks(fitness, start=3.1, end=3.0 + CLEAR - 0.2) == "no disk"
    assert looks(fitness, start=4.9, end=3.0 + CLEAR + 0.1) == ""


def test_where_all_are_slow_nobody_steps_back() -> None:
    fitness = Fitness()
    assert looks(fitness, LOOP, start=0.0, end=20.0, others_fit=False) == ""
    looks(fitness, LOOP, start=20.1, end=26.0)
    assert fitness.reason == "late"
    assert looks(fitness, LOOP, start=26.1, end=26.1, others_fit=False) == "", "the others are worse off now"


@pytest.mark.parametrize(
    ("gossip", "work", "is_deaf"),
    [
        (99.0, 95.0, False),
        (99.0, 80.0, True),
        (99.0, float("-inf"), True),
        (85.0, 80.0, False),
        (float("-inf"), float("-inf"), False),
    ],
    ids=["hears", "port closed", "never open", "cut off", "alone"],
)
def test_who_is_reached_for_gossip_alone_is_deaf(gossip: float, work: float, is_deaf: bool) -> None:
    assert deaf(100.0, gossip=gossip, work=work) == is_deaf


def test_the_worst_lateness_is_kept_for_a_while() -> None:
    lateness = Lateness(0.1)
    assert lateness.look(0.0) == 0.0
    assert lateness.look(1.6) == pytest.approx(1.5)
    assert lateness.look(1.7) == pytest.approx(1.5)
    assert [round(lateness.look(at), 3) for at in (3.5, 3.6, 3.7)] == [1.7, 1.7, 1.7]
    for n in range(1, 40):
        last = lateness.look(3.7 + n / 10)
    assert last == pytest.approx(0.0)


def test_the_membership_thread_speaks_once_for_a_loop_that_stands_still() -> None:
    pulse = Pulse()
    assert not pulse.still(100.0), "it has not begun yet"
    assert not pulse.beat(100.0)
    assert not pulse.still(104.9)
    assert pulse.still(105.0)
    assert not pulse.still(106.0)
    assert pulse.beat(110.0)
    assert not pulse.beat(110.1)


def test_what_others_have_and_this_node_lacks_is_its_arrears() -> None:
    desks = [Desk(name) for name in "ab"]
    for desk in desks:
        desk.join(member("a"), member("b"))
    settle(*desks)
    a, b = desks
    for n in range(30):
        a.submit(spec("many"), key=f"k{n}")
    settle(a, b, lose=messages.Envelopes)
    run_all(desks, 0.6, lose=messages.Envelopes)
    lacking = sum(sum(ledger.heads.values()) for ledger in a.core.replicator.ledgers.values())
    lacking -= sum(sum(ledger.heads.values()) for ledger in b.core.replicator.ledgers.values())
    assert lacking >= 30
    assert b.core.arrears.behind(b.now) == lacking
    assert a.core.arrears.behind(a.now) == 0
    run_all(desks, FRESH + 1.0)
    assert b.core.arrears.behind(b.now) == 0
    b.core.arrears.heard(NodeId("a"), {999: {"x.1": 7}, -1: {"x.1": 7}}, b.now)
    assert b.core.arrears.behind(b.now) == 0
