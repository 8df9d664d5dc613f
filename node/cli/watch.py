"""Following tasks to their end: live bars on a terminal, lines elsewhere; and waiting for a state."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from cyclopts import Parameter

from node.cli.failures import FAILED, OK, PARTLY, USAGE, Failure, clean, problem_text
from node.cli.session import HERE, Reach, Tenant, speak
from node.durations import duration
from node.schema import TERMINAL, Task

if TYPE_CHECKING:
    from node.client import Client

POLL = 0.5
"""Seconds between two looks at a task."""
QUIET = 10.0
"""Off a terminal: seconds after which a line is printed although the state did not change."""
PATIENCE = 60.0
"""Seconds for which no node may answer before a watch gives up."""

State = Literal["pending", "scheduled", "running", "paused", "succeeded", "partial", "failed", "cancelled"]
Ids = Annotated[str, Parameter(name="id", help="Tasks: id, unique prefix of one, or name.")]


class Display(Protocol):
    """Where progress is shown."""

    def update(self, tasks: Sequence[Task], trouble: str | None) -> None: ...
    def close(self) -> None: ...


def watch(*ids: Ids, tenant: Tenant = None, reach: Reach = HERE) -> int:
    """Follow tasks to their end; goes on through another node when the one it asks dies.

    Exit code: 0 all succeeded, 1 one failed or was cancelled, 3 one was left with dead letters.
    """
    if not ids:
        raise Failure("watch which task? name at least one id", USAGE)
    return speak(reach, lambda client: follow(client, ids, tenant=tenant))


def wait(
    ref: Annotated[str, Parameter(name="id")],
    /,
    *,
    until: State = "succeeded",
    timeout: str | None = None,
    tenant: Tenant = None,
    reach: Reach = HERE,
) -> int:
    """Wait until a task is in a state. Exit code: 0 it is; 1 it ended otherwise, or time is up; 3 it ended with dead
    letters.

    Parameters
    ----------
    ref: The task: its id, a unique prefix of it, or its name.
    until: The state to wait for.
    timeout: The longest wait, such as 60s or 5m (a number: seconds). Absent: no limit.
    """
    limit = _limit(timeout)
    task = speak(reach, lambda client: _wait(client, ref, until, limit, tenant))
    print(f"{task.id} {task.state}{f': {clean(task.reason)}' if task.reason else ''}")
    return OK if task.state == until else PARTLY if task.state == "partial" else FAILED


async def follow(client: "Client", refs: Sequence[str], *, tenant: str | None) -> int:
    """Show the progress of the tasks until all have ended; the exit code."""
    await client.learn()
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    display: Display = Bars() if live else Lines()
    last: list[Task] = []
    heard = monotonic()
    try:
        while not last or any(task.state not in TERMINAL for task in last):
            last, trouble = await _look(client, refs, tenant, last, monotonic() - heard)
            heard = heard if trouble else monotonic()
            display.update(last, trouble)
            if any(task.state not in TERMINAL for task in last) or not last:
                await asyncio.sleep(POLL)
    finally:
        display.close()
    states = {task.state for task in last}
    return FAILED if states & {"failed", "cancelled"} else PARTLY if "partial" in states else OK


async def _look(
    client: "Client", refs: Sequence[str], tenant: str | None, last: list[Task], silent: float
) -> tuple[list[Task], str | None]:
    """The tasks now; where no node answers, for `PATIENCE` seconds, as they were, and the trouble."""
    from node.client import ProblemError, Unreachable

    try:
        return [await client.task(ref, tenant=tenant) for ref in refs], None
    except Unreachable as error:
        if silent > PATIENCE or not last:
            raise
        return last, str(error)
    except ProblemError as error:
        if error.problem.status < 500 or silent > PATIENCE or not last:
            raise
        return last, problem_text(error.problem)


async def _wait(client: "Client", ref: str, until: str, limit: float | None, tenant: str | None) -> Task:
    await client.learn()
    start = heard = monotonic()
    last: list[Task] = []
    while True:
        last, trouble = await _look(client, [ref], tenant, last, monotonic() - heard)
        heard = heard if trouble else monotonic()
        task = last[0]
        if task.state == until or (task.state in TERMINAL and not trouble):
            return task
        if limit is not None and monotonic() - start >= limit:
            raise Failure(f"{task.id} is {task.state}, not {until}, after {limit:g} s")
        await asyncio.sleep(POLL if limit is None else min(POLL, max(0.0, limit - (monotonic() - start))))


def _limit(text: str | None) -> float | None:
    try:
        return None if text is None else float(text) if text.replace(".", "", 1).isdigit() else duration(text)
    except ValueError as error:
        raise Failure(f"--timeout: {error}", USAGE) from None


def label(task: Task) -> str:
    return clean(task.name or task.id)


def line(task: Task) -> str:
    """One line on one task: state, share, records, rate, time to go, and what is wrong."""
    run = task.run
    parts = [f"{label(task)}  {task.state}"]
    if run is not None:
        parts.append("" if run.progress is None else f"{run.progress:.0%}")
        parts.append(f"{run.records.written:,} records")
        if run.rate is not None and task.state not in TERMINAL:
            parts.append(f"{run.rate:,.0f}/s")
        if run.eta_s is not None and task.state not in TERMINAL:
            parts.append(f"eta {timedelta(seconds=round(run.eta_s))}")
        parts.append(f"{run.records.dead:,} dead letters" if run.records.dead else "")
    parts.append(clean(task.reason or (run.error if run and run.error else "") or ""))
    return "  ".join(filter(None, parts))


class Lines:
    """Off a terminal: a line when a state changes, and now and then."""

    def __init__(self) -> None:
        self.printed: dict[str, tuple[str, float]] = {}

    def update(self, tasks: Sequence[Task], trouble: str | None) -> None:
        now = monotonic()
        for task in tasks:
            state, at = self.printed.get(task.id, ("", 0.0))
            if state != task.state or now - at >= QUIET:
                self.printed[task.id] = (task.state, now)
                print(f"{line(task)}  ({trouble})" if trouble else line(task), flush=True)

    def close(self) -> None:
        """Every line is out already."""


class Bars:
    """On a terminal: one bar a task, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn

        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=Console(highlight=False),
            refresh_per_second=4,
        )
        self.rows: dict[str, TaskID] = {}
        self.progress.start()

    def update(self, tasks: Sequence[Task], trouble: str | None) -> None:
        for task in tasks:
            if task.id not in self.rows:
                self.rows[task.id] = self.progress.add_task(label(task), total=None, figures="")
            share = 1.0 if task.state == "succeeded" else task.run.progress if task.run else None
            figures = line(task).removeprefix(label(task)).strip() + (f"  ({trouble})" if trouble else "")
            total = None if share is None else 1.0
            self.progress.update(self.rows[task.id], total=total, completed=share or 0.0, figures=figures)
        self.progress.refresh()

    def close(self) -> None:
        self.progress.stop()
