"""`python -m tests.bench`: the rates, the latency of control and the idle cost of real nodes on this machine.

It starts nodes of its own in temporary folders (one, then three), runs `collect bench` against them, and
then idle nodes of the `lan` profile. All of it takes about two minutes and shares the machine's cores: the
clients, too, run here.

Three runs with 100,000 tasks, 2 cores, Python 3.11.7:

- tasks, 1 node, durability 1: 18,059, 18,059 and 17,808/s submitted, 16,394, 15,066 and 16,193/s completed (mark
  10,000); control p99 48, 48 and 52 ms (mark 100)
- tasks, 3 nodes, durability 2: 25,256, 26,116 and 25,412/s submitted, 22,292, 22,958 and 22,351/s completed; control
  p99 65, 68 and 63 ms
- records, CSV to JSONL, 1 node: 324,359, 351,741 and 340,368/s; control p99 53 to 58 ms
- idle, profile lan: 1 node 72 MB and 0.8 to 0.9 % of a core; 3 nodes 73 MB and 1.0 to 1.1 % each
"""

import argparse
import asyncio
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

from examples.nodes import COMMAND, FACTS
from node.client import Client

COLLECT = Path(sys.executable).with_name("collect")
PATIENCE = 30.0
"""seconds for a node to start or a mesh to be complete"""
SETTLE = 5.0
"""seconds after the start that do not count as idle: nodes meet and compare what they have"""
LINE = re.compile(r"^(?P<name>\S.*?) {2,}(?P<value>.+)$", re.MULTILINE)
MARKS = {"tasks": "10,000 tasks/s", "records": "100,000 records/s", "idle": "100 MB, 2 % of a core"}

Row = tuple[str, str, str, str]
"""what was measured, the rate or the cost, the latency of control, the mark"""


@contextmanager
def nodes(count: int, profile: str) -> Iterator[tuple[list[str], list[psutil.Process]]]:
    """URLs and processes of a mesh of `count` nodes; the default root is the folder `work` of each."""
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        folder = Path(made)
        (folder / "work").mkdir()
        processes: list[psutil.Popen] = []
        try:
            urls: list[str] = []
            token = ""
            for number in range(count):
                more = ["--join", token] if token else []
                process, url, joins = _start(folder, f"n{number}", profile, more)
                processes.append(process)
                urls.append(url)
                token = token or joins
            asyncio.run(_complete(urls[0], count))
            yield urls, [psutil.Process(process.pid) for process in processes]
        finally:
            _end(processes)


def _start(folder: Path, name: str, profile: str, more: Sequence[str]) -> tuple[psutil.Popen, str, str]:
    log = folder / f"{name}.log"
    flags = ["--name", name, "--data-dir", str(folder / name), "--profile", profile, "--no-mdns"]
    ports = ["--http", "127.0.0.1:0", "--mesh", "127.0.0.1:0"]
    with log.open("wb") as out:
        process = psutil.Popen(
            [str(COMMAND), *flags, *ports, *more], cwd=folder / "work", stdout=out, stderr=out
        )
    end = time.monotonic() + PATIENCE
    while not (found := FACTS.search(log.read_text(errors="replace"))):
        if process.poll() is not None or time.monotonic() > end:
            _end([process])
            sys.exit(f"node {name} did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
    return process, found["url"], found["token"]


def _end(processes: Sequence[psutil.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except psutil.TimeoutExpired:
            process.kill()


async def _complete(url: str, count: int) -> None:
    """Until the first node sees all of them alive and ready."""
    async with asyncio.timeout(PATIENCE), Client([url]) as client:
        while sum(n.state == "alive" and n.ready for n in (await client.cluster()).nodes) < count:
            await asyncio.sleep(0.1)


def _collect(urls: Sequence[str], *arguments: str, work: Path) -> dict[str, str]:
    """What `collect bench` says, name -> value. A benchmark that fails ends the measurement."""
    reach = [part for url in urls for part in ("--url", url)]
    command = [str(COLLECT), "bench", *arguments, *reach]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return {found["name"].strip(): found["value"] for found in LINE.finditer(done.stdout)}


def measure_tasks(count: int, tasks: int) -> list[Row]:
    durability = min(2, count)
    with nodes(count, "local") as (urls, _):
        options = ("--tasks", str(tasks), "--durability", str(durability))
        seen = _collect(urls, "tasks", *options, work=Path.cwd())
    what = f"tasks, {_nodes(count)}, durability {durability}"
    return [
        (f"{what}: submitted", seen["submit"], "", MARKS["tasks"]),
        (f"{what}: completed", seen["complete"], seen["control"], MARKS["tasks"]),
    ]


def measure_records(rows: int) -> list[Row]:
    with nodes(1, "local") as (urls, processes):
        seen = _collect(urls, "records", "--rows", str(rows), work=Path(processes[0].cwd()))
    return [("records, CSV to JSONL, 1 node", seen["rate"], seen["control"], MARKS["records"])]


def measure_idle(count: int, seconds: float) -> list[Row]:
    """The dearest of the nodes, with its worker processes if it has any."""
    with nodes(count, "lan") as (_, processes):
        time.sleep(SETTLE)
        before = [_cpu(process) for process in processes]
        start = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - start
        shares = [(_cpu(p) - was) / took for p, was in zip(processes, before, strict=True)]
        resident = max(sum(one.memory_info().rss for one in _family(p)) for p in processes)
    cost = f"{resident / 1e6:.0f} MB, {max(shares) * 100:.1f} % of a core"
    return [(f"idle, {_nodes(count)}, profile lan", cost, "", MARKS["idle"])]


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    """Seconds of processor time so far."""
    return sum(one.cpu_times().user + one.cpu_times().system for one in _family(process))


def _nodes(count: int) -> str:
    return f"{count} node{'s' if count > 1 else ''}"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table, columns aligned."""
    head: Row = ("measured", "here", "control meanwhile", "mark")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (padded[0], rule, *padded[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--idle", type=float, default=20.0, metavar="SECONDS")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load before {load:.1f}", flush=True)
    rows: list[Row] = []
    for measure in (
        partial(measure_tasks, 1, args.tasks),
        partial(measure_tasks, 3, args.tasks),
        partial(measure_records, args.rows),
        partial(measure_idle, 1, args.idle),
        partial(measure_idle, 3, args.idle),
    ):
        found = measure()
        rows += found
        for name, here, control, _ in found:
            print(f"{name}: {here} {control}".rstrip(), file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
