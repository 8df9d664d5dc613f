"""What is over leaves memory and the log, and nobody can tell: read, listed, counted, retried, handed on."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from node.client import Client, ProblemError
from tests.scenarios.mesh import Mesh, Node, finished, look, submit, until
from tests.scenarios.test_verify import file_task, rows, verify

pytestmark = [pytest.mark.processes]

TASKS = 1500


def line(number: int) -> str:
    spec = {
        "source": {"plugin": "bench", "payload": f"{number:0150}", "records": 1},
        "sink": {"plugin": "discard"},
    }
    return json.dumps(spec)


def archived(node: Node) -> set[tuple[int, str]]:
    """(slot, batch) of all rows of the node's archive."""
    with sqlite3.connect(f"file:{node.data / 'archive.sqlite'}?mode=ro", uri=True) as found:
        return set(found.execute("select slot, batch from archived"))


async def counted(node: Node, **states: int) -> None:
    async def agrees() -> bool:
        async with node.client() as client:
            tasks = (await client.cluster()).tasks
        return all(tasks.get(state, 0) == number for state, number in states.items())

    await until(agrees, f"node {node.name} counts {states}", 20, 0.3)


async def everything_archived(nodes: list[Node], batches: int) -> None:
    async def done() -> bool:
        return all(len(archived(node)) >= batches for node in nodes)

    await until(done, f"{batches} batches in every archive", 40, 0.5)


async def test_ended_tasks_are_archived_everywhere_and_stay_what_they_were(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh:
        a, b, c = mesh.nodes
        body = "\n".join(map(line, range(TASKS))).encode()
        async with Client([a.url]) as client:
            answer = await client.submit_batch(body, key="bulk")
        ids = [ref for ref in answer.ids if ref is not None]
        assert len(ids) == TASKS
        named = await submit(b, {**json.loads(line(0)), "name": "kept"})
        await finished(c, ids[-1])
        await everything_archived(mesh.nodes, 4)

        for node in mesh.nodes:
            await counted(node, succeeded=TASKS + 1)
            assert (await look(node, ids[700])).state == "succeeded"
            assert (await look(node, "kept")).id == named.id
        async with Client([b.url]) as client:
            listed: list[str] = []
            cursor = None
            while True:
                page = await client.tasks(limit=1000, cursor=cursor)
                listed += [task.id for task in page.items]
                if (cursor := page.next) is None:
                    break
            assert sorted(listed) == sorted([*ids, named.id])
            again = await client.submit_batch(body, key="bulk")  # the archive knows the key
            assert again.ids == answer.ids
            await client.delete(ids[3])
        await counted(a, succeeded=TASKS)
        await submit(c, {**json.loads(line(0)), "name": "kept"})

        async def twice() -> bool:
            async with Client([a.url]) as client:
                runs = await client.runs("kept")
            return len(runs) == 2 and all(run.state == "succeeded" for run in runs)

        await until(twice, "the named task ran again", 20, 0.2)
        await everything_archived(mesh.nodes, 4)

        for node in mesh.nodes:
            await node.kill()
        for node in mesh.nodes:
            await node.start()
        await mesh.ready()
        for node in mesh.nodes:
            await counted(node, succeeded=TASKS)
            assert (await look(node, ids[1])).state == "succeeded"
            with pytest.raises(ProblemError, match="deleted"):
                await look(node, ids[3])


async def test_what_is_archived_is_verified(tmp_path: Path) -> None:
    rows(tmp_path / "root")
    async with Mesh(tmp_path) as mesh:
        task = await submit(mesh.nodes[0], file_task("out"))
        assert (await finished(mesh.nodes[1], task.id)).state == "succeeded"
        await everything_archived(mesh.nodes, 1)
        code, findings, summary = await verify(mesh.nodes[2])
        assert (code, findings, summary["tasks"], summary["archived"]) == (0, [], 1, 3)


def rot(node: Node, change: str) -> None:
    """Its disk gives back something else than what was written: of bases, and of rows by this statement."""
    with contextlib.closing(sqlite3.connect(node.data / "archive.sqlite", timeout=10)) as db:
        db.execute(change)
        db.execute("update base set data = x'00'")
        db.commit()


async def test_what_is_damaged_is_taken_from_another_replica(tmp_path: Path) -> None:
    rows(tmp_path / "root")
    async with Mesh(tmp_path) as mesh:
        task = await submit(mesh.nodes[0], file_task("out"))
        assert (await finished(mesh.nodes[1], task.id)).state == "succeeded"
        await everything_archived(mesh.nodes, 1)
        seen = await look(mesh.nodes[0], task.id)
        run, broken = seen.run, next(node for node in mesh.nodes if node.id == seen.steward)
        other = next(node for node in mesh.nodes if node is not broken)
        rot(broken, "update archived set ended_ms = ended_ms + 1")
        code, findings, _ = await verify(other)
        assert code == 1
        told = [finding["node"] for finding in findings if finding["kind"] == "archive"]
        assert told == [broken.id] * 2  # a base and a row

        async def mended() -> bool:
            return (await verify(other, "--repair"))[0] == 0

        await until(mended, "the base is written again, the row taken from another node", 20, 0.3)
        assert (await verify(other))[:2] == (0, [])

        rot(broken, "update archived set data = x'00'")

        async def itself() -> bool:
            return (await look(broken, task.id)).run == run

        await until(itself, "it mends the row that it was asked for", 20, 0.3)
        await until(mended, "the base is written again", 20, 0.3)

        rot(broken, "delete from archived")
        code, findings, _ = await verify(other, "--repair")
        assert code == 0
        assert any(finding["what"].endswith("has them") for finding in findings)
        assert archived(broken)
        await broken.kill()
        await broken.start()
        await mesh.ready()
        assert (await verify(other))[:2] == (0, [])


async def test_a_newcomer_gets_the_archive_and_serves_it_alone(tmp_path: Path) -> None:
    """History does not die with the nodes that made it."""
    async with Mesh(tmp_path, ("a", "b")) as mesh:
        a, b = mesh.nodes
        async with Client([a.url]) as client:
            answer = await client.submit_batch("\n".join(map(line, range(TASKS))).encode(), key="bulk")
        ids = [ref for ref in answer.ids if ref is not None]
        await finished(a, ids[-1])
        await everything_archived([a, b], 3)
        late = mesh.add("late")
        await late.start("--join", mesh.token)
        await mesh.ready()
        await everything_archived([late], 3)
        for node in (a, b):
            await node.kill()

        async def answers() -> bool:
            return (await look(late, ids[0])).state == "succeeded"

        await until(answers, "the newcomer answers for what others did", 30, 0.3)
        await counted(late, succeeded=TASKS)
