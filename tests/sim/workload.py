"""What clients do: submit, submit again, control, and start runs again, through whatever node answers."""

import functools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from node.operations import FactOf, Origin, Submission, group, run_name, submit_facts, wish
from node.serving.routes import Routes
from state.join import TERMINAL, run_fact
from tests.sim.disk import Name
from tests.sim.model import CHUNK, NOTHING, spec
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World

FIRST, SECOND = "default", "other"
"""Tenants"""
KINDS = ("pause", "resume", "resume", "cancel", "priority", "delete")


@dataclass
class Submitted:
    """A task as its client knows it. `acked`: the durability that the answer said (0: none yet); `names`: the
    envelopes that hold it; `excused`: every disk that held it was replaced by an older one."""

    id: str
    slot: int
    batch: str
    index: int
    raw: bytes
    tenant: str
    names: list[Name] = field(default_factory=list)
    acked: int = 0
    excused: bool = False
    cancelled: bool = False
    deleted: list[Name] = field(default_factory=list)
    runs: dict[str, list[Name]] = field(default_factory=dict)
    """Further runs that were asked for, with the envelopes that ask."""

    @property
    def grows(self) -> bool:
        return b'"incremental"' in self.raw

    @property
    def plain(self) -> bool:
        return b'"plain"' in self.raw


class Workload:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.rng = world.rng
        self._simple = random.Random(f"{world.seed}:simple")
        """Decides on simple tasks alone"""
        self.tasks: list[Submitted] = []
        self.owners: dict[str, str] = {}
        """Tenants by task"""
        self._submissions: list[tuple[Submission, str, list[Submitted]]] = []
        self._answers: dict[tuple[str, int, int], Callable[[int], None]] = {}
        self._keys = Counter[str]()
        """Used by each tenant, and for wishes"""

    # ---- answers

    def settled(self, node: SimNode, ticket: int, level: int) -> None:
        answer = self._answers.pop((node.name, node.life, ticket), None)
        if answer is not None:
            answer(level)

    def _write(
        self, node: SimNode, slot: int, facts: list[FactOf], answer: Callable[[list[Name], int], None]
    ) -> list[Name]:
        ticket, names = node.write(slot, facts)
        self._answers[node.name, node.life, ticket] = functools.partial(answer, names)
        node.flush()
        return names

    # ---- submits

    def submit(
        self,
        *,
        records: int | None = None,
        region: str | None = None,
        through: SimNode | None = None,
        more: Mapping[str, Any] = NOTHING,
    ) -> list[Submitted]:
        """`region`: its home, any if none is named. `through`: the node that is asked; any that answers. `more`:
        further keys of the task."""
        regions = self.world.regions
        region = region or (regions[0] if len(regions) == 1 else self.rng.choice(regions))
        tenant, key = self._tenant_and_key()
        if self.rng.random() < self.world.pausing and self.world.may_pause(region):
            more = {**more, "on_partition": "pause"}
            self.world.hits["task that pauses"] += 1
        raws = [self._spec(f"{tenant}-{key}-{i}", records, more) for i in range(self.rng.randint(1, 4))]
        return self._submit(raws, tenant, key, region, through)

    def maybe_burst(self, chance: float) -> list[Submitted]:
        return self.burst() if self._simple.random() < chance else []

    def burst(self) -> list[Submitted]:
        """Small tasks, more than one node takes at once: most nodes have some leased in bulk, and some tasks wait."""
        tenant, key = self._tenant_and_key()
        raws = [self._small(f"{tenant}-{key}-{i}") for i in range(self._simple.randint(12, 36))]
        self.world.hits["burst of small tasks"] += 1
        return self._submit(raws, tenant, key, self._simple.choice(self.world.regions), None)

    def _small(self, name: str) -> bytes:
        sink = "plain" if self._simple.random() < 0.2 else "model"
        return spec(self._simple.randint(0, CHUNK), sharded=False, secret=False, name=name, sink=sink)

    def _submit(
        self, raws: list[bytes], tenant: str, key: str, region: str, through: SimNode | None
    ) -> list[Submitted]:
        (submission,) = group(raws, tenant=tenant, key=key, region=region, slots=self.world.slots)
        tasks = [
            Submitted(task, submission.slot, submission.batch, i, raw, tenant)
            for i, (task, raw) in enumerate(zip(submission.ids, submission.specs, strict=True))
        ]
        self.owners.update(dict.fromkeys(submission.ids, tenant))
        if not self._send(submission, key, tasks, through):
            return []
        self.tasks.extend(tasks)
        self._submissions.append((submission, key, tasks))
        return tasks

    def _tenant_and_key(self) -> tuple[str, str]:
        """A tenth is of the second tenant, which counts its keys as the first one does."""
        tenant = SECOND if self.rng.random() < 0.1 else FIRST
        self._keys[tenant] += 1
        return tenant, f"key-{self._keys[tenant]}"

    def _spec(self, name: str, records: int | None, more: Mapping[str, Any]) -> bytes:
        chance = self.rng.random()
        size = self.rng.randint(0, 90) if records is None else records
        if chance < 0.1 and records is None:
            return spec(size + 1, sharded=True, grows=True, name=name, fail=self.rng.choice((0, 0, 99)))
        sharded = self.rng.random() < 0.6
        return spec(
            size,
            sharded=sharded,
            fail=self.rng.choice((0, 0, 0, 1)) if records is None else 0,
            name=name,
            sink="plain" if chance > 0.8 else "model",
            secret=sharded or self._simple.random() < 0.5,  # what needs none is leased in bulk
            more=more,
        )

    def submit_again(self) -> None:
        """A client that lost the answer asks again, through another node."""
        if not self._submissions:
            return
        submission, key, tasks = self.rng.choice(self._submissions[-20:])
        if not any(task.excused for task in tasks) and self._send(submission, key, tasks):
            self.world.hits["submitted again"] += 1

    def _send(
        self, submission: Submission, key: str, tasks: list[Submitted], through: SimNode | None = None
    ) -> bool:
        node = self._holder(submission.slot) if through is None else self.forwarded(through, submission.slot)
        if node is None:
            return False
        known = node.entry_of(submission.slot, submission.batch)
        tenant = tasks[0].tenant
        if known is not None and known.parts:
            assert known.tenant == tenant, f"I22: {key} of {tenant} is taken for that of {known.tenant}"
            self.world.hits["repeat recognised"] += 1
            return True
        origin = Origin(node=node.name, writer=node.core.writer, slots=self.world.slots)
        facts = submit_facts(submission, origin, tenant=tenant, key=key, now_ms=node.wall)

        def answer(names: list[Name], level: int) -> None:
            for task in tasks:
                task.acked = max(task.acked, level)
            self._acknowledged(names, level)

        for name in self._write(node, submission.slot, facts, answer):
            for task in tasks:
                task.names.append(name)
        return True

    def _acknowledged(self, names: list[Name], level: int) -> None:
        """I1: what was acknowledged with n is on n disks at that moment, or was on one that is gone."""
        self.world.hits[f"acknowledged on {level}"] += 1
        for name in names:
            holders = self.world.holders(name) + self.world.troubles.withdrawn[name]
            assert holders >= level, f"I1: {name} was acknowledged on {level} disks and is on {holders}"

    def _holder(self, slot: int) -> SimNode | None:
        """A random node if it replicates the slot; else whom it forwards to."""
        able = [node for node in self.world.members if node.able]
        if not able:
            return None
        node = self.rng.choice(able)
        if owns(node, slot):
            return node
        return next((n for n in able if owns(n, slot)), None)

    def forwarded(self, node: SimNode, slot: int) -> SimNode | None:
        """To whom this node gives a write, as the service does."""
        names = Routes(node.core).replicas(slot)
        found = [self.world.member_of(name) for name in names]
        return next((one for one in found if one is not None and one.able), None)

    # ---- control

    def control(self) -> None:
        """Pause, resume, cancel, delete or re-prioritise a task through a node that holds it."""
        known = [task for task in self.tasks if task.acked and not task.excused]
        if not known:
            return
        task = self.rng.choice(known)
        node = self._holder(task.slot)
        if node is None or self.entry(node, task) is None:
            return
        if task.grows and self.rng.random() < 0.7:
            self.run_again(node, task)
        else:
            self.wish(node, task, self.rng.choice(KINDS), priority=self.rng.randint(0, 9))

    @staticmethod
    def entry(node: SimNode, task: Submitted) -> object | None:
        found = node.entry_of(task.slot, task.batch)
        return found if found is not None and task.index in found.present else None

    def wish(
        self, node: SimNode, task: Submitted, kind: str, run: str = "", *, by: str = "", priority: int = 5
    ) -> list[Name]:
        self._keys["wish"] += 1
        node.keeping.thaw(task.slot, task.batch)
        arguments = {"priority": priority} if kind == "priority" else {}
        fact = wish(
            node.core.replicator.ledgers[task.slot], task.batch, [task.index], kind, writer=node.core.writer,
            key=f"wish-{self._keys['wish']}", now_ms=node.wall, by=by, arguments=arguments, run=run,
        )  # fmt: skip
        self.world.hits[kind] += 1
        task.cancelled |= kind in ("cancel", "delete")

        def answer(names: list[Name], level: int) -> None:
            self._acknowledged(names, level)
            if kind == "delete" and level:
                task.deleted += names

        return self._write(node, task.slot, [fact], answer)

    def run_again(self, node: SimNode, task: Submitted) -> bool:
        """Another run of an incremental task whose source has grown, once all runs before are over everywhere."""
        wanted = ["0-submit", *task.runs]
        if task.cancelled or not all(self.over(node, task, run) for run in wanted):
            return False
        self._keys["wish"] += 1
        key = f"run-{self._keys['wish']}"
        run = run_name("run", task.tenant, key, now_ms=node.wall, revision=len(wanted), known=wanted)
        source = self.world.source(task)
        before = self.world.sink.sizes.get((source["name"], wanted[-1]), source["records"])
        self.world.sink.sizes[source["name"], run] = before + self.rng.randint(1, 30)
        task.runs[run] = self.wish(node, task, "run", run)
        return True

    def over(self, node: SimNode, task: Submitted, run: str) -> bool:
        entry = node.entry_of(task.slot, task.batch)
        facts = entry.tasks.get(task.index) if entry is not None else None
        known = run_fact(facts.runs[run].facts) if facts is not None and run in facts.runs else None
        return known is not None and known.state in TERMINAL


def owns(node: SimNode, slot: int) -> bool:
    """Whether it is one of the slot's replicas, not the copy of another region."""
    return node.name in node.core.ownership.placement.owners(slot)
