"""Who gets into a mesh of real nodes, and who does not: processes, ports and command lines as users have them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.mesh import Node

pytestmark = pytest.mark.processes

OPEN_GATE = """
import sys
from node.security import zap
zap.ZapHandler._user = lambda *_: b"anybody"
from node.__main__ import main
main(sys.argv[1:])
"""
"""A node whose gate lets everybody in: what a mistake in the code, or another libzmq, could do."""


def test_a_node_whose_ports_are_open_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text("")
    flags = Node("a", tmp_path, config).command()[1:]
    done = subprocess.run(
        [sys.executable, "-c", OPEN_GATE, *flags], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "did not refuse an unknown key: the start was stopped, for safety" in done.stderr
    assert "Traceback" not in done.stderr
    assert "join others with" not in done.stdout
