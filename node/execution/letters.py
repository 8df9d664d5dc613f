"""Records set aside: what becomes a dead letter, what it is called, and when there are too many.

A letter's position is `[end of its batch, step, index]`: step 0 is the source, then the transforms, then
the sinks; index counts within what that step was given. A retry that cuts the source alike names it alike.
"""

from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from node.execution.jobs import DeadLetter
from node.execution.secrets import clean, scrub, scrub_record
from plugins.api import (
    Batch,
    CollectContext,
    CollectRequest,
    Permanent,
    PluginContext,
    Record,
    RecordError,
    Rejected,
    ShardPlan,
)

LONGEST_RAW = 64 * 1024
"""characters of a malformed record that are kept; it is for reading, not for a replay of megabytes"""


class Letters:
    """The dead letters of one shard in one attempt. `allowed`: how many it may make.

    `keep`: False where the spec says `dead_letters = false`; then the first bad record fails the shard.
    `secrets`: values to take out; the set may still grow.
    """

    def __init__(self, shard: str, *, allowed: int, keep: bool, secrets: AbstractSet[str]) -> None:
        self._shard = shard
        self._allowed = allowed
        self._keep = keep
        self._secrets = secrets
        self.open: list[DeadLetter] = []
        """of batches that are not committed yet"""
        self.made = 0

    def add(self, batch: Batch, place: tuple[str, int, int], *, code: str, reason: str, record: Any) -> None:
        """`place`: name and number of the step, index in what it was given. Raises Permanent over the
        budget.
        """
        step, ordinal, index = place
        reason = clean(scrub(reason, self._secrets))
        if not self._keep:
            raise Permanent(f"record {index + 1} of a batch: {reason}", code=code)
        letter = DeadLetter(
            shard=self._shard,
            stream=batch.stream,
            position=[batch.end, ordinal, index],
            step=step,
            code=code,
            reason=reason,
            record=scrub_record(_plain(record), self._secrets),
        )
        self._add(letter)

    def add_rejected(self, batch: Batch, step: str) -> None:
        """The records that the collector itself could not read; they are numbered after those it could."""
        for index, rejected in enumerate(batch.rejected, start=len(batch.records)):
            self.add(batch, (step, 0, index), code=rejected.code, reason=rejected.reason, record=rejected.raw)

    def adopt(self, other: "Letters") -> None:
        """Those of another count here too. Raises Permanent over the budget."""
        for letter in other.take():
            self._add(letter)

    def drop_open(self) -> None:
        """Forget the letters of uncommitted batches: these will be read, and refused, again."""
        self.made -= len(self.open)
        self.open = []

    def take(self) -> list[DeadLetter]:
        taken, self.open = self.open, []
        return taken

    def _add(self, letter: DeadLetter) -> None:
        self.open.append(letter)
        self.made += 1
        if self.made > self._allowed:
            raise Permanent(
                f"more than {self._allowed} dead letters; the last: {letter.reason}; "
                f"mend the source, or raise errors.max",
                code="dead-letters",
            )


class Sieve:
    """One step that refuses records of one batch, one after the other."""

    def __init__(self, letters: Letters, batch: Batch, step: str, ordinal: int) -> None:
        self._letters = letters
        self._batch = batch
        self._step = step
        self._ordinal = ordinal
        self._numbers = list(range(len(batch.records)))

    def without(self, error: RecordError) -> Batch:
        """The batch without the refused record, which is now a letter."""
        records = list(self._batch.records)
        at = _find(records, error.record)
        if at is None:
            raise Permanent(
                f"refused a record that it was not given ({error.reason})", code="plugin"
            ) from error
        place = (self._step, self._ordinal, self._numbers.pop(at))
        self._letters.add(self._batch, place, code=error.code, reason=error.reason, record=records.pop(at))
        self._batch = msgspec.structs.replace(self._batch, records=records)
        return self._batch


def _find(records: Sequence[Record], wanted: Record) -> int | None:
    """The index of the very record, else of an equal one."""
    for index, record in enumerate(records):
        if record is wanted:
            return index
    return records.index(wanted) if wanted in records else None


def _plain(value: Any) -> Any:
    """`value` as JSON: what JSON has no form for becomes text."""
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        return value[:LONGEST_RAW]
    plain = msgspec.to_builtins(value, enc_hook=repr, str_keys=True)
    try:
        msgspec.msgpack.encode(plain)
    except (OverflowError, UnicodeEncodeError):
        return _storable(plain)
    return plain


def _storable(value: Any) -> Any:
    """`value` with what MessagePack cannot hold (wide integers, half of a surrogate pair) as plain text."""
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    return value


class LetterSource:
    """The collector of a replay: the letters' records in place of the source, at positions 1 to n.

    Each is a batch of its own, so that the position of a letter that is set aside again begins with its
    number. What the source could not read is text still, and no record, unless somebody has edited it. None: a
    letter that another replay has brought home, which keeps its number.
    """

    inline = True

    def __init__(self, records: Sequence[Any], stream: str) -> None:
        self._records = records
        self._stream = stream

    async def initialize(self, context: PluginContext) -> None:
        pass

    async def plan(self, request: CollectRequest) -> Sequence[ShardPlan]:  # noqa: ARG002 -- nothing to ask
        return [ShardPlan(key="0")]

    async def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        done: int | None = context.resume
        for number in range((done or 0) + 1, len(self._records) + 1):
            record = self._records[number - 1]
            if record is None:
                yield Batch(self._stream, [], done, number)
            elif isinstance(record, dict):
                yield Batch(self._stream, [record], done, number)
            else:
                rejected = [Rejected(record, "is not an object; edit it and replay that", "not-an-object")]
                yield Batch(self._stream, [], done, number, rejected=rejected)
            done = number

    async def shutdown(self) -> None:
        pass
