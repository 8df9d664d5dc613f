"""Named locks over real processes: one holder, tokens that grow, and a frozen node that learns what it lost."""

import asyncio
import signal
from pathlib import Path

import pytest

from node.client import ProblemError
from node.schema import Lock
from tests.scenarios.mesh import Mesh, Node, until

pytestmark = pytest.mark.processes

TTL = 3.0


async def hold(node: Node, name: str, holder: str, token: int | None = None, ttl: float = TTL) -> Lock:
    async with node.client() as client:
        return await client.hold_lock(name, ttl=ttl, holder=holder, token=token)


async def taken(node: Node, name: str, holder: str, ttl: float = TTL) -> Lock:
    """As soon as the lock is free."""

    async def get() -> Lock | None:
        return await hold(node, name, holder, ttl=ttl)

    return await until(get, f"node {node.name} gets lock {name}", 40)


async def voting(*nodes: Node) -> None:
    """Every one of them has heard all others, and deals with locks."""
    for node in nodes:

        async def answers(node: Node = node) -> bool:
            async with node.client() as client:
                await client.lock("any")
            return True

        await until(answers, f"node {node.name} deals with locks", 40)


def status(caught: "pytest.ExceptionInfo[ProblemError]") -> int:
    return caught.value.problem.status


async def test_a_frozen_nodes_lock_goes_to_another_with_a_larger_token(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh:
        a, b, c = mesh.nodes
        await voting(a, b, c)
        first = await taken(a, "import", "alice")
        assert first.held
        assert 0 < first.expires_in < TTL
        with pytest.raises(ProblemError) as caught:
            await hold(b, "import", "bob")
        assert status(caught) == 409
        assert "alice" in str(caught.value)
        async with c.client() as client:
            seen = await client.lock("import")
        assert (seen.holder, seen.token) == ("alice", first.token)
        renewed = await hold(c, "import", "alice", first.token)
        assert renewed.token == first.token

        a.send(signal.SIGSTOP)
        second = await taken(b, "import", "bob", ttl=60)
        assert second.token is not None
        assert first.token is not None
        assert second.token > first.token
        a.send(signal.SIGCONT)

        async def learns() -> bool:
            try:
                await hold(a, "import", "alice", first.token)
            except ProblemError as error:
                return error.problem.status == 409 and "bob" in str(error)
            raise AssertionError("a renewed what it has lost")

        await until(learns, "the node that was frozen learns that its lock is lost", 30)
        async with b.client() as client:
            assert not (await client.free_lock("import", second.token)).held
        third = await taken(a, "import", "alice")
        assert third.token is not None
        assert third.token > second.token


async def test_without_a_majority_nobody_gets_a_lock(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh:
        a, b, c = mesh.nodes
        await voting(a, b, c)
        first = await taken(a, "x", "alice")
        for node in (b, c):
            node.send(signal.SIGSTOP)
        await asyncio.sleep(TTL)
        with pytest.raises(ProblemError) as caught:
            await hold(a, "x", "alice", first.token)
        assert status(caught) == 503
        for node in (b, c):
            node.send(signal.SIGCONT)
        again = await taken(a, "x", "alice")
        assert again.token is not None
        assert first.token is not None
        assert again.token > first.token
        for node in mesh.nodes:  # what was promised outlives them all
            await node.kill()
        for node in mesh.nodes:
            await node.start()
        await mesh.ready()
        later = await taken(b, "x", "bob")
        assert later.token is not None
        assert later.token > again.token


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
async def test_a_small_mesh_has_locks_too(tmp_path: Path, names: tuple[str, ...]) -> None:
    async with Mesh(tmp_path, names) as mesh:
        await voting(*mesh.nodes)
        first = await taken(mesh.nodes[0], "x", "alice", ttl=60)
        with pytest.raises(ProblemError) as caught:
            await hold(mesh.nodes[-1], "x", "bob")
        assert status(caught) == 409
        async with mesh.nodes[-1].client() as client:
            await client.free_lock("x", first.token or 0)
        second = await taken(mesh.nodes[-1], "x", "bob")
        assert (second.token or 0) > (first.token or 0)
