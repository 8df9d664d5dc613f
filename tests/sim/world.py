"""A simulated mesh under a seeded script of faults and a workload, with the invariants checked as it goes.

One seed decides everything: which faults are on (each is off in half of the seeds), when they strike, what is
submitted and through whom. `World.run` has two phases: faults, then a healed mesh that must come to rest.
"""

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gossip.config import SwimConfig
from gossip.identity import NodeId
from node.core import CoreConfig
from node.operations import Origin, group, submit_facts, wish
from node.stewardship.ownership import OwnershipConfig
from state import join
from state.envelope import Writer
from state.ledger import Change
from state.model import Progress
from tests.sim import checkers
from tests.sim.clock import Clock
from tests.sim.model import ModelSink, spec
from tests.sim.network import Link, Network
from tests.sim.node import SimNode

SLOTS = 32
FAULTS = ("crash", "halves", "isolate", "one-way", "loss", "freeze", "leave", "duplicate")


@dataclass
class Submitted:
    """A task as its client knows it. `acked`: the durability that the answer said (0: none yet)."""

    id: str
    slot: int
    batch: str
    index: int
    raw: bytes
    acked: int = 0
    cancelled: bool = False
    paused: bool = False


@dataclass
class World:
    seed: int
    nodes: int = 5
    seconds: float = 60.0
    faults: tuple[str, ...] = FAULTS
    hits: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.clock = Clock()
        self.network = Network(
            self.clock, random.Random(self.seed + 1), Link(delay=(0.0005, 0.003), fifo=True)
        )
        self.sink = ModelSink()
        config = CoreConfig(slots=SLOTS, concurrency=4, ownership=OwnershipConfig.local())
        names = [f"{i:016x}" for i in range(1, self.nodes + 1)]
        self.members = [
            SimNode(
                name, self.clock, self.network, self.sink, self.seed, config=config, gossip=SwimConfig.local(),
                on_settled=self._settled, on_core=self._watch,
            )
            for name in names
        ]  # fmt: skip
        self.tasks: list[Submitted] = []
        self._tickets: dict[tuple[NodeId, int, int], list[Submitted]] = {}
        self._reached: dict[object, int] = {}
        self._keys = 0
        self.enabled = [fault for fault in self.faults if self.rng.random() < 0.5]

    # ---- watching (invariants that hold at every step)

    def _watch(self, node: SimNode) -> None:
        life = node.life
        node.core.listeners.append(
            lambda slot, changes, author: self._checkpoints((node.name, life), changes, author)
        )

    def _checkpoints(self, seen_by: tuple[str, int], changes: list[Change], author: Writer) -> None:
        """I8: a checkpoint never goes back at an owner with a token, as each life of each node sees it."""
        for key, fact in changes:
            if isinstance(fact, Progress):
                for shard, live in fact.shards.items():
                    where = (seen_by, key, shard, live.token, author)
                    position = live.position or 0
                    assert position >= self._reached.get(where, 0), f"I8: {where} went back to {position}"
                    self._reached[where] = position

    def _settled(self, node: SimNode, ticket: int, level: int) -> None:
        for task in self._tickets.pop((node.name, node.life, ticket), []):
            task.acked = level
            if level:
                self.hits[f"acknowledged-{level}"] += 1
                holders = sum(self._on_disk(member, task) for member in self.members)
                assert holders >= level, f"I1: {task.id} acknowledged on {level} disks, is on {holders}"

    @staticmethod
    def _on_disk(node: SimNode, task: Submitted) -> bool:
        """Whether the node's disk, synced, holds the envelope with the task's batch."""
        needle = f"b|{task.batch}|".encode()
        return any(slot == task.slot and needle in data for slot, _, _, data in node.disk.records)

    # ---- the workload

    def submit(self) -> None:
        node = self._someone()
        if node is None:
            return
        self._keys += 1
        key = f"key-{self._keys}"
        shards = self.rng.choice((0, 0, 1, 2, 3))
        fail = self.rng.choice((0, 0, 0, 1))
        raws = [
            spec(self.rng.randint(0, 60), shards, fail=fail, name=f"{key}-{i}")
            for i in range(self.rng.randint(1, 4))
        ]
        (submission,) = group(raws, tenant="default", key=key, region="local", slots=SLOTS)
        if not node.core.replicates(submission.slot):
            node = next(
                (n for n in self.members if n.up and not n.frozen and n.core.replicates(submission.slot)),
                None,
            )
            if node is None:
                return
        origin = Origin(node=node.name, writer=node.core.writer, slots=SLOTS)
        facts = submit_facts(submission, origin, tenant="default", key=key, now_ms=node.wall)
        tasks = [
            Submitted(task, submission.slot, submission.batch, i, raw)
            for i, (task, raw) in enumerate(zip(submission.ids, submission.specs, strict=True))
        ]
        self.tasks.extend(tasks)
        ticket = node.core.write(submission.slot, facts, self.clock.now, node.wall)
        self._tickets[node.name, node.life, ticket] = tasks
        node.flush()

    def control(self) -> None:
        """Pause, resume, cancel or re-prioritise a task through a node that holds it."""
        if not self.tasks:
            return
        task = self.rng.choice(self.tasks)
        node = self._someone()
        if node is None or not task.acked:
            return
        ledger = node.core.replicator.ledgers.get(task.slot)
        if ledger is None or task.batch not in ledger.batches or not node.core.replicates(task.slot):
            return
        kind = self.rng.choice(("pause", "resume", "resume", "cancel", "priority"))
        self.wish(node, task, kind)

    def wish(self, node: SimNode, task: Submitted, kind: str) -> None:
        self._keys += 1
        arguments = {"priority": self.rng.randint(0, 9)} if kind == "priority" else {}
        fact = wish(
            node.core.replicator.ledgers[task.slot], task.batch, [task.index], kind,
            writer=node.core.writer, key=f"wish-{self._keys}", now_ms=node.wall, arguments=arguments,
        )  # fmt: skip
        node.core.write(task.slot, [fact], self.clock.now, node.wall)
        self.hits[kind] += 1
        task.cancelled |= kind == "cancel"
        node.flush()

    def _someone(self) -> SimNode | None:
        able = [node for node in self.members if node.up and not node.frozen]
        return self.rng.choice(able) if able else None

    # ---- faults

    def strike(self) -> None:
        if not self.enabled:
            return
        fault = self.rng.choice(self.enabled)
        lasts = self.rng.uniform(0.3, 8.0)
        names: list[str] = [node.name for node in self.members]
        self.hits[fault] += 1
        match fault:
            case "crash":
                self._crash(lasts)
            case "leave":
                self._leave(lasts)
            case "freeze":
                self._freeze(lasts)
            case "halves":
                chosen = self.rng.sample(names, len(names) // 2)
                self._cut(chosen, [n for n in names if n not in chosen], lasts)
            case "isolate":
                one = self.rng.choice(names)
                self._cut([one], [n for n in names if n != one], lasts)
            case "one-way":
                a, b = self.rng.sample(names, 2)
                self.network.cut(a, b)
                self.clock.after(lasts, self.network.heal)
            case "loss":
                self.network.lose(self.rng.uniform(0.05, 0.3))
                self.clock.after(lasts, lambda: self.network.lose(0.0))
            case "duplicate":
                link = Link(delay=(0.0005, 0.05), duplication=0.2, reorder=0.2)
                self.network.shape(link)
                self.clock.after(lasts, self._calm)

    def _calm(self) -> None:
        self.network.shape(Link(delay=(0.0005, 0.003), fifo=True))

    def _cut(self, left: list[str], right: list[str], lasts: float) -> None:
        self.network.split(left, right)
        self.clock.after(lasts, self.network.heal)

    def _crash(self, lasts: float) -> None:
        many = self.rng.choice((1, 1, 1, 2, len(self.members)))
        for node in self.rng.sample(self.members, many):
            if node.up:
                node.crash()
                self.clock.after(lasts * self.rng.uniform(0.1, 1.0), functools.partial(self._revive, node))

    def _leave(self, lasts: float) -> None:
        up = [node for node in self.members if node.up and not node.frozen]
        if len(up) < len(self.members):
            return
        node = self.rng.choice(up)
        node.leave()
        self.clock.after(1.5, lambda: node.crash() if node.up else None)
        self.clock.after(1.6 + lasts, lambda: self._revive(node))

    @staticmethod
    def _revive(node: SimNode) -> None:
        if not node.up:
            node.start()

    def _freeze(self, lasts: float) -> None:
        node = self.rng.choice(self.members)
        if node.up and not node.frozen:
            node.freeze()
            life = node.life
            self.clock.after(lasts, lambda: node.thaw() if node.life == life and node.frozen else None)

    # ---- the run

    def run(self) -> None:
        contacts: list[tuple[NodeId, str]] = [(self.members[0].name, self.members[0].name)]
        for node in self.members:
            node.contacts = contacts
            node.start(contacts)
        self.clock.run_for(5.0)
        end = self.clock.now + self.seconds
        while self.clock.now < end:
            for _ in range(self.rng.randint(0, 2)):
                self.submit()
            if self.rng.random() < 0.3:
                self.control()
            if self.rng.random() < 0.15:
                self.strike()
            self.clock.run_for(self.rng.uniform(0.2, 1.0))
        self.heal()
        self.settle()

    def heal(self) -> None:
        """End of the safety phase: everything is up, connected and calm; paused tasks are resumed by their users."""
        self.clock.run_for(10.0)  # faults under way run out
        self.network.heal()
        self._calm()
        for node in self.members:
            if node.up and node.frozen:
                node.thaw()
            self._revive(node)
        if self.rng.random() < 0.25:
            self._lose(self.rng.choice(self.members))

    def _lose(self, node: SimNode) -> None:
        """A node that never comes back; first everybody catches up, as it may hold the only copy of something."""
        self._eventually(30.0, checkers.replicas_agree)
        node.crash()
        self.members.remove(node)
        self.hits["lost for good"] += 1

    def settle(self) -> None:
        """The liveness phase, and the invariants of the end."""
        for _ in range(10):
            self.submit()
        self._eventually(30.0, checkers.members_agree)
        self._eventually(30.0, checkers.replicas_agree)
        self._resume_all()
        self._eventually(60.0, checkers.tasks_end)
        checkers.nothing_lost(self)
        self._eventually(30.0, checkers.replicas_agree)

    def _eventually(self, bound: float, check: Callable[["World"], None]) -> None:
        """The check holds within so many simulated seconds; otherwise its failure is ours."""
        end = self.clock.now + bound
        while True:
            try:
                return check(self)
            except AssertionError:
                if self.clock.now >= end:
                    raise
            self.clock.run_for(1.0)

    def _resume_all(self) -> None:
        for task in self.tasks:
            holder = next((n for n in self.members if n.core.replicates(task.slot)), None)
            if holder is None or task.batch not in holder.core.replicator.ledger(task.slot).batches:
                continue
            facts = holder.core.replicator.ledger(task.slot).batches[task.batch].tasks.get(task.index)
            if facts is not None and join.desired(facts.wishes).paused:
                self.wish(holder, task, "resume")

    def digest(self) -> str:
        """Hash of everything that happened: the network's log and what all replicas hold at the end."""
        digest = hashlib.blake2b(self.network.digest().encode(), digest_size=16)
        for node in self.members:
            for slot in sorted(node.core.replicator.ledgers):
                digest.update(node.core.replicator.ledgers[slot].content_hash())
        return digest.hexdigest()
