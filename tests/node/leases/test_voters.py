"""How many replicas vote for a task that is to pause in a cut, as its submit is judged."""

from gossip.member import State
from tests.node.stewardship.desk import Desk, member


def test_who_has_just_joined_is_counted_before_there_is_a_map() -> None:
    desk = Desk("a")
    assert desk.core.voters_in("local") == 0
    desk.join(member("a"), member("b"), member("c"))
    assert not desk.core.leases.maps.active, "else the next line shows nothing"
    assert desk.core.voters_in("local") == 3


def test_who_is_dead_goes_on_counting_and_no_more_than_the_replicas_do() -> None:
    desk = Desk("a")
    desk.join(member("a"), member("b", state=State.DEAD), member("c"))
    assert desk.core.voters_in("local") == 3
    desk.join(member("a"), member("b"), member("c"), member("d"))
    assert desk.core.voters_in("local") == 3
