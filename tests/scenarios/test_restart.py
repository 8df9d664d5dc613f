"""Everything killed at once and started again on the same disks: the run goes on and is exact."""

import asyncio
import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.scenarios import flights
from tests.scenarios.mesh import Mesh, finished, submit, written
from tests.scenarios.test_kill import SEED

pytestmark = [pytest.mark.processes, pytest.mark.shared, flights.present]


@pytest.mark.parametrize("names", ["abc", "a"])
async def test_all_killed_at_once_and_restarted(tmp_path: Path, names: str) -> None:
    print(f"SCENARIO_SEED={SEED}")
    rng = random.Random(SEED)
    flights.lay(tmp_path / "root")
    async with Mesh(tmp_path, names) as mesh:
        before = {node.name: node.id for node in mesh.nodes}
        task = (await submit(rng.choice(mesh.nodes), flights.spec())).id
        await written(mesh.nodes[0], task, int(flights.ROWS * rng.uniform(0.2, 0.7)))
        whole = rng.random() < 0.5
        print(f"workers killed with their nodes: {whole}")
        for node in mesh.nodes:
            node.send(signal.SIGKILL, workers=whole)
        await asyncio.gather(*(node.ended() for node in mesh.nodes))
        await asyncio.gather(*(node.start() for node in mesh.nodes))
        await mesh.ready()
        assert {node.name: node.id for node in mesh.nodes} == before
        for node in mesh.nodes:
            done = await finished(node, task)
            assert done.state == "succeeded", done
            assert done.run is not None
            assert done.run.records.written == flights.ROWS
        flights.check_published(mesh.root / "out", flights.expected())


async def test_what_was_acknowledged_survives_the_death_of_all(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh:
        async with mesh.nodes[0].client() as client:
            spec = {"source": {"plugin": "bench"}, "sink": {"plugin": "discard"}, "schedule": "0 0 1 1 *"}
            ids = {(await client.submit({**spec, "name": f"task-{number}"})).id for number in range(40)}
        for node in mesh.nodes:
            node.send(signal.SIGKILL, workers=True)
        await asyncio.gather(*(node.ended() for node in mesh.nodes))
        await asyncio.gather(*(node.start() for node in mesh.nodes))
        await mesh.ready()
        for node in mesh.nodes:
            async with node.client() as client:
                assert {task.id async for task in client.all_tasks()} == ids


async def test_a_life_that_was_lived_before_ends_at_once(tmp_path: Path) -> None:
    """An old copy of a data directory, and a clock so far behind that a boot is given out twice."""
    spec = {"source": {"plugin": "bench"}, "sink": {"plugin": "discard"}, "schedule": "0 0 1 1 *"}
    async with Mesh(tmp_path) as mesh:
        old, *others = mesh.nodes
        boot, copy = old.data / "boot", tmp_path / "copy"
        old.send(signal.SIGKILL, workers=True)
        await old.ended()
        boot.write_text("1000000000\n")
        shutil.copytree(old.data, copy)
        await old.start()
        await mesh.ready()
        async with old.client() as client:
            ids = {(await client.submit(spec)).id for _ in range(20)}
        old.send(signal.SIGKILL, workers=True)
        await old.ended()
        shutil.rmtree(old.data)
        copy.rename(old.data)
        await old.start()
        assert await old.ended() == 1
        assert "restored from a backup" in old.log.read_text()
        assert boot.read_text() == "1000000002\n"  # above the life that the others know
        await old.start()
        await mesh.ready()
        async with old.client() as client:
            ids.add((await client.submit(spec)).id)
            assert {task.id async for task in client.all_tasks()} == ids
        for node in others:
            async with node.client() as client:
                assert {task.id async for task in client.all_tasks()} == ids
