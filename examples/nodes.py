"""Nodes of one mesh as processes of this host, for the demo: they start, answer, and are gone at the end."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from node.client import Client

COMMAND = Path(sys.executable).with_name("collect-node")
NAMES = ("a", "b", "c")
FACTS = re.compile(
    r"^collect-node \S+ \S+ \((?P<id>\S+)\) in .*\nhttp +(?P<url>\S+)\nmesh +\S+\n.*--join (?P<token>\S+)",
    re.MULTILINE,
)
SHOWN = 1500
"""last characters of a node's log that a failure shows"""


class DemoError(Exception):
    """A step of the demo failed; the text says which."""


class Node:
    """One `collect-node` in a session of its own, so that its worker processes end with it."""

    def __init__(self, name: str, folder: Path, work: Path) -> None:
        self.name = name
        self.id = self.url = self.token = ""
        self._folder = folder
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, *more: str) -> None:
        """Start it and wait, at most 30 s, for its first lines."""
        flags = [
            "--name",
            self.name,
            "--data-dir",
            str(self._folder / self.name),
            "--profile",
            "local",
            "--no-mdns",
        ]
        ports = ["--http", "127.0.0.1:0", "--mesh", "127.0.0.1:0"]
        log = self._folder / f"{self.name}.log"
        self._process = self._spawn([*flags, *ports, *more], log)
        end = time.monotonic() + 30
        while not (found := FACTS.search(text := log.read_text(errors="replace"))):
            if self._process.poll() is not None or time.monotonic() > end:
                raise DemoError(f"node {self.name} did not start:\n{text[-SHOWN:]}")
            await asyncio.sleep(0.05)
        self.id, self.url, self.token = found["id"], found["url"], found["token"]

    def _spawn(self, flags: list[str], log: Path) -> "subprocess.Popen[bytes]":
        with log.open("wb") as out:
            return subprocess.Popen(  # noqa: S603 -- our own command
                [str(COMMAND), *flags],
                cwd=self._work,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        """Ask it to leave."""
        if self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        """Wait until it has left, 5 s at most, and kill what is left of it and its workers."""
        if self._process is None:
            return
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Mesh:
    """Three nodes; the first founds the mesh, the others join it. A context manager that ends them."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.nodes = [Node(name, folder, work) for name in NAMES]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.stop()
        for node in self.nodes:
            node.end()

    async def start(self) -> None:
        first, *others = self.nodes
        await first.start()
        for node in others:
            await node.start("--join", first.token)

    async def ready(self, client: Client) -> None:
        """Wait, at most 30 s, until the mesh sees all nodes alive and ready."""
        end = time.monotonic() + 30
        while True:
            seen = {
                node.id for node in (await client.cluster()).nodes if node.state == "alive" and node.ready
            }
            if seen >= {node.id for node in self.nodes}:
                return
            if time.monotonic() > end:
                raise DemoError(f"only {len(seen)} of {len(self.nodes)} nodes are ready after 30 s")
            await asyncio.sleep(0.1)

    def name_of(self, node: str) -> str:
        """The name for an id (or a name)."""
        return next((one.name for one in self.nodes if one.id == node), node)
