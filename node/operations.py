"""What users ask for, as facts: submits and wishes. Pure; the service writes them, whatever node they came
through.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sharding.key import TaskId, batch_name
from sharding.region import slot_in
from sharding.slots import GROUP_LINES, SLOTS, group_digest, named_digest, slot_of
from state import model
from state.entries import Batch
from state.envelope import Writer
from state.ledger import CHUNK_BYTES, Ledger
from state.model import Fact, Part, Wish

FactOf = tuple[str | None, str, Fact]

INSTANT = len("20130101T000000Z")
"""Characters of `instant_name`."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who accepts a submit: node id, its writer, and the fingerprints of the roots that the specs use."""

    node: str
    writer: Writer
    roots: Mapping[str, str] = {}
    slots: int = SLOTS


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One group of a submit: it goes into one slot as one batch."""

    slot: int
    batch: str
    ids: list[str]
    specs: list[bytes]
    content: str
    name: str | None = None


def group(
    specs: Sequence[bytes], *, tenant: str, key: str, region: str, name: str | None = None, slots: int = SLOTS
) -> list[Submission]:
    """Cut a submit into groups; ids derive from (tenant, key, line), or for a named task from (tenant,
    name) and the home region.
    """
    groups = []
    for number, start in enumerate(range(0, len(specs), GROUP_LINES)):
        part = list(specs[start : start + GROUP_LINES])
        digest = named_digest(tenant, name) if name else group_digest(tenant, key, number)
        slot, batch = slot_in(region, slot_of(digest, slots)), batch_name(digest)
        ids = [str(TaskId(slot, batch, index)) for index in range(len(part))]
        content = hashlib.blake2b(b"\n".join(part), digest_size=12).hexdigest()
        groups.append(Submission(slot=slot, batch=batch, ids=ids, specs=part, content=content, name=name))
    return groups


def submit_facts(
    submission: Submission, origin: Origin, *, tenant: str, key: str, now_ms: int
) -> list[FactOf]:
    """The facts that create the group's tasks."""
    facts: list[FactOf] = []
    start = 0
    for specs in _cut(submission.specs):
        part = Part(
            tenant=tenant,
            key=key,
            created_ms=now_ms,
            start=start,
            count=len(submission.specs),
            specs=specs,
            origin=origin.node,
            content=submission.content,
            name=submission.name,
            roots=dict(origin.roots),
        )
        facts.append((submission.batch, model.key_of("b", submission.batch, start, origin.writer), part))
        start += len(specs)
    return facts


def _cut(specs: list[bytes]) -> Iterable[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for spec in specs:
        if part and size + len(spec) > CHUNK_BYTES:
            yield part
            part, size = [], 0
        part.append(spec)
        size += len(spec)
    yield part


def wish(
    ledger: Ledger,
    batch: str,
    indices: list[int],
    kind: str,
    *,
    writer: Writer,
    key: str,
    now_ms: int,
    by: str = "",
    arguments: dict[str, Any] | None = None,
    run: str = "",
) -> FactOf:
    """The fact of a wish; its revision is one above all wishes known here about these tasks. `key`: the
    request's, so that a repeated request is the same fact (see `heard`).
    """
    tasks = ledger.batches[batch].tasks
    known = (w.revision for index in indices if index in tasks for w in tasks[index].wishes)
    fact = Wish(1 + max(known, default=0), kind, now_ms, indices, by, arguments or {}, run)
    return (batch, model.key_of("w", batch, wish_name(kind, key, indices), writer), fact)


def wish_name(kind: str, key: str, indices: list[int]) -> str:
    return hashlib.blake2b(f"{kind}|{key}|{indices}".encode(), digest_size=8).hexdigest()


def heard(batch: Batch, kind: str, key: str, indices: list[int]) -> bool:
    """Whether this very request was made before, through whatever node."""
    return wish_name(kind, key, indices) in batch.heard


def run_name(
    kind: str, tenant: str, key: str, *, now_ms: int, revision: int, known: Iterable[str] = ()
) -> str:
    """The run that a request starts: an instant, the revision of the wish, and the hash of the request's key.

    Run ids sort by age, for sinks let the later one replace the earlier: the instant is never before that of a
    run in `known`, whatever the clock says, and within one instant the revision decides.
    """
    digest = hashlib.blake2b(f"{tenant}|{key}".encode(), digest_size=6).hexdigest()
    instant = max(instant_name(now_ms), max(known, default="")[:INSTANT])
    return f"{instant}-{revision:06d}-{kind}-{digest}"


def instant_name(ms: int) -> str:
    """An instant in UTC as the beginning of a run's id; the whole id of the run of a scheduled instant."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
