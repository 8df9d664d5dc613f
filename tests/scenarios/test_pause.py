"""`on_partition = "pause"`: the lone side of a cut stops by itself, says so, and goes on after the heal."""

import asyncio
import signal
from pathlib import Path

import pytest

from node.client import ProblemError
from node.leases.core import LeaseConfig
from node.schema import TERMINAL
from tests.scenarios import flights
from tests.scenarios.mesh import Mesh, Node, finished, look, submit, until, written
from tests.scenarios.test_locks import voting

pytestmark = [pytest.mark.processes, pytest.mark.shared, flights.present]

TTL = LeaseConfig.local().ttl


def files(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()
    }


async def reason(node: Node, task: str, words: str) -> None:
    async def says() -> bool:
        return words in ((await look(node, task)).reason or "")

    await until(says, f"node {node.name} says {words!r}", 40)


async def test_the_lone_side_stops_within_the_ttl_and_goes_on_afterwards(tmp_path: Path) -> None:
    flights.lay(tmp_path / "root")
    async with Mesh(tmp_path) as mesh:
        await voting(*mesh.nodes)
        spec = {**flights.spec(rate=15_000), "on_partition": "pause"}
        task = (await submit(mesh.nodes[0], spec)).id
        await written(mesh.nodes[0], task, flights.ROWS // 10)
        lone, *others = mesh.nodes
        for node in others:
            node.send(signal.SIGSTOP, workers=True)
        await asyncio.sleep(TTL)
        stopped = files(mesh.root / "out")
        await reason(lone, task, "paused: this side of the cut has no majority")
        async with lone.client() as client:
            told = await client.why(task)
        assert any("no majority" in line for line in told.reasons), told
        await asyncio.sleep(2)
        assert files(mesh.root / "out") == stopped
        assert (await look(lone, task)).state not in TERMINAL
        for node in others:
            node.send(signal.SIGCONT, workers=True)
        for node in mesh.nodes:
            assert (await finished(node, task)).state == "succeeded"
        flights.check_published(mesh.root / "out", flights.expected())


async def test_the_greater_side_goes_on(tmp_path: Path) -> None:
    flights.lay(tmp_path / "root")
    async with Mesh(tmp_path) as mesh:
        await voting(*mesh.nodes)
        task = (await submit(mesh.nodes[0], {**flights.spec(rate=15_000), "on_partition": "pause"})).id
        await written(mesh.nodes[0], task, flights.ROWS // 10)
        steward = mesh.node((await look(mesh.nodes[0], task)).steward or "")
        others = [node for node in mesh.nodes if node is not steward]
        steward.send(signal.SIGSTOP, workers=True)
        for node in others:
            assert (await finished(node, task)).state == "succeeded"
        steward.send(signal.SIGCONT, workers=True)
        assert (await finished(steward, task)).state == "succeeded"
        flights.check_published(mesh.root / "out", flights.expected())


async def test_two_nodes_are_too_few(tmp_path: Path) -> None:
    async with Mesh(tmp_path, ("a", "b")) as mesh:
        await voting(*mesh.nodes)
        with pytest.raises(ProblemError) as caught:
            await submit(mesh.nodes[0], {**flights.spec(), "on_partition": "pause"})
        error = next(item for item in caught.value.problem.errors if item.pointer == "/on_partition")
        assert error.allowed == ["continue"]
        assert "this mesh has 2" in error.message
