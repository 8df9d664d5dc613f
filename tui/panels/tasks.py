"""Tasks with their progress, and the shards of one."""

from collections.abc import Sequence

from rich.panel import Panel
from rich.table import Table

from tui.panels.style import bar, plain, state
from tui.view import ShardRow, TaskRow, counts, window


def tasks(rows: Sequence[TaskRow], *, height: int, cursor: int | None, title: str = "tasks") -> Panel:
    """`cursor`: the row to mark, None when this list has not the focus."""
    table = Table(expand=True, box=None, pad_edge=False, header_style="bold")
    for name in ("task", "state", "mode"):
        table.add_column(name, no_wrap=True)
    table.add_column("pr", justify="right")
    table.add_column("progress", no_wrap=True)
    for name in ("records", "rate", "eta"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("steward", no_wrap=True)
    table.add_column("", no_wrap=True, ratio=1)
    for index in window(len(rows), cursor or 0, height):
        row = rows[index]
        table.add_row(
            plain(row.name),
            state(row.state),
            row.mode,
            row.priority,
            bar(row.progress),
            row.records,
            row.rate,
            row.eta,
            plain(row.steward),
            plain(row.note),
            style="reverse" if index == cursor else "",
        )
    return Panel(table, title=plain(title), title_align="left", border_style="" if cursor is None else "cyan")


def shards(rows: Sequence[ShardRow], *, height: int, cursor: int) -> Panel:
    table = Table(expand=True, box=None, pad_edge=False, header_style="bold")
    for name in ("shard", "state", "node"):
        table.add_column(name, no_wrap=True)
    table.add_column("attempt", justify="right")
    for name in ("from .. to", "position"):
        table.add_column(name, no_wrap=True)
    table.add_column("records", justify="right")
    table.add_column("", no_wrap=True, ratio=1)
    for index in window(len(rows), cursor, height):
        row = rows[index]
        table.add_row(
            plain(row.id),
            state(row.state),
            plain(row.node),
            row.attempt,
            plain(row.span),
            plain(row.position),
            row.records,
            plain(row.error),
            style="reverse" if index == cursor else "",
        )
    title = f"shards  {counts(row.state for row in rows)}"
    return Panel(table, title=title, title_align="left", border_style="cyan")
