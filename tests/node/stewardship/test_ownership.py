"""Who stewards a slot, by members, placement and claims."""

import itertools

import pytest

from gossip.identity import Boot, NodeId
from gossip.member import Member, State
from node.stewardship.ownership import Ownership, OwnershipConfig, next_token
from sharding.placement import Candidate, Placement
from state.envelope import writer_of
from state.ledger import Ledger
from state.model import Claim, key_of
from tests.node.stewardship.desk import Desk, member

CONFIG = OwnershipConfig(takeover_delay=2.0, stable_after=10.0)
NAMES = ["a", "b", "c"]
SLOT = 1


def claimed(*claims: tuple[str, int, int]) -> Ledger:
    """A ledger with claims of (node, boot, epoch)."""
    ids = itertools.count(1)
    ledger = Ledger(SLOT, lambda: next(ids))
    for node, boot, epoch in claims:
        writer = writer_of(NodeId(node), Boot(boot))
        ledger.write(writer, [(None, key_of("e", writer), Claim(epoch))])
    return ledger


def ownership(me: str, *members: Member) -> Ownership:
    found = Ownership(NodeId(me), CONFIG)
    found.placement = Placement([Candidate(NodeId(n)) for n in NAMES], slots=8)
    found.members = {m.id: m for m in members}
    return found


FIRST, SECOND, THIRD = Placement([Candidate(NodeId(n)) for n in NAMES], slots=8).owners(SLOT)


def everyone(**states: Member) -> list[Member]:
    return [states.get(name, member(name)) for name in NAMES]


def test_without_a_claim_the_first_ready_replica_is_it() -> None:
    assert ownership(FIRST, *everyone()).steward(SLOT, None, 50.0) == FIRST
    unready = ownership(FIRST, *everyone(**{FIRST: member(FIRST, ready=False)}))
    assert unready.steward(SLOT, None, 50.0) == SECOND
    assert ownership(FIRST).steward(SLOT, None, 50.0) is None


def test_the_largest_claim_counts_whoever_is_preferred() -> None:
    ledger = claimed((SECOND, 1, 3), (FIRST, 1, 2))
    assert ownership(FIRST, *everyone()).steward(SLOT, ledger, 50.0) == SECOND
    assert ledger.claim() == (3, SECOND, 1)


def test_two_claims_of_one_epoch_are_decided_alike_everywhere() -> None:
    one, other = claimed(("a", 1, 3), ("b", 1, 3)), claimed(("b", 1, 3), ("a", 1, 3))
    assert one.claim() == other.claim() == (3, "b", 1)


def test_a_suspect_keeps_its_slots() -> None:
    members = everyone(**{SECOND: member(SECOND, state=State.SUSPECT, since=49.0)})
    assert ownership(FIRST, *members).steward(SLOT, claimed((SECOND, 1, 1)), 50.0) == SECOND


@pytest.mark.parametrize(("now", "steward"), [(50.0, None), (51.9, None), (52.0, FIRST)])
def test_a_dead_stewards_slots_wait_for_the_delay(now: float, steward: str | None) -> None:
    members = everyone(**{SECOND: member(SECOND, state=State.DEAD, since=50.0)})
    found = ownership(FIRST, *members)
    assert found.steward(SLOT, claimed((SECOND, 1, 1)), now) == steward


def test_who_left_is_not_waited_for() -> None:
    members = everyone(**{SECOND: member(SECOND, state=State.LEFT, since=50.0)})
    assert ownership(FIRST, *members).steward(SLOT, claimed((SECOND, 1, 1)), 50.0) == FIRST


def test_the_claim_of_an_earlier_life_is_void() -> None:
    members = everyone(**{SECOND: member(SECOND, boot=2)})
    assert ownership(FIRST, *members).steward(SLOT, claimed((SECOND, 1, 1)), 50.0) == FIRST


def test_a_dead_node_that_is_preferred_is_passed_over() -> None:
    members = everyone(**{FIRST: member(FIRST, state=State.DEAD, since=0.0)})
    assert ownership(SECOND, *members).steward(SLOT, None, 50.0) == SECOND


def test_a_preferred_replica_gets_its_slot_back_when_it_is_stable() -> None:
    fresh = ownership(SECOND, *everyone(**{FIRST: member(FIRST, since=45.0)}))
    assert fresh.successor(SLOT, 50.0) is None
    assert fresh.successor(SLOT, 55.0) == FIRST
    unready = ownership(SECOND, *everyone(**{FIRST: member(FIRST, ready=False)}))
    assert unready.successor(SLOT, 50.0) is None
    assert ownership(FIRST, *everyone()).successor(SLOT, 50.0) is None
    assert ownership(THIRD, *everyone()).successor(SLOT, 50.0) == FIRST


def test_each_claim_is_larger_than_the_one_before() -> None:
    claim = (3, "zz", 9)
    assert next_token(claim, NodeId("a"), 1) > claim


@pytest.mark.parametrize(
    ("me", "fresh", "now", "says"),
    [
        (FIRST, [THIRD], 50.0, True),
        (SECOND, [THIRD], 50.0, True),
        (THIRD, [FIRST, SECOND], 50.0, False),
        (FIRST, [SECOND, THIRD], 50.0, False),
        (FIRST, [THIRD], 58.0, False),
        (FIRST, [], 50.0, False),
    ],
)
def test_who_was_cut_off_from_the_most_has_no_say(me: str, fresh: list[str], now: float, says: bool) -> None:
    """The claim of THIRD (or, seen by THIRD, of FIRST), after a cut that ended at 48; stable 10 s later."""
    found = ownership(me, *everyone(**{name: member(name, since=48.0) for name in fresh}))
    for name in fresh:
        found.damping.observe({NodeId(name): member(name)}, 40.0)
        found.damping.observe({NodeId(name): member(name, state=State.DEAD)}, 42.0)
    other = FIRST if me == THIRD else THIRD
    assert found.intruder(SLOT, other, now) == (48.0 if says else None)


def test_of_two_replicas_none_is_the_most() -> None:
    found = ownership(FIRST, *everyone(**{SECOND: member(SECOND, since=48.0)}))
    found.placement = Placement([Candidate(NodeId(n)) for n in (FIRST, SECOND)], slots=8)
    found.damping.observe({SECOND: member(SECOND)}, 40.0)
    found.damping.observe({SECOND: member(SECOND, state=State.DEAD)}, 42.0)
    assert found.intruder(SLOT, SECOND, 50.0) is None


def test_a_slot_that_comes_back_is_stewarded_under_a_newer_token() -> None:
    """What was leased under the old one reported to nobody in between."""
    table = Desk().core.table
    table.mine[3] = None
    before = table.token(3)
    table.flush_facts()
    table.leave(3)
    table.mine[3] = None
    assert table.token(3) > before
