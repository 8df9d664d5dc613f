"""How the machine probes, leaves, seeks, and bears its own lateness."""

import random
from itertools import pairwise

import pytest

from gossip.config import SwimConfig
from gossip.effects import Contact, Effect, Forget, Lagged, Leave, Left, Readmit, Received, Send, Tick
from gossip.identity import Boot, NodeId
from gossip.member import MAX_BOOT, State
from gossip.messages import Ack, Dead, Departed, Message, Nack, Ping, PingRequest, Suspect, Sync
from gossip.swim import Swim
from tests.gossip.peers import ME, Peer, acquainted, changes, machine, meta, run, said

A, B = NodeId("a"), NodeId("b")


def first_ping(swim: Swim) -> tuple[float, Ping]:
    while True:
        now = swim.due()
        assert now is not None
        for message in said(swim.handle(Tick(), now)):
            if isinstance(message, Ping):
                return now, message


def requests(effects: list[Effect]) -> list[PingRequest]:
    return [one for one in said(effects) if isinstance(one, PingRequest)]


def test_a_probe_goes_direct_then_through_helpers_then_accuses() -> None:
    swim = machine()
    peers = {peer.id: peer for peer in acquainted(swim, "a", "b", "c", "d", "e")}
    at, ping = first_ping(swim)
    effects = run(swim, at, at + 1.0)
    requests = [
        (when, one) for when, effect in effects for one in said([effect]) if isinstance(one, PingRequest)
    ]
    assert [round(when - at, 6) for when, _ in requests] == [0.5] * 3
    assert {one.target for _, one in requests} == {ping.target}
    assert swim.members[ping.target].state is State.SUSPECT
    assert swim.members[ping.target].since == pytest.approx(at + 1.0)
    assert swim.health == 3, "three helpers were asked and none said nack"
    assert peers[ping.target].address == swim.members[ping.target].address


def pings(swim: Swim, start: float, end: float) -> list[tuple[float, str, int]]:
    """Seconds after the start, to whom and with which sequence."""
    return [
        (round(when - start, 6), one.target, one.sequence)
        for when, effect in run(swim, start, end)
        for one in said([effect])
        if isinstance(one, Ping)
    ]


@pytest.mark.parametrize("sick", [False, True])
def test_a_lost_ping_is_not_held_against_its_target(sick: bool) -> None:
    """It is pinged again after the timeout, as often and evenly however long it is given."""
    swim = machine()
    peers = {peer.id: peer for peer in acquainted(swim, "a", "b", "c")}
    if sick:
        swim.handle(Lagged(0.1), 0.0)
    given = 2.0 if sick else 1.0
    at, ping = first_ping(swim)
    pause = (given - 0.5) / 4
    again = [(0.5 + number * pause, ping.target, ping.sequence) for number in range(4)]
    assert pings(swim, at, at + given - 0.01) == again
    peers[ping.target].says(swim, Ack(ping.sequence), now=at + given - 0.01)
    later = pings(swim, at + given - 0.01, at + given + 0.4)
    assert [sequence for _, _, sequence in later] == [ping.sequence + 1]
    assert swim.members[ping.target].state is State.ALIVE


def test_nobody_is_pinged_again_once_it_answered() -> None:
    swim = machine()
    peers = {peer.id: peer for peer in acquainted(swim, "a", "b", "c")}
    at, ping = first_ping(swim)
    run(swim, at, at + 0.6)
    peers[ping.target].says(swim, Ack(ping.sequence), now=at + 0.61)
    assert pings(swim, at + 0.61, at + 0.99) == []


def test_an_ack_in_time_ends_the_probe() -> None:
    swim = machine()
    peers = {peer.id: peer for peer in acquainted(swim, "a", "b", "c")}
    at, ping = first_ping(swim)
    peers[ping.target].says(swim, Ack(ping.sequence), now=at + 0.01)
    later = run(swim, at + 0.01, at + 0.99)
    assert not [one for _, effect in later for one in said([effect]) if isinstance(one, Ping | PingRequest)]
    at_next, _ = first_ping(swim)
    assert at_next == pytest.approx(at + 1.0)


@pytest.mark.parametrize("nacks", [0, 1, 2, 3])
def test_helpers_that_say_nack_spare_our_own_health(nacks: int) -> None:
    swim = machine()
    peers = {peer.id: peer for peer in acquainted(swim, "a", "b", "c", "d")}
    at, ping = first_ping(swim)
    helpers = [
        effect.to
        for _, effect in run(swim, at, at + 0.5)
        if isinstance(effect, Send) and any(isinstance(one, PingRequest) for one in said([effect]))
    ]
    for helper in helpers[:nacks]:
        peers[helper].says(swim, Nack(ping.sequence), Nack(ping.sequence), now=at + 0.9)
    run(swim, at + 0.9, at + 1.0)
    assert swim.health == 3 - nacks


def test_an_ack_counts_only_from_the_target_or_a_helper() -> None:
    swim = machine()
    peers = {peer.id: peer for peer in acquainted(swim, "a", "b")}
    at, ping = first_ping(swim)
    (other,) = set(peers) - {ping.target}
    stranger = Peer("stranger")
    stranger.says(swim, Ack(ping.sequence), now=at + 0.1)
    peers[other].says(swim, Ack(ping.sequence), now=at + 0.1)
    asked = [effect for _, effect in run(swim, at + 0.1, at + 0.6) if requests([effect])]
    assert [effect.to for effect in asked if isinstance(effect, Send)] == [other], "the probe goes on"
    stranger.says(swim, Ack(ping.sequence), now=at + 0.6)
    peers[other].says(swim, Ack(ping.sequence), now=at + 0.7)
    run(swim, at + 0.7, at + 1.0)
    assert swim.members[ping.target].state is State.ALIVE, "the helper passed on the answer"


def test_an_ack_from_a_stranger_does_not_save_the_target() -> None:
    swim = machine()
    acquainted(swim, "a", "b")
    at, ping = first_ping(swim)
    run(swim, at, at + 0.6)
    Peer("stranger").says(swim, Ack(ping.sequence), now=at + 0.6)
    run(swim, at + 0.6, at + 1.0)
    assert swim.members[ping.target].state is State.SUSPECT


def test_an_ill_node_gives_others_more_time() -> None:
    swim = machine()
    acquainted(swim, "a", "b", "c", "d")
    swim.handle(Lagged(0.1), 0.0)
    swim.handle(Lagged(0.1), 1.0)
    assert swim.health == 2
    at, ping = first_ping(swim)
    run(swim, at, at + 2.9)
    assert swim.members[ping.target].state is State.ALIVE
    run(swim, at + 2.9, at + 3.0)
    assert swim.members[ping.target].state is State.SUSPECT


def test_the_dead_are_told_the_news_for_a_while() -> None:
    swim = machine()
    (b,) = acquainted(swim, "b")
    b.syncs(swim, Peer("a").record(State.DEAD), now=1.0)
    early, late = Peer("early"), Peer("late")
    b.says(swim, early.alive(), now=1.1)
    assert early.alive() in [one for _, effect in run(swim, 1.1, 1.6) for one in said([effect], to="a")]
    b.says(swim, late.alive(), now=40.0)
    told = [said([effect], to="a") for _, effect in run(swim, 40.0, 41.0)]
    assert not [one for one in told if late.alive() in one and not isinstance(one[0], Sync)]


def test_the_dead_are_told_of_no_other_death() -> None:
    """They may be cut off with who is well, and would bury it."""
    swim = machine()
    b, _ = acquainted(swim, "b", "c")
    b.syncs(swim, Peer("a").record(State.DEAD), now=1.0)
    c = swim.members[NodeId("c")]
    b.says(swim, Dead(c.id, c.boot, c.incarnation), now=1.1)
    sent = [effect for _, effect in run(swim, 1.1, 1.1 + SwimConfig().reconnect_interval)]
    assert c.id in _accused(sent, "b")
    assert c.id not in _accused(sent, "a")


def _accused(sent: list[Effect], to: str) -> set[NodeId]:
    return {NodeId(one.id) for one in said(sent, to=to) if isinstance(one, Suspect | Dead)}


def test_a_node_answers_only_for_itself() -> None:
    swim = machine()
    a, _ = acquainted(swim, "a", "b")
    assert Ack(7) in said(a.says(swim, Ping(7, ME)), to="a")
    assert not [one for one in said(a.says(swim, Ping(8, B))) if isinstance(one, Ack)]


def test_an_unknown_pinger_is_answered_at_the_address_that_it_names() -> None:
    swim = machine()
    effects = Peer("new", address="new:5").says(swim, Ping(1, ME))
    assert [(effect.to, effect.address) for effect in effects if isinstance(effect, Send)] == [
        ("new", "new:5")
    ]


def test_a_helper_says_nack_at_four_fifths_of_the_timeout_and_still_passes_a_late_ack_on() -> None:
    swim = machine()
    a, b = acquainted(swim, "a", "b")
    (ping,) = [one for one in said(a.says(swim, PingRequest(42, B, "b:1")), to="b") if isinstance(one, Ping)]
    effects = run(swim, 1.0, 1.6)
    assert [at for at, effect in effects if Nack(42) in said([effect], to="a")] == [pytest.approx(1.4)]
    assert Ack(42) not in said(a.says(swim, Ack(ping.sequence), now=1.6)), "only the target itself can answer"
    assert Ack(42) in said(b.says(swim, Ack(ping.sequence), now=1.6), to="a")
    assert Ack(42) not in said(b.says(swim, Ack(ping.sequence), now=1.7))


def test_every_live_member_is_probed_once_a_round() -> None:
    swim = machine()
    peers = {peer.id: peer for peer in acquainted(swim, *"abcdefgh")}
    run(swim, 0.0, 0.0)
    targets = []
    for _ in range(32):
        at, ping = first_ping(swim)
        targets.append(ping.target)
        peers[ping.target].says(swim, Ack(ping.sequence), now=at)
    rounds = [sorted(targets[start : start + 8]) for start in range(0, 32, 8)]
    assert rounds == [sorted(peers)] * 4
    assert len({tuple(targets[start : start + 8]) for start in range(0, 32, 8)}) == 4, "each in another order"


def test_judgement_after_a_standstill_waits_for_what_has_come_in() -> None:
    swim = machine()
    acquainted(swim, "a", "b", "c")
    at, ping = first_ping(swim)
    thawed = at + 8.0
    assert changes(swim.handle(Tick(), thawed)) == []
    assert swim.members[ping.target].state is State.ALIVE
    assert swim.health == 1
    later = run(swim, thawed, thawed + 1.0)
    assert not [one for _, effect in later for one in changes([effect])], (
        "after 8 s of lag nobody is accused for 5 s"
    )


def test_judgement_that_is_late_again_is_not_put_off_again() -> None:
    swim = machine()
    acquainted(swim, "a", "b", "c")
    at, ping = first_ping(swim)
    swim.handle(Tick(), at + 1.3)
    swim.handle(Tick(), at + 2.6)
    assert swim.members[ping.target].state is State.SUSPECT


def test_a_suspicion_is_not_ended_by_a_late_timer_before_the_refutation_is_read() -> None:
    swim = machine()
    a, b = acquainted(swim, "a", "b")
    b.says(swim, a.suspect("b"), now=1.0)
    swim.handle(Tick(), 7.0)
    assert swim.members[A].state is State.SUSPECT
    a.step = 1
    a.says(swim, a.alive(), now=7.0)
    run(swim, 7.0, 9.0)
    assert swim.members[A].state is not State.DEAD


def test_a_driver_that_lags_for_long_accuses_nobody() -> None:
    swim = machine()
    acquainted(swim, "a", "b", "c")
    for step in range(40):
        now = 1.0 + step / 2
        swim.handle(Lagged(0.6), now)
        assert changes([effect for _, effect in run(swim, now, now + 0.5)]) == [] or now < 7.0
    accused = [one for one in swim.members.values() if one.state is State.SUSPECT]
    assert all(one.since < 7.0 for one in accused)
    assert swim.health == 7


def test_a_leave_is_spread_and_then_over() -> None:
    swim = machine()
    peers = acquainted(swim, "a", "b", "c", "d")
    effects = [(1.0, effect) for effect in swim.handle(Leave(), 1.0)]
    effects += run(swim, 1.0, 10.0)
    sent = [at for at, effect in effects if any(isinstance(one, Departed) for one in said([effect]))]
    assert len(sent) == 4
    assert [at for at, effect in effects if effect == Left()] == [sent[-1]]
    assert sent[-1] <= 3.0
    assert swim.due() is None
    assert peers[0].says(swim, Ping(1, ME), now=10.0) == []


def test_a_leave_that_nobody_can_hear_is_over_at_once() -> None:
    assert machine().handle(Leave(), 1.0)[-1] == Left()


def test_a_forgotten_node_is_neither_heard_nor_told_nor_kept_as_a_contact() -> None:
    swim = machine()
    a, b = acquainted(swim, "a", "b")
    assert changes(swim.handle(Forget(A), 1.0)) == [("a", State.LEFT, State.ALIVE)]
    assert a.says(swim, Ping(1, ME)) == []
    again = Peer("a", boot=9)
    assert changes(b.says(swim, again.alive(), now=2.0)) == []
    assert changes(b.syncs(swim, again.record(), now=2.0)) == []
    swim.handle(Contact(A, "a:1"), 2.0)
    assert "a" not in {effect.to for _, effect in run(swim, 2.0, 200.0) if isinstance(effect, Send)}
    assert A not in dict(swim.contacts())
    answer = said(b.syncs(swim, answer=True, now=200.0), to="b")
    assert {record.id for one in answer if isinstance(one, Sync) for record in one.records} == {"me", "b"}


def test_a_forgotten_node_that_is_admitted_again_takes_its_place() -> None:
    """In the life it never ended: others say that it left, which it refutes by a larger incarnation."""
    swim = machine()
    a, _ = acquainted(swim, "a", "b")
    swim.handle(Forget(A), 1.0)
    swim.handle(Readmit(A), 2.0)
    a.step = 1
    assert changes(a.says(swim, a.alive(), now=3.0)) == [("a", State.ALIVE, State.LEFT)]
    assert A in dict(swim.contacts())


def sought(swim: Swim, start: float, end: float) -> list[float]:
    return [
        at
        for at, effect in run(swim, start, end)
        if isinstance(effect, Send)
        and effect.to == "a"
        and any(isinstance(one, Sync) and one.answer for one in said([effect]))
    ]


def test_a_contact_is_tried_at_once_and_then_with_back_off_until_it_is_met() -> None:
    swim = machine()
    swim.handle(Contact(A, "a:1"), 1.0)
    tries = sought(swim, 1.0, 300.0)
    assert tries[0] == 1.0
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses[0] < 1.5
    assert all(22.5 <= pause <= 37.5 for pause in pauses[6:])
    a, tries = Peer("a"), []
    for second in range(300, 400):
        a.step += 1  # it stays well
        a.says(swim, a.alive(), now=float(second))
        tries += sought(swim, float(second), second + 1.0)
    assert len(tries) <= 5, "no more than the regular push-pull"


def test_a_contact_that_never_answers_is_dropped_after_a_day() -> None:
    swim = machine(contacts=[(A, "a:1")])
    assert swim.contacts() == [(A, "a:1")]
    assert sought(swim, 86_000.0, 86_390.0)
    assert sought(swim, 86_500.0, 90_000.0) == []
    assert swim.contacts() == []


def test_only_so_many_unmet_contacts_are_kept() -> None:
    swim = machine()
    for number in range(1000):
        swim.handle(Contact(NodeId(f"fake{number}"), "nowhere:1"), 1.0)
    assert len(swim.contacts()) == 256


def test_contacts_name_everybody_ever_met_in_any_state() -> None:
    swim = machine(contacts=[(NodeId("seed"), "seed:1")])
    a, b, _ = acquainted(swim, "a", "b", "c")
    b.says(swim, a.dead())
    a.says(swim, b.departed())
    assert swim.contacts() == [("a", "a:1"), ("b", "b:1"), ("c", "c:1"), ("seed", "seed:1")]


def test_the_same_seed_and_events_give_the_same_effects() -> None:
    def history(seed: int) -> list[object]:
        rng = random.Random(5)
        swim = machine(seed=seed)
        peers = acquainted(swim, *"abcdefgh")
        found: list[object] = []
        now = 0.0
        for _ in range(200):
            now += rng.random() / 5
            peer, other = rng.sample(peers, 2)
            says: list[Message] = [other.suspect(peer.id), other.dead(), Ping(1, ME)]
            event = Received(peer.id, peer.packet(rng.choice(says)))
            found += [*swim.handle(event, now), *swim.handle(Tick(), now)]
        return found

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_a_boot_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=f"boot is {MAX_BOOT + 1}; it must be from 0 to {MAX_BOOT}"):
        Swim(
            me=ME,
            boot=Boot(MAX_BOOT + 1),
            address="me:1",
            meta=meta(),
            config=SwimConfig.lan(),
            rng=random.Random(1),
        )


def test_no_gossip_packet_is_longer_than_1400_bytes() -> None:
    swim = machine()
    acquainted(swim, *(f"peer-with-a-long-name-{number}" for number in range(60)))
    sizes = [
        len(effect.payload)
        for _, effect in run(swim, 0.0, 4.0)
        if isinstance(effect, Send) and not any(isinstance(one, Sync) for one in said([effect]))
    ]
    assert 1200 < max(sizes) <= 1400
