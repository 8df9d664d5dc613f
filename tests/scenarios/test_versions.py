"""The first release and this version in one mesh: rolling upgrade, mixed running with kills, and the way back."""

import random
import signal
from functools import partial
from pathlib import Path

import pytest

from gossip.versions import PROTOCOL
from state.storage.mark import MARK
from tests.scenarios import flights
from tests.scenarios.mesh import Mesh, Node, cluster, finished, look, submit, until, written
from tests.scenarios.test_disk import SEED
from tests.scenarios.test_verify import LATER, verify
from tests.scenarios.versions import again_as, unpacked

PREVIOUS = "dc0aad8"
"""The commit of the release before the protocols had numbers."""

pytestmark = [pytest.mark.processes, pytest.mark.shared]


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """The source tree of the previous release."""
    return unpacked(PREVIOUS, tmp_path / "previous")


def all_of(mesh: Mesh, tree: Path | None) -> None:
    for node in mesh.nodes:
        node.tree = tree


async def warnings(node: Node) -> str:
    return "\n".join((await cluster(node)).warnings)


@flights.present
async def test_a_rolling_upgrade_and_back_under_a_collection(tmp_path: Path, previous: Path) -> None:
    print(f"SCENARIO_SEED={SEED}")
    rng = random.Random(SEED)
    flights.lay(tmp_path / "root")
    mesh = Mesh(tmp_path)
    all_of(mesh, previous)
    async with mesh:
        task = (await submit(mesh.nodes[0], flights.spec(rate=8_000))).id
        first, second, third = rng.sample(mesh.nodes, 3)
        steps = [(first, None), (second, None), (second, previous), (second, None), (third, None)]
        await written(first, task, int(flights.ROWS * 0.03))
        for part, (node, tree) in enumerate(steps, 1):
            await again_as(node, tree, rng.choice([signal.SIGTERM, signal.SIGKILL]))
            await mesh.ready()
            if part < len(steps):
                assert "the mesh speaks 1 until all are upgraded" in await warnings(first)
        assert "several protocols" not in await warnings(first)
        for node in mesh.nodes:
            assert (await finished(node, task)).state == "succeeded"
        flights.check_published(mesh.root / "out", flights.expected())
        await until(partial(_folded, third), "all speak the new protocol, and ledgers are folded", 30)
        third.send(signal.SIGTERM)
        await third.ended()
        third.tree = previous
        code, said = await third.refused()
        assert code == 2
        assert "has log version 2; this program reads up to 1" in said
        third.tree = None
        await third.start()
        assert (await finished(third, task)).state == "succeeded"


async def _folded(node: Node) -> bool:
    return (node.data / "log" / MARK).exists()


@flights.present
async def test_a_mixed_mesh_bears_kills(tmp_path: Path, previous: Path) -> None:
    print(f"SCENARIO_SEED={SEED}")
    rng = random.Random(SEED)
    flights.lay(tmp_path / "root")
    mesh = Mesh(tmp_path)
    all_of(mesh, previous)  # of two versions only members stay together; who joins speaks what the mesh does
    olds = [mesh.nodes[number] for number in sorted({rng.randrange(3), 1})]
    async with mesh:
        for node in mesh.nodes:
            if node not in olds:
                await again_as(node, None, signal.SIGTERM)
                await mesh.ready()
        ids = [(await submit(rng.choice(mesh.nodes), LATER)).id for _ in range(20)]
        task = (await submit(rng.choice(mesh.nodes), flights.spec())).id
        for share in (0.2, 0.5):
            await written(mesh.nodes[0], task, int(flights.ROWS * share))
            victim = rng.choice(mesh.nodes)
            await victim.kill()
            await victim.start()
            await mesh.ready()
        for node in mesh.nodes:
            assert (await finished(node, task)).state == "succeeded"
            for ref in ids:
                assert (await look(node, ref)).id == ref
        flights.check_published(mesh.root / "out", flights.expected())
        new = next(node for node in mesh.nodes if node not in olds)
        code, findings, _ = await verify(new)
        assert code == 3
        assert {finding["node"] for finding in findings if finding.get("node")} == {node.id for node in olds}
        assert all(finding["kind"] == "unchecked" for finding in findings)


async def test_a_directory_of_a_later_format_is_refused(tmp_path: Path) -> None:
    async with Mesh(tmp_path, "a") as mesh:
        (node,) = mesh.nodes
        ref = (await submit(node, LATER)).id
        node.send(signal.SIGTERM)
        await node.ended()
        written_format = (node.data / "format").read_text()
        (node.data / "format").write_text("format = 2\nversion = 7.0.0\n")
        code, said = await node.refused()
        assert code == 2
        assert (
            "was last used by collect-node 7.0.0 and has format 2; this version reads formats up to 1" in said
        )
        (node.data / "format").write_text(written_format)
        await node.start()

        async def there() -> bool:
            return (await look(node, ref)).id == ref

        await until(there, "nothing was lost by the refusal", 30)
        assert PROTOCOL > 1
