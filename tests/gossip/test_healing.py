"""After a cut: how soon the dead are tried again, and who is told that it is held for dead."""

from itertools import pairwise

import pytest

from gossip.effects import Effect, Send
from gossip.member import State
from gossip.messages import Dead, Sync
from gossip.swim import Swim
from tests.gossip.peers import Peer, acquainted, machine, run, said


def bury(swim: Swim, *peers: Peer, now: float) -> None:
    for peer in peers:
        for accuser in ("one", "two", "three"):
            Peer(accuser).says(swim, peer.dead(), now=now)
    run(swim, now, now + 30.0)
    assert {swim.members[peer.id].state for peer in peers} == {State.DEAD}


def told(effects: list[tuple[float, Effect]], peer: Peer) -> list[float]:
    """When the peer hears that it is held for dead, in a packet of its own (a push-pull is another thing)."""
    found = []
    for at, effect in effects:
        messages = said([effect]) if isinstance(effect, Send) and effect.to == peer.id else []
        if peer.dead() in messages and not any(isinstance(one, Sync) for one in messages):
            found.append(at)
    return found


def back(swim: Swim, peer: Peer, now: float) -> None:
    peer.step += 1
    peer.says(swim, peer.alive(), now=now)
    assert swim.members[peer.id].state is State.ALIVE


def test_when_two_come_back_the_others_are_told_what_is_believed_of_them() -> None:
    swim = machine()
    a, b, c = acquainted(swim, "a", "b", "c")
    bury(swim, a, b, c, now=1.0)
    run(swim, 31.0, 70.0)
    back(swim, a, 70.0)
    assert told(run(swim, 70.0, 75.0), c) == [], "one may have been restarted"
    back(swim, b, 75.0)
    times = told(run(swim, 75.0, 200.0), c)
    assert times[0] <= 76.0
    assert all(later - earlier == pytest.approx(1.0) for earlier, later in pairwise(times))
    assert 99.0 < times[-1] < 102.0, "for a reconnect interval from the first of the two on"
    assert len(times) >= 25


def test_who_answers_is_told_no_more() -> None:
    swim = machine()
    a, b, c = acquainted(swim, "a", "b", "c")
    bury(swim, a, b, c, now=1.0)
    back(swim, a, 40.0)
    back(swim, b, 40.0)
    assert told(run(swim, 40.0, 42.0), c)
    back(swim, c, 42.0)
    after = [one for _, effect in run(swim, 42.0, 43.0) for one in said([effect])]
    assert not [one for one in after if isinstance(one, Dead) and one.id == c.id]


def test_many_dead_are_told_a_few_at_a_time() -> None:
    swim = machine()
    peers = acquainted(swim, *[f"p{number}" for number in range(40)])
    bury(swim, *peers, now=1.0)
    back(swim, peers[0], 60.0)
    back(swim, peers[1], 60.0)
    effects = run(swim, 60.0, 61.0)
    assert 0 < sum(len(told(effects, peer)) for peer in peers[2:]) <= 8


@pytest.mark.parametrize(("live", "least", "most"), [(1, 3.75, 6.25), (10, 3.75, 6.5), (100, 22.5, 37.5)])
def test_a_dead_member_is_tried_the_sooner_the_fewer_live(live: int, least: float, most: float) -> None:
    """As many are dead as live, so there is a try each time."""
    swim = machine()
    others = acquainted(swim, *[f"p{number}" for number in range(live - 1)])
    dead = [Peer(f"dead{number}") for number in range(live)]
    Peer("teller").syncs(swim, *[one.record(State.DEAD, age=100) for one in dead], now=1.0)
    tries: list[float] = []
    for second in range(1, 400):
        now = float(second)
        for other in others:  # they stay well
            other.step += 1
            other.says(swim, other.alive(), now=now)
        tries += [
            at
            for at, effect in run(swim, now, now + 1.0)
            if isinstance(effect, Send)
            and effect.to.startswith("dead")
            and any(isinstance(one, Sync) and one.answer for one in said([effect]))
        ]
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert len(pauses) > 5
    assert least <= min(pauses)
    assert max(pauses) <= most
