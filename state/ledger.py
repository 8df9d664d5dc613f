"""One slot's ledger: its segments, its authors' sequences, and the index of its facts.

Invariant (contiguous): for each author, exactly the envelopes `1..heads[author]` have been applied, in order.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping

import msgspec

from state import model
from state.document import Document
from state.entries import Batch, Outcome
from state.envelope import (
    VERSION,
    BadEnvelope,
    Envelope,
    SegmentId,
    Writer,
    writer_boot,
    writer_node,
)
from state.join import better_end
from state.model import (
    Claim,
    Cleared,
    Finished,
    Letter,
    Letters,
    Outcomes,
    Part,
    Plan,
    Progress,
    RunFact,
    Token,
    Wish,
)
from state.prepass import Malformed

SEAL_BYTES = 1 << 20
SEAL_TASKS = 10_000
CHUNK_BYTES = 256 << 10
"""An envelope is cut here, so that none comes near the 1 MiB bound."""

Change = tuple[str, object]
"""A key that changed and its decoded fact."""


class Gap(Exception):
    """The envelope is not the author's next: `expected` is. Nothing was applied."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"expected sequence {expected}")
        self.expected = expected


class _Segment:
    __slots__ = ("bytes", "document", "tasks")

    def __init__(self, document: Document) -> None:
        self.document = document
        self.bytes = 0
        self.tasks = 0


class Ledger:
    """`client_id()` gives a fresh random 53-bit id for each document of this process."""

    def __init__(self, slot: int, client_id: Callable[[], int]) -> None:
        self.slot = slot
        self.heads: dict[Writer, int] = {}
        self.batches: dict[str, Batch] = {}
        self._claim: Token = model.NO_TOKEN
        self._segments: dict[SegmentId, _Segment] = {}
        self._open: dict[Writer, SegmentId] = {}
        self._client_id = client_id
        self._hash: bytes | None = None
        self._parts: dict[tuple[SegmentId, str], list[bytes]] = {}

    # ---- writing

    def write(
        self, author: Writer, facts: Iterable[tuple[str | None, str, model.Fact]]
    ) -> tuple[list[Envelope], list[Change]]:
        """Write `(batch, key, fact)` as this author; the envelopes to log and send, and what changed.

        `batch` None, or a batch that is not here yet: the author's open segment. Raises nothing; an author
        writes
        only keys that bear its name.
        """
        chunks: list[tuple[SegmentId, dict[str, bytes]]] = []
        current: dict[SegmentId, tuple[dict[str, bytes], int]] = {}
        changes: list[Change] = []
        for batch, key, fact in facts:
            known = self.batches.get(batch) if batch is not None else None
            segment = known.segment if known else self._open_segment(author)
            value = model.encode(fact)
            content, size = current.get(segment, ({}, 0))
            if size and size + len(value) > CHUNK_BYTES:
                chunks.append((segment, content))
                content, size = {}, 0
            content[key] = value
            current[segment] = (content, size + len(value))
            self._index(segment, key, fact)
            changes.append((key, fact))
        chunks.extend((segment, content) for segment, (content, _) in current.items())
        return [self._commit(author, segment, content) for segment, content in chunks], changes

    def _commit(self, author: Writer, segment: SegmentId, content: Mapping[str, bytes]) -> Envelope:
        holder = self._segment(segment)
        update = holder.document.set(content, author=author)
        holder.bytes += len(update)
        seq = self.heads.get(author, 0) + 1
        self.heads[author] = seq
        self._hash = None
        return Envelope(VERSION, segment, author, seq, update)

    def _open_segment(self, author: Writer) -> SegmentId:
        segment = self._open.get(author)
        if segment is not None:
            holder = self._segments[segment]
            if holder.bytes < SEAL_BYTES and holder.tasks < SEAL_TASKS:
                return segment
        segment = SegmentId(self.slot, author, segment.number + 1 if segment else 1)
        self._open[author] = segment
        self._segment(segment)
        return segment

    def _segment(self, segment: SegmentId) -> _Segment:
        holder = self._segments.get(segment)
        if holder is None:
            holder = self._segments[segment] = _Segment(Document(self._client_id()))
        return holder

    # ---- merging

    def apply(self, envelope: Envelope) -> list[Change] | None:
        """Merge an envelope; what changed. None: it was here already.

        Raises Gap when an earlier one of its author is missing, BadEnvelope (nothing persisted, nothing
        indexed)
        when it is not of the form that an honest author writes.
        """
        head = self.heads.get(envelope.author, 0)
        if envelope.seq <= head:
            return None
        if envelope.seq != head + 1:
            raise Gap(head + 1)
        holder = self._segment(envelope.segment)
        try:
            raw = holder.document.apply(envelope.update, author=envelope.author)
        except Malformed as error:
            raise BadEnvelope(str(error)) from None
        holder.bytes += len(envelope.update)
        self.heads[envelope.author] = envelope.seq
        self._hash = None
        changes: list[Change] = []
        for key, value in raw:
            try:
                fact = model.decode(key, value)
                if model.author_in(key) != envelope.author:
                    continue
                self._index(envelope.segment, key, fact)
            except (msgspec.DecodeError, ValueError, IndexError):
                continue
            changes.append((key, fact))
        return changes

    # ---- reading

    @property
    def hash(self) -> bytes:
        """8 bytes over the heads: equal on two replicas exactly when they hold the same envelopes."""
        if self._hash is None:
            text = ";".join(f"{author}:{seq}" for author, seq in sorted(self.heads.items()))
            self._hash = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return self._hash

    def content_hash(self) -> bytes:
        """16 bytes over all facts of all segments in canonical order, for checks of replicas against each
        other.
        """
        digest = hashlib.blake2b(digest_size=16)
        for segment in sorted(self._segments):
            for key, value in self._segments[segment].document.items():
                digest.update(repr((segment, key)).encode())
                digest.update(value)
        return digest.digest()

    def spec(self, batch: str, index: int) -> bytes:
        """The canonical spec as submitted. Raises KeyError."""
        for start in sorted(self.batches[batch].parts, reverse=True):
            if start <= index < start + len(specs := self.specs(batch, start)):
                return specs[index - start]
        raise KeyError(index)

    def specs(self, batch: str, start: int) -> list[bytes]:
        """The specs of the part that begins at `start`; the last one asked for is kept decoded."""
        where = self.batches[batch].parts[start]
        found = self._parts.get(where)
        if found is None:
            segment, key = where
            value = self._segments[segment].document.get(key)
            assert value is not None
            found = model.decode(key, value).specs
            self._parts = {where: found}
        return found

    def claim(self) -> Token:
        """The largest claim to steward this slot; `(0, "", 0)` when there is none."""
        return self._claim

    # ---- indexing

    def _index(self, segment: SegmentId, key: str, fact: model.Fact) -> None:
        parts = key.split("|")
        if isinstance(fact, Claim):
            author = Writer(parts[1])
            self._claim = max(self._claim, (fact.epoch, writer_node(author), writer_boot(author)))
        elif isinstance(fact, Part):
            self._index_part(segment, key, parts[1], fact)
        else:
            batch = self.batches.get(parts[1])
            if batch is None:
                # A fact may arrive before the part that it speaks of: another author wrote it. Hold a place
                # for it.
                batch = self.batches[parts[1]] = Batch(segment, _UNKNOWN)
            self._index_fact(batch, parts, fact)

    def _index_part(self, segment: SegmentId, key: str, name: str, part: Part) -> None:
        batch = self.batches.get(name)
        if batch is None:
            batch = self.batches[name] = Batch(segment, part)
        elif not batch.parts:
            placeholder, batch = batch, Batch(segment, part)
            batch.done, batch.outcomes, batch.tasks = (
                placeholder.done,
                placeholder.outcomes,
                placeholder.tasks,
            )
            batch.heard = placeholder.heard
            self.batches[name] = batch
        batch.add_part(segment, key, part)
        self._segment(segment).tasks += len(part.specs)

    def _index_fact(self, batch: Batch, parts: list[str], fact: model.Fact) -> None:
        if isinstance(fact, Outcomes):
            for group in fact.groups:
                outcome = Outcome(fact.at_ms, group)
                batch.outcomes.append(outcome)
                batch.done |= outcome.bits
            return
        if isinstance(fact, Wish):
            batch.heard.add(parts[2])
            for index in fact.indices:
                batch.task(index).wishes.append(fact)
            return
        run = batch.task(int(parts[2])).run(parts[3])
        author = Writer(parts[4])
        if isinstance(fact, RunFact):
            run.facts[author] = fact
        elif isinstance(fact, Plan):
            run.plans[author] = fact
        elif isinstance(fact, Progress):
            run.live[author] = fact
        elif isinstance(fact, Finished):
            for ended in fact.shards:
                known = run.ended.get(ended.key)
                run.ended[ended.key] = ended if known is None else better_end(known, ended)
        elif isinstance(fact, Letters):
            for letter in fact.letters:
                known_letter = run.letters.get(letter.id)
                if known_letter is None or _letter_order(known_letter) < _letter_order(letter):
                    run.letters[letter.id] = letter
        elif isinstance(fact, Cleared):
            run.cleared.update(fact.ids)


def _letter_order(letter: Letter) -> tuple[int, bytes]:
    """The later one counts; between two of the same millisecond anything that all replicas decide alike."""
    return letter.at_ms, msgspec.msgpack.encode(letter)


_UNKNOWN = Part(tenant="", key="", created_ms=1 << 62, start=0, count=0, specs=[], origin="")
