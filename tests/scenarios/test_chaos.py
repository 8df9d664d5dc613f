"""Real nodes in network namespaces, harmed in every way of `faults` under load, then healed: nothing is lost.

CHAOS_SECONDS: how long each harm lasts; without it a short form of a few faults runs. CHAOS_NODES: sizes of
the mesh, "3 5", say; CHAOS_FAULTS: names of faults, all by default; CHAOS_PREVIOUS: a commit whose code about half of
the nodes run; SCENARIO_SEED: the seed.
"""

import contextlib
import os
import random
import signal
from pathlib import Path

import pytest

from tests.scenarios import flights
from tests.scenarios.faults import FAULTS, SMALL_DISK, Harm, small_disk
from tests.scenarios.load import Load
from tests.scenarios.net import NetMesh
from tests.scenarios.rights import needs_networks
from tests.scenarios.versions import unpacked

SECONDS = float(os.environ.get("CHAOS_SECONDS", "0"))
SEED = int(os.environ.get("SCENARIO_SEED", "0"))
PREVIOUS = os.environ.get("CHAOS_PREVIOUS", "")
SHORT_SECONDS = 9.0
SHORT = [("bridge", 3), ("kill-all", 3), ("old-backup", 3)]
"""each of them would show the loss of something acknowledged, in another way"""
FULL = [
    (fault, int(nodes))
    for fault in os.environ.get("CHAOS_FAULTS", " ".join(FAULTS)).split()
    for nodes in os.environ.get("CHAOS_NODES", "3 5").split()
]

pytestmark = [pytest.mark.processes, pytest.mark.root, pytest.mark.shared, flights.present, needs_networks]


@pytest.mark.parametrize(("fault", "nodes"), FULL if SECONDS else SHORT)
async def test_nothing_is_lost(tmp_path: Path, fault: str, nodes: int) -> None:
    seed = SEED or random.SystemRandom().randrange(1, 1 << 31)
    seconds = SECONDS or SHORT_SECONDS
    print(f"SCENARIO_SEED={seed} CHAOS_SECONDS={seconds} CHAOS_FAULTS={fault} CHAOS_NODES={nodes}")
    rng = random.Random(seed)
    disk = small_disk(tmp_path / "a") if fault in SMALL_DISK else contextlib.nullcontext()
    with disk:
        mesh = NetMesh(tmp_path, "abcde"[:nodes])
        tree = unpacked(PREVIOUS, tmp_path / "previous") if PREVIOUS else None
        for node in mesh.nodes:
            node.tree = tree
        async with mesh:
            if tree is not None:
                await _upgrade(mesh, rng)
            async with Load(mesh, rng, seconds=seconds, every=1 if SECONDS else 8) as load:
                await FAULTS[fault](Harm(mesh, rng, seconds))
            await load.check()


async def _upgrade(mesh: NetMesh, rng: random.Random) -> None:
    """Some, at least one, and not all: members of two versions stay together, whichever may join whom."""
    for node in rng.sample(mesh.nodes, rng.choice([len(mesh.nodes) // 2, (len(mesh.nodes) + 1) // 2])):
        node.send(signal.SIGTERM)
        await node.ended()
        node.tree = None
        await mesh.start(node)
        await mesh.ready()
