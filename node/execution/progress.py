"""How far a shard is: what was read and written, what of it is committed, and what is said of it.

Reports between commits show what was read so far; the position, `written`, `high` and the letters in any
report, and everything in the last one, are of committed batches only. The rest will be read again by the
next attempt.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from node.execution.assembly import Assembly, Cadence
from node.execution.jobs import Counts, DeadLetter, Report
from node.execution.letters import Letters
from plugins.api import Batch, Position
from plugins.high import begun, of_texts


class Progress:
    """Of one attempt at one shard. `emit` takes the reports; times are monotonic seconds."""

    def __init__(
        self, assembly: Assembly, cadence: Cadence, emit: Callable[[Report], None], now: float
    ) -> None:
        job = assembly.job
        self._job = job
        self._cadence = cadence
        self._emit = emit
        self._field = job.since.field if job.since else None
        self._reported = now
        self._live = Counts()
        self._open_high = self._high = begun(job.high)
        self._text = of_texts(job.since.value) if job.since else False
        self._held: int | None = None
        self._ready: list[DeadLetter] = []
        self.letters = Letters(
            job.key.shard,
            allowed=job.dead_budget,
            keep=assembly.spec.errors.dead_letters,
            secrets=assembly.seen,
        )
        self.counts = Counts()
        self.position: Position = job.resume

    @property
    def high(self) -> Any:
        """The highest value of the incremental field that is committed."""
        return self._high.value(text=self._text)

    @property
    def open_high(self) -> Any:
        """That of all that was read, committed or not."""
        return self._open_high.value(text=self._text)

    @property
    def records(self) -> int:
        """What the sink holds, as far as is known."""
        return (self._held or 0) + self.counts.written

    def opened(self, held: int | None, high: Any) -> None:
        """The sinks were opened, perhaps again: what they hold less what this attempt wrote was there
        before. `high`: what the last one has kept of the incremental field; who committed may not have said it.
        """
        if held is not None:
            self._held = held - self.counts.written
        if self._field is not None:
            self._high, self._open_high = self._high.joined(high), self._open_high.joined(high)

    def read(self, batch: Batch, step: str) -> None:
        live = self._live
        live.read += len(batch.records) + len(batch.rejected)
        live.bytes += batch.bytes
        if batch.rejected:
            self.letters.add_rejected(batch, step)

    def follow(self, batch: Batch) -> None:
        """The batch counts for the highest value."""
        if (field := self._field) is not None:
            self._open_high = self._open_high.over(record.get(field) for record in batch.records)

    def passed(self, *, written: int, skipped: int) -> None:
        """The sinks have taken a batch."""
        self._live.written += written
        self._live.skipped += skipped
        self._live.dead = self.letters.made

    def committed(self, to: Position | None, *, moved: bool) -> None:
        """All that was read so far; `moved`: the least position of all sinks is now `to`."""
        self._live.dead = self.letters.made
        self.counts = msgspec.structs.replace(self._live)
        self._high = self._open_high
        self._ready += self.letters.take()
        if moved:
            self.position = to

    def roll_back(self) -> None:
        """Forget what is not committed."""
        self.letters.drop_open()
        self._live = msgspec.structs.replace(self.counts)
        self._open_high = self._high

    def due(self, now: float) -> bool:
        return now - self._reported >= self._cadence.report_seconds

    def report(self, now: float) -> None:
        self._reported = now
        self._send(self._last_portion())

    def final(self) -> dict[str, Any]:
        """The fields of the job's last report that tell how far it came."""
        return {
            "position": self.position,
            "held": self._held,
            "high": self.high,
            "letters": self._last_portion(),
            "counts": msgspec.structs.replace(self.counts),
        }

    def keep_open_letters(self) -> None:
        """Let the last report carry the letters of uncommitted batches too: the shard fails because of
        them.
        """
        self.counts.dead = self.letters.made
        self._ready += self.letters.take()

    def _last_portion(self) -> tuple[DeadLetter, ...]:
        """Letters go out in portions, so that no report grows too large; all but the last are sent here."""
        portion = self._cadence.commit_letters
        while len(self._ready) > portion:
            self._send(tuple(self._ready[:portion]))
            del self._ready[:portion]
        last, self._ready = tuple(self._ready), []
        return last

    def _send(self, letters: tuple[DeadLetter, ...]) -> None:
        job = self._job
        self._emit(
            Report(
                key=job.key,
                state="progress",
                token=job.token,
                attempt=job.attempt,
                position=self.position,
                counts=msgspec.structs.replace(self._live, written=self.counts.written),
                held=self._held,
                high=self.high,
                letters=letters,
            )
        )
