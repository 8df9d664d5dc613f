"""What a snapshot of the mesh means for the eye: rows, sorted and filtered. Pure: no clock, no I/O."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from node.schema import TASK_STATES, Cluster, Node, Shard, Task

Place = Literal["cluster", "node", "task"]
SORTS = ("state", "name", "rate", "progress", "priority")
HISTORY = 60
SPARKS = " ▁▂▃▄▅▆▇█"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What was last heard. `fetched`: when (seconds of the caller's clock), None: nothing yet.

    `task`, `shards`: of the task that is looked at. `history`: records/s of the last minute, oldest first.
    `url`: the node that answered. `trouble`: why the last attempt brought nothing, None when it did.
    """

    cluster: Cluster | None = None
    tasks: tuple[Task, ...] = ()
    task: Task | None = None
    shards: tuple[Shard, ...] = ()
    events: tuple[str, ...] = ()
    history: tuple[float, ...] = ()
    fetched: float | None = None
    url: str = ""
    trouble: str | None = None


class Looking(msgspec.Struct, frozen=True, kw_only=True):
    """What the user looks at. `ref`: the node or task drilled into; `focus`: the list that arrows move in.

    `typing`: the filter as it is being typed, None when it is not. `asking`: (action, task id) to confirm.
    `mesh`: which of `meshes` watched ones.
    """

    place: Place = "cluster"
    ref: str = ""
    focus: Literal["members", "tasks"] = "tasks"
    cursor: int = 0
    filter: str = ""
    typing: str | None = None
    sort: str = "state"
    help: bool = False
    asking: tuple[str, str] | None = None
    message: str = ""
    readonly: bool = False
    mesh: int = 0
    meshes: int = 1


class Tab(NamedTuple):
    """How one of several meshes is, in a few words. `here`: it is the one looked at."""

    title: str
    sick: bool
    here: bool


class Header(NamedTuple):
    health: str
    sick: bool
    tasks_per_s: str
    records_per_s: str
    backlog: str
    eta: str
    spark: str
    states: str
    source: str
    age: str
    stale: bool
    warnings: tuple[str, ...]


class MemberRow(NamedTuple):
    id: str
    name: str
    state: str
    region: str
    slots: str
    cpu: float
    memory: str
    running: str
    queued: str
    rate: str
    note: str


class TaskRow(NamedTuple):
    id: str
    name: str
    state: str
    mode: str
    priority: str
    progress: float | None
    records: str
    rate: str
    eta: str
    steward: str
    note: str


class ShardRow(NamedTuple):
    id: str
    state: str
    node: str
    attempt: str
    span: str
    position: str
    records: str
    error: str


def header(snapshot: Snapshot, now: float) -> Header:
    """The top lines; without any answer yet it says so."""
    cluster = snapshot.cluster
    age = None if snapshot.fetched is None else max(0.0, now - snapshot.fetched)
    nodes = cluster.nodes if cluster else []
    alive = sum(node.state == "alive" for node in nodes)
    sick = cluster is None or alive < sum(node.state != "left" for node in nodes) or not all_ready(nodes)
    return Header(
        health=f"{alive}/{len(nodes)} nodes" if cluster else "no answer yet",
        sick=sick,
        tasks_per_s=number(cluster.tasks_per_s if cluster else 0),
        records_per_s=number(cluster.records_per_s if cluster else 0),
        backlog=number(cluster.backlog if cluster else 0),
        eta=_drained(cluster),
        spark=sparkline(snapshot.history),
        states="  ".join(f"{cluster.tasks[s]:,} {s}" for s in TASK_STATES if cluster.tasks.get(s))
        if cluster
        else "",
        source=snapshot.url,
        age="" if age is None else f"{age:.0f} s ago",
        stale=age is None or age > 3 or snapshot.trouble is not None,
        warnings=tuple(filter(None, [snapshot.trouble, *(cluster.warnings if cluster else [])])),
    )


def tab(number: int, name: str, snapshot: Snapshot, now: float, *, here: bool) -> Tab:
    """`number`: the key that leads to it."""
    row = header(snapshot, now)
    warned = f", {len(row.warnings)} warnings" if row.warnings else ""
    return Tab(f"{number} {name}: {row.health}{warned}", row.sick or row.stale, here)


def all_ready(nodes: Iterable[Node]) -> bool:
    return all(node.ready for node in nodes if node.state == "alive")


def _drained(cluster: Cluster | None) -> str:
    if cluster is None or not cluster.backlog or cluster.tasks_per_s <= 0:
        return "-"
    return duration(cluster.backlog / cluster.tasks_per_s)


def members(snapshot: Snapshot) -> list[MemberRow]:
    """Every member, by name."""
    nodes = snapshot.cluster.nodes if snapshot.cluster else []
    return [_member(node) for node in sorted(nodes, key=lambda node: (node.name, node.id))]


def _drain(node: Node) -> str | None:
    if not node.draining:
        return None
    if node.drain is None:
        return "draining"
    left = f"draining: {node.drain.copies:,} copies, {node.drain.slots:,} slots, {node.drain.running:,} jobs left"
    return "drained" if node.drain.done else left


def _member(node: Node) -> MemberRow:
    load = node.load
    notes = [
        _drain(node),
        "paused" if node.paused else None,
        None if node.ready else "not ready",
        node.reason,
    ]
    return MemberRow(
        id=node.id,
        name=node.name,
        state=node.state,
        region=f"{node.region}/{node.zone}" if node.zone else node.region,
        slots=number(node.slots),
        cpu=min(1.0, max(0.0, load.get("cpu", 0.0))),
        memory=f"{load.get('rss', 0) / 2**20:,.0f} MB",
        running=number(load.get("running", 0)),
        queued=number(load.get("queued", 0)),
        rate=number(load.get("records_per_s", 0)),
        note=", ".join(filter(None, notes)),
    )


def tasks(snapshot: Snapshot, looking: Looking) -> list[TaskRow]:
    """The tasks that match the filter (any part of id, name, tenant, state, steward), in the wanted order."""
    wanted = looking.filter.lower().split()
    names = {node.id: node.name for node in snapshot.cluster.nodes} if snapshot.cluster else {}
    found = [
        task
        for task in snapshot.tasks
        if all(any(word in text for text in _texts(task, names)) for word in wanted)
        and (looking.place != "node" or task.steward == looking.ref)
    ]
    return [task_row(task, names) for task in sorted(found, key=lambda task: _order(task, looking.sort))]


def _texts(task: Task, names: dict[str, str]) -> tuple[str, ...]:
    steward = names.get(task.steward or "", task.steward or "")
    return (task.id.lower(), (task.name or "").lower(), task.tenant.lower(), task.state, steward.lower())


def _order(task: Task, sort: str) -> tuple[Any, ...]:
    run = task.run
    urgent = ("running", "failed", "partial")
    first: Any = {
        "state": urgent.index(task.state) if task.state in urgent else len(urgent),
        "name": task.name or "~",
        "rate": -((run.rate if run else 0) or 0),
        "progress": -((run.progress if run else 0) or 0),
        "priority": -task.priority,
    }[sort]
    return (first, task.state, task.id)


def task_row(task: Task, names: dict[str, str]) -> TaskRow:
    run = task.run
    return TaskRow(
        id=task.id,
        name=task.name or task.id,
        state=task.state,
        mode=task.mode,
        priority=str(task.priority),
        progress=run.progress if run else None,
        records=number(run.records.written) if run else "-",
        rate=f"{number(run.rate)}/s" if run and run.rate is not None else "-",
        eta=duration(run.eta_s) if run and run.eta_s is not None else "-",
        steward=names.get(task.steward or "", task.steward or "-"),
        note=task.reason or (run.error if run and run.error else "") or "",
    )


def shards(snapshot: Snapshot) -> list[ShardRow]:
    """The shards of the task that is looked at: the unfinished ones first."""
    names = {node.id: node.name for node in snapshot.cluster.nodes} if snapshot.cluster else {}
    order = {state: rank for rank, state in enumerate(("running", "leased", "failed", "pending"))}
    ranked = sorted(snapshot.shards, key=lambda shard: (order.get(shard.state, 9), shard.id))
    return [
        ShardRow(
            id=shard.id,
            state=shard.state,
            node=names.get(shard.node or "", shard.node or "-"),
            attempt=str(shard.attempt),
            span=f"{short(shard.from_)} .. {short(shard.to)}",
            position=short(shard.position),
            records=number(shard.records.written),
            error=shard.error or "",
        )
        for shard in ranked
    ]


def counts(items: Iterable[str]) -> str:
    """`3 running  1 failed`, in order of first appearance."""
    found: dict[str, int] = {}
    for item in items:
        found[item] = found.get(item, 0) + 1
    return "  ".join(f"{count:,} {state}" for state, count in found.items())


def window(total: int, cursor: int, height: int) -> range:
    """The rows to draw: `height` of `total`, such that the cursor is among them."""
    start = max(0, min(cursor - height // 2, total - height))
    return range(start, min(total, start + height))


def sparkline(values: Sequence[float], width: int = HISTORY) -> str:
    """The last `width` values as blocks, the highest of them full."""
    last = list(values)[-width:]
    top = max(last, default=0)
    return "".join(SPARKS[round(value / top * 8) if top > 0 else 0] for value in last)


def number(value: float | None) -> str:
    """`1,234`, `12.3k` above 100,000, `4.56M`; "-" for None."""
    if value is None:
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= limit:
            return f"{value / limit:.2f}{unit}"
    if abs(value) >= 1e5:
        return f"{value / 1e3:.1f}k"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def short(value: Any, width: int = 24) -> str:
    """A position or bound as text of at most `width` characters; "-" for None."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= width else text[: width - 1] + "…"
