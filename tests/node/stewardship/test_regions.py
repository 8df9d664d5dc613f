"""When a region is given up for dead, who stewards its slots then, and which tasks run."""

import msgspec
import pytest

from gossip.identity import NodeId
from gossip.member import Member, State
from node.messages import Facts
from node.schema import PlacementSpec
from node.stewardship.eligibility import Needs, refusals
from node.stewardship.ownership import Ownership, OwnershipConfig
from node.stewardship.regions import Regions
from sharding.placement import Candidate, Placement
from sharding.region import slot_in
from tests.node.stewardship.desk import member

EU, US, AP = ("e1", "e2"), ("u1", "u2"), ("a1",)
TAKEOVER = 60.0


def seen(**states: State) -> dict[NodeId, Member]:
    """All nodes, alive if nothing else is said."""
    found = {}
    for region, names in (("eu", EU), ("us", US), ("ap", AP)):
        for name in names:
            one = member(name)
            found[one.id] = msgspec.structs.replace(
                one,
                state=states.get(name, State.ALIVE),
                meta=msgspec.structs.replace(one.meta, region=region),
            )
    return found


def dead(*names: str) -> dict[NodeId, Member]:
    return seen(**dict.fromkeys(names, State.DEAD))


def test_a_region_is_dark_when_nobody_there_was_alive_for_long() -> None:
    regions = Regions("us", TAKEOVER)
    regions.observe(seen(), 0.0)
    assert not regions.dark("eu", 1000.0)
    regions.observe(dead("e1"), 1000.0)
    assert not regions.dark("eu", 2000.0)
    regions.observe(dead("e1", "e2"), 2000.0)
    assert not regions.dark("eu", 2000.0 + TAKEOVER - 0.1)
    assert regions.dark("eu", 2000.0 + TAKEOVER)
    regions.observe(dead("e2"), 3000.0)
    assert not regions.dark("eu", 4000.0)


def test_a_region_that_nobody_has_seen_is_waited_for_from_the_start() -> None:
    regions = Regions("us", TAKEOVER)
    assert not regions.dark("eu", 1e9)
    regions.observe({}, 100.0)
    assert not regions.dark("eu", 100.0 + TAKEOVER - 0.1)
    assert regions.dark("eu", 100.0 + TAKEOVER)


@pytest.mark.parametrize("lost", [State.DEAD, State.SUSPECT])
def test_who_sees_less_than_half_of_the_regions_takes_nothing_over(lost: State) -> None:
    regions = Regions("us", TAKEOVER)
    regions.observe(seen(e1=State.DEAD, e2=State.DEAD, a1=lost), 0.0)
    assert not regions.dark("eu", 1000.0)


def test_regions_that_have_left_count_no_more() -> None:
    regions = Regions("us", TAKEOVER)
    regions.observe(seen(e1=State.DEAD, e2=State.DEAD, a1=State.LEFT), 0.0)
    assert regions.dark("eu", 1000.0)


def test_the_keeper_of_the_copy_stewards_a_dark_region() -> None:
    ownership = Ownership(NodeId("u1"), OwnershipConfig(region_takeover=TAKEOVER), "us")
    ownership.members = dead("e1", "e2")
    ownership.regions.observe(ownership.members, 0.0)
    ownership.placement = Placement(
        [Candidate(m.id, 1.0, "", m.meta.region) for m in ownership.members.values()], slots=8
    )
    for number in range(8):
        slot = slot_in("eu", number)
        copy = ownership.placement.copy(slot)
        assert ownership.steward(slot, None, TAKEOVER - 1) is None
        assert ownership.steward(slot, None, TAKEOVER) == copy is not None
        assert ownership.stewards([slot], {}, TAKEOVER) == [copy]


def test_a_task_stays_in_its_region_unless_it_names_another_place() -> None:
    facts = Facts(name="u1", roots={}, plugins={}, secrets=[], labels={}, http="", version="1", region="us")
    needs = Needs()
    assert refusals(NodeId("u1"), facts, needs, "us") == []
    assert refusals(NodeId("u1"), facts, needs, "eu") == ["is in region us; the task is kept in region eu"]
    for placement in (PlacementSpec(region="us"), PlacementSpec(nodes=["u1"])):
        assert refusals(NodeId("u1"), facts, Needs(placement=placement), "eu") == []
