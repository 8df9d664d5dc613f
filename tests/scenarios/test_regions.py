"""Three regions of two real nodes each, in network namespaces: one is cut off from the others, and healed."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from node.schema import Task
from plugins.sinks.files import MANIFEST
from tests.scenarios.mesh import Node, Place, cluster, finished, look, submit, until, written
from tests.scenarios.net import Far, NetMesh
from tests.scenarios.rights import needs_networks

REGIONS = {"e1": "eu", "e2": "eu", "u1": "us", "u2": "us", "a1": "ap", "a2": "ap"}
ROWS = 3000

pytestmark = [pytest.mark.processes, pytest.mark.root, needs_networks]


class RegionMesh(NetMesh):
    """Each node in its region; a dead one is taken over after five seconds. `regions`: of each node; `delay`,
    `loss`: between regions, see `Far`.
    """

    def __init__(
        self,
        folder: Path,
        regions: Mapping[str, str] = REGIONS,
        *,
        delay: float = 0.0,
        loss: float = 0.0,
        profile: str = "local",
    ) -> None:
        far = Far(regions, delay, loss) if delay or loss else None
        super().__init__(folder, list(regions), far, profile)
        self.regions = regions
        with self.config.open("a") as config:
            config.write('[state]\nregion_takeover = "5s"\n[network]\nallow = ["10.0.0.0/8"]\n')
        for node in self.nodes:
            place = node.place
            node.settle(
                Place(place.wrap, place.host, place.bearer, (*place.flags, "--region", regions[node.name]))
            )

    def of(self, *regions: str) -> list[Node]:
        return [node for node in self.nodes if self.regions[node.name] in regions]

    def cut(self, region: str) -> None:
        others = [name for name, of in self.regions.items() if of != region]
        self.net.cut([name for name, of in self.regions.items() if of == region], others)

    async def sees(self, node: Node, alive: Sequence[Node]) -> None:
        """Exactly these are alive to it."""
        wanted = {one.name for one in alive}

        async def agreed() -> bool:
            return {one.name for one in (await cluster(node)).nodes if one.state == "alive"} == wanted

        await until(agreed, f"node {node.name} sees {sorted(wanted)}", 120, 0.2)

    async def act(self, node: Node, action: str, task: Task) -> Task:
        async with node.client() as client:
            return await client.control(task.id, action)

    def rows(self, name: str) -> list[int]:
        """What the task of this name has published."""
        folder = self.root / "out" / name
        manifest = json.loads((folder / MANIFEST).read_text())
        assert manifest["complete"]
        lines = [
            line for part in manifest["parts"] for line in (folder / part["file"]).read_text().splitlines()
        ]
        return sorted(int(json.loads(line)["n"]) for line in lines)


def slow(name: str, *, rate: float | None = 300, **more: Any) -> dict[str, Any]:
    limits = {"limits": {"rate": rate}} if rate else {}
    source, sink = {"plugin": "csv", "path": "n.csv"}, {"plugin": "jsonl", "path": f"out/{name}"}
    return {"name": name, "source": source, "sink": sink, **limits, **more}


def unnamed(out: str, **more: Any) -> dict[str, Any]:
    spec = slow(out, rate=None, **more)
    del spec["name"]
    return spec


def lay(root: Path) -> None:
    (root / "n.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(ROWS)))


async def test_a_region_that_is_cut_off_goes_on_and_merges(tmp_path: Path) -> None:
    async with RegionMesh(tmp_path, delay=0.02) as mesh:
        lay(mesh.root)
        eu, us = mesh.of("eu")[0], mesh.of("us")[0]
        seen = {node.name: node.region for node in (await cluster(us)).nodes}
        assert seen == REGIONS
        before = await submit(eu, slow("before"))
        assert before.id.startswith("eu-")
        await written(eu, before.id, 1)
        pinned = await submit(us, slow("pinned", rate=None, placement={"region": "eu"}))
        assert pinned.region == "eu"

        mesh.cut("eu")
        for node in mesh.nodes:
            await mesh.sees(node, mesh.of("eu") if node in mesh.of("eu") else mesh.of("us", "ap"))
        inside = await submit(eu, slow("inside", rate=None))
        outside = await submit(us, slow("outside", rate=None))
        held, gone = await submit(eu, slow("held")), await submit(us, slow("gone"))
        await mesh.act(eu, "pause", held)
        await mesh.act(us, "cancel", gone)
        for node, task in ((eu, before), (eu, inside), (us, outside)):
            assert (await finished(node, task.id)).state == "succeeded"
        assert (await look(eu, held.id)).state == "paused"
        assert (await finished(us, gone.id)).state == "cancelled"

        mesh.net.heal()
        await asyncio.gather(*(mesh.sees(node, mesh.nodes) for node in mesh.nodes))
        await mesh.act(us, "resume", held)  # of the region that was away, through another
        for node in mesh.nodes:
            for task in (before, pinned, inside, outside, held):
                assert (await finished(node, task.id)).state == "succeeded", (node.name, task.name)
            assert (await finished(node, gone.id)).state == "cancelled"
            async with node.client() as client:
                listed = {task.name async for task in client.all_tasks()}
            assert listed == {"before", "pinned", "inside", "outside", "held", "gone"}
        for name in ("before", "pinned", "inside", "outside", "held"):
            assert mesh.rows(name) == list(range(ROWS)), name


async def test_a_dead_region_is_taken_over_and_its_tasks_go_home(tmp_path: Path) -> None:
    async with RegionMesh(tmp_path, delay=0.02) as mesh:
        lay(mesh.root)
        eu, us = mesh.of("eu")[0], mesh.of("us")[0]
        task = await submit(eu, slow("moved"))
        stays = await submit(eu, slow("stays", placement={"region": "eu"}))
        await written(eu, task.id, 1)
        await asyncio.sleep(5.0)  # the copies are compared each second
        for node in mesh.of("eu"):
            await node.kill()
        await mesh.sees(us, mesh.of("us", "ap"))
        ended = await finished(us, task.id)
        assert ended.state == "succeeded"
        assert (await look(us, stays.id)).state != "succeeded"
        assert mesh.rows("moved") == list(range(ROWS))

        await asyncio.gather(*(mesh.start(node) for node in mesh.of("eu")))
        await mesh.ready()
        assert (await finished(eu, stays.id)).state == "succeeded"
        assert (await finished(eu, task.id)).state == "succeeded"
        homes = {node.id for node in mesh.of("eu")}

        async def home() -> bool:
            return {(await look(us, one.id)).steward for one in (task, stays)} <= homes

        await until(home, "the tasks are stewarded at home again")
        assert mesh.rows("moved") == mesh.rows("stays") == list(range(ROWS))
