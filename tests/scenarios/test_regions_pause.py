"""`on_partition = "pause"` over regions of real nodes: a region that is cut off goes on, the others wait for it."""

from pathlib import Path

import pytest

from node.client import ProblemError
from tests.scenarios.mesh import finished, look, shards, submit, until, written
from tests.scenarios.rights import needs_networks
from tests.scenarios.test_locks import voting
from tests.scenarios.test_regions import ROWS, RegionMesh, lay, slow

REGIONS = {"e1": "eu", "e2": "eu", "e3": "eu", "u1": "us", "a1": "ap"}

pytestmark = [pytest.mark.processes, pytest.mark.root, needs_networks]


async def test_in_a_cut_between_regions_a_task_goes_on_at_home_alone(tmp_path: Path) -> None:
    async with RegionMesh(tmp_path, REGIONS, delay=0.02) as mesh:
        lay(mesh.root)
        (eu, *_), (us,) = mesh.of("eu"), mesh.of("us")
        await voting(*mesh.nodes)
        with pytest.raises(ProblemError, match="this region has 1"):
            await submit(us, slow("few", on_partition="pause"))
        pinned = slow("goes-on", rate=220, on_partition="pause", placement={"region": "eu"})
        task = await submit(us, pinned)
        free = await submit(eu, slow("free", rate=220, on_partition="pause"))
        for one in (task, free):
            await written(eu, one.id, 1)
        mesh.cut("eu")
        await mesh.sees(us, mesh.of("us", "ap"))

        async def waits() -> bool:
            reasons = [(await look(us, one.id)).reason or "" for one in (task, free)]
            return all("waits for region eu" in reason for reason in reasons)

        await until(waits, "the others have the slots, and say what they wait for", 30)
        for one in (task, free):
            assert (await finished(eu, one.id)).state == "succeeded"
            assert (await look(us, one.id)).state != "succeeded"
        mesh.net.heal()
        homes = {node.id for node in mesh.of("eu")}
        for one in (task, free):
            for node in (us, eu):
                assert (await finished(node, one.id)).state == "succeeded"
            assert {shard.node for shard in await shards(eu, one.id)} <= homes
        for name in ("goes-on", "free"):
            assert mesh.rows(name) == list(range(ROWS)), name
