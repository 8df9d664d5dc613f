"""The whole screen for a snapshot: which panels, and how many lines each gets. Pure."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from node.schema import Node, Task
from tui import view
from tui.panels.events import bottom, events, help_page
from tui.panels.header import header, tabs
from tui.panels.members import members
from tui.panels.style import bar, plain, state
from tui.panels.tasks import shards, tasks
from tui.view import Looking, Snapshot, Tab

FRAME = 3
"""Lines of a panel beside its rows: two borders and the column names."""


def frame(
    snapshot: Snapshot, looking: Looking, now: float, height: int, several: Sequence[Tab] = ()
) -> RenderableType:
    """`height`: lines of the terminal; never more are drawn. `several`: the meshes watched, where there are more."""
    if several:
        return Group(tabs(several), frame(snapshot, looking, now, height - 1))
    top = view.header(snapshot, now)
    room = height - 3 - min(3, len(top.warnings)) - 1
    if looking.help:
        return Group(header(top), help_page(), bottom(looking))
    body = {"cluster": _cluster, "node": _node, "task": _task}[looking.place](snapshot, looking, room)
    return Group(header(top), *body, bottom(looking))


def _cluster(snapshot: Snapshot, looking: Looking, room: int) -> Iterable[RenderableType]:
    known = view.members(snapshot)
    lines = max(1, min(len(known), room // 3 - FRAME))
    yield members(known, height=lines, cursor=_mark(looking, "members", len(known)))
    room -= lines + FRAME
    quiet = min(6, room // 3)
    rows = view.tasks(snapshot, looking)
    yield tasks(
        rows,
        height=max(1, room - quiet - 2 - FRAME),
        cursor=_mark(looking, "tasks", len(rows)),
        title=f"tasks  {view.counts(row.state for row in rows)}",
    )
    if quiet > 0:
        yield events(snapshot.events, height=quiet)


def _mark(looking: Looking, focus: str, rows: int) -> int | None:
    return min(looking.cursor, max(0, rows - 1)) if looking.focus == focus else None


def _node(snapshot: Snapshot, looking: Looking, room: int) -> Iterable[RenderableType]:
    nodes = snapshot.cluster.nodes if snapshot.cluster else []
    node = next((node for node in nodes if node.id == looking.ref), None)
    if node is None:
        yield Text(f"node {looking.ref} is not in the mesh any more", style="yellow")
        return
    yield _node_facts(node)
    rows = view.tasks(snapshot, looking)
    height = max(1, room - 9 - FRAME)
    yield tasks(rows, height=height, cursor=_mark(looking, "tasks", len(rows)), title="tasks stewarded here")


def _node_facts(node: Node) -> Panel:
    table = Table.grid(padding=(0, 3))
    table.add_row("id", plain(node.id))
    table.add_row("state", state(node.state))
    table.add_row("addresses", plain("  ".join(f"{k} {v}" for k, v in sorted(node.addresses.items()))))
    table.add_row("slots", f"{view.number(node.slots)}   version {node.version}   boot {node.boot}")
    table.add_row("cpu", bar(node.load.get("cpu", 0.0)))
    table.add_row("plugins", plain("  ".join(sorted(node.plugins))))
    table.add_row("note", plain(node.reason or "-"))
    return Panel(table, title=plain(node.name), title_align="left", height=9)


def _task(snapshot: Snapshot, looking: Looking, room: int) -> Iterable[RenderableType]:
    task = snapshot.task
    if task is None or task.id != looking.ref:
        yield Text(f"{looking.ref}: asking…", style="bright_black")
        return
    yield _task_facts(task, snapshot)
    rows = view.shards(snapshot)
    cursor = min(looking.cursor, max(0, len(rows) - 1))
    yield shards(rows, height=max(1, room - 8 - FRAME), cursor=cursor)


def _task_facts(task: Task, snapshot: Snapshot) -> Panel:
    names = {node.id: node.name for node in snapshot.cluster.nodes} if snapshot.cluster else {}
    row = view.task_row(task, names)
    table = Table.grid(padding=(0, 3))
    table.add_row("state", state(row.state))
    table.add_row("progress", bar(row.progress, 40))
    table.add_row("records", f"{row.records}   {row.rate}   eta {row.eta}")
    table.add_row("kind", plain(f"{row.mode}   priority {row.priority}   tenant {task.tenant}"))
    table.add_row("steward", plain(row.steward))
    table.add_row("note", plain(row.note or "-"))
    return Panel(table, title=plain(f"{row.name}  {task.id}"), title_align="left", height=8)
