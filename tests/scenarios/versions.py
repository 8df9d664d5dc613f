"""Nodes of an earlier version: the code of a commit of this repository, run by the same interpreter."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.mesh import Node

ROOT = Path(__file__).resolve().parents[2]


def unpacked(commit: str, folder: Path) -> Path:
    """The source tree of the commit; the test is skipped where the commit is not at hand."""
    if shutil.which("git") is None:
        pytest.skip(f"needs git, for commit {commit} of this repository")
    folder.mkdir()
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"needs commit {commit} of this repository: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


async def again_as(node: Node, tree: Path | None, number: signal.Signals) -> None:
    """End the node, in order or not, and start it as another version."""
    node.send(number)
    await node.ended()
    node.tree = tree
    await node.start()
