"""A simulated mesh under a seeded script of faults and a workload, with the invariants checked as it goes.

One seed decides everything: how many nodes, which faults are on (each is off in half of the seeds), when they strike,
what is submitted and through whom. `World.run` has three phases: faults, a healed mesh that must come to rest, and
the checks of the end.
"""

import contextlib
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from gossip.config import SwimConfig
from gossip.identity import NodeId
from node.core import CoreConfig
from node.leases.core import LeaseConfig
from node.messages import LeaseAsk
from node.spec.rules import PAUSE_NEEDS
from node.stewardship.ownership import OwnershipConfig
from sharding.region import LOCAL, slot_in
from state import join
from tests.sim import checkers, coverage, faults, secrecy, tenants
from tests.sim.clock import Clock
from tests.sim.disk import Name
from tests.sim.model import ModelSink, decoded
from tests.sim.network import Network
from tests.sim.node import SimNode
from tests.sim.sessions import Sessions
from tests.sim.watch import Watch
from tests.sim.workload import Submitted, Workload

SLOTS = 32
SIZES = (5, 5, 5, 5, 6, 7)
OWNERSHIP = structs.replace(OwnershipConfig.local(), region_takeover=10.0)
MESSAGES = 500
"""A second and node at most, in the mean; about 60 are usual. More: nodes excite each other."""


@dataclass
class World:
    """`nodes` None: 5 to 7, by the seed. `regions`: they are dealt to the nodes in turn. `pausing`: the share of tasks
    with `on_partition = "pause"`, where they may be. `counted`: rare paths are. `logged`: messages are, for the
    digest. Each takes a little of the time."""

    seed: int
    nodes: int | None = None
    seconds: float = 60.0
    faults: tuple[str, ...] = faults.NAMES
    hits: Counter[str] = field(default_factory=Counter)
    slots: int = SLOTS
    regions: tuple[str, ...] = (LOCAL,)
    gossip: SwimConfig = field(default_factory=SwimConfig.local)
    pausing: float = 0.08
    counted: bool = True
    logged: bool = False

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.clock = Clock()
        self.network = Network(self.clock, random.Random(self.seed + 1), faults.CALM, logged=self.logged)
        self.network.inspect = secrecy.told
        self.sink = ModelSink()
        self.watch = Watch(self)
        self.workload = Workload(self)
        self.gone: list[NodeId] = []
        count = self.nodes or self.rng.choice(SIZES)
        self.network.limit = int(MESSAGES * count * (self.seconds + 300))
        config = CoreConfig(
            slots=self.slots, concurrency=4, far_interval=1.0, ownership=OWNERSHIP, leases=LeaseConfig.local()
        )
        self.members = [
            SimNode(
                f"{number:016x}", self.clock, self.network, self.sink, self.seed,
                config=structs.replace(config, region=self.regions[number % len(self.regions)]),
                gossip=self.gossip, watcher=self.watch, hits=self.hits,
            )
            for number in range(1, count + 1)
        ]  # fmt: skip
        self.sessions = Sessions(self, self.seed)
        self.troubles = faults.Faults(self, self.faults)

    @property
    def enabled(self) -> list[str]:
        return self.troubles.enabled

    @property
    def tasks(self) -> list[Submitted]:
        return self.workload.tasks

    @property
    def all_slots(self) -> list[int]:
        """Of all regions."""
        return [slot_in(region, number) for region in self.regions for number in range(self.slots)]

    def holders(self, name: Name) -> int:
        """How many disks hold this envelope, synced."""
        return sum(name in node.disk.by_name for node in self.members)

    def may_pause(self, region: str) -> bool:
        """Whether enough nodes vote on leases there, and none is of a version that knows no leases."""
        voters = sum(node.config.region == region for node in self.members)
        return voters >= PAUSE_NEEDS and all(node.config.protocol >= LeaseAsk.since for node in self.members)

    def source(self, task: Submitted) -> dict[str, Any]:
        found: dict[str, Any] = decoded(task.raw)["source"]
        return found

    # ---- the run

    def run(self) -> None:
        with coverage.counting(self.hits) if self.counted else contextlib.nullcontext():
            self._run()

    def _run(self) -> None:
        self._begin()
        end = self.clock.now + self.seconds
        while self.clock.now < end:
            self._step()
        self.heal()
        self.settle()
        self._count()

    def _begin(self) -> None:
        first, second = self.members[:2]
        for node in self.members:
            node.seeds = [(other.name, other.address) for other in (first, second) if other is not node]
            node.start()
        self.clock.run_for(3.0)

    def _step(self) -> None:
        for _ in range(self.rng.randint(0, 2)):
            self.workload.submit()
        self.workload.maybe_burst(0.005)
        if self.rng.random() < 0.1:
            self.workload.submit_again()
        if self.rng.random() < 0.3:
            self.workload.control()
        self.sessions.step()
        if self.rng.random() < 0.2:
            self.troubles.strike()
        if self.rng.random() < 0.1:
            checkers.copies_are_kept(self)
        self.clock.run_for(self.rng.uniform(0.3, 1.1))

    def heal(self) -> None:
        """End of the safety phase: everything is up, connected and calm."""
        self.clock.run_until(max(self.clock.now, self.troubles.until) + 1.0)
        self.troubles.end()
        if self.rng.random() < 0.25:
            self._lose(self.rng.choice(self.members))

    def _lose(self, node: SimNode) -> None:
        """A node dies under load and never comes back; before that everybody catches up, as it may hold the only copy
        of something old, and who lost its file of promises votes again only when it has heard everybody."""
        self.eventually(40.0, checkers.replicas_agree)
        self.eventually(40.0, checkers.all_vote)
        for _ in range(4):
            self.workload.submit(records=60)
        self.clock.run_for(0.6)
        self.workload.burst()
        self.clock.run_for(0.2)
        node.crash()
        self.members.remove(node)
        self.gone.append(node.name)
        self.troubles.lost(list(node.disk.by_name))
        self.hits["lost for good"] += 1

    def settle(self) -> None:
        """The liveness phase: bounds on how long it takes until all is as it should be; then the end's invariants."""
        for _ in range(10):
            self.workload.submit()
        self.eventually(30.0, checkers.members_agree)
        self.eventually(30.0, checkers.replicas_agree)
        self.eventually(30.0, checkers.one_steward_each)
        self._hold_still()
        self._resume_all()
        self.eventually(60.0, checkers.tasks_end)
        self._run_growing_again()
        self.clock.run_for(1.0)
        self.eventually(60.0, checkers.tasks_end)
        checkers.nothing_lost(self)
        checkers.cursors_skip_nothing(self)
        checkers.specs_are_as_submitted(self)
        self.eventually(10.0, checkers.meanings_agree)
        checkers.deleted_stays_deleted(self)
        self.sessions.in_order(self)
        tenants.lists_are_apart(self)
        secrecy.answered(self)
        secrecy.kept(self)
        self.eventually(30.0, checkers.queues_drain)
        self.eventually(30.0, checkers.replicas_agree)
        self.members[0].core.leases.forget(frozenset(self.gone))
        self.eventually(30.0, checkers.voters_agree)
        checkers.log_is_the_state(self, self.rng.choice(self.members))

    def _hold_still(self) -> None:
        """I9: what is paused or cancelled in a healthy mesh, begun or not, reaches the sink no more two seconds later,
        and what is cancelled never again, whatever is wished afterwards."""
        tasks = [task for _ in range(3) for task in self.workload.submit(records=200)]
        self.clock.run_for(1.5)
        tasks += self.workload.maybe_burst(0.2)[-6:]
        self.clock.run_for(0.05)
        held = []
        for task in tasks:
            node = next((n for n in self.members if n.core.replicates(task.slot)), None)
            if node is not None and self.workload.entry(node, task) is not None:
                self.workload.wish(node, task, self.rng.choice(("pause", "cancel", "delete")))
                held.append(task)
        self.clock.run_for(2.0)
        since = self.clock.now
        self.clock.run_for(1.5)
        checkers.nothing_emitted(self, held, since)
        cancelled = [task for task in held if task.cancelled]
        for task, node, _ in self._known():
            if task in cancelled:
                self.workload.wish(node, task, "resume")
        self.clock.run_for(1.0)
        checkers.nothing_emitted(self, cancelled, since)

    def eventually(self, bound: float, check: Callable[["World"], None]) -> None:
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
        for task, node, facts in self._known():
            if facts is not None and join.desired(facts.wishes).paused:
                self.workload.wish(node, task, "resume")

    def _run_growing_again(self) -> None:
        for task, node, _ in self._known():
            if task.grows and not task.excused:
                self.workload.run_again(node, task)

    def _known(self) -> list[tuple[Submitted, SimNode, Any]]:
        found = []
        for task in self.tasks:
            holder = next((n for n in self.members if n.core.replicates(task.slot)), None)
            entry: Any = self.workload.entry(holder, task) if holder is not None else None
            if holder is not None and entry is not None:
                found.append((task, holder, entry.tasks.get(task.index)))
        return found

    def _count(self) -> None:
        self.hits["commit refused by the sink"] += self.sink.refused
        self.hits["unsynced write lost"] += sum(node.disk.lost for node in self.members)
        self.hits["torn write cut off"] += sum(node.disk.torn for node in self.members)
        for kind in ("lost", "cut", "duplicated", "nobody"):
            self.hits[f"message {kind}"] += self.network.kinds[kind]

    def member_of(self, name: str) -> SimNode | None:
        return next((node for node in self.members if node.name == name), None)

    def digest(self) -> str:
        """Hash of everything that happened: the network's log and what all replicas hold at the end."""
        digest = hashlib.blake2b(self.network.digest().encode(), digest_size=16)
        for node in self.members:
            for slot in sorted(node.core.replicator.ledgers):
                digest.update(node.core.replicator.ledgers[slot].content_hash())
        return digest.hexdigest()
