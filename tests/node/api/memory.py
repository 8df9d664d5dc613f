"""A whole mesh in one dictionary: it keeps the contract, so that the API alone is under test."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from node.api.problems import refuse
from node.schema import (
    TERMINAL,
    Cluster,
    Coverage,
    DeadLetterItem,
    ErrorEntry,
    Finding,
    Lock,
    Node,
    Page,
    Records,
    Run,
    Shard,
    Task,
    TaskSpec,
    VerifyLine,
    VerifySummary,
    Why,
)
from node.service import Facts, Query, Refused, Submitted
from plugins.registry import Registry
from tests.node.plugs import facts

NOW = "2026-01-01T00:00:00Z"
STATES = {"pause": "paused", "resume": "pending", "cancel": "cancelled", "retry": "pending"}


class MemoryService:
    """`refusal`: raised by every call while set. `calls`: the controls that were told, in order."""

    def __init__(self, registry: Registry, name: str = "a1") -> None:
        self.registry = registry
        self.name = name
        self.known: Facts = facts()
        self.tasks: dict[str, Task] = {}
        self.by_name: dict[tuple[str, str], str] = {}
        self.refusal: Refused | None = None
        self.calls: list[tuple[str, str, dict[str, Any], str]] = []
        self.letters: list[DeadLetterItem] = [letter(number) for number in range(2500)]
        self.happened: list[tuple[int, str, dict[str, Any]]] = []
        self.asked_of_mesh: list[bool] = []
        self.changed = asyncio.Event()
        self.locks: dict[tuple[str, str], Lock] = {}
        self.addresses: dict[str, str] = {}
        self.unready: list[str] = []

    def facts(self) -> Facts:
        return self.known

    async def submit(
        self, specs: Sequence[bytes], *, tenant: str, key: str, durability: int | None, force: bool = False
    ) -> Submitted:
        self._check()
        if durability == 2 and self.known.replicas < 2:
            raise refuse(503, "durability", "one node cannot hold two copies")
        ids, created = [], False
        for index, data in enumerate(specs):
            spec = msgspec.json.decode(data, type=TaskSpec)
            task = self.by_name.get((spec.tenant, spec.name)) if spec.name else None
            task = (
                task or "eu-" + hashlib.blake2b(f"{tenant}/{key}/{index}".encode(), digest_size=6).hexdigest()
            )
            if task not in self.tasks:
                created = True
                self.tasks[task] = new_task(task, spec, data)
                if spec.name:
                    self.by_name[spec.tenant, spec.name] = task
            elif self.tasks[task].spec != msgspec.json.decode(data):
                raise refuse(409, "name-taken", f"{spec.name} is another task")
            ids.append(task)
        return Submitted(ids=ids, created=created, durability=durability or 2)

    async def lock(
        self,
        action: str,
        name: str,
        *,
        tenant: str,
        key: str,
        holder: str = "",
        token: int | None = None,
        ttl: float = 0.0,
    ) -> Lock:
        self._check()
        at = (tenant, name)
        held = self.locks.get(at)
        if action == "read":
            return held or Lock(name=name, tenant=tenant, held=False)
        if action == "acquire" and held is not None:
            raise refuse(409, "locked", f"lock {name} is held by {held.holder}")
        if action != "acquire" and (held is None or held.token != token):
            raise refuse(409, "lock-lost", f"lock {name} is not held under token {token}")
        if action == "release":
            del self.locks[at]
            return Lock(name=name, tenant=tenant, held=False)
        number = token or len(self.calls) + 1
        self.locks[at] = Lock(
            name=name, tenant=tenant, held=True, holder=holder, token=number, expires_in=ttl
        )
        return self.locks[at]

    def _check(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def get(self, ref: str, *, tenant: str | None) -> Task:
        self._check()
        task = self.by_name.get((tenant or "default", ref), ref)
        if task not in self.tasks:
            raise refuse(404, "no-such-task", f"no task is called {ref}")
        return self.tasks[task]

    async def query(self, query: Query) -> Page:
        self._check()
        found = self._matching(query)
        start = int(query.cursor or 0)
        more = start + query.limit < len(found)
        return Page(items=found[start : start + query.limit], next=str(start + query.limit) if more else None)

    def _matching(self, query: Query) -> list[Task]:
        return [
            task
            for task in self.tasks.values()
            if (not query.state or task.state in query.state)
            and query.tenant in (None, task.tenant)
            and query.name in (None, task.name)
        ]

    async def runs(self, ref: str, *, tenant: str | None) -> list[Run]:
        await self.get(ref, tenant=tenant)
        return [Run(id="r2", state="running"), Run(id="r1", state="succeeded")]

    async def shards(self, ref: str, *, tenant: str | None, run: str | None = None) -> list[Shard]:
        await self.get(ref, tenant=tenant)
        return [
            Shard(
                id="0",
                run=run or "r2",
                state="running",
                node=self.name,
                token=[1, "a", 1],
                attempt=1,
                from_=0,
                to=None,
                position=7,
                records=Records(),
                error=None,
            )
        ]

    async def coverage(self, ref: str, *, tenant: str | None) -> Coverage:
        task = await self.get(ref, tenant=tenant)
        return Coverage(task=task.id, field="id", wanted=[0, 9], covered=[[0, 4]], gaps=[[4, 9]], overlaps=[])

    async def errors(self, ref: str, *, tenant: str | None) -> list[ErrorEntry]:
        await self.get(ref, tenant=tenant)
        return [ErrorEntry(run="r2", shard="0", step="source", code="x", reason="y", count=1, at=NOW)]

    async def dead_letters(
        self, ref: str, *, tenant: str | None, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        await self.get(ref, tenant=tenant)
        start = int(cursor or 0)
        more = start + limit < len(self.letters)
        return Page(items=self.letters[start : start + limit], next=str(start + limit) if more else None)

    async def why(self, ref: str, *, tenant: str | None) -> Why:
        task = await self.get(ref, tenant=tenant)
        return Why(task=task.id, state=task.state, reasons=["it waits"], nodes=[])

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
        task = await self.get(ref, tenant=tenant)
        if if_match not in (None, task.revision):
            raise refuse(412, "revision", f"the task is at revision {task.revision}")
        self.calls.append((action, task.id, arguments, key))
        task.state = STATES.get(action, task.state)
        task.priority = arguments.get("priority", task.priority)
        task.revision += 1
        if action == "replace":
            task.spec = msgspec.json.decode(arguments["spec"])
        if action == "delete":
            del self.tasks[task.id]
        return task

    async def control_many(self, action: str, query: Query, arguments: dict[str, Any], *, key: str) -> int:
        self._check()
        found = [task for task in self._matching(query) if task.state not in TERMINAL]
        for task in found:
            await self.control(task.id, action, arguments, tenant=None, if_match=None, key=key)
        return len(found)

    async def cluster(self) -> Cluster:
        self._check()
        return Cluster(
            id="mesh",
            node=self.name,
            nodes=[self._node(name, address) for name, address in self.addresses.items()],
            slots=4096,
            tasks={},
            tasks_per_s=0,
            records_per_s=0,
            backlog=0,
            as_of=NOW,
        )

    def _node(self, name: str, address: str) -> Node:
        return Node(
            id=name,
            name=name,
            state="alive",
            region="eu",
            zone="",
            addresses={"http": address},
            load={},
            slots=1,
            version="1",
            boot=1,
            plugins={},
        )

    async def node_control(self, node: str, action: str) -> Node:
        self._check()
        self.calls.append((action, node, {}, ""))
        return self._node(node, "127.0.0.1:1")

    async def forget_node(self, node: str) -> Node:
        return await self.node_control(node, "forget")

    def plugins(self) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(info) for info in self.registry.describe()]

    def tell(self, kind: str, **data: Any) -> None:
        """Let an event happen."""
        self.happened.append((len(self.happened) + 1, kind, data))
        self.changed.set()
        self.changed = asyncio.Event()

    async def events(
        self, *, after: int | None, task: str | None, mesh: bool
    ) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
        seen = len(self.happened) if after is None else after
        self.asked_of_mesh.append(mesh)
        yield None
        while True:
            for number, kind, data in self.happened[seen:]:
                seen = number
                if task is None or data.get("task") == task:
                    yield number, kind, data
            await self.changed.wait()

    async def export(self, ref: str, *, tenant: str | None) -> AsyncIterator[bytes]:
        await self.get(ref, tenant=tenant)
        for number in range(3):
            yield b'{"n":%d}\n' % number

    async def verify(self, *, repair: bool, deep: bool) -> AsyncIterator[VerifyLine]:
        self._check()
        yield VerifyLine(stage="logs", done=0, total=1)
        yield VerifyLine(stage="logs", finding=Finding(kind="log", what=f"deep {deep}", repaired=repair))
        yield VerifyLine(
            stage="end", summary=VerifySummary(nodes=1, differences=1 - repair, repaired=int(repair))
        )

    def ready(self) -> tuple[bool, list[str]]:
        return not self.unready, self.unready


def new_task(task: str, spec: TaskSpec, data: bytes) -> Task:
    return Task(
        id=task,
        name=spec.name,
        tenant=spec.tenant,
        region="eu",
        mode=spec.mode,
        priority=spec.priority,
        state="pending",
        reason=None,
        revision=1,
        created_at=NOW,
        updated_at=NOW,
        next_run_at=None,
        steward="a1",
        spec=msgspec.json.decode(data),
        run=None,
        as_of=NOW,
    )


def letter(number: int) -> DeadLetterItem:
    return DeadLetterItem(
        version=1,
        id=str(number),
        task="t",
        run="r",
        shard="0",
        stream="s",
        position=number,
        step="sink",
        code="c",
        reason="r",
        attempts=1,
        at=NOW,
        record={"n": number},
    )
