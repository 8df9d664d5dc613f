"""Disks that are full, and logs that are damaged."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from node.client import Client, ProblemError
from node.schema import Task
from tests.scenarios import ledgers
from tests.scenarios.mesh import Mesh, cluster, look, submit, until
from tests.scenarios.rights import needs_mounts

SEED = int(os.environ.get("SCENARIO_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)

pytestmark = pytest.mark.processes

SPEC = {"source": {"plugin": "bench"}, "sink": {"plugin": "discard"}, "schedule": "0 0 1 1 *"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """64 MiB, mounted where node a keeps its data."""
    folder = tmp_path / "a"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.root
@needs_mounts
@pytest.mark.parametrize("left", [256 << 10, 0])
async def test_a_full_disk_refuses_and_keeps(tmp_path: Path, small_disk: Path, left: int) -> None:
    async with Mesh(tmp_path, "a") as mesh:
        (node,) = mesh.nodes
        kept = [(await submit(node, SPEC)).id for _ in range(5)]
        ballast = small_disk / "ballast"
        room = shutil.disk_usage(small_disk).free
        ballast.write_bytes(bytes(room - left))
        async with node.client() as client:
            with pytest.raises(ProblemError, match=str(small_disk)) as refused:
                await client.submit(SPEC)
            assert refused.value.problem.status == 507
            assert not refused.value.problem.state_changed
            assert {task.id async for task in client.all_tasks()} == set(kept)
        ballast.unlink()
        kept.append((await until(lambda: submit(node, SPEC), "intake is open again", 10)).id)
        node.send(signal.SIGKILL, workers=True)
        await node.ended()
        await node.start()
        await mesh.ready()
        for ref in kept:
            assert (await look(node, ref)).id == ref


def _contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_socket())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _damage(data: Path) -> Path:
    """Flip one byte in the middle of the log."""
    log = max((data / "log").glob("*.log"), key=lambda path: path.stat().st_size)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0xFF
    log.write_bytes(content)
    return log


async def _copied(client: Client, ids: list[str]) -> bool:
    """This node alone has all of them."""
    return {task.id async for task in client.all_tasks()} == set(ids)


async def test_a_damaged_log_is_refused_and_salvaged(tmp_path: Path) -> None:
    async with Mesh(tmp_path) as mesh:
        ids = [(await submit(mesh.nodes[number % 3], SPEC)).id for number in range(60)]
        broken, *others = mesh.nodes
        broken.send(signal.SIGTERM)
        assert await broken.ended() == 0
        log = _damage(broken.data)
        before = _contents(broken.data)
        code, said = await broken.refused()
        assert code == 2, said
        assert str(log) in said
        assert "damaged at byte " in said
        assert "--salvage" in said
        assert _contents(broken.data) == before
        await broken.start("--salvage")
        await mesh.ready()
        assert list((broken.data / "log").glob("*.damaged"))
        async with broken.client() as client:
            await until(lambda: _copied(client, ids), "the salvaged node tells of all tasks", 20)
        await _alone(mesh, broken.name)

        async def all_there() -> list[Task]:
            return [await look(broken, ref) for ref in ids]

        assert [task.id for task in await until(all_there, "it has every task itself", 30)] == ids
        assert len(others) == 2


def _flips(data: bytes, rng: random.Random) -> bytes:
    """The version in the header, and bytes of a few records."""
    broken = bytearray(data)
    for place in [6, *rng.sample(range(16, len(data)), 5)]:
        broken[place] ^= 0xFF
    return bytes(broken)


async def test_damaged_places_are_fetched_again_and_hold(tmp_path: Path) -> None:
    """A damaged header is no later version; what was lost, and what lay behind it, comes back for good."""
    rng = random.Random(SEED)
    print(f"SCENARIO_SEED={SEED}")
    async with Mesh(tmp_path) as mesh:
        ids = [(await submit(mesh.nodes[number % 3], SPEC)).id for number in range(60)]
        broken = mesh.nodes[0]
        broken.send(signal.SIGTERM)
        assert await broken.ended() == 0
        log = max((broken.data / "log").glob("*.log"), key=lambda path: path.stat().st_size)
        log.write_bytes(_flips(log.read_bytes(), rng))
        code, said = await broken.refused()
        assert code == 2, said
        assert f"{log} is damaged at byte 0 " in said
        await broken.start("--salvage")
        await mesh.ready()
        await until(partial(_equal_on_disk, mesh), "all disks hold the same", 30, 1.0)
        for node in mesh.nodes:
            await node.kill()
        await broken.start()  # what was fetched lies behind what needs it, and this start finds its way alone
        assert "envelopes wait" not in broken.log.read_text().rsplit("join others with", 2)[-2]

        async def all_there() -> bool:
            return all([(await look(broken, ref)).id == ref for ref in ids])

        await until(all_there, "it has every task itself", 30)


async def _equal_on_disk(mesh: Mesh) -> bool:
    first, *others = [ledgers.contents(node.data) for node in mesh.nodes]
    return all(other == first for other in others)


async def _alone(mesh: Mesh, name: str) -> None:
    """Kill the other nodes and wait until the one that is left knows."""
    rest = [node for node in mesh.nodes if node.name != name]
    for node in rest:
        await node.kill()

    async def knows() -> bool:
        states = {one.id: one.state for one in (await cluster(mesh.node(name))).nodes}
        return all(states.get(node.id) == "dead" for node in rest)

    await until(knows, "the others are declared dead", 30)


@pytest.mark.root
@needs_mounts
async def test_who_cannot_write_its_disk_gives_its_slots_up(tmp_path: Path, small_disk: Path) -> None:
    """It answers pings all the time; its tasks are stewarded elsewhere, and come home when there is room again."""
    async with Mesh(tmp_path) as mesh:
        sick, *others = mesh.nodes
        ids = [(await submit(mesh.nodes[number % 3], SPEC)).id for number in range(30)]

        async def stewards() -> set[str | None]:
            return {(await look(others[0], ref)).steward for ref in ids}

        assert sick.id in await stewards()
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - (256 << 10)))

        async def given_up() -> bool:
            seen = {one.id: one for one in (await cluster(others[0])).nodes}[sick.id]
            assert seen.state == "alive"
            told = seen.reason is not None and "disk" in seen.reason and not seen.ready
            return told and sick.id not in await stewards()

        await until(given_up, "the node without a disk stewards nothing", 20)
        ballast.unlink()

        async def back() -> bool:
            return sick.id in await stewards()

        await mesh.ready()
        await until(back, "it has its slots again", 30)
