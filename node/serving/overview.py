"""The mesh in numbers and names: this node's status, everybody's together, and what a spec's roots mean for it."""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import psutil

from gossip.identity import NodeId
from gossip.member import State
from gossip.versions import spoken
from node.api.problems import refuse
from node.clock import boottime, wall_ms
from node.core import Core
from node.counts import counting
from node.execution.roots import split
from node.messages import Facts
from node.schema import Cluster, Drain, Node, Task, TaskSpec
from node.serving import absence, shortage
from node.spec.plugged import HOST_KEYS, KINDS
from node.stewardship.specs import decode_spec
from node.views import instant
from plugins.options import decode
from plugins.registry import Registry

COUNT_EVERY = 0.3
"""Seconds for which a count of all tasks is good; bulk tasks are counted by bitmap, special ones one by one."""
COUNT_SHARE = 0.2
"""Of the time, at most, counts take; where there are very many tasks, a count is good for longer."""
COUNT_WITHIN = 0.4
"""Seconds for which an answer waits for a new count; then it has the last one."""
TURN = 100
"""Tasks or batches counted in one turn of the loop, some milliseconds."""
RATE_WINDOW = 5.0


class Overview:
    """`own_facts()`: what this node says of itself. `archived`: see `counts.counting`."""

    def __init__(
        self,
        core: Core,
        registry: Registry,
        own_facts: Callable[[], Facts],
        mesh_id: str,
        archived: Mapping[int, Mapping[tuple[str, str], int]],
    ) -> None:
        self.core = core
        self._archived = archived
        self._registry = registry
        self._own_facts = own_facts
        self._mesh_id = mesh_id
        self._counts: dict[str, int] | None = None
        self._count_due = -math.inf
        self._count: asyncio.Task[None] | None = None
        self._history: deque[tuple[float, int, int]] = deque()
        self._process = psutil.Process()
        self.drain: Callable[[], dict[str, Any] | None] = lambda: None
        self.refused: Callable[[], int] = lambda: 0
        """handshakes, hellos and messages that were turned away"""
        self.own: Callable[[], Sequence[str | None]] = lambda: ()
        """of this node: that it has met nobody since its start, or that nobody can reach it; None: it is not so"""

    # ---- status

    async def status(self, _: dict[str, Any]) -> Any:
        """This node's part of the cluster view."""
        return {
            "tasks": await self._counted(),
            "load": self.load(),
            "drain": self.drain(),
            "short": shortage.told(self.core.custody.short()),
        }

    async def _counted(self) -> dict[str, int]:
        """All that ask meanwhile wait for the same count."""
        if self._count is None and boottime() >= self._count_due:
            self._count = asyncio.get_running_loop().create_task(self._count_all())
        if self._count is not None:
            within = COUNT_WITHIN if self._counts is not None else None
            for counted in (await asyncio.wait([self._count], timeout=within))[0]:
                counted.result()
        assert self._counts is not None
        return self._counts

    async def _count_all(self) -> None:
        counts, began, looked = Counter[str](), boottime(), 0
        try:
            for some in counting(self.core, self._archived, counts):
                looked += 1 + some
                if looked >= TURN:
                    looked = 0
                    await asyncio.sleep(0)
            self._counts = dict(+counts)
        finally:
            self._count = None
            took = boottime() - began
            self._count_due = boottime() + max(COUNT_EVERY, took / COUNT_SHARE)

    def load(self) -> dict[str, float]:
        tasks, records = self._rates()
        return {
            "cpu": round(self._process.cpu_percent() / 100, 3),
            "rss": float(self._process.memory_info().rss),
            "running": float(self.core.executor.running),
            "queued": float(sum(len(g.pending) for gs in self.core.table.bulk.values() for g in gs)),
            "tasks_per_s": tasks,
            "records_per_s": records,
            "refused": float(self.refused()),
            "replica_lag_p99": round(self.core.replicator.lag.p99(), 4),
        }

    def _rates(self) -> tuple[float, float]:
        recording = self.core.steward.recording
        now = time.monotonic()
        self._history.append((now, recording.finished_tasks, recording.records))
        while now - self._history[0][0] > RATE_WINDOW and len(self._history) > 2:
            self._history.popleft()
        then, tasks, records = self._history[0]
        seconds = max(now - then, 0.001)
        if len(self._history) < 2:
            return 0.0, 0.0
        return round((recording.finished_tasks - tasks) / seconds, 1), round(
            (recording.records - records) / seconds, 1
        )

    # ---- the cluster

    def cluster(self, answers: dict[NodeId, Any]) -> Cluster:
        tasks: dict[str, int] = {}
        for answer in answers.values():
            for state, count in (answer["tasks"] if answer else {}).items():
                tasks[state] = tasks.get(state, 0) + count
        work = self._stewarded()
        nodes = [self._node(node, answers.get(node), work) for node in sorted(self.core.ownership.members)]
        nodes = [node for node in nodes if node.state != State.LEFT]
        return Cluster(
            id=self._mesh_id,
            node=self.core.me,
            nodes=nodes,
            slots=self.core.config.slots,
            tasks=tasks,
            tasks_per_s=round(sum(node.load.get("tasks_per_s", 0.0) for node in nodes), 1),
            records_per_s=round(sum(node.load.get("records_per_s", 0.0) for node in nodes), 1),
            backlog=tasks.get("pending", 0),
            as_of=instant(wall_ms()),
            warnings=self.warnings(answers),
        )

    def warnings(self, answers: dict[NodeId, Any]) -> list[str]:
        found = [own for own in self.own() if own]
        live = self.core.ownership.live()
        for node in sorted(live):
            if answers.get(node) is None:
                found.append(f"node {self._name(node)} is a member but did not answer")
            elif not self.core.ownership.ready(node):
                reason = self.core.ownership.members[node].meta.reason
                found.append(f"node {self._name(node)} is not ready{': ' if reason else ''}{reason}")
        metas = [self.core.ownership.members[node].meta for node in sorted(live)]
        if len({meta.protocol for meta in metas}) > 1:
            each = ", ".join(f"{meta.name} {meta.version} ({meta.protocol})" for meta in metas)
            found.append(
                f"nodes of several protocols: {each}; the mesh speaks {spoken(metas)} until all are upgraded"
            )
        names = Counter(meta.name for meta in metas)
        for name in sorted(name for name, count in names.items() if count > 1):
            ids = ", ".join(node for node in sorted(live) if self._name(node) == name)
            found.append(
                f"{names[name]} nodes are called {name} ({ids}): commands need their ids; node.name tells them apart"
            )
        for node, member in sorted(self.core.ownership.members.items()):
            if member.state is State.DEAD:
                found.append(f"node {member.meta.name} ({node}) is dead")
        return [
            *found,
            *absence.warnings(self.core),
            *shortage.warnings(self.core, [answer.get("short") for answer in answers.values() if answer]),
        ]

    def node(self, node: NodeId, answer: Any) -> Node:
        return self._node(node, answer, self._stewarded())

    def _stewarded(self) -> Counter[NodeId | None]:
        """How many slots each node stewards now, of all regions; None: those that nobody does for the moment."""
        work: Counter[NodeId | None] = Counter()
        for region in {member.meta.region for member in self.core.ownership.members.values()}:
            work.update(self.core.stewards_in(region))
        return work

    def _node(self, node: NodeId, answer: Any, work: Mapping[NodeId | None, int]) -> Node:
        member = self.core.ownership.members[node]
        facts = self.core.steward.leasing.facts.get(node)
        return Node(
            id=node,
            name=member.meta.name,
            state=str(member.state),
            region=member.meta.region,
            zone=member.meta.zone,
            addresses={"http": member.meta.http, "mesh": member.address, "join": member.meta.join},
            load=answer["load"] if answer else {},
            slots=work.get(node, 0),
            version=member.meta.version,
            boot=member.boot,
            plugins=dict(facts.plugins) if facts else {},
            ready=member.meta.ready,
            paused=facts.paused if facts else False,
            reason=member.meta.reason or None,
            draining=member.meta.weight == 0,
            drain=msgspec.convert(answer["drain"], Drain) if answer and answer.get("drain") else None,
        )

    def _name(self, node: NodeId) -> str:
        return self.core.ownership.members[node].meta.name

    def find(self, ref: str, *, also: Collection[NodeId] = ()) -> NodeId:
        """The member with this id, unique id prefix or name. `also`: of those that have left, whom a name may mean.
        Raises Refused 404, 409.
        """
        members = self.core.ownership.members
        exact = [
            n
            for n, m in members.items()
            if ref == n or (ref == m.meta.name and (n in also or m.state is not State.LEFT))
        ]
        found = exact or [node for node in members if node.startswith(ref)]
        if not found:
            raise refuse(404, "not-found", f"there is no node {ref!r}")
        if len(found) > 1:
            raise refuse(
                409, "ambiguous", f"more than one node is called {ref!r}: {', '.join(sorted(found))}"
            )
        return found[0]

    # ---- roots

    @cached_property
    def _own(self) -> Facts:
        """For this node's name and roots, which stay while it runs; gathering all facts describes every plugin."""
        return self._own_facts()

    def roots_of(self, specs: Sequence[bytes]) -> dict[str, str]:
        """root name -> fingerprint on this node of the roots that the specs use."""
        names: set[str] = set()
        for raw in specs:
            if b'"path"' in raw:
                names |= self._root_names(decode_spec(raw))
        own = self._own.roots
        return {name: own[name][1] for name in sorted(names) if name in own}

    def tied(self, roots: Iterable[str]) -> bool:
        """Whether one of these roots is a folder of this machine alone."""
        return any(not self._own.roots[name][0] for name in roots)

    def _root_names(self, spec: TaskSpec) -> set[str]:
        return {split(path)[0] for path in paths_of(self._registry, spec)}

    def warnings_of(self, task: Task) -> list[str]:
        """What a user should know of a task at its submit."""
        spec = msgspec.convert(task.spec, TaskSpec)
        own = self._own.roots
        found = []
        for name in sorted(self._root_names(spec)):
            if name in own and not own[name][0]:
                found.append(
                    f"root {name} is not shared: the task runs only on machines that see the same folder as node "
                    f"{self._own.name}; declare it shared = true if it is the same everywhere"
                )
        for sink in spec.sink:
            plugin = self._registry.find("sink", str(sink["plugin"]))
            if plugin is not None and getattr(plugin.effect, "value", "") == "at least once":
                found.append(
                    f"sink {sink['plugin']} is at least once: a crash or a cut may repeat records in it"
                )
        return found


def paths_of(registry: Registry, spec: TaskSpec) -> list[str]:
    """The root paths that the spec's plugins touch, as the plugins say."""
    found: list[str] = []
    for role, sections in (("source", [spec.source]), ("sink", spec.sink), ("transform", spec.transform)):
        for section in sections:
            plugin = registry.find(KINDS[role], str(section["plugin"]))
            paths = getattr(plugin, "paths", None)
            if plugin is not None and paths is not None:
                options = {k: v for k, v in section.items() if k not in HOST_KEYS[role]}
                found.extend(paths(decode(plugin.Options, options)))
    return found
