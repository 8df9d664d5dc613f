"""The members of the mesh: state, slots, load."""

from collections.abc import Sequence

from rich.panel import Panel
from rich.table import Table

from tui.panels.style import bar, plain, state
from tui.view import MemberRow, counts, window


def members(rows: Sequence[MemberRow], *, height: int, cursor: int | None) -> Panel:
    """`cursor`: the row to mark, None when this list has not the focus."""
    table = Table(expand=True, box=None, pad_edge=False, header_style="bold")
    for name in ("name", "state", "region", "cpu"):
        table.add_column(name, no_wrap=True)
    for name in ("memory", "slots", "running", "queued", "records/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, ratio=1)
    for index in window(len(rows), cursor or 0, height):
        row = rows[index]
        table.add_row(
            plain(row.name),
            state(row.state),
            plain(row.region),
            bar(row.cpu, 8),
            row.memory,
            row.slots,
            row.running,
            row.queued,
            row.rate,
            plain(row.note),
            style="reverse" if index == cursor else "",
        )
    title = f"members  {counts(row.state for row in rows)}"
    return Panel(table, title=title, title_align="left", border_style="" if cursor is None else "cyan")
