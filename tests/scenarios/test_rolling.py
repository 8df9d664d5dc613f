"""Nodes that leave in order and join while a collection runs, and the question who answers for a task."""

import os
import random
import signal
from pathlib import Path

import pytest

from node.client import ProblemError
from tests.scenarios import flights
from tests.scenarios.load import Load
from tests.scenarios.mesh import Mesh, Node, cluster, finished, holders, look, submit, until, written

pytestmark = pytest.mark.processes


@pytest.mark.shared
@flights.present
async def test_a_node_leaves_and_another_joins_in_mid_run(tmp_path: Path) -> None:
    flights.lay(tmp_path / "root")
    async with Mesh(tmp_path) as mesh:
        task = (await submit(mesh.nodes[0], flights.spec(16_000))).id
        seen = await written(mesh.nodes[0], task, flights.ROWS // 10)
        leaving = mesh.node(str(seen.steward))
        leaving.send(signal.SIGTERM)
        assert await leaving.ended() == 0
        rest = [node for node in mesh.nodes if node is not leaving]
        state = {node.id: node.state for node in (await cluster(rest[0])).nodes}
        assert state.get(leaving.id, "left") == "left"
        fresh = mesh.add("d")
        await fresh.start("--join", rest[0].token)

        async def works() -> bool:
            assert (await look(rest[0], task)).state == "running"
            return fresh.id in await holders(rest[0], task)

        await until(works, "the new node holds a running shard")
        for node in (*rest, fresh):
            assert (await finished(node, task)).state == "succeeded"
        flights.check_published(mesh.root / "out", flights.expected())


@pytest.mark.shared
@flights.present
async def test_all_are_restarted_one_after_another(tmp_path: Path) -> None:
    """Nothing is refused that a retry on the next node does not get, and nothing is lost."""
    seed = int(os.environ.get("SCENARIO_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(f"SCENARIO_SEED={seed}")
    async with Mesh(tmp_path) as mesh:
        async with Load(mesh, random.Random(seed), seconds=15, every=8, strict=True) as load:
            for node in mesh.nodes:
                node.send(signal.SIGTERM)
                assert await node.ended() == 0
                await node.start()
                await mesh.ready()
        assert load.unanswered == 0
        await load.check()


async def test_any_node_answers_for_any_task(tmp_path: Path) -> None:
    spec = {"source": {"plugin": "bench"}, "sink": {"plugin": "discard"}, "schedule": "0 0 1 1 *"}
    async with Mesh(tmp_path) as mesh:
        ids = [(await submit(node, spec)).id for node in mesh.nodes for _ in range(4)]
        for node in mesh.nodes:
            async with node.client() as client:
                assert [(await client.task(ref)).id for ref in ids] == ids
                assert {task.id async for task in client.all_tasks()} == set(ids)
        for turn, ref in enumerate(ids):
            by, other = mesh.nodes[turn % 3], mesh.nodes[(turn + 1) % 3]
            async with by.client() as client:
                assert (await client.control(ref, "pause")).state == "paused"
                assert (await client.patch(ref, {"priority": 7})).priority == 7

            async def told(ref: str = ref, other: Node = other) -> bool:
                seen = await look(other, ref)
                return (seen.state, seen.priority) == ("paused", 7)

            await until(told, "another node tells of the pause and the priority", 10)
        for turn, ref in enumerate(ids):
            async with mesh.nodes[(turn + 2) % 3].client() as client:
                await client.control(ref, "cancel")
                await client.delete(ref)
        for node in mesh.nodes:
            async with node.client() as client:
                for ref in ids:
                    with pytest.raises(ProblemError, match=ref) as gone:
                        await client.task(ref)
                    assert gone.value.problem.status == 404
