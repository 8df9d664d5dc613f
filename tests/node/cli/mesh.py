"""A mesh of one behind the real HTTP API, on its own thread; a task advances when it is looked at."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from aiohttp import web

from node.api.access import Access
from node.api.app import create_app
from node.schema import (
    TERMINAL,
    Cluster,
    Coverage,
    DeadLetterItem,
    Drain,
    ErrorEntry,
    Finding,
    Node,
    Page,
    Problem,
    Records,
    Run,
    Shard,
    Task,
    VerifyLine,
    VerifySummary,
    Why,
)
from node.service import Facts, Query, Refused, Submitted
from plugins.api import Effect
from plugins.registry import Registry

NOW = "2026-01-01T00:00:00Z"


class Inert:
    """A plugin that is never run."""

    effect = Effect.EXACTLY_ONCE

    class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
        payload: str = ""
        records: int = 1
        path: str = ""

    async def initialize(self, context: Any) -> None: ...
    async def plan(self, request: Any) -> list[Any]:
        return []

    async def collect(self, context: Any) -> None: ...
    async def open(self, context: Any) -> None: ...
    async def write(self, batch: Any) -> None: ...
    async def commit(self, expected: Any, to: Any) -> None: ...
    async def publish(self, run: Any) -> None: ...
    async def shutdown(self) -> None: ...


def refused(status: int, detail: str) -> Refused:
    return Refused(Problem(type="about:blank", title="Refused", status=status, detail=detail))


class Mesh:
    """Answers as `node.service.Service` does. Task `bad` fails, `dead` is left partial, `slow` never ends."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.drains: list[Drain] = []
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.submits: list[dict[str, Any]] = []
        self.url = ""
        self.findings: list[Finding] = []

    def facts(self) -> Facts:
        return Facts(roots={"default": False}, secrets=frozenset(), nodes=frozenset({"n1"}), replicas=1)

    async def submit(
        self, specs: Sequence[bytes], *, tenant: str, key: str, durability: int | None, force: bool = False
    ) -> Submitted:
        ids = []
        for spec in map(msgspec.json.decode, specs):
            ref = f"local-{len(self.tasks):06d}"
            self.tasks[ref] = self._task(ref, spec, tenant)
            self.submits.append({"durability": durability, "force": force, "key": key})
            ids.append(ref)
        return Submitted(ids=ids, created=True, durability=durability or 1)

    def _task(self, ref: str, spec: dict[str, Any], tenant: str) -> Task:
        return Task(
            id=ref,
            name=spec.get("name"),
            tenant=tenant,
            region="local",
            mode="full",
            priority=5,
            state="pending",
            reason=None,
            revision=1,
            created_at=NOW,
            updated_at=NOW,
            next_run_at=None,
            steward="n1",
            spec=spec,
            run=Run(id="r1", state="pending", started_at=NOW),
            as_of=NOW,
            warnings=["tied to this machine"],
        )

    def find(self, ref: str) -> Task:
        found = [task for task in self.tasks.values() if ref == task.name or task.id.startswith(ref)]
        if len(found) != 1:
            raise refused(404 if not found else 409, f"{len(found)} tasks are called {ref}")
        return found[0]

    async def get(self, ref: str, *, tenant: str | None) -> Task:
        task = self.find(ref)
        ending = {"bad": "failed", "dead": "partial", "slow": "running"}.get(task.name or "", "succeeded")
        steps = {"pending": "running", "running": ending}
        shown = msgspec.structs.replace(task)
        task.state = steps.get(task.state, task.state)
        assert task.run is not None
        done = task.state in TERMINAL
        task.run = msgspec.structs.replace(
            task.run,
            state=task.state,
            progress=1.0 if done else 0.5,
            records=Records(read=10, written=10 if done else 5),
            rate=None if done else 5.0,
            eta_s=None if done else 1.0,
            finished_at="2026-01-01T00:00:02Z" if done else None,
        )
        return shown

    async def query(self, query: Query) -> Page:
        found = [task for task in self.tasks.values() if not query.state or task.state in query.state]
        found = [task for task in found if query.name in (None, task.name)]
        start = int(query.cursor or 0)
        end = start + query.limit
        return Page(items=found[start:end], next=str(end) if end < len(found) else None)

    async def runs(self, ref: str, *, tenant: str | None) -> list[Run]:
        run = self.find(ref).run
        return [run] if run else []

    async def shards(self, ref: str, *, tenant: str | None, run: str | None = None) -> list[Shard]:
        self.find(ref)
        records = Records(written=5)
        return [
            Shard(
                id="0",
                run="r1",
                state="running",
                node="n1",
                token=[1, "n1", 1],
                attempt=2,
                from_=0,
                to=100,
                position=50,
                records=records,
                error=None,
            )
        ]

    async def coverage(self, ref: str, *, tenant: str | None) -> Coverage:
        task = self.find(ref).id
        spans = {"covered": [["2013-01-01", "2013-02-01"]], "gaps": [["2013-02-01", "2013-03-01"]]}
        return Coverage(task=task, field="day", wanted=["2013-01-01", "2013-03-01"], overlaps=[], **spans)

    async def errors(self, ref: str, *, tenant: str | None) -> list[ErrorEntry]:
        self.find(ref)
        return [ErrorEntry(run="r1", shard="0", step="source", code="path", reason="gone", count=3, at=NOW)]

    async def dead_letters(
        self, ref: str, *, tenant: str | None, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        self.find(ref)
        start = int(cursor or 0)
        letters = [self._letter(ref, number) for number in range(start, min(3, start + 2))]
        return Page(items=letters, next="2" if start == 0 else None)

    def _letter(self, ref: str, number: int) -> DeadLetterItem:
        return DeadLetterItem(
            version=1,
            id=f"l{number}",
            task=ref,
            run="r1",
            shard="0",
            stream="",
            position=number,
            step="sink",
            code="type",
            reason="no number",
            attempts=1,
            at=NOW,
            record={"n": "x"},
        )

    async def why(self, ref: str, *, tenant: str | None) -> Why:
        task = self.find(ref)
        nodes = [{"node": "n1", "reason": "no root lake"}]
        return Why(task=task.id, state=task.state, reasons=["no eligible node"], nodes=nodes)

    async def control(
        self,
        ref: str,
        action: str,
        arguments: dict[str, Any],
        *,
        tenant: str | None,
        if_match: int | None,
        key: str,
    ) -> Task:
        task = self.find(ref)
        if task.state in TERMINAL and action in ("pause", "resume", "cancel"):
            raise refused(409, f"{task.id} has ended")
        self.told.append((task.id, action, arguments))
        task.state = {"pause": "paused", "cancel": "cancelled", "resume": "running"}.get(action, task.state)
        return task

    async def control_many(self, action: str, query: Query, arguments: dict[str, Any], *, key: str) -> int:
        found = (await self.query(query)).items
        for task in found:
            self.told.append((task.id, action, arguments))
        return len(found)

    async def cluster(self) -> Cluster:
        states: dict[str, int] = {}
        for task in list(self.tasks.values()):
            shown = task if task.name else await self.get(task.id, tenant=None)
            states[shown.state] = states.get(shown.state, 0) + 1
        node = Node(
            id="n1",
            name="first",
            state="alive",
            region="local",
            zone="",
            addresses={"http": self.url},
            load={"cpu": 0.25, "rss": 2**26},
            slots=4096,
            version="1",
            boot=1,
            plugins={},
        )
        if self.drains:
            node.draining, node.drain = True, self.drains.pop()
        return Cluster(
            id="mesh",
            node="n1",
            nodes=[node],
            slots=4096,
            tasks=states,
            tasks_per_s=1.0,
            records_per_s=2.0,
            backlog=3,
            as_of=NOW,
            warnings=["one copy only"],
        )

    async def node_control(self, node: str, action: str) -> Node:
        """Drained after two looks."""
        if node != "first":
            raise refused(404, f"no node {node}, cannot {action}")
        self.told.append((node, action, {}))
        if action == "drain":
            left = [Drain(total=4, copies=4, running=1), Drain(total=4, copies=1, waits_for=["old"])]
            self.drains = [Drain(total=4, done=True), *reversed(left)]
        return (await self.cluster()).nodes[0]

    async def forget_node(self, node: str) -> Node:
        raise refused(409, f"node {node} is alive; stop it first")

    def plugins(self) -> list[dict[str, Any]]:
        options: dict[str, Any] = {"properties": {"path": {}}}
        return [{"kind": "collector", "name": "csv", "version": "1", "options": options}]

    async def events(
        self, *, after: int | None, task: str | None, mesh: bool
    ) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
        yield None
        yield 1, "task", {"task": "local-000000", "state": "running"}
        await asyncio.Event().wait()

    async def export(self, ref: str, *, tenant: str | None) -> AsyncIterator[bytes]:
        self.find(ref)
        yield b'{"n":1}\n'
        yield b'{"n":2}\n'

    async def verify(self, *, repair: bool, deep: bool) -> AsyncIterator[VerifyLine]:
        yield VerifyLine(stage="logs", done=0, total=1)
        for finding in self.findings:
            yield VerifyLine(stage="logs", finding=msgspec.structs.replace(finding, repaired=repair))
        differences = sum(finding.kind != "unchecked" for finding in self.findings) * (not repair)
        unchecked = sum(finding.kind == "unchecked" for finding in self.findings)
        yield VerifyLine(stage="end", summary=VerifySummary(
            nodes=1, parts=int(deep), differences=differences, unchecked=unchecked))  # fmt: skip

    def ready(self) -> tuple[bool, list[str]]:
        return True, []


class Server:
    """The API of a mesh on a free port; leaves when `close` is called."""

    def __init__(self, mesh: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        mesh.url = self.url = asyncio.run_coroutine_threadsafe(self._start(mesh), self.loop).result(30)

    async def _start(self, mesh: Any) -> str:
        registry = Registry()
        for name in ("bench", "csv"):
            registry.add("collector", name, Inert)
        for name in ("discard", "jsonl"):
            registry.add("sink", name, type("Sink", (Inert,), {}))
        app = create_app(mesh, registry, access=Access(), node_id="n1", version="1")
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()
