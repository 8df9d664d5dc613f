"""What is warned of: members that have left and still count, until forgotten by name; and names that two have."""

from pathlib import Path

import msgspec
import pytest

from gossip.identity import NodeId
from gossip.member import Member, State
from node.drain import Drain
from node.service import Refused
from node.serving import absence
from node.serving.calls import Calls
from node.serving.nodes import Nodes
from node.serving.overview import Overview
from tests.node.plugs import registry
from tests.node.stewardship.desk import Desk, facts_of, member, run_all, settle

B = NodeId("b")


def stopped(name: str, called: str = "", *, weight: float = 1.0) -> Member:
    """As after SIGTERM."""
    seen = member(name, state=State.LEFT)
    meta = msgspec.structs.replace(seen.meta, name=called or name, weight=weight)
    return msgspec.structs.replace(seen, incarnation=1, meta=meta)


@pytest.fixture
def desk() -> Desk:
    """One of two that have agreed on who votes."""
    desks = [Desk("a"), Desk("b")]
    desks[0].core.leases.founded = True
    for one in desks:
        one.join(member("a"), member("b"))
    settle(*desks)
    run_all(desks, 60.0, pace=0.5)
    assert desks[0].core.leases.maps.members == {"a", "b"}
    return desks[0]


def nodes_of(desk: Desk, folder: Path) -> tuple[Nodes, list[NodeId]]:
    """The control of nodes at this desk, and whom it has retired."""
    retired: list[NodeId] = []

    def retire(node: NodeId) -> None:
        retired.append(node)
        desk.core.leases.forget(frozenset([node]))

    overview = Overview(desk.core, registry(), lambda: facts_of("a"), "mesh", {})
    drain = Drain(folder, desk.core, lambda: None)
    return Nodes(
        overview, Calls(lambda to, message: False, {}), drain, pause=lambda *, paused: None, retire=retire
    ), retired


def test_who_has_left_is_warned_of_until_forgotten(desk: Desk) -> None:
    assert absence.warnings(desk.core) == []
    desk.join(member("a"), stopped("b"))
    (said,) = absence.warnings(desk.core)
    assert said.startswith("node b (b) has left and still counts for the majorities of locks")
    assert said.endswith("`collect drain b --forget`")
    assert said in Overview(desk.core, registry(), lambda: facts_of("a"), "mesh", {}).warnings({})
    desk.core.leases.forget(frozenset([B]))
    assert absence.warnings(desk.core) == []


def test_who_was_drained_first_counts_no_more(desk: Desk) -> None:
    desk.join(member("a"), stopped("b", weight=0.0))
    assert absence.warnings(desk.core) == []


async def test_who_has_left_is_forgotten_by_name(desk: Desk, tmp_path: Path) -> None:
    desk.join(member("a"), stopped("b", "berlin"))
    nodes, retired = nodes_of(desk, tmp_path)
    assert (await nodes.forget("berlin")).id == B
    assert retired == [B]
    with pytest.raises(Refused) as caught:
        await nodes.forget("berlin")
    assert caught.value.problem.status == 404, "it is forgotten"


async def test_a_name_that_two_have_is_refused_with_both_ids(desk: Desk, tmp_path: Path) -> None:
    desk.join(member("a"), stopped("b", "berlin"), stopped("c", "berlin"), member("berlin"))
    nodes, retired = nodes_of(desk, tmp_path)
    with pytest.raises(Refused, match="more than one node is called 'berlin': b, berlin"):
        await nodes.forget("berlin")
    assert retired == []
    (said,) = absence.warnings(desk.core)
    assert said.endswith("`collect drain b --forget`")


def test_names_that_two_live_nodes_have_are_warned_of(desk: Desk) -> None:
    desk.join(member("a"), member("b"))
    overview = Overview(desk.core, registry(), lambda: facts_of("a"), "mesh", {})
    assert not [one for one in overview.warnings({}) if "called" in one]
    twin = member("c")
    twin = msgspec.structs.replace(twin, meta=msgspec.structs.replace(twin.meta, name="a"))
    desk.join(member("a"), member("b"), twin)
    (said,) = [one for one in overview.warnings({}) if "called" in one]
    assert said.startswith("2 nodes are called a (a, c)")


async def test_one_that_gossip_does_not_know_any_more_is_forgotten_by_its_id(
    desk: Desk, tmp_path: Path
) -> None:
    desk.join(member("a"))
    (said,) = absence.warnings(desk.core)
    assert said.startswith("node b has left")
    nodes, retired = nodes_of(desk, tmp_path)
    assert (await nodes.forget("b")).id == B
    assert retired == [B]


async def test_a_name_is_no_prefix_of_an_unknown_id(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member of that name is meant, although an id that only the voters know begins with it."""
    named = member("c")
    named = msgspec.structs.replace(named, meta=msgspec.structs.replace(named.meta, name="b"))
    desk.join(member("a"), msgspec.structs.replace(named, state=State.DEAD))
    nodes, retired = nodes_of(desk, tmp_path)
    monkeypatch.setattr("node.serving.nodes.FORGET_WITHIN", 0.0)
    assert B in desk.core.leases.maps.members
    await nodes.forget("b")
    assert retired == [NodeId("c")]
