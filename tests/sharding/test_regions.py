"""Slots of regions: their numbers, where their replicas are, and where the one copy in another region is."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.identity import NodeId
from sharding.key import TaskId, parse
from sharding.placement import Candidate, Placement
from sharding.region import LOCAL, MAX_NAME, code_of, number_of, region_of, slot_in, valid
from sharding.slots import SLOTS

FEW = 64
REGIONS = st.from_regex(rf"[a-z0-9]{{1,{MAX_NAME}}}", fullmatch=True)
MESHES = st.lists(
    st.tuples(st.sampled_from(["eu", "us", LOCAL]), st.sampled_from(["", "z1", "z2"])), max_size=9
)


def candidates(shape: list[tuple[str, str]]) -> list[Candidate]:
    return [Candidate(NodeId(f"node-{n}"), 1.0, zone, region) for n, (region, zone) in enumerate(shape)]


def slots(region: str) -> range:
    return range(slot_in(region, 0), slot_in(region, FEW))


@given(REGIONS, st.integers(0, SLOTS - 1))
def test_a_slot_says_its_region_and_fits_64_bits(region: str, number: int) -> None:
    slot = slot_in(region, number)
    assert (region_of(slot), number_of(slot)) == (region, number)
    assert 0 <= slot < 1 << 59
    assert valid(slot)


@given(REGIONS, REGIONS)
def test_two_regions_share_no_slot(one: str, other: str) -> None:
    assert (code_of(one) == code_of(other)) == (one == other)


def test_the_default_region_has_the_slots_of_a_mesh_without_regions() -> None:
    assert [slot_in(LOCAL, number) for number in (0, 1, SLOTS - 1)] == [0, 1, SLOTS - 1]


def test_codes_are_the_same_for_ever() -> None:
    """They stand in logs: these are written down, not computed."""
    assert {name: code_of(name) for name in ("eu", "us", "a", "euwest1")} == {
        "eu": 55630079999938,
        "us": 111639887508408,
        "a": 38637273993131,
        "euwest1": 55715845003787,
    }


@given(st.integers(-(1 << 60), 1 << 60))
def test_any_number_is_a_slot_of_one_region_or_none(slot: int) -> None:
    if valid(slot):
        assert slot_in(region_of(slot), number_of(slot)) == slot


def test_where_a_region_has_fewer_slots_others_are_none() -> None:
    assert [valid(slot_in("eu", number), 8) for number in (0, 7, 8)] == [True, True, False]


def test_a_name_that_is_none_has_no_code() -> None:
    for name in ("", "EU", "a" * 10, "eu-1"):
        with pytest.raises(ValueError, match="region"):
            code_of(name)


@given(REGIONS, st.integers(0, SLOTS - 1))
def test_an_id_names_its_region(region: str, number: int) -> None:
    task = TaskId(slot_in(region, number), "a" * 13, 0)
    assert (task.region, str(task).partition("-")[0]) == (region, region)
    assert parse(str(task)) == task


@settings(max_examples=60, deadline=None)
@given(MESHES)
def test_owners_are_at_home_and_the_copy_is_not(shape: list[tuple[str, str]]) -> None:
    members = candidates(shape)
    region = {member.id: member.region for member in members}
    placement = Placement(members, slots=FEW)
    at_home = sum(home == "eu" for home in region.values())
    for slot in slots("eu"):
        owners, copy = placement.owners(slot), placement.copy(slot)
        if not at_home:
            assert (len(owners), copy) == (min(3, len(members)), None)
            continue
        assert len(owners) == min(3, at_home)
        assert {region[node] for node in owners} == {"eu"}
        assert (copy is None) == (at_home == len(members))
        assert copy is None or region[copy] != "eu"
        assert placement.holders(slot) == owners + (() if copy is None else (copy,))


@settings(max_examples=60, deadline=None)
@given(MESHES)
def test_what_happens_elsewhere_moves_no_owner(shape: list[tuple[str, str]]) -> None:
    """The owners of a region are those that it has alone; so a mesh of one region is what it was without regions."""
    whole = Placement(candidates(shape), slots=FEW)
    alone = Placement([member for member in candidates(shape) if member.region == "eu"], slots=FEW)
    if alone.candidates:
        for number in range(FEW):
            assert whole.owners(slot_in("eu", number)) == alone.owners(slot_in("eu", number))


@settings(max_examples=60, deadline=None)
@given(MESHES, st.integers(0, 8))
def test_a_copy_moves_only_when_its_keeper_goes(shape: list[tuple[str, str]], which: int) -> None:
    members = candidates(shape)
    before = Placement(members, slots=FEW)
    gone = NodeId(f"node-{which}")
    after = Placement([member for member in members if member.id != gone], slots=FEW)
    for slot in slots("us"):
        if before.copy(slot) != gone and not after.homeless(slot):
            assert before.copy(slot) == after.copy(slot)


def test_replicas_are_spread_over_the_zones_of_their_region() -> None:
    members = candidates([(region, f"z{n % 3}") for region in ("eu", "us") for n in range(6)])
    zone = {member.id: member.zone for member in members}
    placement = Placement(members, slots=FEW)
    for slot in slots("eu"):
        assert {zone[node] for node in placement.owners(slot)} == {"z0", "z1", "z2"}


def test_copies_are_spread_over_all_other_nodes() -> None:
    members = candidates([(region, "") for region in ("eu", "us", "local") for _ in range(3)])
    placement = Placement(members)
    kept = Counter(placement.copy(slot) for slot in range(slot_in("eu", 0), slot_in("eu", SLOTS)))
    assert set(kept) == {member.id for member in members if member.region != "eu"}
    assert max(kept.values()) < 1.2 * SLOTS / 6
