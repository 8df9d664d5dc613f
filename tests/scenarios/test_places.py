"""Nodes on machines that see different files: each in a mount namespace of its own."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.client import Client
from tests.scenarios import flights
from tests.scenarios.mesh import Mesh, Place, finished, shards, submit
from tests.scenarios.rights import needs_mounts

pytestmark = [
    pytest.mark.processes,
    pytest.mark.root,
    pytest.mark.shared,
    flights.present,
    needs_mounts,
]

OWN_DISK = 'mount -t tmpfs none "$0" && cp "$1" "$0/" && shift && exec "$@"'
SHARED_DISK = 'mount --bind "$1" "$0" && shift && exec "$@"'


def _place(script: str, root: Path, source: Path) -> Callable[[str], Place]:
    """`source`: what the script finds as $1; the root is $0."""
    unshare = ("unshare", "-m", "--propagation", "private", "sh", "-c", script, str(root), str(source))
    return lambda _: Place(unshare)


async def _run(mesh: Mesh, by: int = 0) -> tuple[str, set[str]]:
    """The id of a task that has succeeded, and the ids of the nodes that ran its shards."""
    task = (await submit(mesh.nodes[by], flights.spec())).id
    for node in mesh.nodes:
        done = await finished(node, task)
        assert done.state == "succeeded", done
    return task, {shard.node for shard in await shards(mesh.nodes[by], task) if shard.node}


@pytest.mark.parametrize("declared_shared", [False, True])
async def test_a_folder_of_its_own_keeps_a_run_on_one_machine(
    tmp_path: Path, *, declared_shared: bool
) -> None:
    """Also where it is declared shared by mistake: a share that is not mounted must not swallow rows."""
    root = tmp_path / "root"
    place = _place(OWN_DISK, root, flights.SOURCE)
    async with Mesh(tmp_path, shared=declared_shared, root=root, place=place) as mesh:
        _, nodes = await _run(mesh)
        assert len(nodes) == 1
        for node in mesh.nodes:
            out = Path(f"/proc/{node.pid}/root{root}/out")
            assert os.path.exists(out) == (node.id in nodes)  # noqa: ASYNC240, PTH110 -- nothing else runs here
            if node.id in nodes:
                flights.check_published(out, flights.expected())


async def test_a_shared_folder_is_worked_in_by_several(tmp_path: Path) -> None:
    real = tmp_path / "real"
    flights.lay(real)
    async with Mesh(
        tmp_path, root=tmp_path / "root", place=_place(SHARED_DISK, tmp_path / "root", real)
    ) as mesh:
        task, nodes = await _run(mesh)
        assert len(nodes) > 1
        assert not any((tmp_path / "root").iterdir())
        flights.check_published(real / "out", flights.expected())
        async with Client([mesh.nodes[-1].url]) as client:
            await client.export(task, tmp_path / "export.jsonl")
        assert len((tmp_path / "export.jsonl").read_bytes().splitlines()) == flights.ROWS
