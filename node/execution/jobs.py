"""What the stewardship core asks of the runner, and what the runner tells it.

A job is one unit of a lease: plan a run, run one shard, run a one-shard task to its end, publish a run.
Jobs and reports are plain data: they cross the mesh (lease, report) and the pipe to a worker process.
"""

from typing import Any

import msgspec

from plugins.api import Range, ShardPlan, Since, Token


class JobKey(msgspec.Struct, frozen=True, array_like=True, order=True):
    """`kind` is "plan", "shard", "solo" (the one shard of an unsharded collector, then publish) or "publish".

    `shard`: the shard's key; "" for plan and publish, "0" for solo.
    """

    task: str
    run: str
    kind: str
    shard: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Everything that an executor needs; no look-up in any ledger.

    `spec`: the canonical JSON of the task's spec. `resume`: the ledger's checkpoint, a hint; the sink
    decides. `rate`: this shard's share of the task's `limits.rate`, units per second. `dead_budget`: how
    many dead letters this shard may still make before it fails. `letters`: for a replay of dead letters,
    the records to run through transforms and sinks in place of the source (positions are 1..n; None: it is
    not to be run). `plan`: the shard. `pause`: it runs only under its slot's lease (`on_partition = "pause"`).
    `high`: the largest value of the incremental field that is known to be committed up to `resume`.
    """

    key: JobKey
    tenant: str
    spec: bytes
    token: Token
    attempt: int = 1
    generation: int = 0
    mode: str = "full"
    range: Range | None = None
    ranges: tuple[tuple[Any, Any], ...] = ()
    since: Since | None = None
    hints: dict[str, Any] = {}
    plan: ShardPlan | None = None
    resume: Any = None
    rate: float | None = None
    dead_budget: int = 10_000
    letters: tuple[Any, ...] = ()
    shards: tuple[str, ...] = ()
    records: int = 0
    replaces: bool = False
    origin: str = ""
    complete: bool = True
    pause: bool = False
    high: Any = None

    @property
    def sink_run(self) -> str:
        """The run under whose name the sinks keep positions: a retry goes on where the run it retries
        stopped.
        """
        return self.origin or self.key.run


def adrift(since: Since | None, high: Any, records: int) -> str:
    """Why what a run collected may not be published; "" if it may. An incremental run without a cursor that found no
    value to go on from would be followed by one that collects it all again.
    """
    if since is None or since.value is not None or high is not None or not records:
        return ""
    return (
        f"no record has a value in the field {since.field!r} from which the next run could go on, so it would collect "
        "all of them again; name another field in [incremental]"
    )


class Counts(msgspec.Struct, array_like=True):
    """Records of one shard in this attempt (since the executor opened it), and bytes read from the source."""

    read: int = 0
    written: int = 0
    skipped: int = 0
    dead: int = 0
    bytes: int = 0


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record set aside. `position`: `[end of its batch, step, index]`, so that a retry names it the same;
    of a replay, the end of a batch is the number of the letter, from 1.
    """

    shard: str
    stream: str
    position: Any
    step: str
    code: str
    reason: str
    record: Any


class Report(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What became of a job. `state`:

    "progress"  a commit happened (or a second passed): position, counts, letters since the last report
    "done"      shard, solo or publish finished; position, counts, high, letters
    "planned"   `plans` holds the shards
    "failed"    error, code, retryable, after; position, counts
    "stopped"   the runner was told to stop; position is what the sink holds

    `position` is always a position that the sink committed. `counts` are totals of this attempt.
    `held`: records that the sink already held when this attempt opened it (None: the sink does not know); the
    shard's total is then `held + counts.written`. `high`: the largest value of the incremental field that
    this shard has committed.
    """

    key: JobKey
    state: str
    token: Token
    position: Any = None
    counts: Counts = msgspec.field(default_factory=Counts)
    held: int | None = None
    high: Any = None
    plans: tuple[ShardPlan, ...] = ()
    letters: tuple[DeadLetter, ...] = ()
    error: str = ""
    code: str = ""
    retryable: bool = True
    after: float | None = None
    seconds: float = 0.0
    attempt: int = 1
