"""What a machine believes, whom it passes it on to, and how it answers when it is spoken of."""

import pytest

from gossip.codec import encode, head, pack
from gossip.effects import Conflict, Leave, Received, SetAddress, SetMeta
from gossip.errors import MetaTooLarge
from gossip.identity import NodeId
from gossip.member import MAX_JUMP, Meta, State
from gossip.messages import Ack, Alive, Dead, Departed, Ping, Record, Suspect, Sync
from tests.gossip.peers import ME, Peer, acquainted, changes, machine, meta, number, run, said

A = NodeId("a")


def test_an_unknown_member_appears_and_is_passed_on() -> None:
    swim = machine()
    (a,) = acquainted(swim, "a")
    assert swim.members[A].state is State.ALIVE
    news = [message for _, effect in run(swim, 0.0, 0.3) for message in said([effect])]
    assert a.alive() in news


def test_a_suspicion_that_nobody_refutes_ends_in_death_after_the_formula_says() -> None:
    swim = machine()
    a, b, c, d = acquainted(swim, "a", "b", "c", "d")
    assert changes(b.says(swim, a.suspect("b"), now=2.0)) == [("a", State.SUSPECT, State.ALIVE)]
    c.says(swim, a.suspect("c"), now=3.0)
    d.says(swim, a.suspect("d"), now=4.0)
    deaths = [
        at for at, effect in run(swim, 4.0, 8.0) if changes([effect]) == [("a", State.DEAD, State.SUSPECT)]
    ]
    assert deaths == [pytest.approx(6.0)]


def test_a_larger_alive_refutes_in_time_and_an_equal_one_does_not() -> None:
    swim = machine()
    a, b = acquainted(swim, "a", "b")
    b.says(swim, a.suspect("b"), now=2.0)
    assert changes(a.says(swim, a.alive(), now=2.1)) == []
    a.step = 1
    assert changes(a.says(swim, a.alive(), now=2.2)) == [("a", State.ALIVE, State.SUSPECT)]
    assert ("a", State.DEAD, State.SUSPECT) not in changes([one for _, one in run(swim, 2.2, 6.5)])


def test_a_repeated_accusation_is_passed_on_only_for_a_new_accuser() -> None:
    swim = machine()
    a, b, *_ = acquainted(swim, "a", "b", "c", "d", "e")
    b.says(swim, a.suspect("b"))
    for sequence in range(swim._core.config.retransmits(6)):
        b.says(
            swim, Ping(sequence, ME)
        )  # each answer carries all news, until they have been told often enough
    assert said(b.says(swim, a.suspect("b"), Ping(1, ME))) == [Ack(1)]
    assert said(b.says(swim, a.suspect("c"), Ping(2, ME))) == [Ack(2), a.suspect("c")]


def test_being_accused_is_refuted_above_the_accusation_and_costs_health() -> None:
    swim = machine()
    (a,) = acquainted(swim, "a")
    answers = said(a.says(swim, Suspect(ME, swim.members[ME].boot, number(1, 5), A)))
    assert swim.members[ME].incarnation == number(1, 6)
    assert swim.members[ME].state is State.ALIVE
    assert {one.incarnation for one in answers if isinstance(one, Alive) and one.id == ME} == {number(1, 6)}
    assert swim.health == 1


def test_a_stale_accuser_is_told_what_is_true_now() -> None:
    swim = machine()
    (a,) = acquainted(swim, "a")
    a.says(swim, Dead(ME, swim.members[ME].boot, number(1)))
    assert swim.members[ME].incarnation == number(1, 1)
    again = said(a.says(swim, Dead(ME, swim.members[ME].boot, number(1)), now=50.0), to="a")
    assert swim.members[ME].incarnation == number(1, 1)
    assert {one.incarnation for one in again if isinstance(one, Alive) and one.id == ME} == {number(1, 1)}


def test_our_own_alive_with_other_facts_is_refuted() -> None:
    swim = machine()
    (a,) = acquainted(swim, "a")
    old = Peer("me", weight=7.0)
    a.says(swim, old.alive())
    assert swim.members[ME].incarnation == number(1, 1)
    assert swim.members[ME].meta == meta("me")


def test_incarnations_may_not_jump() -> None:
    swim = machine()
    (a, liar) = acquainted(swim, "a", "liar")
    beyond = number(1, MAX_JUMP + 1)
    liar.says(swim, Suspect(ME, swim.members[ME].boot, beyond, A), Suspect(A, a.boot, beyond, A))
    liar.says(swim, Alive(A, a.boot, beyond, a.address, a.alive().meta), Dead(A, a.boot, beyond))
    assert swim.rejected == 4
    assert swim.members[ME].incarnation == number(1)
    assert swim.members[A].state is State.ALIVE
    assert swim.members[A].incarnation == number(1)


def test_an_incarnation_of_another_boot_is_refused() -> None:
    swim = machine()
    liar = Peer("liar")
    a = Peer("a")
    liar.says(swim, Alive(A, a.boot, number(2), a.address, a.alive().meta))
    assert A not in swim.members
    assert swim.rejected == 1


def test_left_is_told_from_dead() -> None:
    swim = machine()
    a, b = acquainted(swim, "a", "b")
    c = Peer("c")
    b.syncs(swim, c.record(State.DEAD))
    assert changes(a.says(swim, a.departed())) == [("a", State.LEFT, State.ALIVE)]
    assert changes(b.says(swim, a.dead(), a.suspect("b"), a.alive())) == []
    assert changes(c.says(swim, c.departed())) == [("c", State.LEFT, State.DEAD)]
    probed = {
        message.target
        for _, effect in run(swim, 1.0, 20.0)
        for message in said([effect])
        if isinstance(message, Ping)
    }
    assert probed == {"b"}


@pytest.mark.parametrize("state", list(State))
def test_a_larger_boot_wins_at_once_whatever_is_believed(state: State) -> None:
    swim = machine()
    (b,) = acquainted(swim, "b")
    b.syncs(swim, Peer("a").record(state))
    assert swim.members[A].state is state
    again = Peer("a", boot=2, address="elsewhere:9")
    assert changes(again.says(swim, again.alive())) == [("a", State.ALIVE, state)]
    assert swim.members[A].boot == 2
    assert swim.members[A].address == "elsewhere:9"


def test_claims_about_an_earlier_life_change_nothing() -> None:
    swim = machine()
    (b,) = acquainted(swim, "b")
    new, old = Peer("a", boot=2), Peer("a", boot=1, step=9)
    new.says(swim, new.alive())
    assert changes(b.says(swim, old.alive(), old.suspect(), old.dead(), old.departed())) == []
    assert swim.members[A].state is State.ALIVE


def test_a_moved_node_takes_its_place_at_once() -> None:
    swim = machine()
    (a,) = acquainted(swim, "a")
    a.address, a.step = "moved:1", 1
    assert changes(a.says(swim, a.alive())) == [("a", State.ALIVE, State.ALIVE)]
    assert swim.members[A].address == "moved:1"


def test_one_boot_at_two_addresses_is_a_conflict_told_once_a_while() -> None:
    swim = machine()
    a, _ = acquainted(swim, "a", "b")
    double = Peer("a", address="double:1")
    expected = Conflict(A, ("a:1", "double:1"), a.boot)
    assert expected in double.says(swim, double.alive(), now=1.0)
    assert expected not in double.says(swim, Ping(1, ME), now=2.0)
    assert expected in double.syncs(swim, double.record(), now=40.0)
    assert expected in double.says(swim, Ping(2, ME), now=80.0)
    assert swim.members[A].address == "a:1"


def test_our_double_is_a_conflict_and_is_not_outbid_without_end() -> None:
    swim = machine()
    (a,) = acquainted(swim, "a")
    double = Peer("me", address="double:1", step=1)
    assert Conflict(ME, ("me:1", "double:1"), double.boot) in a.says(swim, double.alive(), now=1.0)
    assert swim.members[ME].incarnation == number(1, 2)
    double.step = 3
    assert a.says(swim, double.alive(), now=2.0) == []
    assert swim.members[ME].incarnation == number(1, 2)


def test_a_packet_under_our_own_key_is_a_conflict() -> None:
    swim = machine()
    double = Peer("me", address="double:1")
    assert double.says(swim, Ping(1, ME)) == [Conflict(ME, ("me:1", "double:1"), double.boot)]


def test_a_node_restored_from_an_old_backup_learns_the_boot_it_must_exceed() -> None:
    swim = machine(boot=3)
    (a,) = acquainted(swim, "a")
    a.syncs(swim, Peer("me", boot=8).record(State.DEAD))
    told = [effect for _, effect in run(swim, 1.0, 2.0) if isinstance(effect, Conflict)]
    assert told == [Conflict(ME, ("me:1",), Peer("me", boot=8).boot)]
    assert swim.members[ME].boot == 3


def test_a_death_told_in_a_push_pull_is_only_a_suspicion() -> None:
    swim = machine()
    a, b = acquainted(swim, "a", "b")
    assert changes(b.syncs(swim, a.record(State.DEAD))) == [("a", State.SUSPECT, State.ALIVE)]
    assert changes(b.syncs(swim, Peer("b", step=1).record(State.LEFT)))[-1] == ("b", State.LEFT, State.ALIVE)


def test_an_unknown_dead_member_is_remembered_with_its_age() -> None:
    swim = machine()
    b = Peer("b")
    effects = b.syncs(swim, b.record(), Peer("a").record(State.DEAD, age=500), now=1000.0)
    assert ("a", State.DEAD, None) in changes(effects)
    assert swim.members[A].since == 500.0
    assert (A, "a:1") in swim.contacts()
    run(swim, 1000.0, 500.0 + 86_400 + 1)
    assert A not in swim.members
    assert (A, "a:1") not in swim.contacts()


def test_a_push_pull_that_asks_is_answered_with_all_and_one_that_does_not_is_not() -> None:
    swim = machine()
    a, _ = acquainted(swim, "a", "b")
    (answer,) = [one for one in said(a.syncs(swim, a.record(), answer=True), to="a") if isinstance(one, Sync)]
    assert sorted(record.id for record in answer.records) == ["a", "b", "me"]
    assert not answer.answer
    assert not [one for one in said(a.syncs(swim, a.record())) if isinstance(one, Sync)]


def test_a_large_state_goes_in_parts_below_60_kib_and_only_the_last_asks() -> None:
    swim = machine()
    peers = acquainted(swim, *(f"peer{number}" for number in range(400)))
    effects = peers[0].syncs(swim, answer=True)
    parts = [one for one in said(effects) if isinstance(one, Sync)]
    sizes = [len(effect.payload) for effect in effects if hasattr(effect, "payload")]
    assert len(parts) > 2
    assert max(sizes) < 60 * 1024
    assert sum(len(part.records) for part in parts) == 401
    first = [one for _, effect in run(swim, 1.0, 200.0) for one in said([effect]) if isinstance(one, Sync)]
    asked = [part.answer for part in first[: len(parts)]]
    assert asked == [False] * (len(parts) - 1) + [True]


def test_new_facts_raise_the_incarnation_and_are_told() -> None:
    swim = machine()
    acquainted(swim, "a")
    ready = meta("me", ready=True)
    assert changes(swim.handle(SetMeta(ready), 1.0)) == [("me", State.ALIVE, State.ALIVE)]
    assert swim.handle(SetMeta(ready), 1.1) == []
    swim.handle(SetAddress("me:2"), 1.2)
    told = [one for _, effect in run(swim, 1.2, 2.0) for one in said([effect]) if isinstance(one, Alive)]
    assert next(one for one in told if one.id == ME) == Alive(
        ME, swim.members[ME].boot, number(1, 2), "me:2", encode(ready)
    )


def test_meta_beyond_the_limit_changes_nothing() -> None:
    swim = machine()
    with pytest.raises(MetaTooLarge, match="version"):
        swim.handle(SetMeta(Meta(name="me", version="v" * 600)), 1.0)
    assert swim.members[ME].meta == meta("me")
    assert swim.members[ME].incarnation == number(1)


def test_a_change_of_meta_alone_is_visible_and_a_refutation_alone_is_not() -> None:
    swim = machine()
    (a,) = acquainted(swim, "a")
    a.step = 1
    assert changes(a.says(swim, a.alive())) == []
    a.step, a.meta = 2, meta("a", ready=True)
    assert changes(a.says(swim, a.alive())) == [("a", State.ALIVE, State.ALIVE)]


def test_whoever_is_held_dead_or_suspect_hears_it_with_the_answer_to_its_ping() -> None:
    swim = machine()
    b, c = acquainted(swim, "b", "c")
    a = Peer("a")
    c.syncs(swim, a.record(State.DEAD), b.record(State.SUSPECT))
    assert a.dead() in said(a.says(swim, Ping(1, ME)), to="a")
    assert b.suspect("me") in said(b.says(swim, Ping(1, ME)), to="b")


def test_records_of_nonsense_age_are_refused() -> None:
    swim = machine()
    a = Peer("a")
    body = [False, [list(a.record(State.DEAD).__class__.__struct_fields__)]]
    payload = pack(head(a.boot, a.incarnation, a.address), [encode([9, *body])])
    swim.handle(Received(a.id, payload), 1.0)
    assert swim.rejected == 1
    forged = Record(A, a.boot, a.incarnation, State.DEAD, "a:1", a.alive().meta, 2**63 - 1)
    a.says(swim, Sync(False, [forged]))
    assert swim.members[A].since == 1.0 - 86_400


def test_a_departure_is_not_refuted_by_its_subject_while_it_leaves() -> None:
    swim = machine()
    a, *_ = acquainted(swim, "a", "b", "c", "d", "e")
    swim.handle(Leave(), 1.0)
    a.says(
        swim, Peer("me").suspect("a"), Peer("me", step=3).alive(), Departed(ME, a.boot, number(1)), now=1.05
    )
    assert swim.members[ME].state is State.LEFT
    assert swim.members[ME].incarnation == number(1)
