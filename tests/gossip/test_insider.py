"""One evil member among honest ones: what it says cannot remove another that answers, nor disturb without end."""

import pytest

from gossip.config import SwimConfig
from gossip.effects import Received, Send
from gossip.identity import NodeId
from gossip.member import State
from gossip.messages import Ack, Alive, Message, Ping, Sync
from gossip.swim import Swim
from tests.gossip.peers import ME, Peer, acquainted, changes, machine, run, said

VICTIM, EVIL = NodeId("victim"), NodeId("evil")
NAMES = ("victim", "evil", "b", "c", "d")


def mesh(**more: object) -> tuple[Swim, list[Peer]]:
    swim = machine(**more)  # type: ignore[arg-type]  # facts of the machine
    return swim, acquainted(swim, *NAMES)


def test_a_death_that_one_tells_is_a_suspicion_that_the_subject_refutes() -> None:
    swim, (victim, evil, *_) = mesh()
    assert changes(evil.says(swim, victim.dead(), now=2.0)) == [("victim", State.SUSPECT, State.ALIVE)]
    assert changes(evil.says(swim, victim.dead(), now=2.1)) == []
    victim.step = 1
    victim.says(swim, victim.alive(), now=3.0)
    assert swim.members[VICTIM].state is State.ALIVE
    assert VICTIM not in {
        name for name, state, _ in changes([e for _, e in run(swim, 3.0, 4.0)]) if state is State.DEAD
    }


def test_the_accused_has_its_whole_time_whoever_is_named_as_accuser() -> None:
    """The names in an accusation that is passed on are only told: invented ones shorten it to its least."""
    swim, (victim, evil, *_) = mesh()
    invented: list[Message] = [victim.suspect(name) for name in ("b", "c", "d", "nobody", "else")]
    evil.says(swim, *invented, victim.dead(), now=2.0)
    least, _ = SwimConfig.lan().suspicion_bounds(6)
    deaths = [at for at, e in run(swim, 2.0, 30.0) if ("victim", State.DEAD, State.SUSPECT) in changes([e])]
    assert deaths == [pytest.approx(2.0 + least)]


def test_a_death_that_several_believe_is_believed_after_the_least_time() -> None:
    """Also where this node is late itself, and would not accuse on its own."""
    swim, (victim, _, b, c, d) = mesh()
    for peer in (b, c, d):
        peer.says(swim, victim.dead(), now=2.0)
    least, _ = SwimConfig.lan().suspicion_bounds(6)
    deaths = [at for at, e in run(swim, 2.0, 30.0) if ("victim", State.DEAD, State.SUSPECT) in changes([e])]
    assert deaths == [pytest.approx(2.0 + least)]


@pytest.mark.parametrize("way", ["claim", "record"])
def test_that_somebody_left_takes_itself_or_two_others(way: str) -> None:
    def tells(peer: Peer, now: float) -> None:
        if way == "claim":
            peer.says(swim, victim.departed(), now=now)
        else:
            peer.syncs(swim, victim.record(State.LEFT), now=now)

    swim, (victim, evil, b, *_) = mesh()
    for now in (2.0, 2.1, 2.2):
        tells(evil, now)
    assert swim.members[VICTIM].state is State.ALIVE
    victim.step = 1
    victim.says(swim, victim.alive(), now=2.3)
    tells(b, 2.4)
    assert swim.members[VICTIM].state is State.ALIVE, "the two spoke of different incarnations"
    tells(evil, 2.5)
    assert swim.members[VICTIM].state is State.LEFT
    swim, (victim, *_) = mesh()
    victim.says(swim, victim.departed(), now=2.0)
    assert swim.members[VICTIM].state is State.LEFT


def test_nobody_starts_suspicions_without_end() -> None:
    """Each refutation costs the victim local health; a correct accuser is heard all the same."""
    swim, (victim, evil, b, *_) = mesh()
    started, now = 0, 2.0
    for _ in range(500):
        now += 0.01
        started += len(changes(evil.says(swim, victim.suspect("evil"), now=now)))
        victim.step += 1
        victim.says(swim, victim.alive(), now=now)
    assert started <= 8 + 5 * 4 + 1
    assert started > 8
    assert swim.rejected == 500 - started
    assert changes(b.says(swim, victim.suspect("b"), now=now)) == [("victim", State.SUSPECT, State.ALIVE)]


def test_half_a_mesh_that_fails_at_once_can_be_told_by_one() -> None:
    swim = machine()
    peers = acquainted(swim, *(f"n{number}" for number in range(100)))
    teller, dead = peers[0], peers[50:]
    teller.syncs(swim, *(peer.record(State.DEAD) for peer in dead), now=2.0)
    assert all(swim.members[peer.id].state is State.SUSPECT for peer in dead)
    assert swim.rejected == 0


def test_what_an_earlier_life_said_claims_nothing_when_it_is_replayed() -> None:
    """A captured packet, played again after its sender has restarted."""
    swim, (victim, before, *_) = mesh()
    captured = [
        before.packet(victim.suspect("evil"), victim.dead()),
        before.packet(before.departed()),
        before.packet(Sync(False, [victim.record(State.DEAD), Peer("ghost").record()])),
    ]
    again = Peer("evil", boot=2)
    again.says(swim, again.alive(), now=2.0)
    held = {name: (member.state, member.boot) for name, member in swim.members.items()}
    for packet in captured:
        assert changes(swim.handle(_received(packet), 3.0)) == []
    assert {name: (member.state, member.boot) for name, member in swim.members.items()} == held
    assert swim.rejected == 3


def test_a_node_restored_from_an_old_backup_is_still_answered() -> None:
    """Else it would never learn that it lived later, and must start with a larger boot."""
    swim, _ = mesh()
    later, restored = Peer("evil", boot=9), Peer("evil", boot=3)
    later.says(swim, later.alive(), now=2.0)
    assert Ack(7) in said(restored.says(swim, Ping(7, ME), now=3.0))
    answer = said(restored.syncs(swim, restored.record(), answer=True, now=3.0))
    told = [
        record.boot for one in answer if isinstance(one, Sync) for record in one.records if record.id == EVIL
    ]
    assert told == [9]


def _received(packet: bytes) -> Received:
    return Received(EVIL, packet)


def test_a_forged_address_is_taken_back_by_its_subject() -> None:
    """The subject hears what is said of it from anyone, and says what is true with a larger incarnation."""
    victim = machine()
    b, _ = acquainted(victim, "b", "evil")
    own = victim.members[ME]
    forged = Alive(ME, own.boot, own.incarnation + 1, "evil:1", victim._core.table.metas[ME])
    b.says(victim, forged, now=2.0)
    news = [one for _, e in run(victim, 2.0, 3.0) if isinstance(e, Send) for one in said([e])]
    told = [one for one in news if isinstance(one, Alive) and one.id == ME]
    assert {(one.address, one.incarnation) for one in told} == {(own.address, own.incarnation + 2)}
