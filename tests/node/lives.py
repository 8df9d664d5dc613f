"""Membership of real nodes on loopback, without what stands on it: one life of a node, and several nodes."""

import asyncio
import contextlib
import time
from pathlib import Path

from gossip.config import SwimConfig
from gossip.identity import NodeId
from gossip.member import Member, Meta, State
from gossip.versions import PROTOCOL
from node.membership import Identity, Membership, Settings
from node.security.keyring import KeyRing
from node.security.keys import ClusterKey, load_cluster_key, load_keys, new_cluster_key, raise_boot
from node.security.roster import ROSTER_FILE, Roster
from node.security.tickets import TICKETS_FILE, Tickets
from tests.node.transport.kit import gated, until


class Node:
    """One life of the node that lives in `home`."""

    def __init__(self, home: Path, cluster: ClusterKey, bind: str = "127.0.0.1:0") -> None:
        home.mkdir(exist_ok=True)
        self.home, self.cluster = home, cluster
        self.keys = load_keys(home)
        self.boot = raise_boot(home)
        self.roster = Roster.load(home / ROSTER_FILE)
        self.ring = KeyRing(load_cluster_key(home) or cluster, home)
        self.tickets = Tickets.load(home / TICKETS_FILE, time.time())
        self.changes: list[tuple[NodeId, State | None, State]] = []
        self.conflicts: list[object] = []
        self._stack = contextlib.ExitStack()
        context = self._stack.enter_context(gated(self.roster))
        self.membership = Membership(
            context,
            Identity(
                keys=self.keys, boot=self.boot, ring=self.ring, roster=self.roster, tickets=self.tickets
            ),
            Settings(
                bind=bind,
                bulk="127.0.0.1:1",
                meta=Meta(name=home.name, protocol=PROTOCOL),
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

    def knows(self, other: "Node") -> bool:
        return self.sees(other) is State.ALIVE and other.id in self.roster.keys

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
        told = {node.id for node in nodes}
        await until(
            lambda: all(told <= {node.id, *(c[0] for c in node.changes)} for node in nodes), "all told"
        )
        return nodes

    async def whole(self) -> None:
        """Until everybody sees everybody alive, and has its keys, which may come a little later."""
        nodes = list(self.nodes.values())
        await until(lambda: all(one.knows(other) for one in nodes for other in nodes), "a full mesh")
