"""Three regions of two real nodes each, 60 ms apart one way, a hundredth of the packets lost on the way."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, NamedTuple

import pytest

from node.schema import Task
from tests.scenarios.mesh import Node, cluster, finished, submit, until
from tests.scenarios.rights import needs_networks
from tests.scenarios.test_regions import ROWS, RegionMesh, lay, slow, unnamed

DELAY, LOSS = 0.06, 0.01
TRIES = 5
PORT = 9000

pytestmark = [pytest.mark.processes, pytest.mark.root, needs_networks]


async def test_a_region_waits_for_no_other_and_what_is_near_is_measured(tmp_path: Path) -> None:
    async with RegionMesh(tmp_path, delay=DELAY, loss=LOSS, profile="lan") as mesh:
        lay(mesh.root)
        eu, us = mesh.of("eu")[0], mesh.of("us")[0]
        pinned = await answered_apart(mesh, eu, lambda out: slow(out, rate=None, placement={"region": "eu"}))
        free = await answered_apart(mesh, us, unnamed)
        assert (pinned.task.region, free.task.region) == ("eu", "us")
        for node in mesh.nodes:
            assert (await finished(node, pinned.task.id)).state == "succeeded"
            assert (await finished(node, free.task.id)).state == "succeeded"
        assert mesh.rows(pinned.out) == mesh.rows(free.out) == list(range(ROWS))

        async with served(tmp_path, mesh.net.host("u2"), mesh.net.inside("u2")) as url:
            for node in mesh.of("eu", "ap"):
                assert (await collected(node, url, f"near-{node.name}")).region == "us", node.name
            far = await collected(eu, url, "far", placement={"region": "ap"})
            assert far.region == "ap"
        async with served(tmp_path, mesh.net.hub) as url:
            for node in mesh.of("eu", "us"):
                mesh.net.hide(node.name, PORT)
            assert (await collected(eu, url, "reached")).region == "ap"
        for node in mesh.nodes:
            assert "state=dead" not in node.log.read_text(errors="replace"), node.name


class Answered(NamedTuple):
    task: Task
    out: str


async def answered_apart(mesh: RegionMesh, node: Node, spec: Callable[[str], dict[str, Any]]) -> Answered:
    """A task that was accepted while nothing passes between regions, without a wait for the others.

    It is answered before an overview that was asked for earlier, which waits for them as long as a submit may. On a
    busy machine one that waits for nobody may come too late; one that waits for them never comes first.
    """
    for attempt in range(TRIES):
        mesh.net.wan.hold()
        overview = asyncio.create_task(cluster(node))
        out = f"{node.name}-{attempt}"
        task = await submit(node, spec(out), durability=2)
        first = not overview.done()
        states = {one.state for one in (await overview).nodes}
        mesh.net.wan.release()
        if first:
            assert "dead" not in states
            return Answered(task, out)
        for other in mesh.nodes:
            await mesh.sees(other, mesh.nodes)
    raise AssertionError("a submit waits for other regions: each overview was answered before it")


async def collected(node: Node, url: str, out: str, **more: object) -> Task:
    """The task that has fetched this, submitted through the node."""
    task = await submit(node, {"source": {"plugin": "http", "url": url}, "sink": slow(out)["sink"], **more})
    ended = await finished(node, task.id)
    assert ended.state == "succeeded", ended
    return task


@contextlib.asynccontextmanager
async def served(folder: Path, host: str, inside: Sequence[str] = ()) -> AsyncIterator[str]:
    """The URL of one record on a real HTTP server. `inside`: what starts it where this address is."""
    (folder / "web").mkdir(exist_ok=True)
    (folder / "web" / "one.json").write_text('[{"n": 1}]')
    where = ("--bind", host, "--directory", str(folder / "web"))
    command = [*inside, sys.executable, "-m", "http.server", str(PORT), *where]
    server = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
    try:
        await until(lambda: _listens(host), "the HTTP server listens", 20)
        yield f"http://{host}:{PORT}/one.json"
    finally:
        server.kill()
        await server.wait()


async def _listens(host: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, PORT)
    except OSError:
        return False
    writer.close()
    return True
