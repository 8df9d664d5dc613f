"""Kill -9 and SIGSTOP in the middle of a collection: no row is lost, none is there twice.

CHAOS_ROUNDS: how many random moments; SCENARIO_SEED: the first seed; SCENARIO_STOP: seconds of the SIGSTOP,
longer than it takes to be declared dead.
"""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from tests.scenarios import flights
from tests.scenarios.mesh import Mesh, Node, cluster, finished, holders, look, submit, until, written

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "3"))
SEED = int(os.environ.get("SCENARIO_SEED", "0"))
STOP = float(os.environ.get("SCENARIO_STOP", "20"))

pytestmark = [pytest.mark.processes, pytest.mark.shared, flights.present]


@pytest.mark.parametrize("turn", range(ROUNDS))
async def test_one_killed_and_one_stopped(tmp_path: Path, turn: int) -> None:
    seed = SEED + turn if SEED else random.SystemRandom().randrange(1, 1 << 31)
    print(f"SCENARIO_SEED={seed} CHAOS_ROUNDS=1 SCENARIO_STOP={STOP}")
    rng = random.Random(seed)
    flights.lay(tmp_path / "root")
    async with Mesh(tmp_path) as mesh:
        task = (await submit(rng.choice(mesh.nodes), flights.spec())).id
        share = rng.uniform(0.1, 0.9)
        await written(mesh.nodes[0], task, int(flights.ROWS * share))
        victim = await _victim(mesh, task, rng)
        stopped, survivor = rng.sample([node for node in mesh.nodes if node is not victim], 2)
        whole = rng.random() < 0.5
        print(f"at {share:.0%}: {victim.name} killed, {stopped.name} stopped (with its workers: {whole})")
        stopped.send(signal.SIGSTOP, workers=whole)
        await victim.kill()
        await until(victim.deserted, "the workers of the killed node end", 20)
        await asyncio.sleep(STOP)
        await _declared_dead(survivor, [victim, stopped])
        stopped.send(signal.SIGCONT, workers=whole)
        for node in (survivor, stopped):
            assert (await finished(node, task)).state == "succeeded"
        flights.check_published(mesh.root / "out", flights.expected())


async def _victim(mesh: Mesh, task: str, rng: random.Random) -> Node:
    """The steward, or one that holds a running shard."""
    seen = await look(mesh.nodes[0], task)
    executors = await holders(mesh.nodes[0], task)
    steward = seen.steward
    if steward and (not executors or rng.random() < 0.5):
        return mesh.node(steward)
    return mesh.node(rng.choice(executors))


async def _declared_dead(survivor: Node, gone: list[Node]) -> None:
    ids = {node.id for node in gone}

    async def sees() -> bool:
        return ids <= {node.id for node in (await cluster(survivor)).nodes if node.state == "dead"}

    await until(sees, "the survivor declares both dead", 30)
