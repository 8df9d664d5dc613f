"""How many slots `GET /v1/cluster` says that each node has: those that it works on now."""

from gossip.member import Member, State
from node.serving.overview import Overview
from tests.node.plugs import registry
from tests.node.stewardship.desk import Desk, facts_of, member


def slots_of(*members: Member) -> dict[str, int]:
    """By name, as node a tells them, long after the last change."""
    desk = Desk("a")
    desk.join(*members)
    desk.step(60.0, pace=1.0)
    overview = Overview(desk.core, registry(), lambda: facts_of("a"), "mesh", {})
    nodes = overview.cluster({}).nodes
    assert [overview.node(one.id, None).slots for one in members] == [node.slots for node in nodes]
    return {node.name: node.slots for node in nodes}


def test_the_living_have_all_of_them() -> None:
    told = slots_of(member("a"), member("b"), member("c"))
    assert sum(told.values()) == 8
    assert max(told.values()) < 8


def test_the_dead_and_those_that_cannot_work_have_none() -> None:
    told = slots_of(member("a"), member("b", state=State.DEAD), member("c", ready=False))
    assert told == {"a": 8, "b": 0, "c": 0}
