"""The seam between the HTTP API and the node: what a handler may ask of the mesh.

The API parses and validates, this answers. Every call may be served here or on another node; the caller
does not see which. A refusal is a `Refused` with a ready problem.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from node.schema import (
    Cluster,
    Coverage,
    DeadLetterItem,
    ErrorEntry,
    IssuedToken,
    JoinKey,
    JoinToken,
    Lock,
    Node,
    Page,
    Problem,
    Run,
    Shard,
    Task,
    Verdict,
    VerifyLine,
    Why,
)


class Refused(Exception):
    """The request was not carried out; `problem` says why, `retry_after` (seconds) when to try again."""

    def __init__(self, problem: Problem, *, retry_after: float | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.retry_after = retry_after


class Submitted(msgspec.Struct, kw_only=True):
    """`ids` in the order of the specs. `created`: False where the task was there before (same key or same name)."""

    ids: list[str]
    created: bool
    durability: int


class Query(msgspec.Struct, kw_only=True):
    state: tuple[str, ...] = ()
    tenant: str | None = None
    name: str | None = None
    limit: int = 100
    cursor: str | None = None


class Facts(msgspec.Struct, kw_only=True):
    """What the validation of a spec needs to know of this node and the mesh."""

    roots: dict[str, bool]
    """root name -> shared; of this node"""
    folders: dict[str, str] = {}
    """root name -> absolute path on this node; where given, the files of sources are looked for at submit"""
    secrets: frozenset[str]
    """names of the secrets present on any live node"""
    nodes: frozenset[str]
    """ids and names of the members"""
    replicas: int
    """live members, at most 3"""
    regions: frozenset[str] = frozenset()
    """of the members, live or not; where given, a task may only name these"""
    voters: int = 1
    """replicas that vote on the lease of a slot of this region: members whether they live or not, at most 3"""
    voters_in: Mapping[str, int] = {}
    """the same of each region"""


class Service(Protocol):
    """`ref` is a task id, a unique prefix of one, or a name (with the tenant)."""

    def facts(self) -> Facts: ...

    async def submit(
        self, specs: Sequence[bytes], *, tenant: str, key: str, durability: int | None, force: bool = False
    ) -> Submitted:
        """Canonical specs, at most 500 a group is the service's business. Named specs only one a call."""
        ...

    async def get(self, ref: str, *, tenant: str | None) -> Task: ...
    async def query(self, query: Query) -> Page: ...
    async def runs(self, ref: str, *, tenant: str | None) -> list[Run]: ...
    async def shards(self, ref: str, *, tenant: str | None, run: str | None = None) -> list[Shard]: ...
    async def coverage(self, ref: str, *, tenant: str | None) -> Coverage: ...
    async def errors(self, ref: str, *, tenant: str | None) -> list[ErrorEntry]: ...
    async def dead_letters(
        self, ref: str, *, tenant: str | None, cursor: str | None = None, limit: int = 1000
    ) -> Page: ...
    async def why(self, ref: str, *, tenant: str | None) -> Why: ...

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
        """`action`: pause, resume, cancel, retry, patch, replace, delete. Arguments:

        retry    strategy, attempts, delay, max_delay (numbers; all optional), or letters (a list of dead letters to
                 replay, edited or not), or codes / ids (which ones to replay), or dead_letters = True (all)
        patch    priority, limits, retry
        replace  spec (canonical bytes)
        delete   answers the task as it was
        """
        ...

    async def control_many(self, action: str, query: Query, arguments: dict[str, Any], *, key: str) -> int:
        """The same for all that match the filter; how many were told."""
        ...

    async def cluster(self) -> Cluster: ...
    async def node_control(self, node: str, action: str) -> Node:
        """`action`: pause, resume, drain or undrain."""
        ...

    async def forget_node(self, node: str) -> Node:
        """A node that is dead, or has left, is no replica and no voter any more; refused while it is alive."""
        ...

    def plugins(self) -> list[dict[str, Any]]: ...
    def events(
        self, *, after: int | None, task: str | None, mesh: bool
    ) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
        """(id, kind, data): task and member changes as this node learns of them, or (`mesh`) as all do; ids of each
        grow, `after` replays. The first item is None, when it has begun to listen.
        """
        ...

    def export(self, ref: str, *, tenant: str | None) -> AsyncIterator[bytes]:
        """The published rows as the bytes of one file, in the sink's format; a refusal comes before any of them."""
        ...

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
        """`action`: acquire, renew, release, read. `ttl` in seconds; `token` for renew and release."""
        ...

    def verify(self, *, repair: bool, deep: bool) -> AsyncIterator[VerifyLine]:
        """Compare all that is held with all that was written; the summary is the last line."""
        ...

    def ready(self) -> tuple[bool, list[str]]: ...


class Admission(Protocol):
    """Who may be of the mesh. `node`: an id, a unique prefix of one, or a name."""

    async def issue(self, *, uses: int, life: float) -> IssuedToken:
        """`life`: seconds."""
        ...

    async def tokens(self) -> list[JoinToken]: ...
    async def withdraw(self, token: str) -> JoinToken: ...
    async def rotate(self) -> JoinKey: ...
    async def revoke(self, node: str, *, keep_key: bool) -> Verdict: ...
    async def readmit(self, node: str) -> Verdict: ...
    async def revoked(self) -> list[Verdict]: ...


__all__ = ["Admission", "DeadLetterItem", "Facts", "Query", "Refused", "Service", "Submitted"]
