"""The top lines: health, rates, backlog, sparkline, the source and the age of what is shown."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tui.panels.style import plain
from tui.view import Header, Tab


def tabs(several: Sequence[Tab]) -> RenderableType:
    """One line."""
    line = Text("  ", no_wrap=True, overflow="ellipsis").join(
        Text.assemble(plain(f" {one.title} "), style=_style(one)) for one in several
    )
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _style(one: Tab) -> str:
    return f"{'bold red' if one.sick else 'bold green'}{' reverse' if one.here else ''}"


def header(row: Header) -> RenderableType:
    line = Table.grid(expand=True, padding=(0, 2))
    for _ in range(5):
        line.add_column(no_wrap=True)
    line.add_column(justify="right", no_wrap=True, ratio=1)
    line.add_row(
        Text(row.health, style="bold red" if row.sick else "bold green"),
        f"{row.tasks_per_s} tasks/s",
        f"{row.records_per_s} records/s",
        f"backlog {row.backlog}",
        f"eta {row.eta}",
        Text(f"{row.source}  {row.age}", style="bold yellow" if row.stale else "bright_black"),
    )
    lines: list[RenderableType] = [line, Text(row.spark or " ", style="cyan", no_wrap=True)]
    lines.append(Text(row.states or " ", no_wrap=True))
    for warning in row.warnings[:3]:
        text = plain("! " + warning)
        text.stylize("yellow")
        text.no_wrap = True
        lines.append(text)
    return Group(*lines)
