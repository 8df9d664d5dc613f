"""One real node: dead letters replayed as they are, and a replay that fails and is retried."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from node.client import Client
from tests.plugins.materials import jsonl_stored
from tests.scenarios.mesh import Mesh, Node, finished, submit

pytestmark = pytest.mark.processes

SPEC: dict[str, Any] = {
    "name": "l",
    "mode": "incremental",
    "incremental": {"field": "id"},
    "source": {"plugin": "jsonl", "path": "rows.jsonl"},
    "sink": {"plugin": "jsonl", "path": "out"},
    "retry": {"attempts": 1},
}


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """A node whose task has collected two rows, and set one aside that is no JSON."""
    async with Mesh(tmp_path, ["a"]) as mesh:
        (mesh.root / "rows.jsonl").write_text('{"id": 1}\nbroken\n{"id": 2}\n')
        await finished(mesh.nodes[0], (await submit(mesh.nodes[0], SPEC)).id)
        yield mesh


async def state_after(client: Client, node: Node, **body: Any) -> str:
    task = await client.control("l", "retry", body)
    return (await finished(node, task.id)).state


async def test_text_that_is_no_record_is_set_aside_again(mesh: Mesh) -> None:
    async with mesh.nodes[0].client() as client:
        assert await state_after(client, mesh.nodes[0], dead_letters=True) == "partial"
        (letter,) = (await client.dead_letters("l")).items
        assert letter.record == "broken"
    assert [row["id"] for row in jsonl_stored(mesh.root / "out")] == [1, 2]


async def test_a_replay_that_failed_is_what_is_retried(mesh: Mesh) -> None:
    commits, aside = mesh.root / "out/_commits", mesh.root / "out/aside"
    async with mesh.nodes[0].client() as client:
        (letter,) = (await client.dead_letters("l")).items
        edited = {"id": letter.id, "record": {"id": 3}}
        commits.rename(aside)
        commits.write_text("in the way")
        assert await state_after(client, mesh.nodes[0], letters=[edited]) == "failed"
        assert (await client.dead_letters("l")).items
        commits.unlink()
        aside.rename(commits)
        assert await state_after(client, mesh.nodes[0]) == "succeeded"
        assert not (await client.dead_letters("l")).items
    assert sorted(row["id"] for row in jsonl_stored(mesh.root / "out")) == [1, 2, 3]
