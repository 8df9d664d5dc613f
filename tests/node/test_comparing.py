"""With whom a node compares what it holds, how often, and whom it asks for what it lacks."""

from gossip.identity import NodeId
from node.comparing import FAR_INTERVAL, NEAR_INTERVAL, PATIENCE, Comparing

ME, NEAR, FAR, OTHER = NodeId("me"), NodeId("near"), NodeId("far"), NodeId("other")


def comparing(*far: NodeId) -> Comparing:
    found = Comparing(ME)
    found.members(frozenset({ME, NEAR, *far}), frozenset(far), 0.0)
    return found


def test_a_far_peer_is_compared_seldom_once_it_is_equal() -> None:
    one = comparing(FAR)
    live = [ME, NEAR, FAR]
    assert one.due(live, {FAR}, 0.0) == [FAR, NEAR]
    assert one.due(live, {FAR}, NEAR_INTERVAL) == [NEAR]
    assert FAR in one.due(live, {FAR}, FAR_INTERVAL)


def test_one_far_peer_is_asked_for_a_slot_until_it_has_answered() -> None:
    one = comparing(FAR, OTHER)
    assert one.asks(FAR, 7, 1.0)
    assert not one.asks(FAR, 7, 1.5)
    assert not one.asks(OTHER, 7, 1.5)
    assert one.asks(OTHER, 8, 1.5)
    one.answered(FAR, 7)
    assert one.asks(OTHER, 7, 2.0)


def test_another_is_asked_when_patience_is_over_or_the_asked_one_is_dead() -> None:
    one = comparing(FAR, OTHER)
    assert one.asks(FAR, 7, 1.0)
    assert one.asks(OTHER, 7, 1.0 + PATIENCE)
    one.members(frozenset({ME, NEAR, FAR}), frozenset({FAR}), 5.0)
    assert one.asks(FAR, 7, 5.0)


def test_a_near_peer_is_always_asked() -> None:
    one = comparing(FAR)
    assert one.asks(FAR, 7, 1.0)
    assert one.asks(NEAR, 7, 1.0)
    assert one.asks(NEAR, 7, 1.0)


def test_one_that_is_held_for_dead_is_asked_once() -> None:
    """At the end of a cut all that waited for it arrives at once, before the news that the other lives."""
    one = comparing(FAR)
    one.members(frozenset({ME, NEAR}), frozenset(), 9.0)
    assert [one.asks(FAR, 7, 10.0) for _ in range(20)].count(True) == 1
    one.members(frozenset({ME, NEAR, FAR}), frozenset({FAR}), 10.1)
    assert not one.asks(FAR, 7, 10.2)
