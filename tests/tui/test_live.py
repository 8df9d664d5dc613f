"""The live view as a process, and its watcher across the death of a node, against the real HTTP API."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.client import Client
from tests.node.cli.mesh import Mesh, Server
from tui.keys import Control, press
from tui.view import Looking, header, members, tab, tasks
from tui.watcher import Watcher


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Two nodes that show the same mesh; those still open are closed."""
    mesh = Mesh()
    made = [Server(mesh), Server(mesh)]
    yield made
    for server in made:
        server.close()


def once(*argv: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environ = {"PATH": os.environ["PATH"], "COLUMNS": "150", "HOME": str(cwd)}
    command = [sys.executable, "-P", "-m", "tui", *argv]
    return subprocess.run(
        command, env=environ, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_one_frame_in_a_pipe(servers: list[Server], tmp_path: Path) -> None:
    shown = once("--once", "--url", servers[0].url, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    for part in ("1/1 nodes", "first", "backlog 3", "! one copy only", "0 s ago"):
        assert part in shown.stdout
    assert "\x1b" not in shown.stdout


def test_the_command_becomes_the_view(servers: list[Server], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from node.cli import main; main()",
        "top",
        "--once",
        "--url",
        servers[0].url,
    ]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "1/1 nodes" in shown.stdout


def test_several_meshes_in_one_view(servers: list[Server], tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "collect"
    folder.mkdir(parents=True)
    (tmp_path / "token").write_text("secret")
    (folder / "contexts.toml").write_text(
        f'current = "lab"\n[contexts.lab]\nurls = ["{servers[0].url}"]\n'
        f'[contexts.prod]\nurls = ["{servers[1].url}"]\ntoken_file = "{tmp_path}/token"\n'
        '[contexts.away]\nurls = ["http://127.0.0.1:9"]\n'
    )
    environ = {"PATH": os.environ["PATH"], "COLUMNS": "150", "HOME": str(tmp_path)}

    def shown(*flags: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-P", "-c", "from node.cli import main; main()", "top", "--once", *flags]
        return subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    both = shown("--also", "prod")
    assert (both.returncode, both.stderr) == (0, "")
    assert both.stdout.count("1 lab: 1/1 nodes, 1 warnings") == 2
    assert both.stdout.count("2 prod: 1/1 nodes, 1 warnings") == 2
    every = shown("--all")
    assert every.returncode == 4, "one does not answer"
    assert every.stderr.startswith("away: no node answers")
    assert every.stdout.count("1 lab: 1/1 nodes") == every.stdout.count("2 away: no answer yet") == 2
    assert "lab:" not in shown().stdout, "one mesh needs no name"
    wrong = shown("--also", "nowhere")
    assert (wrong.returncode, "no context 'nowhere'" in wrong.stderr) == (2, True)


def test_no_node_and_no_terminal(tmp_path: Path) -> None:
    silent = once("--once", "--url", "http://127.0.0.1:9", cwd=tmp_path)
    assert silent.returncode == 4
    assert "no node answers" in silent.stderr
    piped = once("--url", "http://127.0.0.1:9", cwd=tmp_path)
    assert piped.returncode == 2
    assert "needs a terminal" in piped.stderr


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_goes_on_through_another_node(servers: list[Server]) -> None:
    """The second node is known from the cluster alone; what was seen stays when both are gone."""
    clock = Clock()
    async with Client([servers[0].url], None) as client:
        watcher = Watcher(client, clock)
        await client.submit({"name": "weather", "source": {"plugin": "bench"}, "sink": {"plugin": "discard"}})
        await watcher.refresh(Looking(), rows=50)
        assert [row.name for row in members(watcher.snapshot)] == ["first"]
        assert [row.name for row in tasks(watcher.snapshot, Looking())] == ["weather"]
        servers.pop(0).close()
        clock.now = 101.0
        await watcher.refresh(Looking(), rows=50)
        assert (watcher.snapshot.url, watcher.snapshot.trouble) == (servers[0].url, None)
        assert header(watcher.snapshot, clock.now).age == "0 s ago"
        servers.pop(0).close()
        clock.now = 110.0
        await watcher.refresh(Looking(), rows=50)
        row = header(watcher.snapshot, clock.now)
        assert (row.age, row.stale) == ("9 s ago", True)
        assert "no node answers" in row.warnings[0]
        assert [found.name for found in tasks(watcher.snapshot, Looking())] == ["weather"]


async def test_a_glance_leaves_what_is_known_of_tasks(servers: list[Server]) -> None:
    clock = Clock()
    async with Client([servers[0].url], None) as client:
        watcher = Watcher(client, clock, "lab")
        await client.submit({"name": "weather", "source": {"plugin": "bench"}, "sink": {"plugin": "discard"}})
        await watcher.refresh(Looking(), rows=50)
        clock.now = 105.0
        await watcher.glance()
        assert watcher.snapshot.fetched == 105.0
        assert [row.name for row in tasks(watcher.snapshot, Looking())] == ["weather"]
        for server in servers:
            server.close()
        servers.clear()
        clock.now = 110.0
        await watcher.glance()
        found = tab(2, watcher.name, watcher.snapshot, clock.now, here=False)
        assert found == ("2 lab: 1/1 nodes, 2 warnings", True, False)


async def test_drill_and_control(servers: list[Server]) -> None:
    async with Client([servers[0].url], None) as client:
        watcher = Watcher(client, Clock())
        task = await client.submit(
            {"name": "slow", "source": {"plugin": "bench"}, "sink": {"plugin": "discard"}}
        )
        looking = Looking()
        await watcher.refresh(looking, rows=50)
        looking, _ = press(looking, "enter", watcher.snapshot)
        await watcher.refresh(looking, rows=50)
        assert watcher.snapshot.task is not None
        assert watcher.snapshot.task.id == task.id
        assert [shard.position for shard in watcher.snapshot.shards] == [50]
        looking, _ = press(looking, "p", watcher.snapshot)
        looking, wish = press(looking, "y", watcher.snapshot)
        assert isinstance(wish, Control)
        assert await watcher.control(wish.action, wish.ref) == "slow: paused"
        assert "tasks are called gone" in await watcher.control("pause", "gone")
