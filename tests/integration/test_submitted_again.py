"""One real node: a named task that is submitted again when it is over, in whatever way it ended."""

from pathlib import Path
from typing import Any

import pytest

from tests.plugins.materials import jsonl_stored
from tests.scenarios.mesh import Mesh, finished, submit

pytestmark = pytest.mark.processes


async def test_an_incremental_task_that_ended_with_dead_letters_goes_on(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "name": "again",
        "mode": "incremental",
        "incremental": {"field": "id"},
        "source": {"plugin": "jsonl", "path": "rows.jsonl"},
        "sink": {"plugin": "jsonl", "path": "out"},
    }
    async with Mesh(tmp_path, ["a"]) as mesh:
        node, rows = mesh.nodes[0], mesh.root / "rows.jsonl"
        rows.write_text('{"id": 1}\nbroken\n{"id": 2}\n')
        first = await finished(node, (await submit(node, spec)).id)
        assert first.state == "partial", first
        rows.write_text('{"id": 1}\n{"id": 2}\n{"id": 3}\n')
        await submit(node, spec)
        second = await finished(node, first.id)
        assert first.run is not None
        assert second.run is not None
        assert second.run.id != first.run.id
        assert (second.state, second.run.records.written) == ("succeeded", 1)


async def test_a_task_that_is_replaced_says_what_becomes_of_its_rows(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "name": "put",
        "source": {"plugin": "jsonl", "path": "rows.jsonl"},
        "sink": {"plugin": "jsonl", "path": "out"},
    }
    async with Mesh(tmp_path, ["a"]) as mesh, mesh.nodes[0].client() as client:
        (mesh.root / "rows.jsonl").write_text('{"id": 1}\n')
        await submit(mesh.nodes[0], spec)
        slight = await client.replace("put", {**spec, "priority": 7})
        assert slight.warnings == []
        other = {**spec, "source": {**spec["source"], "stream": "label"}}
        (warning,) = (await client.replace("put", other)).warnings
        assert "takes the place of all" in warning


async def test_what_is_covered_of_one_field_is_not_of_another(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "name": "r",
        "mode": "range",
        "range": {"field": "id", "from": 0, "to": 10},
        "source": {"plugin": "jsonl", "path": "rows.jsonl"},
        "sink": {"plugin": "jsonl", "path": "out"},
    }
    async with Mesh(tmp_path, ["a"]) as mesh, mesh.nodes[0].client() as client:
        node = mesh.nodes[0]
        (mesh.root / "rows.jsonl").write_text('{"id": 1, "day": 20}\n{"id": 20, "day": 1}\n')
        await finished(node, (await submit(node, spec)).id)
        other = {**spec, "range": {"field": "day", "from": 0, "to": 10}}
        (warning,) = (await client.replace("r", other)).warnings
        assert "takes the place of all" in warning
        await finished(node, (await submit(node, other)).id)
        assert [row["id"] for row in jsonl_stored(mesh.root / "out")] == [20]
