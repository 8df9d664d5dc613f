"""`collect bench records`: one large collection from CSV to JSONL, and control meanwhile."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import asyncio
import datetime as dt
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from node.cli.bench_control import ControlLoad
from node.cli.bench_tasks import running
from node.cli.failures import FAILED, OK, USAGE, Failure
from node.cli.output import facts
from node.cli.session import HERE, Reach, speak
from node.schema import TERMINAL, Task

if TYPE_CHECKING:
    from node.client import Client

POLL = 0.1
COLUMNS = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
    "carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
)


def records(
    *,
    rows: int = 1_000_000,
    folder: Path = Path(),
    seed: int = 1,
    reach: Reach = HERE,
) -> int:
    """Collect a CSV file of 19 columns and about 92 bytes a row into JSONL, and print the rate.

    Parameters
    ----------
    rows: Rows of the file.
    folder: The folder that is the node's default root; a temporary folder is made in it, and removed.
    seed: Of the choice of controls.
    """
    if rows < 1:
        raise Failure("--rows is at least 1", USAGE)
    try:
        with tempfile.TemporaryDirectory(prefix="collect-bench-", dir=folder) as made:
            size = write_rows(Path(made, "rows.csv"), rows)
            name = Path(made).name
            print(f"{rows:,} rows, {size / rows:.1f} bytes each", flush=True)
            return speak(reach, lambda client: _measure(client, name, rows, random.Random(seed)))
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}", USAGE) from None


def write_rows(path: Path, rows: int) -> int:
    """Write the file; its size in bytes."""
    with path.open("w", encoding="ascii", newline="") as file:
        file.write(COLUMNS + "\n")
        for number in range(rows):
            file.write(
                f"2013,{number % 12 + 1},{number % 28 + 1},517,515,{number % 90},830,819,{number % 70},"
                f"UA,{number % 9000},N{number % 99999:05d},EWR,IAH,227,1400,5,15,"
                f"2013-{number % 12 + 1:02d}-{number % 28 + 1:02d}T{number % 24:02d}:00:00Z\n"
            )
        return file.tell()


async def _measure(client: "Client", folder: str, rows: int, chance: random.Random) -> int:
    spec = {
        "source": {"plugin": "csv", "path": f"{folder}/rows.csv"},
        "sink": {"plugin": "jsonl", "path": f"{folder}/out"},
    }
    task = await client.submit(spec)
    control = ControlLoad(client, [task.id], chance, ending=False)
    async with running(control):
        while task.state not in TERMINAL:
            await asyncio.sleep(POLL)
            task = await client.task(task.id)
    written = task.run.records.written if task.run else 0
    shown = {"state": task.state, "reason": task.reason, "records": f"{written:,}"}
    seconds = run_seconds(task)
    if seconds:
        shown["rate"] = f"{written / seconds:,.0f} records/s ({seconds:.2f} s)"
    print(facts({**shown, **control.report()}))
    return OK if task.state == "succeeded" and written == rows else FAILED


def run_seconds(task: Task) -> float | None:
    """From the start of the run to its end; None where one of them is not known."""
    run = task.run
    if run is None or run.started_at is None or run.finished_at is None:
        return None
    start, end = (dt.datetime.fromisoformat(text) for text in (run.started_at, run.finished_at))
    return (end - start).total_seconds()
