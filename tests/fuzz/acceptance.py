"""Hostile updates through the acceptance path: a ledger that takes envelopes from members gone wrong.

One *life* is a ledger, two hostile authors beside an honest one, and some envelopes. After each: what was
refused has changed nothing; what was accepted can be read. At the end of a life the ledger is built again as a node
does at its start, from its last fold and what it accepted since; it goes on being written to, and its documents are
encoded anew and synced.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass, field

from pycrdt import Doc, Map

from state import envelope as envelopes
from state import join, model
from state.base import Base
from state.envelope import BadEnvelope, Envelope, SegmentId, Writer
from state.ledger import Gap, Ledger
from state.prepass import ROOT
from tests.fuzz import facts
from tests.fuzz.damage import mutate
from tests.fuzz.updates import Aim, Block, Hostile, entry, update

HONEST, ONE, TWO = Writer("a.1"), Writer("b.1"), Writer("b.2")


@dataclass
class Author:
    """A hostile one: the client id that it took, how far the ledger followed it."""

    name: Writer
    client: int
    clock: int = 0


@dataclass
class Life:
    """counts: accepted, and refused by reason. Raises what the ledger should not have raised."""

    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.ledger = self._empty()
        self.base: Base | None = None
        self.accepted: list[Envelope] = []
        """Since the last fold"""
        self.segment = SegmentId(3, HONEST, 1)
        self.authors = [Author(ONE, self.rng.getrandbits(52) + 1), Author(TWO, self.rng.getrandbits(30) + 1)]
        self._hostile = Hostile(self.rng)
        self._recorded = [self._write(b"first"), self._write(b"second")]

    def _empty(self) -> Ledger:
        return Ledger(3, lambda: self.rng.getrandbits(53))

    def _write(self, note: bytes) -> bytes:
        """The honest author goes on; its update, for others to spoil."""
        part = model.Part("t", "k", 1, 0, 2, [note, b"{}"], "a")
        (item,), _ = self.ledger.write(HONEST, [("p", "b|p|0|a.1", part), (None, "e|a.1", model.Claim(1))])
        self.accepted.append(item)
        return item.update

    def run(self, updates: int, *, thorough: bool = True) -> None:
        for _ in range(updates):
            self.step(thorough=thorough)
        self.finish()

    def step(self, *, thorough: bool) -> None:
        author = self.rng.choice(self.authors)
        item = self._envelope(author, self._update(author))
        before = self.ledger.content_hash() if thorough else b""
        heads = dict(self.ledger.heads)
        try:
            changes = self.ledger.apply(envelopes.decode(envelopes.encode(item)))
        except (BadEnvelope, Gap) as error:
            self.counts["refused: " + _reason(error)] += 1
            assert self.ledger.heads == heads, "a refused envelope moved the author's head"
            assert not thorough or self.ledger.content_hash() == before, (
                "a refused envelope changed the content"
            )
            return
        if changes is None:
            self.counts["here already"] += 1
            return
        self.counts["accepted"] += 1
        self.accepted.append(item)
        holder = self.ledger._segments.get(item.segment)
        known = holder.document._clients.get(author.name) if holder else None
        author.client, author.clock = known or (author.client, author.clock)
        if self.rng.random() < 0.01:
            self._fold()

    def _fold(self) -> None:
        """The documents go; what comes now is for the next segment."""
        self.ledger.fold()
        self.base, self.accepted = self.ledger.base(), []
        self.counts["folds, not updates"] += 1
        self.segment = SegmentId(3, HONEST, self.segment.number + 1)
        for author in self.authors:
            author.clock = 0

    def _update(self, author: Author) -> bytes:
        rng, other = self.rng, next(one for one in self.authors if one is not author)
        match rng.randrange(5):
            case 0:
                content = [facts.fact(rng, author.name) for _ in range(rng.randint(1, 3))]
                structs = tuple(entry(key.encode(), value) for key, value in content)
                return update((Block(author.client, author.clock, structs),))
            case 1:
                return mutate(rng, rng.choice(self._recorded))
            case _:
                key, data = facts.fact(rng, author.name)
                aim = Aim(author.client, author.clock, other.client, other.clock)
                made = self._hostile.update(aim, key.encode(), data)
                return mutate(rng, made) if rng.random() < 0.2 else made

    def _envelope(self, author: Author, data: bytes) -> Envelope:
        rng, segment = self.rng, self.segment
        seq = self.ledger.heads.get(author.name, 0) + 1
        if rng.random() < 0.02:
            seq += rng.choice((-1, 1, 2**40))
        if rng.random() < 0.02:
            segment = SegmentId(
                3, rng.choice((author.name, Writer("x"), Writer(""))), rng.choice((0, segment.number, 2**60))
            )
        return Envelope(envelopes.VERSION, segment, author.name, max(1, seq), data)

    def finish(self) -> None:
        """I11, and: written to, encoded and synced as if nothing had been."""
        again = self._empty()
        if self.base is not None:
            again.adopt(self.base)
        for item in self.accepted:
            again.apply(item)
        assert again.content_hash() == self.ledger.content_hash(), "the log gives another content"
        assert again.heads == self.ledger.heads
        for ledger in (self.ledger, again):
            (item,), _ = ledger.write(Writer("c.1"), [(None, "e|c.1", model.Claim(1 << 40))])
            assert ledger.claim()[0] >= 1 << 40, "the ledger cannot be written to"
            for holder in ledger._segments.values():
                _resync(holder.document._doc)
        self._read()

    def _read(self) -> None:
        """Everything that a steward asks of a task."""
        for batch in self.ledger.batches.values():
            for index in batch.done & batch.present:
                batch.outcome(index)
            for task in batch.tasks.values():
                join.desired(task.wishes)
                join.letters_of(task)
                join.covered(task, 0)
                for run in task.runs.values():
                    join.run_fact(run.facts)
                    join.plan_of(run)
                    join.live_shards(run)
                    join.totals(run)


def _resync(doc: Doc[Map[bytes]]) -> None:
    """Encoded anew and loaded by a stranger, it is the same, and the stranger's write comes back."""
    stranger: Doc[Map[bytes]] = Doc(client_id=77)
    stranger.apply_update(doc.get_update())
    theirs, ours = stranger.get(ROOT, type=Map), doc.get(ROOT, type=Map)
    assert theirs.to_py() == ours.to_py()
    theirs["new"] = b"new"
    doc.apply_update(stranger.get_update(doc.get_state()))
    assert bytes(ours["new"]) == b"new", "a new client's write is not taken"


def _reason(error: Exception) -> str:
    if isinstance(error, Gap):
        return "not the author's next"
    return re.sub(r"[0-9]+", "N", str(error)).partition(":")[0].partition(";")[0][:60]
