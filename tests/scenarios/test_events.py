"""The event stream of the whole mesh through one node, while another is killed."""

import asyncio
import signal
from pathlib import Path

import pytest

from node.client import Client
from tests.scenarios.mesh import Mesh, submit

pytestmark = pytest.mark.processes

SPEC = {"source": {"plugin": "bench", "records": 10}, "sink": {"plugin": "discard"}}
TASKS = 30


async def test_every_task_is_told_of_at_any_node(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh, Client([mesh.nodes[0].url]) as client:
        ended: dict[str, str] = {}
        members: list[tuple[str, str]] = []

        async def follow() -> None:
            async for event in client.events():
                if event.kind == "task" and event.data["state"] == "succeeded":
                    ended[event.data["task"]] = event.data["run"]
                elif event.kind == "member":
                    members.append((event.data["name"], event.data["state"]))

        async def told(wanted: set[str]) -> None:
            async with asyncio.timeout(30):
                while not wanted <= ended.keys():
                    assert not following.done(), following.result()
                    await asyncio.sleep(0.05)

        following = asyncio.create_task(follow())
        async with asyncio.timeout(30):
            while not ended:  # it has begun to listen
                await submit(mesh.nodes[1], SPEC)
                await asyncio.sleep(0.05)
        tasks = [await submit(mesh.nodes[number % 3], SPEC) for number in range(TASKS)]
        await told({task.id for task in tasks})
        assert len({task.steward for task in tasks}) > 1, "else one stream would have been enough"
        mesh.nodes[2].send(signal.SIGKILL)
        await mesh.nodes[2].ended()
        async with asyncio.timeout(30):
            while (mesh.nodes[2].name, "dead") not in members:
                await asyncio.sleep(0.05)
        late = [(await submit(mesh.nodes[number % 2], SPEC)).id for number in range(TASKS)]
        await told(set(late))
        following.cancel()
