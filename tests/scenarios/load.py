"""A client's work while a mesh is harmed, and what must be true of it afterwards.

Several clients submit small tasks, one at a time and in batches, each through the nodes in an order of its
own, as users do: a request that one node does not answer goes to the next with the same Idempotency-Key. Now and
then a task is scheduled for later, and then paused, cancelled, deleted or given another priority. Two collections
of flights run beside it into the shared root. What was acknowledged is remembered.
"""

import asyncio
import contextlib
import csv
import functools
import io
import itertools
import random
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from node.client import Client, ProblemError, Unreachable
from node.schema import TERMINAL
from tests.scenarios import flights
from tests.scenarios.mesh import Mesh, Node, finished, until

CLIENTS = 4
PAUSE = 0.1
"""seconds between two requests of a client"""
BATCH = 20
PATIENCE = 4.0
"""seconds that a client of the load waits for an answer before it asks the next node"""
SETTLE = 60.0
"""seconds from the heal until everything that was acknowledged is over and all agree (invariants I2, I13)"""
SPEC = {"source": {"plugin": "bench", "records": 10}, "sink": {"plugin": "discard"}}
LATER = {**SPEC, "schedule": "0 0 1 1 *"}
WISHES: dict[str, tuple[str, int] | None] = {
    "pause": ("paused", 5),
    "cancel": ("cancelled", 5),
    "patch": ("scheduled", 7),
    "delete": None,
}
"""what can be wished of a task that is scheduled, and the state and priority that it has then"""
WORDS_OF_FAILURE = ("Traceback (most recent call last)", "was never retrieved", "was never awaited")


class Load:
    """An async context manager: the work goes on while inside. `seconds`: how long the collections take at
    least; `every`: they collect each so manieth flight. `strict`: what no node answers is a failure, and each
    task that was acknowledged can be read through any node at once.
    """

    def __init__(
        self, mesh: Mesh, rng: random.Random, *, seconds: float, every: int = 1, strict: bool = False
    ) -> None:
        self.mesh, self.rng, self.strict = mesh, rng, strict
        self.acknowledged: set[str] = set()
        self.wished: dict[str, tuple[str, int] | None] = {}
        self.unsure: set[str] = set()
        """tasks whose last wish nobody has answered: it may have been heard"""
        self.unanswered = 0
        self._youngest = ""
        self.collections: dict[str, str] = {}
        self._every = every
        self._rows = lay(mesh.root, every)
        self._seconds = seconds
        self._numbers = itertools.count()
        self._stop = asyncio.Event()
        self._clients: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for number, node in enumerate(self.rng.sample(self.mesh.nodes, 2)):
            sink = f"out{number}"
            async with node.client() as client:
                spec = flights.spec(self._rows.total() / self._seconds, sink, "flights.csv")
                self.collections[(await client.submit(spec)).id] = sink
        self._clients = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        done = await asyncio.gather(*self._clients, return_exceptions=True)
        failed = [one for one in done if isinstance(one, BaseException)]
        if failed:
            raise failed[0] from error

    async def _client(self) -> None:
        """Submit until told to stop; what is under way then is brought to an answer."""
        rng = random.Random(self.rng.random())
        while not self._stop.is_set():
            async with self._anyone(rng) as client:
                await self._submit(client, f"load-{next(self._numbers)}", single=rng.random() < 0.8)
            if self.strict:
                await self._read(rng)
            if rng.random() < 0.1:
                await self._wish(rng)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), PAUSE)

    async def _submit(self, client: Client, key: str, *, single: bool) -> None:
        """Until it is acknowledged, as long as the load goes on."""
        body = b"\n".join([msgspec.json.encode(SPEC)] * BATCH)
        while True:
            try:
                if single:
                    ids = [(await client.submit(SPEC, key=key)).id]
                else:
                    answer = await client.submit_batch(body, key=key)
                    assert not answer.rejected, answer
                    ids = [task for task in answer.ids if task is not None]
            except (Unreachable, ProblemError) as error:
                if self.strict or (isinstance(error, ProblemError) and error.problem.status < 500):
                    raise
                self.unanswered += 1
                if self._stop.is_set():
                    return
                await asyncio.sleep(PAUSE)
            else:
                self.acknowledged.update(ids)
                self._youngest = ids[-1]
                return

    def _anyone(self, rng: random.Random) -> Client:
        """A client that knows the nodes in an order of its own."""
        nodes = rng.sample(self.mesh.nodes, len(self.mesh.nodes))
        return Client([n.url for n in nodes], nodes[0].place.bearer, timeout=PATIENCE)

    async def _wish(self, rng: random.Random) -> None:
        """Submit a task for later through one node, and control it through another."""
        task, action = "", rng.choice(sorted(WISHES))
        try:
            async with self._anyone(rng) as client:
                task = (await client.submit(LATER)).id
                self.wished[task] = ("scheduled", 5)
            async with self._anyone(rng) as client:
                if action == "patch":
                    await client.patch(task, {"priority": 7})
                else:
                    await client.control(task, action)
            self.wished[task] = WISHES[action]
        except (Unreachable, ProblemError) as error:
            if self.strict:
                raise
            if not isinstance(error, ProblemError) or error.problem.status != 404:
                self.unsure.add(task)

    async def _read(self, rng: random.Random) -> None:
        """The youngest task and any other, through any node that lives."""
        async with self._anyone(rng) as client:
            for task in (self._youngest, rng.choice(list(self.acknowledged))):
                assert (await client.task(task)).id == task

    # ---- afterwards

    async def check(self) -> None:
        """All nodes agree, everything acknowledged is over, what is published equals the source."""
        began = time.monotonic()
        await self.mesh.ready(within=SETTLE)
        agreed = time.monotonic() - began
        for node in self.mesh.nodes:
            over = functools.partial(self._all_over, node)
            await until(over, f"all tasks are over on {node.name}", SETTLE, 0.5)
        print(f"all agree after {agreed:.1f} s, all tasks are over after {time.monotonic() - began:.1f} s")
        for task, sink in self.collections.items():
            found = await finished(self.rng.choice(self.mesh.nodes), task, SETTLE + 2 * self._seconds)
            assert found.state == "succeeded", found
            await asyncio.to_thread(flights.check_published, self.mesh.root / sink, self._rows)
        check_nodes(self.mesh.nodes)
        told = f"{len(self.wished)} of them controlled, {len(self.unsure)} perhaps"
        print(
            f"{len(self.acknowledged)} tasks acknowledged, {told}; {self.unanswered} rounds without an answer"
        )
        assert self.acknowledged, "the load did nothing"

    async def _all_over(self, node: Node) -> bool:
        """Whether `node` knows each acknowledged task, and all tasks that it knows have ended well."""
        async with node.client() as client:
            tasks = [task async for task in client.all_tasks()]
        later = {task.id: (task.state, task.priority) for task in tasks if "schedule" in task.spec}
        states = {t.id: t.state for t in tasks if t.id not in later and t.id not in self.collections}
        lost = self.acknowledged - states.keys()
        left = {task: state for task, state in states.items() if state not in TERMINAL}
        failed = {
            task: state for task, state in states.items() if state in ("failed", "partial", "cancelled")
        }
        assert not failed, f"on node {node.name}: {failed}"
        unheard = {
            task: (wish, later.get(task))
            for task, wish in self.wished.items()
            if task not in self.unsure and later.get(task) != wish
        }
        if lost or left or unheard:
            raise Unreachable(
                [node.url], f"lost: {some(lost)}, not over: {some(left)}, unheard: {some(unheard)}"
            )
        return True


def some(items: Any) -> str:
    """How many, and the first few."""
    return f"{len(items)} {dict(itertools.islice(items.items(), 5)) if isinstance(items, dict) else sorted(items)[:5]}"


def check_nodes(nodes: Sequence[Node]) -> None:
    """None has died by itself, none has said that something went wrong unforeseen."""
    for node in nodes:
        assert node.running, f"node {node.name} ended by itself"
        text = node.log.read_text(errors="replace")
        found = [word for word in WORDS_OF_FAILURE if word in text]
        assert not found, f"node {node.name}: {found[0]}\n{text[text.index(found[0]) :][:3000]}"


def lay(root: Path, every: int) -> "Counter[int]":
    """Put each so manieth flight into flights.csv; those rows."""
    if every == 1:
        with zipfile.ZipFile(flights.SOURCE) as archive:
            archive.extract("flights.csv", root)
        return flights.expected()
    with zipfile.ZipFile(flights.SOURCE) as archive, archive.open("flights.csv") as raw:
        reader = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        head, rows = next(reader), list(itertools.islice(reader, 0, None, every))
    with (root / "flights.csv").open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([head, *rows])
    return Counter(flights.digest(dict(zip(head, row, strict=True))) for row in rows)
