"""`python -m tests.scenarios.far_figures`: how far regions are behind each other, and how soon they heal (needs root).

Three regions of two real nodes each, in network namespaces, with a delay and a loss between them. A submit is timed as
its client sees it, from the node's own region. The lag of the copy is the time from the answer until the lists of both
other regions have the task: one of them has the copy, and looks into it; the other asks the home region. So does the
time from a heal until what was submitted inside the cut region is in the lists outside, and the other way round.
"""

import argparse
import asyncio
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import table
from tests.scenarios.figures import shown
from tests.scenarios.mesh import Node, submit, until
from tests.scenarios.test_regions import RegionMesh, lay, slow, unnamed

IDLE = 20.0
"""seconds for which the traffic of an idle mesh is counted"""
POLL = 0.05
WAITS = {"labels": {"disk": "none"}}
"""No node has it: these tasks only lie there."""


async def timed(node: Node, spec: dict[str, Any]) -> tuple[float, str]:
    """Seconds of a submit, and the task."""
    began = time.monotonic()
    task = await submit(node, spec)
    return time.monotonic() - began, task.id


async def listed(node: Node, task: str) -> bool:
    async with node.client() as client:
        return any([one.id == task async for one in client.all_tasks()])


async def known(nodes: Sequence[Node], task: str) -> None:
    for node in nodes:
        await until(lambda node=node: listed(node, task), f"node {node.name} lists {task}", 120, POLL)  # type: ignore[misc]


class Figures:
    """Of one mesh; `eu` is asked, and cut off."""

    def __init__(self, mesh: RegionMesh, rng: random.Random) -> None:
        self.mesh, self.rng = mesh, rng
        self.eu, self.us, self.ap = (mesh.of(region)[0] for region in ("eu", "us", "ap"))

    async def idle(self) -> float:
        """Bytes/s that cross, of a mesh without tasks."""
        before = self.mesh.net.wan.count().octets
        await asyncio.sleep(IDLE)
        return (self.mesh.net.wan.count().octets - before) / IDLE

    async def submits(self, rounds: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"unnamed": [], "named": [], "pinned to another region": []}
        for number in range(rounds):
            named = slow(f"named-{number}", placement=WAITS)
            far = unnamed(f"far-{number}", placement={"region": "us", **WAITS})
            for what, spec in zip(found, (unnamed(f"{number}", placement=WAITS), named, far), strict=True):
                found[what].append((await timed(self.eu, spec))[0])
        return found

    async def lags(self, rounds: int) -> list[float]:
        found = []
        for number in range(rounds):
            await asyncio.sleep(5 * self.rng.random())  # at any phase of the comparing
            _, task = await timed(self.eu, unnamed(f"lag-{number}", placement=WAITS))
            began = time.monotonic()
            await asyncio.gather(known([self.us], task), known([self.ap], task))
            found.append(time.monotonic() - began)
        return found

    async def heal(self, number: int) -> tuple[float, float]:
        """Seconds from the heal until all see all, and until both sides know what the other one was given."""
        mesh = self.mesh
        mesh.cut("eu")
        for node in mesh.nodes:
            await mesh.sees(node, mesh.of("eu") if node in mesh.of("eu") else mesh.of("us", "ap"))
        _, inside = await timed(self.eu, unnamed(f"inside-{number}", placement=WAITS))
        _, outside = await timed(self.us, unnamed(f"outside-{number}", placement=WAITS))
        mesh.net.heal()
        began = time.monotonic()

        async def members() -> float:
            await asyncio.gather(*(mesh.sees(node, mesh.nodes) for node in mesh.nodes))
            return time.monotonic() - began

        async def tasks() -> float:
            await asyncio.gather(known([self.us, self.ap], inside), known([self.eu], outside))
            return time.monotonic() - began

        seen, merged = await asyncio.gather(members(), tasks())
        return seen, merged


async def measure(args: argparse.Namespace, folder: Path) -> list[tuple[str, str, str, str]]:
    rng = random.Random(args.seed)
    async with RegionMesh(folder, delay=args.delay, loss=args.loss, profile="lan") as mesh:
        lay(mesh.root)
        figures = Figures(mesh, rng)
        rows = [("between idle regions", f"{await figures.idle() / 1000:.1f} kB/s in all", "", "")]
        for what, seconds in (await figures.submits(args.rounds)).items():
            rows.append((f"submit, {what}", shown(seconds), "", ""))
        rows.append(("lag of the copy", shown(await figures.lags(args.rounds)), "", ""))
        heals = []
        for number in range(args.heals):
            heals.append(await figures.heal(number))
            print(f"heal {number + 1}: {heals[-1]}", file=sys.stderr, flush=True)
        rows.append(("heal to all see all", shown([seen for seen, _ in heals]), "", ""))
        rows.append(
            ("heal to what either side was given is known", shown([merged for _, merged in heals]), "", "")
        )
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.far_figures", description=__doc__)
    parser.add_argument("--delay", type=float, default=0.06, help="seconds, one way")
    parser.add_argument("--loss", type=float, default=0.01, help="share of the packets")
    parser.add_argument("--rounds", type=int, default=30, help="submits and lags")
    parser.add_argument("--heals", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {vars(args)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="figures-") as folder:
        print(table(asyncio.run(measure(args, Path(folder)))))


if __name__ == "__main__":
    main()
