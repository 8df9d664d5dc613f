"""Who holds a slot: stable, fair by weight, spread over zones."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.identity import NodeId
from sharding.placement import Candidate, Placement, rank
from sharding.slots import SLOTS

NAMES = [NodeId(f"node-{n}") for n in range(8)]
FEW = 256


def owners(placement: Placement) -> list[tuple[NodeId, ...]]:
    return [placement.owners(slot) for slot in range(placement.slots)]


def members(count: int, *, zones: int = 0) -> list[Candidate]:
    return [Candidate(NAMES[n], 1.0, f"z{n % zones}" if zones else "") for n in range(count)]


def test_the_map_is_the_same_for_ever() -> None:
    """Another version of the program must place alike: these are written down, not computed."""
    placement = Placement(members(5))
    assert [placement.owners(slot)[0] for slot in (0, 1, 2, 100, 4095)] == [
        "node-2",
        "node-0",
        "node-4",
        "node-3",
        "node-1",
    ]
    assert owners(Placement(reversed(members(5)), slots=FEW)) == owners(Placement(members(5), slots=FEW))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_slot_has_as_many_owners_as_there_can_be(count: int) -> None:
    for found in owners(Placement(members(count), slots=FEW)):
        assert len(set(found)) == len(found) == min(3, count)
    assert Placement([], slots=FEW).owners(0) == ()


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 8), st.integers(0, 7), st.lists(st.floats(0.5, 4), min_size=8, max_size=8))
def test_removing_a_member_moves_only_its_slots(count: int, which: int, weights: list[float]) -> None:
    candidates = [Candidate(NAMES[n], weights[n]) for n in range(count)]
    gone = NAMES[which % count]
    before = owners(Placement(candidates, slots=FEW))
    after = owners(Placement([c for c in candidates if c.id != gone], slots=FEW))
    for old, new in zip(before, after, strict=True):
        kept = tuple(node for node in old if node != gone)
        assert new[: len(kept)] == kept
        if gone not in old:
            assert new == old


def test_adding_a_member_takes_slots_for_itself_only() -> None:
    before, after = owners(Placement(members(5))), owners(Placement(members(6)))
    moved = 0
    for old, new in zip(before, after, strict=True):
        assert set(new) - set(old) <= {NAMES[5]}
        moved += NAMES[5] in new
    assert moved == pytest.approx(SLOTS / 2, rel=0.1)  # 3 of 6


def test_shares_follow_the_weights() -> None:
    weights = {NAMES[0]: 1.0, NAMES[1]: 2.0, NAMES[2]: 5.0}
    placement = Placement([Candidate(n, w) for n, w in weights.items()])
    first = Counter(found[0] for found in owners(placement))
    for name, weight in weights.items():
        assert first[name] / SLOTS == pytest.approx(weight / 8, abs=0.02)


def test_a_member_of_no_weight_holds_nothing() -> None:
    placement = Placement([*members(3), Candidate(NAMES[5], 0.0)], slots=FEW)
    assert owners(placement) == owners(Placement(members(3), slots=FEW))


def test_replicas_are_spread_over_zones() -> None:
    candidates = members(8, zones=3)
    zone = {c.id: c.zone for c in candidates}
    for found in owners(Placement(candidates, slots=FEW)):
        assert {zone[node] for node in found} == {"z0", "z1", "z2"}
    two = members(8, zones=2)
    zone = {c.id: c.zone for c in two}
    for found in owners(Placement(two, slots=FEW)):
        assert len(found) == 3
        assert {zone[node] for node in found} == {"z0", "z1"}


def test_zones_do_not_change_who_is_first() -> None:
    plain, zoned = owners(Placement(members(8), slots=FEW)), owners(Placement(members(8, zones=3), slots=FEW))
    assert [found[0] for found in plain] == [found[0] for found in zoned]


def test_placements_of_the_same_members_are_equal() -> None:
    assert Placement(members(3)) == Placement(reversed(members(3)))
    assert hash(Placement(members(3))) == hash(Placement(reversed(members(3))))
    assert Placement(members(3)) != Placement(members(4))
    assert Placement(members(3)) != Placement(members(3), replicas=2)


def test_ranking_is_stable_and_spread() -> None:
    rng = random.Random(5)
    first = Counter(rank(f"key{n}", rng.sample(NAMES, 8))[0] for n in range(800))
    assert set(first) == set(NAMES)
    assert max(first.values()) < 200
    without = [n for n in NAMES if n != NAMES[3]]
    assert rank("key", without) == [n for n in rank("key", NAMES) if n != NAMES[3]]
