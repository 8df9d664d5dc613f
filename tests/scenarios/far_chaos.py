"""Far regions for longer than a test may take: `make chaos`. Nobody is buried under load, and a merge is resumed.

CHAOS_SECONDS: how long the load lasts; SCENARIO_SEED: the seed.
"""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
from pathlib import Path

import pytest

from sharding.key import parse
from sharding.region import region_of
from tests.scenarios import flights, ledgers
from tests.scenarios.load import Load
from tests.scenarios.mesh import Node, finished, submit, until, written
from tests.scenarios.rights import needs_networks
from tests.scenarios.test_regions import ROWS, RegionMesh, lay, slow, unnamed

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("SCENARIO_SEED", "0"))
DELAY, LOSS = 0.06, 0.01
BACKLOG, LINES = 4_000, 100
"""Tasks that a cut region takes, and how many go in one request;"""
TEXT = 1500
"""bytes of each of them that do not deflate: some megabytes in all, so that a merge can be cut in its middle"""
RESUMED = 1.5
"""The rest of a merge that was cut may cost so many times its share of the bytes of one that was not: what was under
way at the time of the cut is sent again."""

SLACK = 1 << 20
"""bytes of everything else that crosses meanwhile"""

pytestmark = [pytest.mark.processes, pytest.mark.root, pytest.mark.shared, flights.present, needs_networks]


def seeded() -> random.Random:
    seed = SEED or random.SystemRandom().randrange(1, 1 << 31)
    print(f"SCENARIO_SEED={seed} CHAOS_SECONDS={SECONDS}")
    return random.Random(seed)


async def test_nobody_is_buried_under_load(tmp_path: Path) -> None:
    rng = seeded()
    async with RegionMesh(tmp_path, delay=DELAY, loss=LOSS, profile="lan") as mesh:
        async with Load(mesh, rng, seconds=SECONDS) as load:
            await asyncio.sleep(SECONDS)
        await load.check()
        print(mesh.net.wan.count())
        for node in mesh.nodes:
            assert "state=dead" not in node.log.read_text(errors="replace"), node.name


async def test_a_merge_that_is_cut_is_resumed(tmp_path: Path) -> None:
    rng = seeded()
    async with RegionMesh(tmp_path, delay=DELAY, loss=LOSS, profile="lan") as mesh:
        lay(mesh.root)
        eu, us = mesh.of("eu")[0], mesh.of("us")[0]
        moved = await submit(eu, slow("moved", rate=60))
        await written(eu, moved.id, 1)
        await apart(mesh)
        await backlog(eu, rng)
        before = landed(mesh)
        whole = await merged(mesh, moved.id)
        gain = landed(mesh) - before

        await apart(mesh)
        await backlog(eu, rng)
        assert (await finished(eu, moved.id)).state == "succeeded"
        before = landed(mesh)
        mesh.net.heal()
        await until(lambda: reached(mesh, before + gain // 3), "a third of it has landed", 60, 0.01)
        await apart(mesh)
        left = 1 - (landed(mesh) - before) / gain
        rest = await merged(mesh)
        print(f"a merge: {whole} bytes; cut when {left:.0%} was left: {rest} bytes for that")
        assert rest < RESUMED * whole * left + SLACK

        for node in (eu, us):
            assert (await finished(node, moved.id)).state == "succeeded"
        assert mesh.rows("moved") == list(range(ROWS))


async def apart(mesh: RegionMesh) -> None:
    """Cut eu off, until all know."""
    mesh.cut("eu")
    for node in mesh.nodes:
        await mesh.sees(node, mesh.of("eu") if node in mesh.of("eu") else mesh.of("us", "ap"))


async def backlog(node: Node, rng: random.Random) -> None:
    """Tasks that wait for a disk that no node has."""
    placement = {"region": "eu", "labels": {"disk": "none"}}
    for _ in range(BACKLOG // LINES):
        lines = [json.dumps(unnamed(rng.randbytes(TEXT).hex(), placement=placement)) for _ in range(LINES)]
        async with node.client() as client:
            answer = await client.submit_batch("\n".join(lines).encode())
        assert answer.accepted == LINES, answer.rejected[:1]


def landed(mesh: RegionMesh) -> int:
    """Bytes in the logs of the other regions."""
    return sum(file.stat().st_size for node in mesh.of("us", "ap") for file in (node.data / "log").iterdir())


async def reached(mesh: RegionMesh, octets: int) -> bool:
    return landed(mesh) >= octets


async def merged(mesh: RegionMesh, *moving: str) -> int:
    """Heal; the bytes between regions until each slot of eu has its copy, but for those of the tasks that go on."""
    begun = mesh.net.wan.count().octets
    slots = {task.slot for task in map(parse, moving) if task is not None}
    mesh.net.heal()

    async def equal() -> bool:
        with contextlib.suppress(sqlite3.DatabaseError):  # read in the middle of a write
            return await asyncio.to_thread(uncopied, mesh) <= slots
        return False

    await until(equal, "each slot of the region that was cut off has its copy", 120, 2.0)
    return mesh.net.wan.count().octets - begun


def uncopied(mesh: RegionMesh) -> set[int]:
    """Slots of eu that no node of another region has on its disk as the home region has them."""
    home = ledgers.contents(mesh.of("eu")[0].data)
    copies = [ledgers.contents(node.data) for node in mesh.of("us", "ap")]
    return {
        slot
        for slot, content in home.items()
        if region_of(slot) == "eu" and all(copy.get(slot) != content for copy in copies)
    }
