"""Who answers a request: this node, or another one of the slot's replicas; the seam that the HTTP API calls."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
from structlog import get_logger

from gossip.identity import NodeId
from node import operations
from node.api.problems import refuse
from node.core import Core
from node.leases.service import Locks
from node.schema import (
    Cluster,
    Coverage,
    ErrorEntry,
    Lock,
    Node,
    Page,
    Run,
    Shard,
    Task,
    VerifyLine,
    Why,
)
from node.service import Facts, Query, Refused, Submitted
from node.serving.calls import Calls, NoAnswer, at_once
from node.serving.export import Exporter, exported
from node.serving.homes import Homes
from node.serving.local import Local
from node.serving.nearness import Nearness
from node.serving.news import News
from node.serving.nodes import Nodes
from node.serving.overview import Overview
from node.serving.reasons import why
from node.serving.routes import Routes
from node.verification.verifier import Verifier
from plugins.http import NetworkRules
from plugins.registry import Registry
from sharding.key import TaskId, parse
from sharding.region import region_of, shown

log = get_logger(__name__)

CALL_TIMEOUT = 3.0
"""Seconds a replica has to answer before the next one is asked."""
READ_TIMEOUT = 0.8
"""The same where this node has the answer itself, only perhaps a second older."""

HOME = frozenset({"needs"})
"""Reads that only the home region can answer."""

Operation = Callable[[dict[str, Any]], Awaitable[Any]]


class MeshService:
    """`node.service.Service` over the mesh."""

    def __init__(
        self,
        core: Core,
        local: Local,
        calls: Calls,
        news: News,
        overview: Overview,
        registry: Registry,
        *,
        facts: Callable[[], Facts],
        ready: Callable[[], tuple[bool, list[str]]],
        nodes: Nodes,
        exporter: Exporter,
        locks: Locks,
        verifier: Verifier,
        rules: NetworkRules,
        compared: Callable[[], bool] = lambda: True,
    ) -> None:
        self.core, self.local, self.calls, self._news, self.overview = core, local, calls, news, overview
        self.routes = Routes(core)
        self.homes = Homes(core, self.routes, calls, Nearness(rules))
        self._registry = registry
        self._facts, self._ready, self._nodes = facts, ready, nodes
        self._exporter, self._verifier, self._compared, self._locks = exporter, verifier, compared, locks

    def operations(self) -> dict[str, Operation]:
        """What other nodes may ask of this one."""
        local = self.local
        return {
            "submit": local.submit, "task": local.task, "runs": local.runs, "shards": local.shards,
            "coverage": local.coverage, "errors": local.errors, "letters": local.letters, "needs": local.needs,
            "query": local.listing.query, "resolve": local.listing.resolve, "control": local.control,
            "piece": self._exporter.piece, "status": self.overview.status, "nearness": self.homes.nearness.operation,
            "events": self._news.recent,
            **self._nodes.operations(),
            **self._verifier.operations(),
        }  # fmt: skip

    # ---- routing

    async def _at(self, slot: int, operation: str, arguments: dict[str, Any], *, write: bool = False) -> Any:
        """Answered by a replica of the slot: for writes this node if it is one, for reads the steward, or the copy of
        another region's slot in the own region. Writes are tried at one after the other; what the first one does not
        know, all others are asked at once.
        """
        near = not write and operation not in HOME
        nodes = self.routes.replicas(slot, near=near)
        here = self.core.me in nodes
        if write and self.core.me in self.core.ownership.placement.owners(slot):
            nodes = [self.core.me, *(node for node in nodes if node != self.core.me)]
        timeout = READ_TIMEOUT if here and not write else CALL_TIMEOUT
        missing: Refused | None = None
        silent = False
        for some in [nodes[n : n + 1] for n in range(len(nodes))] if write else [nodes[:1], nodes[1:]]:
            async with at_once(*(self._of(node, operation, arguments, timeout) for node in some)) as answers:
                for answer in answers:
                    try:
                        return await answer
                    except NoAnswer:
                        silent = True
                    except Refused as refused:
                        if refused.problem.status != 404:
                            raise
                        missing = refused  # another replica may have heard of it already
        self._require_compared()
        dark = self.routes.dark(slot)
        if missing is not None and not silent and not dark:
            raise missing
        if missing is not None and dark:
            raise _unanswered(
                f"no node of region {region_of(slot)} can be reached, and its copy has no such task"
            )
        which = "not every" if missing is not None else "no"
        raise _unanswered(f"{which} live replica of slot {self._shown(slot)} answered")

    async def _of(self, node: NodeId, operation: str, arguments: dict[str, Any], within: float) -> Any:
        """The node's answer. Raises Refused, NoAnswer."""
        if node == self.core.me:
            return await getattr(self.local, operation)(arguments)
        return await self.calls.call(node, operation, arguments, timeout=within)

    def _shown(self, slot: int) -> str:
        """The number alone where it is of the own region."""
        return shown(slot, self.core.config.region)

    def _require_compared(self) -> None:
        """Raises Refused 503 where this node has just started: what it does not know may be there all the same."""
        if not self._compared():
            refused = refuse(
                503, "comparing", "this node is comparing its state with its peers; ask another one"
            )
            refused.retry_after = 1.0
            raise refused

    async def _everywhere(self, operation: str, arguments: dict[str, Any]) -> dict[NodeId, Any]:
        """Every live node's answer; None where there was none in time."""

        async def ask(node: NodeId) -> Any:
            with contextlib.suppress(NoAnswer, Refused):
                if node == self.core.me:
                    return await self.operations()[operation](arguments)
                return await self.calls.call(node, operation, arguments, timeout=1.0)
            return None

        nodes = sorted(self.core.ownership.live())
        return dict(zip(nodes, await asyncio.gather(*(ask(node) for node in nodes)), strict=True))

    async def _id(self, ref: str, tenant: str | None) -> TaskId:
        """The task that a reference means: an id, a name, or a unique prefix of an id. Raises Refused 404, 409."""
        task = parse(ref)
        if task is not None:
            return task
        named = await self.homes.named(ref, tenant or "default", self._at)
        return named or await self._by_prefix(ref)

    async def _by_prefix(self, ref: str) -> TaskId:
        if not any(ref.startswith(f"{region}-") for region in self.routes.regions()):
            raise refuse(
                404, "not-found", f"there is no task {ref!r}; give an id, the beginning of one, or a name"
            )
        by_node, _ = self.routes.by_node()
        found: set[str] = set()
        for slots in by_node.values():
            answers = await self._everywhere("resolve", {"prefix": ref, "slots": slots})
            found.update(task for answer in answers.values() for task in answer or ())
        if len(found) != 1:
            what = "no task" if not found else f"more than one task ({', '.join(sorted(found)[:3])} …)"
            raise refuse(
                404 if not found else 409,
                "not-found" if not found else "ambiguous",
                f"{ref!r} is the beginning of {what}",
            )
        task = parse(found.pop())
        assert task is not None
        return task

    async def _ask(self, ref: str, tenant: str | None, operation: str, **arguments: Any) -> Any:
        task = await self._id(ref, tenant)
        return await self._at(task.slot, operation, {"id": str(task), **arguments})

    # ---- the Service protocol

    def facts(self) -> Facts:
        return self._facts()

    async def submit(
        self, specs: Sequence[bytes], *, tenant: str, key: str, durability: int | None, force: bool = False
    ) -> Submitted:
        name = _name_in(specs[0]) if len(specs) == 1 else None
        roots = self.overview.roots_of(specs)
        groups = operations.group(
            specs,
            tenant=tenant,
            key=key,
            region=await self.homes.home(specs, name, tenant, self._at, tied=self.overview.tied(roots)),
            name=name,
            slots=self.core.config.slots,
        )
        common = {
            "tenant": tenant, "key": key, "durability": durability, "force": force,
            "origin": self.core.me, "roots": roots,
        }  # fmt: skip
        answers = await asyncio.gather(
            *(
                self._at(
                    group.slot,
                    "submit",
                    {**common, "submission": msgspec.to_builtins(group, builtin_types=(bytes,))},
                    write=True,
                )
                for group in groups
            )
        )
        return Submitted(
            ids=[task for group in groups for task in group.ids],
            created=any(answer["created"] for answer in answers),
            durability=min(answer["level"] for answer in answers),
        )

    async def get(self, ref: str, *, tenant: str | None) -> Task:
        task = msgspec.convert(await self._ask(ref, tenant, "task"), Task)
        task.warnings += self.overview.warnings_of(task)
        return task

    async def runs(self, ref: str, *, tenant: str | None) -> list[Run]:
        return msgspec.convert(await self._ask(ref, tenant, "runs"), list[Run])

    async def shards(self, ref: str, *, tenant: str | None, run: str | None = None) -> list[Shard]:
        return msgspec.convert(await self._ask(ref, tenant, "shards", run=run), list[Shard])

    async def coverage(self, ref: str, *, tenant: str | None) -> Coverage:
        return msgspec.convert(await self._ask(ref, tenant, "coverage"), Coverage)

    async def errors(self, ref: str, *, tenant: str | None) -> list[ErrorEntry]:
        return msgspec.convert(await self._ask(ref, tenant, "errors"), list[ErrorEntry])

    async def dead_letters(
        self, ref: str, *, tenant: str | None, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        answer = await self._ask(ref, tenant, "letters", after=cursor, limit=limit)
        return Page(items=answer["items"], next=answer["next"])

    async def why(self, ref: str, *, tenant: str | None) -> Why:
        return why(await self._ask(ref, tenant, "needs"))

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
        task = await self._id(ref, tenant)
        wanted = {"id": str(task), "action": action, "arguments": arguments, "if_match": if_match, "key": key}
        return msgspec.convert(await self._at(task.slot, "control", wanted, write=True), Task)

    async def control_many(self, action: str, query: Query, arguments: dict[str, Any], *, key: str) -> int:
        told = 0
        cursor: str | None = None
        while True:
            page = await self.query(msgspec.structs.replace(query, cursor=cursor, limit=500))
            results = await asyncio.gather(
                *(
                    self.control(
                        task.id, action, arguments, tenant=None, if_match=None, key=f"{key}/{task.id}"
                    )
                    for task in page.items
                ),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, Refused) and result.problem.status != 409:
                    raise result
                if isinstance(result, BaseException) and not isinstance(result, Refused):
                    raise result
                told += isinstance(result, Task)
            cursor = page.next
            if cursor is None:
                return told

    async def query(self, query: Query) -> Page:
        """One page over all slots: each node is asked once, the answers are merged in id order."""
        self._require_compared()
        by_node, missing = self.routes.by_node()
        after = parse(query.cursor) if query.cursor else None
        if query.cursor and after is None:
            raise refuse(400, "cursor", "this cursor was not made by this mesh")
        base = {
            "state": list(query.state), "tenant": query.tenant, "name": query.name, "limit": query.limit,
            "after": list(after) if after is not None else None,
        }  # fmt: skip

        async def ask(node: NodeId, slots: list[int]) -> list[Any] | None:
            arguments = {**base, "slots": [slot for slot in slots if after is None or slot >= after.slot]}
            with contextlib.suppress(NoAnswer):
                if node == self.core.me:
                    found: list[Any] = await self.local.listing.query(arguments)
                    return found
                return list(await self.calls.call(node, "query", arguments, timeout=CALL_TIMEOUT))
            mine = [slot for slot in slots if self.core.replicates(slot)]
            missing.extend(slot for slot in slots if slot not in set(mine))
            rest: list[Any] = await self.local.listing.query({**arguments, "slots": mine})
            return rest

        answers = await asyncio.gather(*(ask(node, slots) for node, slots in sorted(by_node.items())))
        items = [msgspec.convert(item, Task) for answer in answers for item in answer or ()]
        items.sort(key=lambda task: parse(task.id) or ())
        more = len(items) > query.limit
        items = items[: query.limit]
        return Page(
            items=items,
            next=items[-1].id if more and items else None,
            partial=bool(missing),
            missing=[self._shown(slot) for slot in sorted(missing)],
        )

    async def cluster(self) -> Cluster:
        return self.overview.cluster(await self._everywhere("status", {}))

    async def node_control(self, node: str, action: str) -> Node:
        return await self._nodes.control(node, action)

    async def forget_node(self, node: str) -> Node:
        return await self._nodes.forget(node)

    def plugins(self) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(info) for info in self._registry.describe()]

    def events(
        self, *, after: int | None, task: str | None, mesh: bool
    ) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
        return self._news.listen(after=after, task=task, mesh=mesh)

    async def export(self, ref: str, *, tenant: str | None) -> AsyncIterator[bytes]:
        async def ask(node: str, arguments: dict[str, Any]) -> Any:
            if node == self.core.me:
                return await self._exporter.piece(arguments)
            try:
                return await self.calls.call(NodeId(node), "piece", arguments, timeout=CALL_TIMEOUT)
            except NoAnswer as error:
                raise refuse(503, "no-answer", str(error)) from None

        async for chunk in exported(await self._ask(ref, tenant, "needs"), ask):
            yield chunk

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
        return await self._locks.act(action, tenant, name, key=key, holder=holder, token=token, ttl=ttl)

    def verify(self, *, repair: bool, deep: bool) -> AsyncIterator[VerifyLine]:
        return self._verifier.run(repair=repair, deep=deep)

    def ready(self) -> tuple[bool, list[str]]:
        return self._ready()


def _unanswered(detail: str) -> Refused:
    refused = refuse(503, "no-replica", detail)
    refused.retry_after = 1.0
    return refused


def _name_in(spec: bytes) -> str | None:
    name = json.loads(spec).get("name")
    return str(name) if name else None
