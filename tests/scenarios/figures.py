"""`python -m tests.scenarios.figures` (`make chaos-figures`): how soon others go on, with real nodes on this host.

Three nodes run many slow shards. One is killed (-9), the clock runs until every shard that it ran is running on
another node, as a survivor's API tells; then it starts again and the next is killed. Likewise for an orderly
leave (SIGTERM): until its process has ended, and until its shards run elsewhere. At last, small tasks come in at
a steady rate, and each node tells how far its replicas are behind.
"""

import argparse
import asyncio
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from node.cli.bench_tasks import line
from node.client import Client
from node.schema import BatchAnswer, Shard
from tests.bench import table
from tests.scenarios.load import lay
from tests.scenarios.mesh import Mesh, Node, Place, shards, submit, until

TASKS = 6
RATE, SHARDS = 400, 4
"""records/s of a task, shards of a task: so slow that none ends meanwhile"""
POLL = 0.02
BATCH = 250
SPEC = {
    "source": {"plugin": "csv", "path": "flights.csv"},
    "mode": "full",
    "limits": {"rate": RATE, "shards": SHARDS},
}
MARKS = {"lan": "p99 at most 10 s", "local": "p99 at most 3 s"}

Unit = tuple[str, str]
"""task, shard"""


class Sample(NamedTuple):
    """Seconds from the signal. `ended`: of the process; `elsewhere`: the last of its shards runs again."""

    ended: float
    elsewhere: float


class Figures:
    """One mesh, in which one node after another goes down and comes back."""

    def __init__(self, mesh: Mesh, rng: random.Random) -> None:
        self.mesh, self.rng = mesh, rng
        self.tasks: list[str] = []

    async def begin(self) -> None:
        lay(self.mesh.root, 1)
        for number in range(TASKS):
            spec = {**SPEC, "sink": {"plugin": "jsonl", "path": f"out{number}"}}
            self.tasks.append((await submit(self.mesh.nodes[number % len(self.mesh.nodes)], spec)).id)

    async def measure(self, number: signal.Signals) -> Sample:
        """Take a node that runs shards down, and start it again."""
        await asyncio.sleep(self.rng.random())  # at any phase of the probes
        node = await until(self._busy, "a node runs shards", 30)
        survivor = next(one for one in self.mesh.nodes if one is not node)
        lost = [unit for unit, shard in (await self._running(survivor)).items() if shard.node == node.id]
        began = time.monotonic()
        node.send(number)
        await node.ended()
        ended = time.monotonic() - began
        await until(lambda: self._elsewhere(survivor, node, lost), "its shards run elsewhere", 60, POLL)
        elsewhere = time.monotonic() - began
        await node.start()
        await self.mesh.ready()
        return Sample(ended, elsewhere)

    async def _busy(self) -> Node | None:
        """One that has shards, chosen at random."""
        running = await self._running(self.mesh.nodes[0])
        if len(running) < TASKS * SHARDS:
            return None
        return self.mesh.node(str(self.rng.choice(sorted({shard.node or "" for shard in running.values()}))))

    async def _running(self, by: Node) -> dict[Unit, Shard]:
        answers = await asyncio.gather(*(shards(by, task) for task in self.tasks))
        return {
            (task, shard.id): shard
            for task, found in zip(self.tasks, answers, strict=True)
            for shard in found
            if shard.state == "running"
        }

    async def _elsewhere(self, by: Node, gone: Node, lost: Iterable[Unit]) -> bool:
        running = await self._running(by)
        return all(unit in running and running[unit].node != gone.id for unit in lost)


async def measure(profile: str, number: signal.Signals, rounds: int, seed: int) -> list[Sample]:
    with tempfile.TemporaryDirectory(prefix="figures-") as folder:
        async with Mesh(Path(folder), place=lambda _: Place(flags=("--profile", profile))) as mesh:
            figures = Figures(mesh, random.Random(seed))
            await figures.begin()
            found = []
            for turn in range(rounds):
                found.append(await figures.measure(number))
                print(f"{profile} {number.name} {turn + 1}: {found[-1]}", file=sys.stderr, flush=True)
            return found


async def lag(rate: float, seconds: float) -> tuple[float, float]:
    """Tasks/s that were accepted, on two disks each, and the largest p99 of the lag of a replica, in seconds."""
    with tempfile.TemporaryDirectory(prefix="figures-") as folder:
        async with Mesh(Path(folder)) as mesh:
            bodies = [
                b"\n".join(map(line, range(n * BATCH, (n + 1) * BATCH)))
                for n in range(int(rate * seconds / BATCH))
            ]
            began = time.monotonic()
            clients = [Client([node.url], timeout=60) for node in mesh.nodes]
            waiting: set[asyncio.Task[BatchAnswer]] = set()
            for number, body in enumerate(bodies):
                await asyncio.sleep(began + number * BATCH / rate - time.monotonic())
                submit_one = clients[number % len(clients)].submit_batch(body, durability=2)
                waiting.add(asyncio.create_task(submit_one))
            answers = await asyncio.gather(*waiting)
            took = time.monotonic() - began
            nodes = (await clients[0].cluster()).nodes
            for client in clients:
                await client.close()
    return sum(answer.accepted for answer in answers) / took, max(n.load["replica_lag_p99"] for n in nodes)


def quantile(values: Sequence[float], share: float) -> float:
    """The least of the values that so large a share of them does not exceed."""
    return sorted(values)[max(0, -(-len(values) * round(share * 100) // 100) - 1)]


def shown(values: Sequence[float]) -> str:
    return ", ".join(
        f"{name} {quantile(values, share):.2f} s" for name, share in (("p50", 0.5), ("p99", 0.99))
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.figures", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--leaves", type=int, default=20)
    parser.add_argument("--profiles", nargs="*", default=["lan", "local"], choices=MARKS)
    parser.add_argument("--rate", type=float, default=10_000, help="tasks/s of the last one; 0: leave it out")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, seed {args.seed}", flush=True)
    rows = []
    for profile in args.profiles:
        kills = asyncio.run(measure(profile, signal.SIGKILL, args.kills, args.seed))
        leaves = asyncio.run(measure(profile, signal.SIGTERM, args.leaves, args.seed))
        rows += [
            (
                f"kill -9 to running elsewhere, {profile}",
                shown([k.elsewhere for k in kills]),
                "",
                MARKS[profile],
            ),
            (f"orderly leave, {profile}", shown([k.ended for k in leaves]), "", "at most 2 s"),
            (f"leave to running elsewhere, {profile}", shown([k.elsewhere for k in leaves]), "", ""),
        ]
    if args.rate:
        reached, behind = asyncio.run(lag(args.rate, args.seconds))
        said = f"p99 {behind * 1000:.0f} ms at {reached:,.0f} tasks/s"
        rows.append(("replica lag, 3 nodes, durability 2", said, "", "p99 at most 250 ms at 10,000 tasks/s"))
    print(table(rows))


if __name__ == "__main__":
    main()
