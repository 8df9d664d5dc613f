"""Real membership drivers on loopback: finding each other, crash, leave, return, revocation."""

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gossip.config import SwimConfig
from gossip.errors import MetaTooLarge
from gossip.identity import NodeId
from gossip.member import Member, Meta, State
from node.discovery.mdns import Found, Mdns, find
from node.membership import Identity, Membership, Settings
from node.membership_driver import load_contacts
from node.security.keys import ClusterKey, load_keys, new_cluster_key, raise_boot
from node.security.roster import ROSTER_FILE, Roster
from node.transport.base import CannotBind
from tests.node.transport.kit import gated, until


class Node:
    """One life of the node that lives in `home`."""

    def __init__(self, home: Path, cluster: ClusterKey, bind: str = "127.0.0.1:0") -> None:
        home.mkdir(exist_ok=True)
        self.home, self.cluster = home, cluster
        self.keys = load_keys(home)
        self.boot = raise_boot(home)
        self.roster = Roster.load(home / ROSTER_FILE)
        self.changes: list[tuple[NodeId, State | None, State]] = []
        self.conflicts: list[object] = []
        self._stack = contextlib.ExitStack()
        context = self._stack.enter_context(gated(self.roster, cluster))
        self.membership = Membership(
            context,
            Identity(keys=self.keys, boot=self.boot, cluster=cluster, roster=self.roster),
            Settings(
                bind=bind,
                bulk="127.0.0.1:1",
                meta=Meta(name=home.name),
                config=SwimConfig.local(),
                data_dir=home,
            ),
            on_change=self._changed,
            on_conflict=self.conflicts.append,
        )

    @property
    def id(self) -> NodeId:
        return self.keys.id

    def sees(self, other: "Node") -> State | None:
        member = self.membership.snapshot().get(other.id)
        return member.state if member is not None and member.boot == other.boot else None

    async def stop(self) -> None:
        await self.membership.stop()
        self._stack.close()

    def _changed(self, member: Member, before: State | None) -> None:
        self.changes.append((member.id, before, member.state))


class Mesh:
    def __init__(self, home: Path) -> None:
        self.home, self.cluster = home, new_cluster_key()
        self.nodes: dict[str, Node] = {}

    async def start(self, name: str, bind: str = "127.0.0.1:0", cluster: ClusterKey | None = None) -> Node:
        node = Node(self.home / name, cluster or self.cluster, bind)
        self.nodes[name] = node
        await node.membership.start()
        return node

    async def stop(self, *names: str) -> None:
        await asyncio.gather(*(self.nodes.pop(name).stop() for name in names))

    async def joined(self, count: int) -> list[Node]:
        """So many nodes that start at once and know one seed."""
        nodes = list(await asyncio.gather(*(self.start(f"n{number}") for number in range(count))))
        for node in nodes[1:]:
            node.membership.propose(nodes[0].membership.join_address)
        await self.whole()
        return nodes

    async def whole(self) -> None:
        """Until everybody sees everybody alive."""
        nodes = list(self.nodes.values())
        await until(
            lambda: all(one.sees(other) is State.ALIVE for one in nodes for other in nodes), "a full mesh"
        )


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
    binds = {f"n{number}": free_address() for number in range(3)}
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


def free_address() -> str:
    """A control address whose join port, two above, is free as well."""
    while True:
        with socket.socket() as control, socket.socket() as joining:
            control.bind(("127.0.0.1", 0))
            port = control.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                joining.bind(("127.0.0.1", port + 2))
                return f"127.0.0.1:{port}"


async def test_a_node_that_lost_its_roster_is_met_again(mesh: Mesh) -> None:
    one, other, third = await mesh.joined(3)
    await mesh.stop("n2")
    (third.home / ROSTER_FILE).unlink()
    await until(lambda: one.sees(third) is other.sees(third) is State.DEAD)
    back = await mesh.start("n2")
    back.membership.propose(one.membership.join_address)
    await mesh.whole()


async def test_a_revoked_node_is_out_at_once_everywhere(mesh: Mesh) -> None:
    one, other, evil = await mesh.joined(3)
    one.membership.revoke(evil.id)
    await until(lambda: evil.id not in one.roster.keys and evil.id not in other.roster.keys)
    await until(lambda: one.sees(evil) not in (State.ALIVE, State.SUSPECT))
    await until(lambda: other.sees(evil) not in (State.ALIVE, State.SUSPECT))
    assert one.sees(other) is State.ALIVE


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
