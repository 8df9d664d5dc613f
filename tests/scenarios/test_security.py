"""Who gets into a mesh of real nodes, and who does not: processes, ports and command lines as users have them."""

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from node.client import ProblemError
from node.schema import Node as Seen
from tests.scenarios.mesh import Mesh, Node, cluster, until

COLLECT = Path(sys.executable).with_name("collect")

pytestmark = pytest.mark.processes

OPEN_GATE = """
import sys
from node.security import zap
zap.ZapHandler._user = lambda *_: b"anybody"
from node.__main__ import main
main(sys.argv[1:])
"""
"""A node whose gate lets everybody in: what a mistake in the code, or another libzmq, could do."""


def test_a_node_whose_ports_are_open_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text("")
    flags = Node("a", tmp_path, config).command()[1:]
    done = subprocess.run(
        [sys.executable, "-c", OPEN_GATE, *flags], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "did not refuse an unknown key: the start was stopped, for safety" in done.stderr
    assert "Traceback" not in done.stderr
    assert "join others with" not in done.stdout


async def collect(node: Node, *words: str, code: int = 0) -> str:
    """What `collect` prints when it speaks to this node."""
    done = await asyncio.to_thread(
        subprocess.run,
        [str(COLLECT), *words, "--url", node.url],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr if code else done.stdout


def said_at(node: Node, word: str) -> float:
    """When the node logged this first, in Unix seconds."""
    found = re.search(rf"^(\S+)Z \[\w+ *\] {word} ", node.log.read_text(), re.MULTILINE)
    assert found is not None, f"{node.name} never said {word!r}"
    return datetime.fromisoformat(found[1] + "+00:00").timestamp()


async def seen(by: Node, node: Node) -> Seen | None:
    return next((one for one in (await cluster(by)).nodes if one.id == node.id), None)


async def test_a_token_from_one_member_lets_one_node_in_for_good(tmp_path: Path) -> None:
    async with Mesh(tmp_path, ("a", "b")) as mesh:
        a, b = mesh.nodes
        command = (await collect(a, "token", "join", "--expires", "10m")).split()
        assert command[:2] == ["collect-node", "--join"]
        token = command[2]
        key = (a.data / "cluster.key").read_text().strip().removeprefix("cmk1-")
        assert key not in token
        await asyncio.gather(mesh.add("c").start("--join", token))
        await mesh.ready()
        code, said = await mesh.add("d").refused("--join", token)
        assert code == 2
        assert "has been used; make another with `collect token join`" in said
        assert "Traceback" not in said
        c = mesh.node("c")
        await c.kill()
        await c.start("--join", token)  # the same command line, as a service has it
        assert "used" in await collect(b, "token", "list")
        mesh.nodes.pop()
        await mesh.ready()


async def test_an_expired_or_withdrawn_token_is_worthless(tmp_path: Path) -> None:
    async with Mesh(tmp_path, ("a",)) as mesh:
        (a,) = mesh.nodes
        async with a.client() as client:
            short = await client.issue_token(expires="1s", uses=1)
            withdrawn = await client.issue_token(expires="1h", uses=5)
            assert (await client.withdraw_token(withdrawn.id)).state == "withdrawn"
            for wrong in (
                {"expires": "0s", "uses": 1},
                {"expires": "31d", "uses": 1},
                {"expires": 60, "uses": 0},
            ):
                with pytest.raises(ProblemError) as caught:
                    await client.issue_token(**wrong)
                assert caught.value.problem.status == 422

        async def expired() -> bool:
            async with a.client() as client:
                return any(one.state == "expired" for one in await client.join_tokens())

        await until(expired, "the short token expires")
        newcomer = Node("b", tmp_path, mesh.config)
        for token, why in ((short.token, "has expired"), (withdrawn.token, "was withdrawn")):
            code, said = await newcomer.refused("--join", token)
            assert (code, why in said) == (2, True), said
        assert not (newcomer.data / "cluster.key").exists()


async def test_a_revoked_node_is_out_within_a_second_and_stays_out(tmp_path: Path) -> None:
    """On every node, on connections that live; not even a restart with the key of the mesh brings it back."""
    async with Mesh(tmp_path, ("a", "b", "c", "away")) as mesh:
        a, b, thief, away = mesh.nodes
        await away.kill()
        async with a.client() as client:
            began = time.time()
            assert (await client.revoke_node("c")).revoked
        for node in (a, b):

            async def out(node: Node = node) -> bool:
                return await seen(node, thief) is None

            await until(out, f"{node.name} no longer sees the revoked node", 10)
            print(f"{node.name} shut it out {said_at(node, 'revoked') - began:.3f} s after it was told to")
        for node in (a, b):

            async def refuses(node: Node = node) -> bool:
                one = await seen(node, node)
                return one is not None and one.load["refused"] > 0

            await until(refuses, f"{node.name} has turned the revoked node away", 10)
        assert "generation" in (await collect(b, "token", "revoked", "-o", "json"))
        await thief.kill()
        await thief.start("--join", b.token)
        await away.start()
        await mesh.ready([a, b, away])
        assert await seen(away, thief) is None
        for _ in range(20):
            assert await seen(a, thief) is None
            await asyncio.sleep(0.1)
        assert "was revoked" in thief.log.read_text() or "turned the key away" in thief.log.read_text()

        async def told() -> bool:
            return "`collect token readmit-node NAME` on one of them takes it back" in thief.log.read_text()

        await until(told, "the revoked node says what it can be, and the remedy", 20)
        await collect(b, "token", "readmit-node", thief.id)
        assert "nothing found" in await collect(b, "token", "revoked")
        await mesh.ready()


async def test_the_key_rotates_under_a_running_mesh(tmp_path: Path) -> None:
    async with Mesh(tmp_path, ("a", "b", "away")) as mesh:
        a, b, away = mesh.nodes
        old, token = mesh.token, (await collect(a, "token", "join")).split()[2]
        await away.kill()
        assert "1" in await collect(b, "token", "rotate")

        async def known() -> bool:
            return (a.data / "cluster.key").read_text() == (b.data / "cluster.key").read_text()

        await until(known, "both hold the new key on disk")
        late = Node("late", tmp_path, mesh.config)
        with contextlib.ExitStack() as stack:
            stack.callback(late.destroy)
            await late.start("--join", old)  # it cannot tell a mesh that is down from one that has moved on

            async def told() -> bool:
                return "the key of the mesh was rotated" in late.log.read_text()

            await until(told, "the node with the old key is told why")
            assert await seen(a, late) is None
        assert "withdrawn" in await collect(a, "token", "list")
        code, said = await Node("late-too", tmp_path, mesh.config).refused("--join", token)
        assert code == 2
        assert "the key of the mesh was rotated" in said
        await away.start()
        await mesh.ready()
        await until(lambda: same(a, away), "who was away has the new key")
        fresh = mesh.add("fresh")
        await fresh.start("--join", (await collect(away, "token", "join")).split()[2])
        await mesh.ready()


async def same(one: Node, other: Node) -> bool:
    return (one.data / "cluster.key").read_text() == (other.data / "cluster.key").read_text()
