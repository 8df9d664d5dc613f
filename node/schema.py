"""The shapes that users hold: what the HTTP API takes and answers. Shared by server, client, command line, TUI.

Instants are RFC 3339 strings in UTC; durations and sizes in answers are numbers (seconds, bytes).
"""

from typing import Any, Literal

import msgspec

TASK_STATES = ("pending", "scheduled", "running", "paused", "succeeded", "partial", "failed", "cancelled")
TERMINAL = frozenset({"succeeded", "partial", "failed", "cancelled"})
SHARD_STATES = ("pending", "leased", "running", "succeeded", "failed", "cancelled")


class RangeSpec(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    field: str
    from_: Any = msgspec.field(name="from")
    to: Any
    step: str | int | float | None = None


class IncrementalSpec(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    field: str
    start: Any = None
    lag: float | str | None = None


class Limits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Canonical form: rate in units/s, timeout in seconds, batch_bytes in bytes. None: no limit."""

    rate: float | None = None
    rate_key: str | None = None
    concurrency: int | None = None
    shards: int | None = None
    timeout: float | None = None
    batch_records: int | None = None
    batch_bytes: int | None = None


class Retry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Canonical form: delays in seconds. `attempts`: so many in a row that get no further, the first one counted. None:
    the node's default."""

    strategy: Literal["fixed", "linear", "exponential"] = "exponential"
    attempts: int = 5
    delay: float = 1.0
    max_delay: float = 300.0


class PlacementSpec(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    region: str | None = None
    zone: str | None = None
    nodes: list[str] = []
    labels: dict[str, str] = {}


class Errors(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    dead_letters: bool = True
    max: int = 10_000


class TaskSpec(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The canonical spec, as stored and as answered: durations in seconds, rates per second, sinks a list.

    `source`, each of `sink` and `transform`: a dict with `plugin`, for sinks `key` and `mode`, and the
    plugin's own options (secrets stay `{secret = NAME}`).
    """

    source: dict[str, Any]
    sink: list[dict[str, Any]]
    name: str | None = None
    tenant: str = "default"
    mode: Literal["full", "incremental", "range"] = "full"
    priority: int = 5
    schedule: str | None = None
    timezone: str = "UTC"
    overlap: Literal["skip", "queue"] = "skip"
    catch_up: Literal["none", "last", "all"] = "last"
    on_partition: Literal["continue", "pause"] = "continue"
    incremental: IncrementalSpec | None = None
    range: RangeSpec | None = None
    transform: list[dict[str, Any]] = []
    limits: Limits = msgspec.field(default_factory=Limits)
    retry: Retry = msgspec.field(default_factory=Retry)
    placement: PlacementSpec = msgspec.field(default_factory=PlacementSpec)
    errors: Errors = msgspec.field(default_factory=Errors)


class Records(msgspec.Struct):
    read: int = 0
    written: int = 0
    skipped: int = 0
    dead: int = 0


class Run(msgspec.Struct, kw_only=True):
    id: str
    state: str
    scheduled_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    shards: dict[str, int] = {}
    records: Records = msgspec.field(default_factory=Records)
    bytes: int = 0
    progress: float | None = None
    rate: float | None = None
    eta_s: float | None = None
    error: str | None = None


class Task(msgspec.Struct, kw_only=True):
    """One task. `reason`: why it is in this state, for people. `warnings`: what its user should know of it."""

    id: str
    name: str | None
    tenant: str
    region: str
    mode: str
    priority: int
    state: str
    reason: str | None
    revision: int
    created_at: str
    updated_at: str
    next_run_at: str | None
    steward: str | None
    spec: dict[str, Any]
    run: Run | None
    as_of: str
    warnings: list[str] = []


class Shard(msgspec.Struct, kw_only=True):
    id: str
    run: str
    state: str
    node: str | None
    token: list[Any] | None
    attempt: int
    from_: Any = msgspec.field(name="from")
    to: Any
    position: Any
    records: Records
    error: str | None


class Lock(msgspec.Struct, kw_only=True):
    """A named lock. `token`: larger each time that somebody takes it, for ever; hand it to what the lock protects,
    which should refuse smaller ones. `expires_in`: seconds, to be counted from when the request was *sent*."""

    name: str
    tenant: str
    held: bool
    holder: str | None = None
    token: int | None = None
    expires_in: float = 0.0


class Page(msgspec.Struct, kw_only=True):
    """`next`: cursor of the next page or null; `missing`: slots nobody could answer for, then `partial`."""

    items: list[Any]
    next: str | None = None
    partial: bool = False
    missing: list[str] = []


class ProblemItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One error of a request: a JSON pointer into the body, the value ("***" for secrets), the remedy."""

    pointer: str
    message: str
    value: Any = None
    allowed: Any = None
    remedy: str | None = None


class Problem(msgspec.Struct, kw_only=True):
    """RFC 9457 problem. `state_changed`: whether anything was changed by the failed request."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str = ""
    state_changed: bool = False
    errors: list[ProblemItem] = []


class RejectedLine(msgspec.Struct, kw_only=True):
    line: int
    problem: Problem


class BatchAnswer(msgspec.Struct, kw_only=True):
    accepted: int
    ids: list[str | None]
    rejected: list[RejectedLine]
    durability: int


class Drain(msgspec.Struct, kw_only=True):
    """How far a drain is. `total`: slots of which the node holds a copy; still to do: `slots` to hand over,
    `copies` that are not all on other nodes' disks, `running` jobs; `voting`: majorities of leases still count the
    node. `waits_for`: names of dead nodes that copies
    should lie on. `problem`: why it cannot go on. `done`: the node may be stopped.
    """

    total: int = 0
    slots: int = 0
    copies: int = 0
    running: int = 0
    voting: bool = False
    waits_for: list[str] = []
    problem: str | None = None
    done: bool = False


class Node(msgspec.Struct, kw_only=True):
    """`load`: {cpu (0..1), rss (bytes), running, queued, tasks_per_s, records_per_s, refused (handshakes, hellos and
    messages turned away), replica_lag_p99 (seconds from a write here until another replica's disk has it)}.
    `slots`: those that it stewards now. `draining`: it is to be emptied; `drain`: how far that is, where the node
    answered. `reason`: why it is not ready.
    """

    id: str
    name: str
    state: str
    region: str
    zone: str
    addresses: dict[str, str]
    load: dict[str, float]
    slots: int
    version: str
    boot: int
    plugins: dict[str, str]
    ready: bool = True
    paused: bool = False
    reason: str | None = None
    draining: bool = False
    drain: Drain | None = None


class Cluster(msgspec.Struct, kw_only=True):
    """The mesh as the answering node sees it. `warnings`: standing ones, for people."""

    id: str
    node: str
    nodes: list[Node]
    slots: int
    tasks: dict[str, int]
    tasks_per_s: float
    records_per_s: float
    backlog: int
    as_of: str
    warnings: list[str] = []


class ErrorEntry(msgspec.Struct, kw_only=True):
    """A failure of a shard, or a group of dead letters: `code`, `reason`, how often, when last, one example."""

    run: str
    shard: str
    step: str
    code: str
    reason: str
    count: int
    at: str
    attempt: int = 0
    node: str | None = None
    retry_at: str | None = None


class DeadLetterItem(msgspec.Struct, kw_only=True):
    version: int
    id: str
    task: str
    run: str
    shard: str
    stream: str
    position: Any
    step: str
    code: str
    reason: str
    attempts: int
    at: str
    record: Any


class Coverage(msgspec.Struct, kw_only=True):
    """Half-open ranges in the field's own domain, sorted and joined; `gaps` lie inside `wanted` (the spec's range)."""

    task: str
    field: str | None
    wanted: list[Any] | None
    covered: list[list[Any]]
    gaps: list[list[Any]]
    overlaps: list[list[Any]]
    cursor: Any = None


class Why(msgspec.Struct, kw_only=True):
    """Why a task does (not) progress. `reasons`: most decisive first; `nodes`: who is not eligible, and why."""

    task: str
    state: str
    reasons: list[str]
    nodes: list[dict[str, Any]]


class Finding(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a verification found. `kind`: log, archive, replica, content, part, manifest, records, coverage, or
    unchecked: it could not be looked at. `remedy`: what to do where it was not `repaired`."""

    kind: str
    what: str
    remedy: str = ""
    node: str = ""
    slot: str = ""
    task: str = ""
    file: str = ""
    offset: int | None = None
    repaired: bool = False


class VerifySummary(msgspec.Struct, kw_only=True):
    """How much was checked, and how many findings there are: not repaired, repaired, and what was unchecked."""

    nodes: int = 0
    envelopes: int = 0
    archived: int = 0
    bytes: int = 0
    slots: int = 0
    tasks: int = 0
    parts: int = 0
    differences: int = 0
    repaired: int = 0
    unchecked: int = 0


class VerifyLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of a verification: how far it is, a finding, or, as the last one, the summary."""

    stage: str
    done: int = 0
    total: int = 0
    finding: Finding | None = None
    summary: VerifySummary | None = None


class JoinToken(msgspec.Struct, kw_only=True):
    """A one-time token as the mesh remembers it. `state`: open, used, expired, withdrawn; `used`: by which nodes."""

    id: str
    state: Literal["open", "used", "expired", "withdrawn"]
    uses: int
    used: list[str]
    expires_at: str
    issued_by: str


class IssuedToken(JoinToken, kw_only=True):
    """`token` is shown this once; `command` starts a node with it."""

    token: str
    command: str


class JoinKey(msgspec.Struct, kw_only=True):
    """`generation`: how often the key of the mesh was rotated. The key itself is in no answer."""

    mesh: str
    generation: int


class Verdict(msgspec.Struct, kw_only=True):
    """Whether a node may speak on the mesh; `generation` of the mesh's key after that."""

    node: str
    name: str
    revoked: bool
    generation: int
