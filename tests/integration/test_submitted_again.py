"""One real node: a named task that is submitted again when it is over, in whatever way it ended."""

from pathlib import Path
from typing import Any

import pytest

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
