"""Many machines on a bad network: what they come to believe, and what they must never believe.

Every event in every run is checked against I14 (`Order` in tests.sim.membership); I13 is `Mesh.agreed`.
"""

from functools import partial

import pytest

from gossip.config import SwimConfig
from gossip.effects import Retire, SetAddress, SetMeta
from gossip.identity import NodeId
from gossip.member import Meta, State
from tests.sim.membership import Mesh
from tests.sim.membership_figures import Figures, crash, settled
from tests.sim.network import Link

LOCAL = SwimConfig.local()
BAD = Link(delay=(0.0005, 0.01), loss=0.02, duplication=0.05, reorder=0.1)


def mesh_of(
    n: int, seed: int, *, config: SwimConfig = LOCAL, link: Link | None = None, logged: bool = False
) -> Mesh:
    print(f"n={n} seed={seed}")
    mesh = Mesh(seed, config=config, link=link, logged=logged)
    mesh.grow(n)
    mesh.until_agreed(60 * config.probe_interval)
    return mesh


def halves(mesh: Mesh) -> tuple[list[str], list[str]]:
    addresses = [mesh.addresses[node] for node in sorted(mesh.live)]
    return addresses[::2], addresses[1::2]


@pytest.mark.parametrize("seed", range(10))
def test_all_nodes_come_to_know_each_other_through_one(seed: int) -> None:
    mesh = mesh_of(12, seed, link=BAD)
    assert mesh.buried == []


@pytest.mark.parametrize("seed", range(100))
def test_halves_that_buried_each_other_meet_again(seed: int) -> None:
    n = 2 + seed % 8
    mesh = mesh_of(n, seed)
    left, right = halves(mesh)
    mesh.network.split(left, right)
    mesh.clock.run_for(20)
    for node in mesh.live:
        assert len(mesh.states(node)) in (len(left), len(right)), "each half has buried the other"
    mesh.network.heal()
    mesh.until_agreed(60)


@pytest.mark.parametrize("seed", range(10))
def test_one_cut_off_from_all_others_comes_back(seed: int) -> None:
    mesh = mesh_of(7, seed, link=BAD)
    lone = mesh.addresses[NodeId("n3")]
    mesh.network.isolate(lone, mesh.network.names)
    mesh.clock.run_for(20)
    assert list(mesh.states(NodeId("n3"))) == ["n3"]
    mesh.network.heal()
    mesh.until_agreed(60)


@pytest.mark.parametrize("seed", range(10))
def test_a_one_way_cut_between_two_buries_nobody(seed: int) -> None:
    mesh = mesh_of(6, seed)
    mesh.network.cut(mesh.addresses[NodeId("n1")], mesh.addresses[NodeId("n2")])
    mesh.clock.run_for(30)
    assert mesh.buried == []
    assert mesh.agreed(), "the others ask for them, and answer for them"


@pytest.mark.parametrize("seed", range(10))
def test_one_in_the_middle_keeps_both_sides_together(seed: int) -> None:
    mesh = mesh_of(7, seed)
    names = mesh.network.names
    mesh.network.bridge(names[:3], names[3], names[4:])
    mesh.clock.run_for(30)
    mesh.network.heal()
    mesh.until_agreed(60)


@pytest.mark.parametrize("seed", range(10))
def test_flapping_ends_in_agreement(seed: int) -> None:
    mesh = mesh_of(6, seed, link=BAD)
    mesh.network.flap(halves(mesh), period=3.0, until=mesh.clock.now + 20)
    mesh.clock.run_for(25)
    mesh.until_agreed(60)


@pytest.mark.parametrize("seed", range(20))
def test_a_restart_before_its_death_was_known_is_a_new_boot_everywhere_at_once(seed: int) -> None:
    mesh = mesh_of(5, seed)
    node = NodeId("n2")
    mesh.restart(node, address="moved:9" if seed % 2 else None)

    def old() -> bool:
        members = [mesh.member(observer, node) for observer in mesh.live]
        return any(one is None or one.boot != 2 or one.address != mesh.addresses[node] for one in members)

    mesh.clock.run_while(old, limit=3)
    assert not old()
    mesh.until_agreed(10)
    assert mesh.conflicts == []
    assert not [seen for seen in mesh.changes if seen.changed.member.state is State.DEAD]


@pytest.mark.parametrize("seed", range(5))
def test_a_crashed_node_is_dead_to_all_and_one_that_left_is_left_to_all(seed: int) -> None:
    mesh = mesh_of(6, seed, link=BAD)
    mesh.crash(NodeId("n1"))
    mesh.leave(NodeId("n2"))
    mesh.until_agreed(30)
    for observer in mesh.live:
        states = {one.id: one.state for one in mesh.live[observer].swim.members.values()}
        assert states[NodeId("n1")] is State.DEAD
        assert states[NodeId("n2")] is State.LEFT
    mesh.clock.run_for(30)
    mesh.start(NodeId("n1"), contacts=[(NodeId("n4"), "n4:1")])
    mesh.start(NodeId("n2"), contacts=[(NodeId("n5"), "n5:1")])
    mesh.until_agreed(10)


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_mesh_restarts_from_its_stored_contacts(seed: int) -> None:
    mesh = mesh_of(6, seed)
    stored = {node: mesh.crash(node) for node in sorted(mesh.live)}
    mesh.clock.run_for(100)
    for node, contacts in stored.items():
        mesh.start(node, contacts=contacts)
        mesh.clock.run_for(5)
    mesh.until_agreed(30)


@pytest.mark.parametrize("seed", range(5))
def test_a_change_of_facts_reaches_everybody(seed: int) -> None:
    mesh = mesh_of(8, seed, link=BAD, logged=True)
    node = NodeId("n5")
    changed = Meta(name="renamed", ready=False)
    mesh.tell(node, SetMeta(changed))
    mesh.network.unregister(mesh.addresses[node])
    mesh.addresses[node] = "n5:2"
    mesh._names["n5:2"] = node
    station = mesh.live[node]
    mesh.network.register("n5:2", lambda source, payload: mesh._arrived(station, source, payload))
    station.address = "n5:2"
    mesh.tell(node, SetAddress("n5:2"))

    def stale() -> bool:
        beliefs = [mesh.member(observer, node) for observer in mesh.live]
        return any(one is None or (one.meta, one.address) != (changed, "n5:2") for one in beliefs)

    mesh.clock.run_while(stale, limit=20)
    assert not stale()
    assert mesh.conflicts == []


@pytest.mark.parametrize("seed", range(3))
def test_two_with_one_key_are_told_of_on_both_sides(seed: int) -> None:
    mesh = mesh_of(5, seed)
    original = mesh.live[NodeId("n1")]
    double = mesh.start(NodeId("n1"), address="double:1", boot=1, contacts=[(NodeId("n2"), "n2:1")])
    assert double.swim.members[NodeId("n1")].boot == original.swim.members[NodeId("n1")].boot
    mesh.clock.run_for(30)
    told = {conflict.addresses for observer, conflict in mesh.conflicts if observer == "n1"}
    assert ("n1:1", "double:1") in told
    assert ("double:1", "n1:1") in told
    assert [observer for observer, _ in mesh.conflicts if observer != "n1"]


@pytest.mark.parametrize(
    ("n", "frozen", "running"), [(100, 8.0, 1.0), (40, 5.0, 1.0), (40, 2.0, 0.5), (40, 20.0, 2.0)]
)
def test_frozen_members_never_bury_healthy_ones(n: int, frozen: float, running: float) -> None:
    mesh = settled(n, 1, SwimConfig.lan(), Link())
    victims = [NodeId(f"n{number}") for number in range(n // 5)]

    def freeze(node: NodeId) -> None:
        mesh.freeze(node)
        mesh.clock.after(frozen, partial(thaw, node))

    def thaw(node: NodeId) -> None:
        mesh.thaw(node)
        mesh.clock.after(running, partial(freeze, node))

    for node in victims:
        mesh.clock.after(mesh.rng.random() * frozen, partial(freeze, node))
    mesh.clock.run_for(60)
    dead = [seen.changed.member.id for seen in mesh.changes if seen.changed.member.state is State.DEAD]
    assert set(dead) <= set(victims)
    silence_is_death = frozen > mesh.config.suspicion_bounds(n)[0]
    assert bool(dead) is silence_is_death


def test_plain_loss_of_a_twentieth_buries_nobody() -> None:
    mesh = settled(20, 3, SwimConfig.lan(), Link(loss=0.05))
    mesh.clock.run_for(600)
    assert mesh.buried == []


@pytest.mark.parametrize("seed", range(3))
def test_plain_loss_of_a_quarter_makes_few_suspicions(seed: int) -> None:
    """Each is news for all: where one probe in seven ended so, a thousand members could not carry them."""
    print(f"seed={seed}")
    mesh = settled(20, seed, SwimConfig.lan(), Link(loss=0.25))
    mesh.clock.run_for(60)
    refuted = sum(mesh.live[node].swim.members[node].incarnation & 0xFFFFFFFF for node in mesh.live)
    assert refuted <= 0.02 * 20 * 60
    assert mesh.buried == []


@pytest.mark.parametrize(("n", "suspected", "dead", "known"), [(3, 1.8, 5.8, 6.0), (10, 1.9, 5.9, 6.2)])
def test_a_crash_is_known_when_the_reference_says(
    n: int, suspected: float, dead: float, known: float
) -> None:
    figures = Figures()
    for seed in range(40):
        crash(settled(n, seed, SwimConfig.lan(), Link()), figures)
    means = [sum(values) / len(values) for values in (figures.suspected, figures.dead, figures.known)]
    assert means == pytest.approx([suspected, dead, known], abs=0.35)


def test_the_same_seed_gives_the_same_history() -> None:
    def digest(seed: int) -> str:
        mesh = mesh_of(8, seed, link=BAD, logged=True)
        mesh.crash(NodeId("n3"))
        mesh.network.split(*halves(mesh))
        mesh.clock.run_for(10)
        mesh.network.heal()
        mesh.restart(NodeId("n4"), address="moved:1")
        mesh.clock.run_for(20)
        return mesh.network.digest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def seen_as(mesh: Mesh, node: NodeId) -> set[State]:
    return {mesh.live[observer].swim.members[node].state for observer in mesh.live if observer != node}


@pytest.mark.parametrize("seed", range(10))
def test_a_dead_member_that_is_retired_has_left_for_all_and_may_join_anew(seed: int) -> None:
    mesh = mesh_of(6, seed, link=BAD)
    gone = NodeId("n1")
    mesh.tell(NodeId("n2"), Retire(gone))
    assert seen_as(mesh, gone) == {State.ALIVE}, "who lives is not retired"
    contacts = mesh.crash(gone)
    mesh.until_agreed(30)
    late = NodeId("n5")
    mesh.network.isolate(mesh.addresses[late], mesh.network.names)
    mesh.tell(NodeId("n2"), Retire(gone))
    mesh.clock.run_for(5)
    mesh.network.heal()
    mesh.until_agreed(60)
    mesh.clock.run_for(30)
    assert seen_as(mesh, gone) == {State.LEFT}
    mesh.start(gone, contacts=contacts)
    mesh.until_agreed(30)
    assert seen_as(mesh, gone) == {State.ALIVE}


@pytest.mark.parametrize("seed", range(10))
def test_a_retired_member_that_was_only_cut_off_refutes_it(seed: int) -> None:
    mesh = mesh_of(5, seed)
    lone = NodeId("n3")
    mesh.network.isolate(mesh.addresses[lone], mesh.network.names)
    mesh.clock.run_for(20)
    mesh.tell(NodeId("n1"), Retire(lone))
    mesh.clock.run_for(5)
    assert State.LEFT in seen_as(mesh, lone)
    mesh.network.heal()
    mesh.until_agreed(60)
    assert seen_as(mesh, lone) == {State.ALIVE}
