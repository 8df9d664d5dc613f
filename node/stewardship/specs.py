"""What a spec and the wishes about it come to: effective limits and retry, delays, cursors and gaps."""

import random
from typing import Any

import msgspec

from node.schema import Limits, Retry, TaskSpec
from plugins import ordering
from state.coverage import Interval, gaps
from state.join import Desired
from state.model import Fact, Part, Wish

MAX_CONCURRENT_LIMITED = 8
"""Shards at once of a task with a rate and no concurrency limit; each gets an equal part of the rate."""


class BriefSource(msgspec.Struct):
    plugin: str


class Brief(msgspec.Struct):
    """The few fields of a spec that decide how a bulk task is queued; decoding only these is twice as
    fast.
    """

    source: BriefSource
    sink: list[BriefSource]
    priority: int = 5
    schedule: str | None = None
    limits: Limits | None = None
    mode: str = "full"
    placement: dict[str, Any] | None = None

    @property
    def kind(self) -> tuple[int, str, tuple[str, ...]]:
        """Tasks of one kind can be queued together: equal priority and plugins."""
        return (self.priority, self.source.plugin, tuple(sink.plugin for sink in self.sink))


decode_brief = msgspec.json.Decoder(Brief).decode
decode_spec = msgspec.json.Decoder(TaskSpec).decode


def check(fact: Fact) -> None:
    """Raises msgspec.DecodeError, ValueError, RecursionError for specs that nobody could run, and changes to none."""
    if isinstance(fact, Part):
        for spec in set(fact.specs):  # many are alike
            decode_spec(spec)
    elif isinstance(fact, Wish):
        _check_wish(fact.arguments)


def _check_wish(arguments: dict[str, Any]) -> None:
    if isinstance(spec := arguments.get("spec"), bytes):
        decode_spec(spec)
    for name, shape in (("limits", Limits()), ("retry", Retry())):
        if isinstance(changes := arguments.get(name), dict):
            _merged(shape, changes)


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """The spec with the user's later wishes applied."""

    raw: bytes
    spec: TaskSpec
    priority: int
    limits: Limits
    retry: Retry
    revision: int = 0
    generation: int = 0


def effective(original: bytes, desired: Desired) -> Effective:
    raw = desired.spec or original
    spec = decode_spec(raw)
    limits = spec.limits if desired.limits is None else _merged(spec.limits, desired.limits)
    retry = spec.retry if desired.retry is None else _merged(spec.retry, desired.retry)
    return Effective(
        raw=raw,
        spec=spec,
        priority=spec.priority if desired.priority is None else desired.priority,
        limits=limits,
        retry=retry,
        revision=desired.spec_revision,
        generation=desired.generation,
    )


def _merged(base: Any, changes: dict[str, Any]) -> Any:
    merged = {**msgspec.to_builtins(base), **changes}
    return msgspec.convert(merged, type(base))


def retry_delay(retry: Retry, attempt: int, rng: random.Random, *, after: float | None = None) -> float:
    """Seconds until the attempt after `attempt` (1 = the first). `after`: what the source asked for, at
    least.

    Exponential has full jitter over its upper half, so that many shards do not come back at once.
    """
    match retry.strategy:
        case "fixed":
            delay = retry.delay
        case "linear":
            delay = retry.delay * attempt
        case "exponential":
            delay = retry.delay * float(2 ** min(attempt - 1, 30)) * rng.uniform(0.5, 1.0)
    return max(min(delay, retry.max_delay), after or 0.0)


def lower_bound(spec: TaskSpec, cursor: Any) -> tuple[Any, bool]:
    """`(value, inclusive)` from which an incremental run reads, given the last cursor (None: the first
    run).
    """
    section = spec.incremental
    assert section is not None
    if cursor is None:
        return section.start, True
    keyed = bool(spec.sink) and all(sink.get("key") for sink in spec.sink)
    lag = float(section.lag or 0)
    if keyed and lag:
        return ordering.minus(cursor, lag), True
    return cursor, keyed


def wanted_ranges(spec: TaskSpec, covered: list[Interval], *, force: bool) -> list[Interval]:
    """The parts of the spec's range that a run collects: the gaps, or all of it when forced."""
    section = spec.range
    assert section is not None
    whole = [(section.from_, section.to)]
    return whole if force else gaps(whole, covered, ordering.parse)


def concurrent(limits: Limits, shards: int) -> int:
    """How many shards of one run may be leased at once."""
    if limits.concurrency:
        return limits.concurrency
    return min(shards, MAX_CONCURRENT_LIMITED) if limits.rate else shards


def rate_share(limits: Limits, shards: int, running: int = 0) -> float | None:
    """The rate of one shard, so that all that run at once stay within the task's. `shards`: those that have not ended;
    they only become fewer, so a share that was told once is never too large unless the limits change.
    """
    if not limits.rate:
        return None
    return limits.rate / max(1, running, min(concurrent(limits, shards), shards))
