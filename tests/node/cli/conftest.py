"""Every test of the command line speaks to a mesh of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.cli.mesh import Mesh, Server


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    """A mesh whose URL the command line finds in its environment."""
    made = Mesh()
    server = Server(made)
    monkeypatch.setenv("COLLECT_URL", server.url)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("node.cli.watch.POLL", 0.01)
    yield made
    server.close()
