"""Emptying a node, and forgetting one that is gone: the others have everything before it may stop."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node.schema import Node as Seen
from tests.scenarios import flights
from tests.scenarios.mesh import Mesh, Node, cluster, finished, holders, look, submit, until, written

pytestmark = pytest.mark.processes

SPEC = {"source": {"plugin": "bench"}, "sink": {"plugin": "discard"}, "schedule": "0 0 1 1 *"}
COLLECT = Path(sys.executable).with_name("collect")


async def collect(node: Node, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command line, as a user has it."""
    command = [str(COLLECT), *words, "--url", node.url]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=120, check=False
    )


async def seen(by: Node, node: Node) -> Seen | None:
    return next((one for one in (await cluster(by)).nodes if one.id == node.id), None)


@pytest.mark.shared
@flights.present
async def test_a_drained_node_can_be_killed_without_loss(tmp_path: Path) -> None:
    flights.lay(tmp_path / "root")
    async with Mesh(tmp_path, "abcd") as mesh:
        first = mesh.nodes[0]
        kept = [(await submit(mesh.nodes[number % 4], SPEC)).id for number in range(60)]
        task = (await submit(first, flights.spec(16_000))).id
        await written(first, task, flights.ROWS // 10)
        target = mesh.node((await holders(first, task))[-1])
        asked = next(node for node in mesh.nodes if node is not target)
        said = await collect(asked, "drain", target.name)
        assert said.returncode == 0, said.stdout + said.stderr
        assert "it is safe to stop" in said.stdout
        assert "slots to hand over" in said.stdout
        state = await seen(asked, target)
        assert state is not None
        assert (state.slots, state.draining) == (0, True)
        assert state.drain is not None
        assert (state.drain.copies, state.drain.slots, state.drain.running) == (0, 0, 0)
        target.send(signal.SIGKILL, workers=True)
        await target.ended()
        rest = [node for node in mesh.nodes if node is not target]
        for ref in kept:
            assert (await look(rest[0], ref)).steward != target.id
        assert (await finished(rest[1], task)).state == "succeeded"
        flights.check_published(mesh.root / "out", flights.expected())


async def test_the_wish_outlives_whoever_heard_it_and_a_restart(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh:
        a, b, c = mesh.nodes
        async with b.client() as client:
            assert (await client.drain_node("c")).id == c.id
        await b.kill()
        await c.kill()
        await c.start()

        async def drained() -> bool:
            state = await seen(a, c)
            return state is not None and state.state == "alive" and state.draining and state.slots == 0

        await until(drained, "c is still drained after its restart")
        said = await collect(a, "drain", "a")
        assert said.returncode == 1
        assert "no other live node keeps anything" in said.stderr
        assert (await collect(a, "drain", "c", "--cancel")).returncode == 0

        async def back() -> bool:
            state = await seen(a, c)
            return state is not None and not state.draining and state.slots > 0

        await until(back, "c has its slots again")


async def test_a_dead_node_is_forgotten_and_joins_anew(tmp_path: Path) -> None:
    async with Mesh(tmp_path, "abcd") as mesh:
        a, *_, d = mesh.nodes
        for number in range(40):
            await submit(mesh.nodes[number % 4], SPEC)
        said = await collect(a, "drain", "d", "--forget")
        assert said.returncode == 1
        assert "only one that is dead or has left can be forgotten" in said.stderr
        await d.kill()

        async def missed() -> bool:
            logged = "".join(node.log.read_text() for node in mesh.nodes[:3])
            found = any("miss node d, which is dead" in text for text in (await cluster(a)).warnings)
            return found and "slots have fewer copies than they should" in logged

        await until(missed, "a standing warning names the dead node")
        assert "collect drain d --forget" in (await collect(a, "cluster")).stderr
        assert (await collect(a, "drain", "d", "--forget")).returncode == 0

        async def whole(node: Node) -> bool:
            answer = await cluster(node)
            return not answer.warnings and {one.id for one in answer.nodes} == {n.id for n in mesh.nodes[:3]}

        for node in mesh.nodes[:3]:
            await until(lambda node=node: whole(node), f"node {node.name} misses nothing")  # type: ignore[misc]
        await d.start()
        await mesh.ready()
