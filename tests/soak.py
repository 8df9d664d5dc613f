"""`python -m tests.soak`: many short tasks through a real mesh; memory, disk and log over their number.

Tasks are submitted in rounds over HTTP, all ended ones are archived as they would be (profile `local`: three seconds
after a slot falls quiet), and after each round the nodes are measured. `--plot FILE` draws the table as SVG.

`docs/soak.md` has 2,000,000 tasks through three nodes: 152 MB of memory, at most 60 MB of log, 50 MB of archive.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.bench import COLLECT, nodes

SETTLE = 8.0
"""Seconds after a round until the nodes are measured: longer than they wait before they fold."""


class Point(NamedTuple):
    """After so many tasks, the largest of the nodes: resident MB, MB of log, files of log, MB of archive."""

    tasks: int
    rss: float
    log: float
    files: int
    archive: float


def measure(done: int, processes: Sequence[psutil.Process], folder: Path) -> Point:
    data = [folder / f"n{number}" for number in range(len(processes))]
    logs = [list((one / "log").glob("*.log")) for one in data]
    return Point(
        done,
        max(process.memory_info().rss for process in processes) / 1e6,
        max(sum(file.stat().st_size for file in files) for files in logs) / 1e6,
        max(map(len, logs)),
        max(sum(file.stat().st_size for file in one.glob("archive.sqlite*")) for one in data) / 1e6,
    )


def soak(count: int, total: int, step: int) -> list[Point]:
    points: list[Point] = []
    with nodes(count, "local") as (urls, processes):
        folder = Path(processes[0].cwd()).parent
        reach = [part for url in urls for part in ("--url", url)]
        points.append(measure(0, processes, folder))
        for done in range(step, total + 1, step):
            command = [str(COLLECT), "bench", "tasks", "--tasks", str(step), "--seed", str(done)]
            command += ["--durability", str(min(2, count)), *reach]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode:
                sys.exit(f"{ran.stdout}{ran.stderr}")
            time.sleep(SETTLE)
            points.append(measure(done, processes, folder))
            print(row(points[-1]), flush=True)
    return points


def row(point: Point) -> str:
    disk = f"{point.log:>6.0f} MB | {point.files} | {point.archive:>5.0f} MB"
    return f"| {point.tasks:>9,} | {point.rss:>6.0f} MB | {disk} |"


def plot(points: Sequence[Point]) -> str:
    """An SVG of memory, log and archive in MB over tasks."""
    width, height, most = 720, 300, max(max(p.rss, p.log, p.archive) for p in points) * 1.1
    scale = (width - 80) / max(1, points[-1].tasks)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 40}" font-family="sans-serif">'
    ]
    for level in range(0, int(most) + 1, max(10, int(most / 5) // 10 * 10)):
        y = height - level / most * (height - 20)
        parts.append(f'<path d="M60 {y:.0f}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="52" y="{y + 4:.0f}" font-size="11" text-anchor="end">{level} MB</text>')
    for name, colour, at in (("memory", "#06c", 1), ("log", "#c60", 2), ("archive", "#090", 4)):
        line = " ".join(
            f"{60 + p.tasks * scale:.1f},{height - p[at] / most * (height - 20):.1f}" for p in points
        )
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{80 + at * 110}" y="{height + 32}" font-size="12" fill="{colour}">{name}</text>'
        )
    parts.append(f'<text x="60" y="{height + 16}" font-size="11">0</text>')
    parts.append(
        f'<text x="{width - 20}" y="{height + 16}" font-size="11" text-anchor="end">{points[-1].tasks:,} tasks</text>'
    )
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=2_000_000)
    parser.add_argument("--step", type=int, default=100_000)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    print("| tasks | memory | log | files | archive |\n|---|---|---|---|---|", flush=True)
    points = soak(args.nodes, args.tasks, args.step)
    if args.plot:
        args.plot.write_text(plot(points))


if __name__ == "__main__":
    main()
