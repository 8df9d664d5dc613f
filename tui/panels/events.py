"""The last events, the help, and the bottom line."""

from collections.abc import Sequence

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tui.keys import HELP
from tui.panels.style import plain
from tui.view import Looking


def events(lines: Sequence[str], *, height: int) -> Panel:
    shown = (
        Text("\n").join(plain(line) for line in lines[-height:])
        if lines
        else Text("none yet", style="bright_black")
    )
    shown.no_wrap = True
    shown.overflow = "ellipsis"
    return Panel(shown, title="events", title_align="left")


def help_page() -> Panel:
    table = Table.grid(padding=(0, 3))
    for key, text in HELP:
        table.add_row(Text(key, style="bold cyan"), text)
    return Panel(table, title="keys", title_align="left")


def bottom(looking: Looking) -> Text:
    """A question, the filter being typed, a message, or the keys; in this order."""
    if looking.asking is not None:
        action, ref = looking.asking
        return Text(f"{action} {ref}?  y: yes, any other key: no", style="bold yellow")
    if looking.typing is not None:
        return plain(f"/{looking.typing}▏")
    if looking.message:
        return plain(looking.message)
    parts = [
        f"sort: {looking.sort}",
        f"filter: {looking.filter}" if looking.filter else "",
        "? help",
        "q quit",
    ]
    return plain("   ".join(filter(None, parts)))
