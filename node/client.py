"""The typed client of the HTTP API: command line, TUI and tests speak to the mesh through this.

    async with Client(["http://127.0.0.1:8700"]) as client:
        task = await client.submit({"source": {...}, "sink": {...}})

Methods answer with structs of node.schema and may raise ProblemError and Unreachable. `ref` is a task's id, a
unique prefix of one, or its name.
"""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from node.api.shapes import DeadLetterPage, Event, Health, TaskPage, Told
from node.connection import NDJSON, Connection, Filter, ProblemError, Unreachable
from node.schema import (
    BatchAnswer,
    Cluster,
    Coverage,
    ErrorEntry,
    IssuedToken,
    JoinKey,
    JoinToken,
    Lock,
    Node,
    Run,
    Shard,
    Task,
    Verdict,
    VerifyLine,
    Why,
)

__all__ = ["Client", "Event", "ProblemError", "Unreachable"]


class Client(Connection):
    """A session with the mesh; an async context manager."""

    async def submit(
        self, spec: Any, *, durability: int | None = None, force: bool = False, key: str | None = None
    ) -> Task:
        """Create a task; `spec` is what a task file holds. The same `key` again: the same task."""
        query: Filter = {"durability": durability, "force": force or None}
        return await self.request("POST", "/v1/tasks", Task, body=encode(spec), query=query, key=key)

    async def submit_batch(
        self, body: bytes, *, durability: int | None = None, force: bool = False, key: str | None = None
    ) -> BatchAnswer:
        """Create many tasks in one request: a task a line, as JSON, at most 16 MiB."""
        query: Filter = {"durability": durability, "force": force or None}
        return await self.request(
            "POST", "/v1/tasks/batch", BatchAnswer, body=body, media=NDJSON, query=query, key=key
        )

    async def tasks(
        self,
        *,
        state: Iterable[str] = (),
        tenant: str | None = None,
        name: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> TaskPage:
        """One page of the tasks that match."""
        query: Filter = {
            "state": list(state) or None,
            "tenant": tenant,
            "name": name,
            "limit": limit,
            "cursor": cursor,
        }
        return await self.request("GET", "/v1/tasks", TaskPage, query=query)

    async def all_tasks(
        self, *, state: Iterable[str] = (), tenant: str | None = None, name: str | None = None
    ) -> AsyncIterator[Task]:
        """All tasks that match, page by page."""
        states, cursor = tuple(state), None
        while True:
            page = await self.tasks(state=states, tenant=tenant, name=name, limit=1000, cursor=cursor)
            for task in page.items:
                yield task
            cursor = page.next
            if cursor is None:
                return

    async def task(self, ref: str, *, tenant: str | None = None) -> Task:
        return await self.request("GET", _path(ref), Task, query={"tenant": tenant})

    async def runs(self, ref: str, *, tenant: str | None = None) -> list[Run]:
        return await self.request("GET", _path(ref, "runs"), list[Run], query={"tenant": tenant})

    async def shards(self, ref: str, *, tenant: str | None = None, run: str | None = None) -> list[Shard]:
        query: Filter = {"tenant": tenant, "run": run}
        return await self.request("GET", _path(ref, "shards"), list[Shard], query=query)

    async def coverage(self, ref: str, *, tenant: str | None = None) -> Coverage:
        return await self.request("GET", _path(ref, "coverage"), Coverage, query={"tenant": tenant})

    async def errors(self, ref: str, *, tenant: str | None = None) -> list[ErrorEntry]:
        return await self.request("GET", _path(ref, "errors"), list[ErrorEntry], query={"tenant": tenant})

    async def dead_letters(
        self, ref: str, *, tenant: str | None = None, cursor: str | None = None, limit: int = 1000
    ) -> DeadLetterPage:
        """One page of the records that were set aside."""
        query: Filter = {"tenant": tenant, "cursor": cursor, "limit": limit}
        return await self.request("GET", _path(ref, "dead-letters"), DeadLetterPage, query=query)

    async def why(self, ref: str, *, tenant: str | None = None) -> Why:
        return await self.request("GET", _path(ref, "why"), Why, query={"tenant": tenant})

    async def control(
        self,
        ref: str,
        action: str,
        arguments: dict[str, Any] | None = None,
        *,
        tenant: str | None = None,
        if_match: int | None = None,
    ) -> Task:
        """`action`: pause, resume, retry, cancel or delete.

        Arguments of retry: strategy, attempts, delay, max_delay, and letters, codes, ids or dead_letters.
        `if_match`: the revision that is meant; another one is refused (412).
        """
        if action == "delete":
            return await self.delete(ref, tenant=tenant, if_match=if_match)
        return await self.request(
            "POST",
            _path(ref, action),
            Task,
            body=encode(arguments or {}),
            query={"tenant": tenant},
            if_match=if_match,
        )

    async def control_many(
        self,
        action: str,
        arguments: dict[str, Any] | None = None,
        *,
        state: Iterable[str] = (),
        tenant: str | None = None,
        name: str | None = None,
        all: bool = False,  # noqa: A002 -- the parameter's name in the API,
    ) -> int:
        """The same for all tasks that match; how many were told. `all`: meant without any filter."""
        query: Filter = {
            "state": list(state) or None,
            "tenant": tenant,
            "name": name,
            "all": all or None,
        }
        path = f"/v1/tasks:{action}"
        return (await self.request("POST", path, Told, body=encode(arguments or {}), query=query)).told

    async def control_tenant(self, tenant: str, action: str) -> int:
        path = f"/v1/tenants/{quote(tenant, safe='')}/{action}"
        return (await self.request("POST", path, Told, body=b"{}")).told

    async def patch(
        self, ref: str, changes: dict[str, Any], *, tenant: str | None = None, if_match: int | None = None
    ) -> Task:
        """`changes`: priority, limits, retry; what is absent stays."""
        query: Filter = {"tenant": tenant}
        return await self.request(
            "PATCH", _path(ref), Task, body=encode(changes), query=query, if_match=if_match
        )

    async def replace(
        self, ref: str, spec: Any, *, tenant: str | None = None, if_match: int | None = None
    ) -> Task:
        query: Filter = {"tenant": tenant}
        return await self.request("PUT", _path(ref), Task, body=encode(spec), query=query, if_match=if_match)

    async def delete(self, ref: str, *, tenant: str | None = None, if_match: int | None = None) -> Task:
        """Delete the task; answers it as it was."""
        return await self.request("DELETE", _path(ref), Task, query={"tenant": tenant}, if_match=if_match)

    async def export(self, ref: str, file: Path, *, tenant: str | None = None) -> None:
        """Write the published rows into `file`, in the format of the sink. A broken transfer starts again."""
        await self.download(_path(ref, "export"), file, query={"tenant": tenant})

    async def cluster(self) -> Cluster:
        """The mesh as the answering node sees it; its nodes are known to this client from then on."""
        cluster = await self.request("GET", "/v1/cluster", Cluster)
        self._note(cluster)
        return cluster

    async def learn(self) -> None:
        """Know the other nodes, to go on with one of them when this one dies."""
        await self.cluster()

    async def control_node(self, node: str, action: str) -> Node:
        """`action`: pause or resume."""
        return await self.request("POST", f"/v1/nodes/{quote(node, safe='')}/{action}", Node, body=b"{}")

    async def hold_lock(
        self,
        name: str,
        *,
        ttl: float = 30.0,
        holder: str = "",
        token: int | None = None,
        tenant: str | None = None,
    ) -> Lock:
        """Take a named lock; with its `token`, renew it. ProblemError 409: another has it, or it is lost."""
        body = {"ttl": ttl, "holder": holder, **({} if token is None else {"token": token})}
        path = f"/v1/locks/{quote(name, safe='')}"
        return await self.request("PUT", path, Lock, body=encode(body), query={"tenant": tenant})

    async def lock(self, name: str, *, tenant: str | None = None) -> Lock:
        return await self.request("GET", f"/v1/locks/{quote(name, safe='')}", Lock, query={"tenant": tenant})

    async def free_lock(self, name: str, token: int, *, tenant: str | None = None) -> Lock:
        query: Filter = {"tenant": tenant, "token": token}
        return await self.request("DELETE", f"/v1/locks/{quote(name, safe='')}", Lock, query=query)

    async def drain_node(self, node: str, *, cancel: bool = False) -> Node:
        """Move everything away from the node; `cancel`: take that back."""
        path = f"/v1/nodes/{quote(node, safe='')}/drain"
        return await self.request("POST", path, Node, body=encode({"cancel": cancel}))

    async def forget_node(self, node: str) -> Node:
        """A dead node is no replica any more."""
        return await self.request("DELETE", f"/v1/nodes/{quote(node, safe='')}", Node)

    def verify(self, *, repair: bool = False, deep: bool = False) -> AsyncIterator[VerifyLine]:
        """Progress and findings as they come, the summary last. Raises ProblemError, Unreachable."""
        query: Filter = {"repair": repair or None, "deep": deep or None}
        return self.lines("POST", "/v1/verify", VerifyLine, query=query)

    async def issue_token(self, *, expires: str | float, uses: int) -> IssuedToken:
        """A one-time token with which new nodes join."""
        body = encode({"expires": expires, "uses": uses})
        return await self.request("POST", "/v1/join-tokens", IssuedToken, body=body)

    async def join_tokens(self) -> list[JoinToken]:
        return await self.request("GET", "/v1/join-tokens", list[JoinToken])

    async def withdraw_token(self, token: str) -> JoinToken:
        return await self.request("DELETE", f"/v1/join-tokens/{quote(token, safe='')}", JoinToken)

    async def rotate_key(self) -> JoinKey:
        return await self.request("POST", "/v1/join-key/rotate", JoinKey, body=b"{}")

    async def revoke_node(self, node: str, *, keep_key: bool = False) -> Verdict:
        """Shut a node out; unless `keep_key`, the key of the mesh is rotated too."""
        path = f"/v1/nodes/{quote(node, safe='')}/revoke"
        return await self.request("POST", path, Verdict, body=encode({"keep_key": keep_key}))

    async def readmit_node(self, node: str) -> Verdict:
        return await self.request("POST", f"/v1/nodes/{quote(node, safe='')}/readmit", Verdict, body=b"{}")

    async def revoked_nodes(self) -> list[Verdict]:
        return await self.request("GET", "/v1/revocations", list[Verdict])

    async def plugins(self) -> list[dict[str, Any]]:
        return await self.request("GET", "/v1/plugins", list[dict[str, Any]])

    async def health(self) -> Health:
        """Of the node that answers first."""
        return await self.request("GET", "/healthz", Health)

    async def openapi(self) -> dict[str, Any]:
        return await self.request("GET", "/openapi.json", dict[str, Any])


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _path(ref: str, *parts: str) -> str:
    return "/".join(("/v1/tasks", quote(ref, safe=""), *parts))
