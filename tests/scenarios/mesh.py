"""Real nodes as processes of their own, for tests that kill, stop and restart them.

A node keeps its data directory and its ports over restarts; its output goes to `<folder>/<name>.log`. Every
node leads a session of its own, so that its workers go with it at the end of the test, and nothing else.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self, TypeVar

import psutil

from node.client import Client, ProblemError, Unreachable
from node.schema import TERMINAL, Cluster, Shard, Task
from tests.ports import free_ports

T = TypeVar("T")
COMMAND = Path(sys.executable).with_name("collect-node")
FACTS = re.compile(
    r"^collect-node \S+ \S+ \((?P<id>\S+)\) in .*\n"
    r"http +(?P<url>\S+)\nmesh +(?P<mesh>\S+)\n.*--join (?P<token>\S+)",
    re.MULTILINE,
)
SHOWN = 6000
"""characters of each log that a failed test shows"""


async def until(
    ask: Callable[[], Awaitable[T | None]], what: str, within: float = 60.0, every: float = 0.05
) -> T:
    """The first true answer. A node that does not answer (yet) is asked again."""
    end = time.monotonic() + within
    said: object = None
    while time.monotonic() < end:
        try:
            answer = await ask()
        except (Unreachable, ProblemError) as error:
            said = error
        else:
            if answer:
                return answer
            said = answer
        await asyncio.sleep(every)
    raise AssertionError(f"waited {within} s in vain for: {what}; last answer: {said!r}")


class Place(NamedTuple):
    """Where a node runs. `wrap`: a command that is to start it, in a namespace of its own, say; `host`: its
    address, loopback with free ports if none; `bearer`: the token of its API; `flags`: more of them.
    """

    wrap: Sequence[str] = ()
    host: str = ""
    bearer: str | None = None
    flags: Sequence[str] = ("--profile", "local")

    def addresses(self) -> tuple[str, str]:
        """Of the mesh and of HTTP."""
        host, port = (self.host, 8701) if self.host else ("127.0.0.1", free_ports(4))
        return f"{host}:{port}", f"{host}:{port + 3}"


class Node:
    """One `collect-node`."""

    def __init__(self, name: str, folder: Path, config: Path, place: Place | None = None) -> None:
        self.name = name
        self.data = folder / name
        self.log = folder / f"{name}.log"
        self.id = self.url = self.token = ""
        self.settle(place or Place())
        self._config = config
        self.tree: Path | None = None
        """The source tree that the next start runs; None: this one."""
        self._process: subprocess.Popen[bytes] | None = None

    def settle(self, place: Place) -> None:
        """Run there from the next start on."""
        self.place = place
        self._mesh, self._http = place.addresses()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self, *more: str) -> list[str]:
        where = [
            "--config",
            self._config,
            "--data-dir",
            self.data,
            "--http",
            self._http,
            "--mesh",
            self._mesh,
        ]
        flags = [*self.place.flags, "--no-mdns", "--name", self.name, *more]
        return [*self.place.wrap, str(COMMAND), *map(str, where), *flags]

    async def start(self, *more: str) -> None:
        """Start it, or start it again, and wait for its first lines. `more`: flags."""
        assert self._process is None or self._process.poll() is not None
        with self.log.open("ab") as out:
            begin = out.tell()
            self._process = self._spawn(out, more)
        found = await until(lambda: self._said(begin), f"the first lines of node {self.name}", 30)
        self.id, self.url, self.token = found["id"], found["url"], found["token"]

    def _spawn(self, out: IO[bytes], more: Sequence[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.command(*more),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=self._environ(),
        )

    def _environ(self) -> dict[str, str] | None:
        return {**os.environ, "PYTHONPATH": str(self.tree)} if self.tree else None

    async def _said(self, begin: int) -> re.Match[str] | None:
        assert self._process is not None
        text = self.log.read_bytes()[begin:].decode(errors="replace")
        assert self._process.poll() is None, f"node {self.name} ended with {self._process.poll()}:\n{text}"
        return FACTS.search(text)

    async def refused(self, *more: str) -> tuple[int, str]:
        """Start a node that is expected to refuse: its exit code and what it said."""
        done = await asyncio.to_thread(
            subprocess.run,
            self.command(*more),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=self._environ(),
        )
        return done.returncode, done.stderr

    def client(self) -> Client:
        """A session with this node alone."""
        return Client([self.url], self.place.bearer)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals, *, workers: bool = False) -> None:
        """Signal the node; `workers`: and its worker processes, as when the whole machine stands still."""
        if workers:
            os.killpg(self.pid, number)
        else:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL to the node alone: its workers have to notice."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, 30)

    async def deserted(self) -> bool:
        """Whether the workers of a killed node have ended too."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getpgid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    return False
        return True

    def destroy(self) -> None:
        """The end of the test: the node and every worker of it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Mesh:
    """Nodes of one mesh; an async context manager. The first of `names` founds it, the others join."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str] = ("a", "b", "c"),
        *,
        shared: bool = True,
        root: Path | None = None,
        place: Callable[[str], Place] = lambda _: Place(),
    ) -> None:
        self.folder = folder
        self.root = root or folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.config = folder / "node.toml"
        self.config.write_text(f'[roots.default]\npath = "{self.root}"\nshared = {str(shared).lower()}\n')
        self._place = place
        self.nodes: list[Node] = []
        for name in names:
            self.add(name)

    def add(self, name: str) -> Node:
        self.nodes.append(Node(name, self.folder, self.config, self._place(name)))
        return self.nodes[-1]

    def node(self, name_or_id: str) -> Node:
        return next(node for node in self.nodes if name_or_id in (node.name, node.id))

    @property
    def token(self) -> str:
        return self.nodes[0].token

    async def __aenter__(self) -> Self:
        try:
            await self.begin()
            await self.ready()
        except BaseException:
            self.end(failed=True)
            raise
        return self

    async def begin(self) -> None:
        await self.nodes[0].start()
        await asyncio.gather(*(node.start("--join", self.token) for node in self.nodes[1:]))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(failed=error is not None)

    def end(self, *, failed: bool) -> None:
        for node in self.nodes:
            node.destroy()
        if failed:
            for node in self.nodes:
                text = node.log.read_text(errors="replace") if node.log.exists() else "never started"
                print(f"---- node {node.name} {node.id}\n{text[-SHOWN:]}")

    async def ready(self, nodes: Sequence[Node] | None = None, within: float = 60) -> None:
        """Every one of `nodes` sees all of them alive and ready."""
        wanted = nodes or self.nodes
        ids = {node.id for node in wanted}
        for node in wanted:

            async def sees(node: Node = node) -> bool:
                seen = {one.id for one in (await cluster(node)).nodes if one.state == "alive" and one.ready}
                return ids <= seen

            await until(sees, f"node {node.name} sees {len(ids)} nodes ready", within)


async def cluster(node: Node) -> Cluster:
    async with node.client() as client:
        return await client.cluster()


async def submit(node: Node, spec: object, durability: int | None = None) -> Task:
    async with node.client() as client:
        return await client.submit(spec, durability=durability)


async def look(node: Node, ref: str) -> Task:
    async with node.client() as client:
        return await client.task(ref)


async def shards(node: Node, ref: str) -> list[Shard]:
    async with node.client() as client:
        return await client.shards(ref)


async def finished(node: Node, ref: str, within: float = 90) -> Task:
    """The task as `node` sees it at its end."""
    return await until(lambda: _over(node, ref), f"node {node.name} sees the end of task {ref}", within, 0.1)


async def _over(node: Node, ref: str) -> Task | None:
    task = await look(node, ref)
    return task if task.state in TERMINAL else None


async def written(node: Node, ref: str, records: int, within: float = 60) -> Task:
    """The task, as soon as so many records are written."""

    async def enough() -> Task | None:
        task = await look(node, ref)
        assert task.state not in TERMINAL, f"over before {records} records were seen: {task}"
        return task if task.run is not None and task.run.records.written >= records else None

    return await until(enough, f"{records} records of task {ref}", within)


async def holders(node: Node, ref: str) -> list[str]:
    """Ids of the nodes that hold a running shard."""
    found = {shard.node for shard in await shards(node, ref) if shard.state == "running" and shard.node}
    return sorted(found)
