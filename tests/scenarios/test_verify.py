"""`collect verify` on real nodes: what is sound, what is damaged, what is mended."""

import asyncio
import json
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import flights
from tests.scenarios.mesh import Mesh, Node, Place, finished, submit, until
from tests.scenarios.test_disk import SEED

pytestmark = pytest.mark.processes

LATER = {"source": {"plugin": "bench"}, "sink": {"plugin": "discard"}, "schedule": "0 0 1 1 *"}
SHORT = {"source": {"plugin": "bench", "records": 10}, "sink": {"plugin": "discard"}}
ROWS = 1000


async def verify(node: Node, *flags: str) -> tuple[int, list[dict[str, Any]], dict[str, int]]:
    """The exit code, the findings and the summary."""
    collect = str(Path(sys.executable).with_name("collect"))
    process = await asyncio.create_subprocess_exec(
        collect, "verify", "-o", "json", "--url", node.url, *flags,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    assert out, err.decode()
    answer = json.loads(out)
    print(process.returncode, json.dumps(answer, indent=1))
    return process.returncode, answer["findings"], answer["summary"]


def file_task(sink: str) -> dict[str, Any]:
    return {"source": {"plugin": "csv", "path": "rows.csv"}, "sink": {"plugin": "jsonl", "path": sink}}


def rows(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "rows.csv").write_text("id,value\n" + "".join(f"{n},v{n}\n" for n in range(ROWS)))


def flip(path: Path, places: list[int]) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 0xFF
    path.write_bytes(data)


def log_of(node: Node) -> Path:
    return max((node.data / "log").glob("*.log"), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("region", ["local", "eu"])
async def test_a_sound_mesh_is_said_to_be_sound(tmp_path: Path, region: str) -> None:
    rows(tmp_path / "root")
    place = Place(flags=("--profile", "local", "--region", region))
    async with Mesh(tmp_path, place=lambda _: place) as mesh:
        for number in range(30):
            await submit(mesh.nodes[number % 3], LATER)
        task = await submit(mesh.nodes[0], file_task("out"))
        assert (await finished(mesh.nodes[1], task.id)).state == "succeeded"
        code, findings, summary = await verify(mesh.nodes[2], "--deep")
        assert (code, findings) == (0, [])
        assert summary["nodes"] == 3
        assert summary["slots"] > 20
        assert (summary["tasks"], summary["parts"] > 0) == (1, True)


@flights.present
async def test_a_busy_mesh_gives_no_false_alarm(tmp_path: Path) -> None:
    flights.lay(tmp_path / "root")
    async with Mesh(tmp_path) as mesh:
        task = (await submit(mesh.nodes[0], flights.spec())).id
        done = asyncio.create_task(finished(mesh.nodes[0], task, 200))
        rounds = 0
        while not done.done():
            async with mesh.nodes[rounds % 3].client() as client:
                await asyncio.gather(*(client.submit(SHORT) for _ in range(50)))
            assert (await verify(mesh.nodes[rounds % 3], "--deep"))[:2] == (0, [])
            rounds += 1
        assert rounds > 1
        assert (await verify(mesh.nodes[0], "--deep"))[:2] == (0, [])


async def test_damage_in_a_running_log_is_found_and_mended(tmp_path: Path) -> None:
    print(f"SCENARIO_SEED={SEED}")
    rng = random.Random(SEED)
    async with Mesh(tmp_path) as mesh:
        ids = {(await submit(mesh.nodes[number % 3], LATER)).id for number in range(60)}
        broken, other, _ = mesh.nodes
        log = log_of(broken)
        flip(log, [6, *rng.sample(range(16, log.stat().st_size - 200), 4)])
        code, findings, _ = await verify(other)
        assert code == 1
        assert {finding["node"] for finding in findings} == {broken.id}
        assert all(finding["kind"] == "log" for finding in findings)
        assert any(finding.get("offset") == 0 and finding["file"] == str(log) for finding in findings)
        code, findings, summary = await verify(other, "--repair")
        assert code == 0
        assert all(finding["repaired"] for finding in findings)
        assert summary["repaired"] == len(findings)
        assert not log.exists()
        assert (await verify(other))[:2] == (0, [])
        for node in mesh.nodes:
            await node.kill()
        await broken.start()  # needs no --salvage, and nobody else

        async def all_there() -> bool:
            async with broken.client() as client:
                return {task.id async for task in client.all_tasks()} == ids

        await until(all_there, "the mended node tells of all tasks alone", 30)


async def test_a_node_that_finds_damage_when_it_resends_mends_its_log(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh:
        broken, other, away = mesh.nodes
        await away.kill()
        ids = {(await submit(broken, LATER)).id for _ in range(30)}
        log = log_of(broken)
        flip(log, list(range(1000, log.stat().st_size - 100, 400)))
        await other.kill()  # or it may be the one that the returned node asks
        await away.start()

        async def mended() -> bool:
            return not log.exists()

        await until(mended, "the node that resends does without the damaged file", 30)
        await other.start()
        await mesh.ready()
        assert (await verify(other))[:2] == (0, [])
        async with away.client() as client:
            assert {task.id async for task in client.all_tasks()} == ids


async def test_a_node_alone_loses_nothing_while_it_runs(tmp_path: Path) -> None:
    """Nobody else has what it holds; but its memory has."""
    async with Mesh(tmp_path, "a") as mesh:
        (alone,) = mesh.nodes
        ids = {(await submit(alone, LATER)).id for _ in range(20)}
        flip(log_of(alone), [400])
        code, findings, _ = await verify(alone)
        assert (code, {finding["kind"] for finding in findings}) == (1, {"log"})
        assert (await verify(alone, "--repair"))[0] == 0
        await alone.kill()
        await alone.start()

        async def all_there() -> bool:
            async with alone.client() as client:
                return {task.id async for task in client.all_tasks()} == ids

        await until(all_there, "it still has every task", 30)


async def test_published_files_are_compared_with_their_manifest(tmp_path: Path) -> None:
    rows(tmp_path / "root")
    async with Mesh(tmp_path) as mesh:
        ids = {}
        for sink in ("gone", "short", "bits", "manifest", "whole"):
            ids[sink] = (await submit(mesh.nodes[0], file_task(sink))).id
        for ref in ids.values():
            assert (await finished(mesh.nodes[0], ref)).state == "succeeded"
        part = {sink: next((mesh.root / sink).glob("*.jsonl")) for sink in ids}
        part["gone"].unlink()
        part["short"].write_bytes(part["short"].read_bytes()[:-1])
        flip(part["bits"], [10])
        (mesh.root / "manifest" / "_manifest.json").unlink()
        code, findings, _ = await verify(mesh.nodes[1], "--repair", "--deep")
        assert code == 1
        told = {finding["task"]: finding for finding in findings}
        assert set(told) == {ids[sink] for sink in ("gone", "short", "bits", "manifest")}
        for sink in ("gone", "short", "bits"):
            assert told[ids[sink]]["kind"] == "part"
            assert told[ids[sink]]["file"] == str(part[sink])
            assert "submit it again" in told[ids[sink]]["remedy"]
        assert told[ids["gone"]]["what"].startswith("is missing, with ")
        assert told[ids["manifest"]]["repaired"]
        assert (mesh.root / "manifest" / "_manifest.json").exists()


async def test_a_node_that_does_not_answer_is_said(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh:
        for number in range(6):
            await submit(mesh.nodes[number % 3], LATER)
        alive, *others = mesh.nodes
        for node in others:
            node.send(signal.SIGTERM)
            await node.ended()
        code, findings, summary = await verify(alive)
        assert (code, findings, summary["nodes"]) == (0, [], 1)
