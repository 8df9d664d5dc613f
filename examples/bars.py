"""Live progress of several collections: bars on a terminal, a line every two seconds elsewhere."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

EVERY = 2.0
"""seconds between two lines"""


class Bars:
    """`totals`: rows that each collection will have. A context manager."""

    def __init__(self, console: Console, totals: Mapping[str, int]) -> None:
        self._console = console
        self._totals = totals
        self._said = 0.0
        self._progress = Progress(
            TextColumn("  {task.description:14}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._ids = {name: self._progress.add_task(name, total=total) for name, total in totals.items()}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, written: Mapping[str, int], *, last: bool = False) -> None:
        """Rows written so far. `last`: nothing follows, so it is shown whatever was shown before."""
        for name, bar in self._ids.items():
            self._progress.update(bar, completed=written[name])
        if not self._console.is_terminal and (last or time.monotonic() > self._said + EVERY):
            self._said = time.monotonic()
            self._console.print("  " + "   ".join(self._line(name, done) for name, done in written.items()))

    def _line(self, name: str, done: int) -> str:
        total = self._totals[name]
        return f"{name} {done:6,} of {total:,} ({done / total:4.0%})"
