"""Which life of a member is believed, and from whom: a made-up one buries nobody, and stops nobody."""

import pytest

from gossip.effects import Conflict, Effect, Received, Send
from gossip.identity import NodeId
from gossip.member import MAX_BOOT, State
from gossip.messages import Ack, Ping
from gossip.swim import Swim
from tests.gossip.peers import ME, Peer, acquainted, changes, machine, run, said

VICTIM = NodeId("victim")
NAMES = ("victim", "evil", "b", "c", "d")


def mesh() -> tuple[Swim, list[Peer]]:
    swim = machine()
    return swim, acquainted(swim, *NAMES)


def tells(teller: Peer, swim: Swim, subject: Peer, way: str, now: float) -> list[Effect]:
    """What others say of a life: as news, or as a record in one of its states."""
    if way == "news":
        return teller.says(swim, subject.alive(), now=now)
    return teller.syncs(swim, subject.record(State(way)), now=now)


@pytest.mark.parametrize("way", ["news", "alive", "suspect", "dead", "left"])
def test_a_later_life_of_a_live_member_is_believed_from_itself_only(way: str) -> None:
    """One could bury another: what it went on to say was of an earlier life, and counted for nothing."""
    swim, (victim, evil, b, *_) = mesh()
    for boot in (2, MAX_BOOT):
        for teller in (evil, b):
            assert changes(tells(teller, swim, Peer("victim", boot=boot), way, 2.0)) == []
    victim.step = 1
    victim.says(swim, victim.alive(), now=3.0)
    held = swim.members[VICTIM]
    assert (held.state, held.boot, held.incarnation) == (State.ALIVE, victim.boot, victim.incarnation)


def test_a_member_that_has_begun_a_new_life_is_asked_for_it_and_taken_at_its_word() -> None:
    swim, (_, evil, b, *_) = mesh()
    again = Peer("victim", boot=2, address="elsewhere:1", ready=True)
    asked = tells(b, swim, again, "news", 2.0)
    assert [(e.to, e.address) for e in asked if isinstance(e, Send)] == [("victim", "elsewhere:1")]
    assert Ping(0, VICTIM) in said(asked)
    again.says(swim, Ack(0), now=2.1)
    held = swim.members[VICTIM]
    assert (held.boot, held.address, held.meta.ready) == (2, "elsewhere:1", True)
    assert changes(tells(evil, swim, Peer("victim", boot=1, step=5), "dead", 2.2)) == []


def test_a_rumour_of_another_life_than_it_speaks_in_is_nothing() -> None:
    swim, (victim, evil, *_) = mesh()
    tells(evil, swim, Peer("victim", boot=7), "news", 2.0)
    assert changes(victim.says(swim, Ping(1, ME), now=2.1)) == []
    assert swim.members[VICTIM].boot == victim.boot


def test_rumours_ask_no_more_often_than_probes() -> None:
    swim, (_, evil, *_) = mesh()
    asked = [
        one
        for step in range(100)
        for one in said(tells(evil, swim, Peer("victim", boot=2 + step), "news", 2.0 + step / 100))
        if isinstance(one, Ping)
    ]
    assert len(asked) == 1


@pytest.mark.parametrize("way", ["news", "dead", "left"])
def test_whom_a_newcomer_knows_by_hearsay_is_corrected_by_its_first_word(way: str) -> None:
    swim = machine()
    (evil,) = acquainted(swim, "evil")
    tells(evil, swim, Peer("victim", boot=9), way, 2.0)
    assert swim.members[VICTIM].boot == 9
    victim = Peer("victim", boot=3)
    assert Ack(1) in said(victim.says(swim, Ping(1, ME), now=2.1))
    held = swim.members[VICTIM]
    assert (held.state, held.boot, held.incarnation) == (State.ALIVE, victim.boot, victim.incarnation)
    assert changes(tells(evil, swim, Peer("victim", boot=9), "news", 2.2)) == []


def test_who_is_dead_here_is_corrected_as_well() -> None:
    swim = machine()
    evil, _, victim = acquainted(swim, "evil", "b", "victim")
    victim.says(swim, victim.departed(), now=2.0)
    tells(evil, swim, Peer("victim", boot=9), "news", 2.1)
    assert swim.members[VICTIM].boot == 9
    again = Peer("victim", boot=2)
    again.says(swim, again.alive(), now=2.2)
    assert (swim.members[VICTIM].boot, swim.members[VICTIM].state) == (2, State.ALIVE)


def test_a_life_that_was_heard_is_not_taken_back() -> None:
    """A copy of an older directory is told of the later life, not believed."""
    swim, _ = mesh()
    later, restored = Peer("victim", boot=9), Peer("victim", boot=3)
    later.says(swim, later.alive(), now=2.0)
    restored.says(swim, Ping(1, ME), restored.alive(), now=3.0)
    assert swim.members[VICTIM].boot == 9


def outlived(swim: Swim, start: float) -> list[int]:
    return [e.boot for _, e in run(swim, start, start + 3.0) if isinstance(e, Conflict) and e.id == ME]


@pytest.mark.parametrize("way", ["news", "alive", "dead"])
def test_that_this_node_has_lived_later_takes_more_than_half_of_the_others(way: str) -> None:
    """One message of one member stopped any node, for good where it named the last boot there is."""
    swim, (victim, evil, b, c, _) = mesh()
    tells(evil, swim, Peer("me", boot=MAX_BOOT), way, 2.0)
    assert outlived(swim, 2.0) == []
    for teller in (victim, b):
        tells(teller, swim, Peer("me", boot=8), way, 6.0)
    assert outlived(swim, 6.0) == [8], "what more than half say, not the most that one says"
    assert evil.says(swim, c.alive(), now=9.5) == []


def test_who_takes_it_back_no_longer_counts() -> None:
    swim, (_, evil, b, c, _) = mesh()
    for teller in (evil, b, c):
        tells(teller, swim, Peer("me", boot=8), "alive", 2.0)
    c.syncs(swim, Peer("me", boot=1).record(), now=2.1)
    assert outlived(swim, 2.1) == []


@pytest.mark.parametrize(
    "address", ["nonsense", "*:5", "a b:1", "a:b:1", "[zz]:1", ":1", "a:", "a:123456", "a/b:1"]
)
def test_what_is_no_address_is_not_taken(address: str) -> None:
    """It would spread, and nobody could dial it: the timers of a node stopped at the first."""
    swim, (_, evil, *_) = mesh()
    forged = Peer("victim", step=5, address=address)
    assert evil.says(swim, forged.alive(), now=2.0) == []
    assert forged.says(swim, Ping(1, ME), now=2.0) == []
    assert evil.syncs(swim, forged.record(), now=2.0) == []
    assert swim.members[VICTIM].address == "victim:1"
    assert swim.rejected == 3


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "[::1]:65535", "[fe80::1%eth0]:80", "host-1.example:8701"]
)
def test_addresses_of_every_form_are_taken(address: str) -> None:
    swim = machine()
    peer = Peer("p", address=address)
    swim.handle(Received(peer.id, peer.packet(peer.alive())), 1.0)
    assert swim.members[peer.id].address == address
