"""A node whose data directory was put back to an older copy: it rejoins, and nothing is lost or doubled."""

import asyncio
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from node.security.keys import boot_floor
from tests.scenarios import ledgers
from tests.scenarios.mesh import Mesh, Node, cluster, finished, look, submit, until

pytestmark = pytest.mark.processes

SPEC = {"source": {"plugin": "bench"}, "sink": {"plugin": "discard"}, "schedule": "0 0 1 1 *"}
SHORT = {"source": {"plugin": "bench", "records": 100}, "sink": {"plugin": "discard"}}


async def _submit(node: Node, count: int) -> list[str]:
    return [(await submit(node, SPEC)).id for _ in range(count)]


async def _stop(node: Node) -> None:
    node.send(signal.SIGTERM)
    assert await node.ended() == 0


def _restore(backup: Path, node: Node) -> None:
    shutil.rmtree(node.data)
    shutil.copytree(backup, node.data)


async def _boot(node: Node) -> int:
    return next(one.boot for one in (await cluster(node)).nodes if one.id == node.id)


async def _later(boot: int) -> bool:
    return boot_floor(time.time()) >= boot


async def _tells(node: Node, ids: list[str]) -> bool:
    async with node.client() as client:
        return {task.id async for task in client.all_tasks()} >= set(ids)


async def _all_equal(mesh: Mesh, ids: list[str]) -> None:
    """Every node tells of every task; stopped, all disks hold the same envelopes and content."""

    for node in mesh.nodes:
        await until(partial(_tells, node, ids), f"{node.name} tells of all tasks", 30)
    await asyncio.sleep(2)  # two rounds of digests: what differs now would differ for ever
    for node in mesh.nodes:
        node.send(signal.SIGKILL, workers=True)
        await node.ended()
    first, *others = (ledgers.contents(node.data) for node in mesh.nodes)
    for other in others:
        assert other == first


async def test_an_old_backup_rejoins_under_a_new_boot(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    async with Mesh(tmp_path) as mesh:
        restored, other, _ = mesh.nodes
        ids = await _submit(restored, 10)
        await _stop(restored)
        shutil.copytree(restored.data, backup)
        await restored.start()
        await mesh.ready()
        after_backup = await _boot(restored)
        ids += await _submit(restored, 20)  # under the boot that the backup does not know
        await _stop(restored)
        ids += await _submit(other, 5)
        _restore(backup, restored)
        await until(partial(_later, after_backup), "the clock tells the lives apart, by seconds", 10)
        await restored.start()
        ids += await _submit(restored, 30)
        await mesh.ready()
        assert await _boot(restored) > after_backup
        short = await submit(restored, SHORT)
        assert (await finished(other, short.id)).state == "succeeded"
        for node in mesh.nodes:
            for ref in ids:
                assert (await look(node, ref)).id == ref
        await _all_equal(mesh, ids)


async def test_a_backup_under_a_clock_that_is_behind_stops_and_then_rejoins(tmp_path: Path) -> None:
    """The life after the backup had a boot far ahead of the clock: neither clock nor counter can know it."""
    backup = tmp_path / "backup"
    async with Mesh(tmp_path) as mesh:
        restored, other, _ = mesh.nodes
        await _stop(restored)
        shutil.copytree(restored.data, backup)
        ahead = await _boot(other) + 100_000
        (restored.data / "boot").write_text(f"{ahead}\n")
        await restored.start()
        await mesh.ready()
        ids = await _submit(restored, 20)
        await _stop(restored)
        _restore(backup, restored)
        code, said = await restored.refused()
        assert code == 1, said
        assert "restored from a backup" in said
        assert "start it again" in said
        await restored.start()
        await mesh.ready()
        assert await _boot(restored) > ahead
        ids += await _submit(restored, 10)
        await _all_equal(mesh, ids)
