"""`make demo`: three nodes on this host collect real input, one is killed, the result is compared.

Three nodes find free ports, keep their data in a temporary folder, and share the folder they work in. Two
collections of a year of weather are throttled so that there is something to see. The node that is killed
holds a running shard at that moment. At the end every published row is compared with the source.
"""

import asyncio
import csv
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.bars import Bars
from examples.nodes import DemoError, Mesh, Node
from node.client import Client
from node.schema import TERMINAL, Shard, Task

HERE = Path(__file__).parent
OUT = Path("out/demo")
SINCE, BEFORE = "2013-03-01", "2013-04-01"
KILL_AT = 0.3
"""part of the full collection that is written when a node is killed"""
LIMIT = 110.0
"""seconds, after which the demo has failed"""

SPECS: dict[str, dict[str, Any]] = {
    "weather-full": {
        "name": "weather-full",
        "source": {"plugin": "csv", "path": "data/weather.csv"},
        "sink": {"plugin": "jsonl", "path": "published/weather-full"},
        "limits": {"rate": 1000, "shards": 6, "batch_records": 100},
    },
    "weather-march": {
        "name": "weather-march",
        "mode": "range",
        "range": {"field": "time_hour", "from": SINCE, "to": BEFORE, "step": "week"},
        "source": {"plugin": "csv", "path": "data/weather.csv"},
        "sink": {"plugin": "jsonl", "path": "published/weather-march"},
        "limits": {"rate": 80, "batch_records": 20},
    },
}


class Demo:
    """The steps, in order. `work`: the folder that all three nodes share as their root."""

    def __init__(self, console: Console, mesh: Mesh, work: Path) -> None:
        self.console = console
        self.mesh = mesh
        self.work = work
        self.wanted = expected(self.work / "data" / "weather.csv")

    async def run(self) -> None:
        self.step("Starting three nodes")
        await self.mesh.start()
        for node in self.mesh.nodes:
            self.console.print(f"  node {node.name}  {node.url}  pid {node.pid}")
        async with Client([node.url for node in self.mesh.nodes]) as client:
            await self.mesh.ready(client)
            self.step("Submitting two collections of a year of weather, throttled")
            tasks = {name: await client.submit(spec) for name, spec in SPECS.items()}
            for name, task in tasks.items():
                rows = sum(self.wanted[name].values())
                self.console.print(f"  {name:14} {task.mode:6} {rows:6,} rows  task {task.id}")
            began = time.monotonic()
            await self.follow(client, tasks)
            self.console.print(f"  both succeeded after {time.monotonic() - began:.0f} s")
        self.compare()
        self.keep()

    def step(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]")

    async def follow(self, client: Client, tasks: dict[str, Task]) -> None:
        """Progress until both have ended; on the way one node is killed."""
        self.step("Collecting")
        killed = False
        with Bars(self.console, {name: rows.total() for name, rows in self.wanted.items()}) as bars:
            while True:
                now = {name: await client.task(task.id) for name, task in tasks.items()}
                written = {name: task.run.records.written if task.run else 0 for name, task in now.items()}
                ended = all(task.state == "succeeded" for task in now.values())
                bars.show(written, last=ended)
                if lost := [
                    f"{task.name} {task.state}: {task.reason}" for task in now.values() if is_lost(task)
                ]:
                    raise DemoError("; ".join(lost))
                if ended:
                    break
                if not killed and written["weather-full"] >= KILL_AT * self.wanted["weather-full"].total():
                    await self.kill(client, tasks)
                    killed = True
                await asyncio.sleep(0.3)
        if not killed:
            raise DemoError("both collections ended before a node was killed")

    async def kill(self, client: Client, tasks: dict[str, Task]) -> None:
        """SIGKILL to a node that holds a running shard; then who has its shards."""
        held = await running(client, tasks)
        victim = max(self.mesh.nodes, key=lambda node: sum(s.node in (node.id, node.name) for _, s in held))
        orphans = [(name, shard) for name, shard in held if shard.node in (victim.id, victim.name)]
        if not orphans:
            raise DemoError("no node holds a running shard, so there is nobody to kill")
        victim.send(signal.SIGKILL)
        self.console.print(
            f"[bold red]  SIGKILL to node {victim.name}[/bold red] (pid {victim.pid}), which holds "
            f"{len(orphans)} running shard(s)"
        )
        began = time.monotonic()
        for name, orphan in orphans:
            heir = await self.heir(client, tasks[name], orphan, victim)
            self.console.print(
                f"  [green]taken over[/green]: {name} shard {orphan.id}  {victim.name} -> {heir}  "
                f"{resumed(orphan)}, seen after {time.monotonic() - began:.1f} s"
            )

    async def heir(self, client: Client, task: Task, orphan: Shard, victim: Node) -> str:
        """The name of the node that has the shard now."""
        end = time.monotonic() + 40
        while time.monotonic() < end:
            for shard in await client.shards(task.id):
                if shard.id == orphan.id and shard.node and shard.node not in (victim.id, victim.name):
                    return self.mesh.name_of(shard.node)
            await asyncio.sleep(0.1)
        raise DemoError(f"nobody took shard {orphan.id} of task {task.id} over within 40 s")

    def compare(self) -> None:
        """Every published row against the source, as multisets."""
        self.step("Comparing the published rows with the source")
        for name, wanted in self.wanted.items():
            got = published(self.work / "published" / name)
            missing, extra = (wanted - got).total(), (got - wanted).total()
            if missing or extra:
                raise DemoError(f"{name}: {missing:,} rows are missing, {extra:,} are too many")
            self.console.print(
                f"  [green]equal[/green]: {name:14} {got.total():6,} rows, none lost, none twice"
            )

    def keep(self) -> None:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.parent.mkdir(exist_ok=True)
        shutil.copytree(self.work / "published", OUT)
        self.console.print("\nThe published rows are in:")
        for name in SPECS:
            self.console.print(f"  {OUT / name}/")


def resumed(orphan: Shard) -> str:
    return "from its start or later" if orphan.position is None else f"from byte {orphan.position:,} or later"


def is_lost(task: Task) -> bool:
    return task.state in TERMINAL and task.state != "succeeded"


async def running(client: Client, tasks: dict[str, Task]) -> list[tuple[str, Shard]]:
    found = [(name, shard) for name, task in tasks.items() for shard in await client.shards(task.id)]
    return [(name, shard) for name, shard in found if shard.state == "running" and shard.node]


def expected(source: Path) -> dict[str, Counter[str]]:
    """The rows that each collection has to publish."""
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        "weather-full": Counter(map(canonical, rows)),
        "weather-march": Counter(canonical(row) for row in rows if SINCE <= row["time_hour"] < BEFORE),
    }


def published(folder: Path) -> Counter[str]:
    """The rows in the visible parts of a file sink."""
    parts = sorted(path for path in folder.glob("*.jsonl") if not path.name.startswith("."))
    return Counter(
        canonical(json.loads(line))
        for path in parts
        for line in path.read_text(encoding="utf-8").splitlines()
    )


def canonical(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)


async def play(console: Console) -> None:
    with tempfile.TemporaryDirectory(prefix="collect-demo-") as name:
        folder = Path(name)
        work = folder / "work"
        work.mkdir()
        shutil.copytree(HERE / "data", work / "data")
        async with asyncio.timeout(LIMIT):
            with Mesh(folder, work) as mesh:
                await Demo(console, mesh, work).run()


def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the nodes end with us
    began = time.monotonic()
    try:
        asyncio.run(play(console))
    except TimeoutError:
        console.print(f"[bold red]demo failed[/bold red]: not done after {LIMIT:.0f} s")
        return 1
    except KeyboardInterrupt:
        console.print("demo stopped; its nodes and temporary files are gone")
        return 130
    except Exception as error:  # noqa: BLE001 -- whatever it was, the demo says so in a line and fails
        console.print(f"[bold red]demo failed[/bold red]: {type(error).__name__}: {error}")
        return 1
    console.print(f"[bold green]demo passed[/bold green] in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
