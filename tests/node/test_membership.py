"""Real membership drivers on loopback: finding each other, crash, leave, return, revocation."""

import asyncio
import contextlib
import dataclasses
import itertools
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gossip.codec import unpack
from gossip.config import SwimConfig
from gossip.errors import MetaTooLarge
from gossip.member import Meta, State
from gossip.messages import Dead, Sync
from node import membership
from node.discovery.mdns import Found, Mdns, find
from node.membership_driver import load_contacts
from node.security.keys import load_cluster_key, new_cluster_key
from node.security.roster import ROSTER_FILE
from node.security.selftest import require_join_guarded
from node.transport.base import CannotBind, SyncContext
from node.transport.entrance import enter
from node.transport.hello import JoinFailed
from node.transport.zmq import Plane
from tests.node.lives import Mesh, Node
from tests.node.transport.kit import gated, until
from tests.ports import free_ports


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    mesh = Mesh(tmp_path)
    yield mesh
    await mesh.stop(*mesh.nodes)


@pytest.mark.parametrize("count", [3, 5, 10])
async def test_all_find_each_other_through_one_seed(mesh: Mesh, count: int) -> None:
    nodes = await mesh.joined(count)
    for node in nodes:
        assert set(node.roster.keys) == {other.id for other in nodes}
        for other in nodes:
            entry = node.roster.entry(other.id)
            assert entry is not None
            assert entry.bulk == "127.0.0.1:1"
            assert node.membership.snapshot()[other.id].meta.join == other.membership.join_address
    assert {change for change in nodes[0].changes if change[1] is None} == {
        (node.id, None, State.ALIVE) for node in nodes[1:]
    }


async def test_a_chain_of_seeds_is_enough(mesh: Mesh) -> None:
    nodes = [await mesh.start(f"n{number}") for number in range(4)]
    for one, other in itertools.pairwise(nodes):
        one.membership.propose(other.membership.join_address)
    await mesh.whole()


async def test_they_find_each_other_by_mdns(mesh: Mesh) -> None:
    service = f"_ct-{secrets.token_hex(4)}._tcp.local."
    nodes = [await mesh.start(f"n{number}") for number in range(3)]
    mesh_id = mesh.cluster.mesh_id
    tasks = [
        asyncio.ensure_future(
            Mdns(node.id, Found(mesh_id, "eu", node.membership.join_address), service=service).run(
                node.membership.propose
            )
        )
        for node in nodes
    ]
    try:
        if not await find(5.0, service):
            pytest.skip("no multicast on this host")
        await mesh.whole()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_another_clusters_node_stays_out(mesh: Mesh) -> None:
    one, other = await mesh.joined(2)
    stranger = await mesh.start("stranger", cluster=new_cluster_key())
    stranger.membership.propose(one.membership.join_address)
    third = await mesh.start("third")
    third.membership.propose(one.membership.join_address)
    await until(lambda: one.sees(third) is State.ALIVE)
    address = one.membership.join_address
    await until(lambda: address in stranger.membership.failures)
    assert "turned the key away" in stranger.membership.failures[address]
    for node in (one, other, third):
        assert stranger.id not in node.roster.keys
        assert node.sees(stranger) is None


async def test_a_crash_is_seen_as_death(mesh: Mesh) -> None:
    one, other, gone = await mesh.joined(3)
    await mesh.stop("n2")
    await until(lambda: one.sees(gone) is other.sees(gone) is State.DEAD)
    assert (gone.id, State.SUSPECT, State.DEAD) in one.changes
    assert one.sees(other) is State.ALIVE


async def test_old_news_do_not_wait_for_the_dead(mesh: Mesh) -> None:
    """They would come when a cut heals, and bury whom the other side has seen alive all the time."""
    here, other, gone = await mesh.joined(3)
    address = gone.membership.address
    await mesh.stop("n2")
    await until(lambda: here.sees(gone) is State.DEAD, "one dead")
    await mesh.stop("n1")
    await until(
        lambda: here.sees(other) is State.DEAD, "the other dead, of which the first is told for a while"
    )
    await asyncio.sleep(1.5 * SwimConfig.local().reconnect_interval)  # so that it is sought once
    heard: list[bytes] = []
    with gated(gone.roster) as context:
        plane = Plane(context, bind=address, keys=gone.keys, roster=gone.roster)
        with contextlib.closing(plane):
            plane.start(lambda _, payload: heard.append(payload[2:]))
            await until(
                lambda: any(isinstance(message, Sync) for message in _messages(heard)),
                "it is sought",
                60.0,  # one of the two dead is sought each three seconds, by chance
            )
            await asyncio.sleep(0.5)
    assert not [m for m in _messages(heard) if isinstance(m, Dead) and m.id == other.id]


def _messages(packets: list[bytes]) -> list[object]:
    return [message for packet in packets for message in unpack(packet).messages]


async def test_a_blocked_main_loop_is_no_reason_for_suspicion(mesh: Mesh) -> None:
    nodes = await mesh.joined(3)
    known = [len(node.changes) for node in nodes]
    time.sleep(1.5)  # noqa: ASYNC251  blocking the loop is what is tried: longer than a suspicion lasts
    await asyncio.sleep(0)
    assert [node.changes[count:] for node, count in zip(nodes, known, strict=True)] == [[], [], []]


async def test_a_leave_is_seen_as_left(mesh: Mesh) -> None:
    one, other, gone = await mesh.joined(3)
    assert await gone.membership.leave(10.0)
    await mesh.stop("n2")
    await until(lambda: one.sees(gone) is other.sees(gone) is State.LEFT)
    assert State.DEAD not in {state for node, _, state in one.changes if node == gone.id}


async def test_a_lone_node_leaves_at_once(mesh: Mesh) -> None:
    alone = await mesh.start("alone")
    assert await alone.membership.leave(10.0)


async def test_back_on_a_new_port_it_takes_its_place(mesh: Mesh) -> None:
    one, other, before = await mesh.joined(3)
    await mesh.stop("n2")
    after = await mesh.start("n2")
    assert after.id == before.id
    assert after.boot > before.boot
    await mesh.whole()
    for node in (one, other):
        assert node.membership.snapshot()[after.id].address == after.membership.address
    await until(lambda: all(held_boot(node, after) == after.boot for node in (one, other)))
    assert not one.conflicts


def held_boot(node: Node, other: Node) -> int | None:
    entry = node.roster.entry(other.id)
    return None if entry is None else entry.boot


async def test_all_restart_without_seeds(mesh: Mesh) -> None:
    binds = {f"n{number}": f"127.0.0.1:{free_ports(3)}" for number in range(3)}
    nodes = [await mesh.start(name, bind) for name, bind in binds.items()]
    for node in nodes[1:]:
        node.membership.propose(nodes[0].membership.join_address)
    await mesh.whole()
    await mesh.stop(*binds)
    for node in nodes:
        others = {other.id for other in nodes if other is not node}
        assert {contact for contact, _ in load_contacts(node.home / "contacts")} == others
    await asyncio.gather(*(mesh.start(name, bind) for name, bind in binds.items()))
    await mesh.whole()
    assert all(mesh.nodes[f"n{number}"].boot > nodes[number].boot for number in range(3))


async def test_a_node_that_lost_its_roster_is_met_again(mesh: Mesh) -> None:
    one, other, third = await mesh.joined(3)
    await mesh.stop("n2")
    (third.home / ROSTER_FILE).unlink()
    await until(lambda: one.sees(third) is other.sees(third) is State.DEAD)
    back = await mesh.start("n2")
    back.membership.propose(one.membership.join_address)
    await mesh.whole()


async def revoke(by: Node, node: Node) -> None:
    await by.membership.keep(lambda keeper: keeper.judge(node.id, revoked=True))


async def test_a_revoked_node_is_out_at_once_everywhere(mesh: Mesh) -> None:
    one, other, evil = await mesh.joined(3)
    await revoke(one, evil)
    await until(lambda: evil.id not in one.roster.keys and evil.id not in other.roster.keys)
    await until(lambda: one.sees(evil) not in (State.ALIVE, State.SUSPECT))
    await until(lambda: other.sees(evil) not in (State.ALIVE, State.SUSPECT))
    assert one.sees(other) is State.ALIVE


async def test_a_revoked_node_comes_back_only_when_it_is_admitted_again(mesh: Mesh) -> None:
    one, other, evil = await mesh.joined(3)
    await revoke(one, evil)
    await until(lambda: other.sees(evil) is State.LEFT)
    evil.membership.propose(one.membership.join_address)
    evil.membership.propose(other.membership.join_address)
    await until(lambda: "was revoked" in str(evil.membership.failures.values()))
    await mesh.stop("n2")
    again = await mesh.start("n2")
    again.membership.propose(other.membership.join_address)
    await until(lambda: "was revoked" in str(again.membership.failures.values()))
    assert again.id not in one.roster.keys
    await other.membership.keep(lambda keeper: keeper.judge(evil.id, revoked=False))
    again.membership.propose(other.membership.join_address)
    await mesh.whole()


async def test_who_was_away_learns_of_a_revocation_before_it_hears_the_revoked(mesh: Mesh) -> None:
    one, away, evil = await mesh.joined(3)
    await mesh.stop("n1")
    await revoke(one, evil)
    await until(lambda: one.sees(evil) is State.LEFT)
    back = await mesh.start("n1")
    await until(back.roster.revoked)
    assert [entry.id for entry in back.roster.revoked()] == [evil.id]
    await until(lambda: back.sees(evil) not in (State.ALIVE, State.SUSPECT))
    assert away.id == back.id


async def test_a_rotation_reaches_all_and_disturbs_nobody(mesh: Mesh) -> None:
    one, other, away = await mesh.joined(3)
    await mesh.stop("n2")
    await until(lambda: one.sees(away) is other.sees(away) is State.DEAD)
    seen = len(one.changes)
    key = await one.membership.keep(lambda keeper: keeper.rotate())
    await until(lambda: other.ring.current == key)
    newcomer = await mesh.start("new", cluster=key)
    stranger = await mesh.start("old key")

    def alive() -> bool:
        """Proposed again and again, as discovery does: the join port of `other` is bound anew for the new key."""
        newcomer.membership.propose(other.membership.join_address)
        return one.sees(newcomer) is State.ALIVE

    def refused() -> bool:
        stranger.membership.propose(other.membership.join_address)
        return "was rotated" in str(stranger.membership.failures.values())

    await until(alive)
    await until(refused)
    assert stranger.id not in one.roster.keys
    await mesh.stop("old key")
    assert load_cluster_key(away.home) in (None, mesh.cluster), "who is away has not heard of it"
    back = await mesh.start("n2")
    await until(lambda: back.ring.current == key, "who was away has the new key")
    await mesh.whole()
    await until(lambda: load_cluster_key(back.home) == load_cluster_key(other.home) == key, "kept on disk")
    assert {id_ for id_, _, _ in one.changes[seen:]} <= {back.id, newcomer.id}


async def test_a_key_that_is_replaced_during_the_self_test_stops_no_start(mesh: Mesh) -> None:
    """As happens to a node that was away: it hears of the new key while it tries its own ports."""
    node = Node(mesh.home / "one", mesh.cluster)
    mesh.nodes["one"] = node
    turns: list[bytes] = []

    def meanwhile(context: SyncContext, address: str, key: bytes, hello: bytes) -> None:
        turns.append(key)
        if len(turns) == 1:
            rotated = asyncio.run_coroutine_threadsafe(
                node.membership.keep(lambda keeper: keeper.rotate()), loop
            )
            rotated.result(10)
        require_join_guarded(context, address, key, hello)

    loop = asyncio.get_running_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "require_join_guarded", meanwhile)
        await node.membership.start()
    assert turns == [mesh.cluster.join_server.public, node.ring.current.join_server.public]


async def test_a_token_that_one_member_issued_is_good_at_another_once(mesh: Mesh) -> None:
    one, other, third = await mesh.joined(3)
    ticket, token = await one.membership.keep(lambda keeper: keeper.issue(uses=1, life=60))
    assert token.addresses[0] == one.membership.join_address
    await until(lambda: other.tickets.all(0.0) == [ticket])
    elsewhere = dataclasses.replace(token, addresses=(other.membership.join_address,))
    assert await enter(mesh.home / "new", "new", elsewhere) == mesh.cluster
    # the bearer of a token asks one member after the other, and one that has not heard of its use lets it in
    await until(lambda: all(node.tickets.all(0.0)[0].used for node in (one, third)))
    with pytest.raises(JoinFailed, match="has been used"):
        await enter(mesh.home / "second", "second", token)
    newcomer = await mesh.start("new")
    newcomer.membership.propose(one.membership.join_address)
    await mesh.whole()


async def test_changed_facts_reach_all(mesh: Mesh) -> None:
    one, other = await mesh.joined(2)
    one.membership.set_meta(Meta(name="n0", ready=True, http="127.0.0.1:8700"))
    await until(lambda: other.membership.snapshot()[one.id].meta.ready)
    assert other.membership.snapshot()[one.id].meta.join == one.membership.join_address
    with pytest.raises(MetaTooLarge):
        one.membership.set_meta(Meta(name="n" * 600))


async def test_a_port_in_use_is_said_and_nothing_stays_open(mesh: Mesh) -> None:
    one = await mesh.start("one")
    node = Node(mesh.home / "two", mesh.cluster, one.membership.address)
    with pytest.raises(CannotBind, match="cannot listen on"):
        await node.membership.start()
    await node.stop()


async def test_damaged_contacts_are_ignored(mesh: Mesh) -> None:
    home = mesh.home / "one"
    home.mkdir()
    (home / "contacts").write_bytes(b"\xff\xff")
    node = await mesh.start("one")
    assert list(node.membership.snapshot()) == [node.id]


async def test_a_main_loop_that_stands_still_is_spoken_for(mesh: Mesh) -> None:
    """Pings are answered, work is not done: the thread that answers says so."""
    one, other = await mesh.joined(2)
    one.membership._pulse.STILL = 0.5  # seconds; five would be five seconds of test

    def meta() -> Meta:
        return other.membership.snapshot()[one.id].meta

    one.membership.set_meta(Meta(name="n0", ready=True))
    assert not one.membership.beat()
    await until(lambda: meta().ready)
    await until(lambda: not meta().ready)
    assert meta().reason == "its main loop stands still"
    assert other.sees(one) is State.ALIVE
    assert one.membership.beat(), "it is to say itself how it is"


async def test_a_dead_member_is_retired_for_all_and_comes_back(mesh: Mesh) -> None:
    one, two, gone = await mesh.joined(3)
    await mesh.stop("n2")
    await until(lambda: one.sees(gone) is State.DEAD and two.sees(gone) is State.DEAD)
    one.membership.retire(gone.id)
    await until(lambda: one.sees(gone) is State.LEFT and two.sees(gone) is State.LEFT)
    again = await mesh.start("n2")
    await until(lambda: one.sees(again) is State.ALIVE and two.sees(again) is State.ALIVE)
