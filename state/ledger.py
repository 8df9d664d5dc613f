"""One slot's ledger: its segments, its authors' sequences, and the index of its facts.

Invariant (contiguous): for each author, exactly the envelopes `1..heads[author]` have been applied, in order. What
lies before `floors` is folded (`base`): their facts are in `_kept` or in the archive, their documents are gone.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import xxhash

from state import model
from state.base import OVERWRITTEN, Base, Kept, batch_of
from state.base import VERSION as BASE_VERSION
from state.document import Document
from state.entries import Batch
from state.envelope import VERSION, BadEnvelope, Envelope, SegmentId, Writer
from state.index import UNREADABLE, Index, specs_in
from state.model import Token
from state.prepass import Item, Malformed, Shape, inspect

_ANY = 1 << 62
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


class _Place(NamedTuple):
    """`segment` None: in `_kept`. The rest as in `base.Kept`."""

    segment: SegmentId | None
    client: int
    clock: int
    seq: int


class _Segment:
    __slots__ = ("bytes", "document", "tasks")

    def __init__(self, document: Document) -> None:
        self.document = document
        self.bytes = 0
        self.tasks = 0


class Ledger:
    """`client_id()` gives a fresh random 53-bit id for each document of this process. `check`: see `model.decode`."""

    def __init__(self, slot: int, client_id: Callable[[], int], check: model.Check = model.unchecked) -> None:
        self.slot, self._check = slot, check
        self.heads: dict[Writer, int] = {}
        self.floors: dict[Writer, int] = {}
        self.growth = 0
        """Bytes of updates since the last fold."""
        self.unresolved: dict[tuple[int, int], tuple[Item, int]] = {}
        """New values of keys of archived batches, by the CRDT entry that each takes the place of; see `thaw`."""
        self._index = Index()
        self._chains: dict[Writer, bytes] = {}
        self._segments: dict[SegmentId, _Segment] = {}
        self._open: dict[Writer, SegmentId] = {}
        self._folded: dict[Writer, int] = {}
        self._kept: dict[str, bytes] = {}
        self._places: dict[str, _Place] = {}
        """Of overwritten keys: where the newest value lies"""
        self._entries: dict[tuple[int, int], str] = {}
        """CRDT entry -> the overwritten key whose newest value it is"""
        self._client_id = client_id
        self._hash: bytes | None = None
        self._late: dict[str, int] = {}
        """Of parts that came since the last fold: a sequence that theirs is not beyond"""
        self._parts: dict[str, list[bytes]] = {}

    @property
    def batches(self) -> dict[str, Batch]:
        return self._index.batches

    def write(
        self, author: Writer, facts: Iterable[tuple[str | None, str, model.Fact]]
    ) -> tuple[list[Envelope], list[Change]]:
        """Write `(batch, key, fact)` as this author; the envelopes to log and send, and what changed.

        `batch` None, or a batch that is not in a segment of now: the author's open segment. Raises nothing; an
        author writes only keys that bear its name.
        """
        chunks: list[tuple[SegmentId, dict[str, bytes]]] = []
        current: dict[SegmentId, tuple[dict[str, bytes], int]] = {}
        changes: list[Change] = []
        for batch, key, fact in facts:
            known = self.batches.get(batch) if batch is not None else None
            segment = (
                known.segment if known and known.segment in self._segments else self._open_segment(author)
            )
            value = model.encode(fact)
            content, size = current.get(segment, ({}, 0))
            if size and size + len(value) > CHUNK_BYTES:
                chunks.append((segment, content))
                content, size = {}, 0
            content[key] = value
            current[segment] = (content, size + len(value))
            self._add(segment, key, fact)
            changes.append((key, fact))
        chunks.extend((segment, content) for segment, (content, _) in current.items())
        produced = [self._commit(author, segment, content) for segment, content in chunks]
        self._late.update((key, self.heads[author]) for key, _ in changes if key[0] == "b")
        return produced, changes

    def _commit(self, author: Writer, segment: SegmentId, content: Mapping[str, bytes]) -> Envelope:
        holder = self._segment(segment)
        update = holder.document.set(content, author=author)
        holder.bytes += len(update)
        seq = self.heads.get(author, 0) + 1
        self._resolve(holder.document.shape, segment, seq)
        self._advance(author, seq, update)
        return Envelope(VERSION, segment, author, seq, update)

    def _advance(self, author: Writer, seq: int, update: bytes) -> None:
        chain = self._chains.get(author, b"")
        self._chains[author] = xxhash.xxh3_64_digest(chain + update)
        self.heads[author] = seq
        self.growth += len(update)
        self._hash = None

    def _open_segment(self, author: Writer) -> SegmentId:
        segment = self._open.get(author)
        if segment is not None:
            holder = self._segments[segment]
            if holder.bytes < SEAL_BYTES and holder.tasks < SEAL_TASKS:
                return segment
        number = segment.number if segment else self._folded.get(author, 0)
        segment = self._open[author] = SegmentId(self.slot, author, number + 1)
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
        indexed) when it is not of the form that an honest author writes.
        """
        head = self.heads.get(envelope.author, 0)
        if envelope.seq <= head:
            return None
        if envelope.seq != head + 1:
            raise Gap(head + 1)
        try:
            raw = self._merge(envelope)
        except Malformed as error:
            raise BadEnvelope(str(error)) from None
        self._advance(envelope.author, envelope.seq, envelope.update)
        changes: list[Change] = []
        for key, value in raw:
            try:
                fact = model.decode(key, value, self._check)
                if model.author_in(key) != envelope.author:
                    continue
                self._add(envelope.segment, key, fact)
            except UNREADABLE:
                continue
            changes.append((key, fact))
            if key[0] == "b":
                self._late[key] = envelope.seq
        return changes

    def _merge(self, envelope: Envelope) -> Iterable[tuple[str, bytes]]:
        segment = envelope.segment
        if segment.number <= self._folded.get(segment.opener, 0):
            # The document is gone. A key has one author, whose updates come in order, so the update itself says
            # what the document would.
            found = self._resolve(inspect(envelope.update), None, envelope.seq)
            self._kept.update((k, v) for k, v in found.items() if model.author_in(k) == envelope.author)
            return found.items()
        holder = self._segments.get(segment) or _Segment(Document(self._client_id()))
        holder.document.apply(envelope.update, author=envelope.author)
        self._segments[segment] = holder
        holder.bytes += len(envelope.update)
        return self._resolve(holder.document.shape, segment, envelope.seq).items()

    def _resolve(self, shape: Shape, segment: SegmentId | None, seq: int) -> dict[str, bytes]:
        """The keys and values of an update; notes which entry holds a key that may be overwritten."""
        found: dict[str, bytes] = {}
        for item in shape.items:
            assert shape.client is not None
            key = item.key or self._entries.pop((shape.client, item.origin), None)
            if key is None:
                self.unresolved[shape.client, item.origin] = item, seq
                continue
            known = self._places.get(key)
            if known is not None and known.seq > seq:  # an archived row has told of a later value
                self._entries[shape.client, item.clock] = key
                continue
            found[key] = item.value
            if key[:1] in OVERWRITTEN:
                self._place(key, _Place(segment, shape.client, item.clock, seq))
        return found

    def _place(self, key: str, place: _Place) -> None:
        before = self._places.get(key)
        if before is not None:
            self._entries.pop((before.client, before.clock), None)
        self._places[key] = place
        self._entries[place.client, place.clock] = key

    def _add(self, segment: SegmentId, key: str, fact: model.Fact) -> None:
        self._index.add(segment, key, fact)
        if isinstance(fact, model.Part) and segment in self._segments:
            self._segments[segment].tasks += len(fact.specs)

    # ---- folding

    def fold(self, over: Iterable[str] = (), gone: Iterable[str] = ()) -> dict[str, list[Kept]]:
        """Replace all documents by the newest value of each key. The facts of the batches `over` are returned, for the
        archive, and forgotten here; those of the batches `gone` are forgotten altogether.
        """
        rows: dict[str, list[Kept]] = {name: [] for name in over}
        gone = dict.fromkeys(gone)
        kept: dict[str, bytes] = {}
        for key, value in self._newest():
            batch = batch_of(key)
            if batch is not None and (batch in rows or batch in gone):
                if batch in rows:
                    rows[batch].append(self._as_kept(key, value))
                self._forget_key(key)
            else:
                kept[key] = value
        self._close_segments(kept)
        for name in [*rows, *gone]:
            self.batches.pop(name, None)
        self._parts = {}
        return rows

    def _newest(self) -> Iterable[tuple[str, bytes]]:
        """Every fact once, with its newest value."""
        for key, value in self._kept.items():
            if key not in self._places or self._places[key].segment is None:
                yield key, value
        for segment, holder in self._segments.items():
            for key, value in holder.document.items():
                if key not in self._places or self._places[key].segment == segment:
                    yield key, value

    def _close_segments(self, kept: dict[str, bytes]) -> None:
        for segment, holder in self._segments.items():
            holder.document.close()
            self._folded[segment.opener] = max(self._folded.get(segment.opener, 0), segment.number)
        self._segments, self._open, self._kept = {}, {}, kept
        self._places = {key: place._replace(segment=None) for key, place in self._places.items()}
        self._late = {key: seq for key, seq in self._late.items() if seq == _ANY and key in kept}
        self.floors, self.growth = dict(self.heads), 0

    def _forget_key(self, key: str) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self._entries.pop((place.client, place.clock), None)

    def _as_kept(self, key: str, value: bytes) -> Kept:
        place = self._places.get(key)
        return Kept(key, value, *place[1:]) if place is not None else Kept(key, value)

    def base(self, archived: Sequence[str] = ()) -> Base:
        """What `fold` left. Call it right after, before anything else is written or applied."""
        assert self.floors == self.heads
        return Base(
            BASE_VERSION,
            self.slot,
            {str(author): head for author, head in self.heads.items()},
            {str(author): chain for author, chain in self._chains.items()},
            {str(opener): number for opener, number in self._folded.items()},
            [self._as_kept(key, value) for key, value in sorted(self._kept.items())],
            list(archived),
        )

    def adopt(
        self, base: Base, rows: Mapping[str, Sequence[Kept]] | None = None
    ) -> tuple[list[Change], list[str]]:
        """Merge another replica's base by the rule in `state.base`. `rows`: the archived facts of batches that are
        alive here. What changed, and the batches that were dropped there and are dropped here.
        """
        ahead = {Writer(a): head for a, head in base.heads.items() if head > self.heads.get(Writer(a), 0)}
        facts = [*base.facts, *(fact for name in sorted(rows or {}) for fact in (rows or {})[name])]
        known = {batch_of(fact.key) for fact in facts} | set(base.archived)
        dropped = [name for name, b in self.batches.items() if name not in known and self._covered(b, base)]
        self.fold(gone=dropped)
        for opener, number in base.folded.items():
            self._folded[Writer(opener)] = max(self._folded.get(Writer(opener), 0), number)
        changes = [change for fact in facts if (change := self._adopt_fact(fact, ahead)) is not None]
        self.heads.update(ahead)
        self._chains.update({author: base.chains.get(str(author), b"") for author in ahead})
        self.floors, self._hash = dict(self.heads), None
        return changes, dropped

    def _covered(self, batch: Batch, base: Base) -> bool:
        """Whether the base had seen all parts of the batch that are here."""
        return bool(batch.parts) and all(
            self._late.get(place.key, self.floors.get(author, 0)) <= base.heads.get(str(author), 0)
            for place in batch.parts.values()
            if (author := model.author_in(place.key)) is not None
        )

    def _adopt_fact(self, fact: Kept, ahead: Mapping[Writer, int] | None) -> Change | None:
        author = model.author_in(fact.key)
        if author is None or (ahead is not None and author not in ahead):
            return None
        if fact.key in self._kept:
            place = self._places.get(fact.key)
            if place is None or place.seq >= fact.seq:
                return None
        try:
            decoded = model.decode(fact.key, fact.value, self._check)
            self._index.add(SegmentId(self.slot, author, 0), fact.key, decoded)
        except UNREADABLE:
            return None
        self._kept[fact.key] = fact.value
        if fact.key[:1] in OVERWRITTEN:
            self._place(fact.key, _Place(None, fact.client, fact.clock, fact.seq))
        return fact.key, decoded

    def thaw(self, facts: Iterable[Kept]) -> list[Change]:
        """Take the facts of an archived batch back; what changed."""
        changes: list[Change] = []
        for fact in facts:
            place = self._places.get(fact.key)
            if (place and place.seq >= fact.seq) or (fact.key in self._kept and place is None):
                continue
            if (change := self._adopt_fact(self._overtaken(fact), None)) is not None:
                changes.append(change)
                if fact.key[0] == "b":
                    self._late[fact.key] = _ANY
            if place is not None:  # an older value came first; the author's next update goes on from that
                self._entries[place.client, place.clock] = fact.key
        return changes

    def _overtaken(self, fact: Kept) -> Kept:
        """The fact as its author has put it since the batch was archived."""
        while (found := self.unresolved.pop((fact.client, fact.clock), None)) is not None:
            item, seq = found
            fact = Kept(fact.key, item.value, fact.client, item.clock, seq)
        return fact

    # ---- reading

    @property
    def hash(self) -> bytes:
        """8 bytes over the heads: equal on two replicas exactly when they hold the same envelopes."""
        if self._hash is None:
            text = ";".join(f"{author}:{seq}" for author, seq in sorted(self.heads.items()))
            self._hash = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return self._hash

    def content_hash(self) -> bytes:
        """16 bytes over what every author ever wrote, in order, folded or not; for checks of replicas."""
        digest = hashlib.blake2b(digest_size=16)
        for author in sorted(self.heads):
            digest.update(f"{author}:{self.heads[author]}".encode() + self._chains.get(author, b""))
        return digest.digest()

    def spec(self, batch: str, index: int) -> bytes:
        """The canonical spec as submitted, or `model.LOST`. Raises KeyError."""
        for start in sorted(self.batches[batch].parts, reverse=True):
            if start <= index < start + len(specs := self.specs(batch, start)):
                return specs[index - start]
        if index not in self.batches[batch].present:
            raise KeyError(index)
        return model.LOST

    def specs(self, batch: str, start: int) -> list[bytes]:
        """The specs of the part that begins at `start`; the last one asked for is kept decoded."""
        place = self.batches[batch].parts[start]
        key = place.key
        found = self._parts.get(key)
        if found is None:
            holder = self._segments.get(place.segment)
            value = (holder.document.get(key) if holder is not None else None) or self._kept[key]
            found = specs_in(key, value, self._check)
            self._parts = {key: found}
        return found

    def claim(self) -> Token:
        """The largest claim to steward this slot; `(0, "", 0)` when there is none."""
        return self._index.claim
