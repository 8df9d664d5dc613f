"""When a node takes a newer map, and when nodes that took different ones agree again."""

from gossip.identity import NodeId
from node.leases.maps import MAX_MAPS, Maps
from node.leases.wire import Known, PlainMap
from sharding.placement import Candidate

PRESENT = {NodeId(name): Candidate(NodeId(name), 1.0, "") for name in "abc"}
LIVE = frozenset(PRESENT)


def plain(names: str) -> PlainMap:
    return [(name, 1.0, "") for name in sorted(names)]


def crowded(me: str, newest: str) -> Maps:
    """As many maps as may be, as `x` has been away since the first of them."""
    maps = Maps(NodeId(me), replicas=3, slots=4)
    older = [plain("abcx"), *[plain("abx"), plain("abcx")] * MAX_MAPS][: MAX_MAPS - 1]
    maps.load(Known([*older, plain(newest)], settled=True))
    return maps


def pass_time(nodes: list[Maps], start: float) -> None:
    """All want what they see, and ask those whom they miss."""
    for now in (start, start + 5.0, start + 6.0):
        for node in nodes:
            node.want(PRESENT, LIVE, now, 1.0)
        for node in nodes:
            node.number += 1
            for other in nodes:
                if other.me in node.missing():
                    other.hear(node.active, node.forgotten)
                    node.hear(other.active, other.forgotten)
                    node.answered(other.me, other.active, node.number, settled=other.settled)
            node.settle(now, 1.0)


def test_while_somebody_is_away_no_more_maps_are_kept_than_that() -> None:
    nodes = [crowded("a", "bx"), crowded("b", "bx"), crowded("c", "cx")]
    pass_time(nodes, 100.0)
    assert [len(node.active) for node in nodes] == [MAX_MAPS] * 3


def test_who_has_too_many_maps_agrees_again_when_those_away_are_forgotten() -> None:
    nodes = [crowded("a", "bx"), crowded("b", "bx"), crowded("c", "cx")]
    for node in nodes:
        node.forget([NodeId("x")])
    pass_time(nodes, 100.0)
    assert [[found.members for found in node.active] for node in nodes] == [[LIVE]] * 3
