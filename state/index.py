"""The index of a slot's facts: what each fact says of batches, tasks and runs, found by what it speaks of."""

import msgspec

from state import model
from state.entries import Batch, Outcome
from state.envelope import SegmentId, Writer, writer_boot, writer_node
from state.join import better_end
from state.model import (
    MAX_INDEX,
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

UNREADABLE = (msgspec.DecodeError, ValueError, IndexError, OverflowError, RecursionError)
"""What a value or key that no node writes raises when it is read or added; such a fact is passed over."""


def specs_in(key: str, value: bytes, check: model.Check) -> list[bytes]:
    """Of a part; none where it has been overwritten with what is none."""
    try:
        fact = model.decode(key, value, check)
    except UNREADABLE:
        return []
    return fact.specs if isinstance(fact, Part) else []


class Index:
    """`batches` by name; `claim`: the largest claim to steward the slot. A fact may be added again."""

    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}
        self.claim: Token = model.NO_TOKEN

    def add(self, segment: SegmentId, key: str, fact: model.Fact) -> None:
        parts = key.split("|")
        if isinstance(fact, Claim):
            author = Writer(parts[1])
            self.claim = max(self.claim, (fact.epoch, writer_node(author), writer_boot(author)))
        elif isinstance(fact, Part):
            self._part(segment, key, parts[1], fact)
        else:
            batch = self.batches.get(parts[1])
            if batch is None:
                # A fact may arrive before the part that it speaks of: another author wrote it. Hold a place
                # for it.
                batch = self.batches[parts[1]] = Batch(segment, _UNKNOWN)
            self._fact(batch, parts, fact)

    def _part(self, segment: SegmentId, key: str, name: str, part: Part) -> None:
        if not 0 <= part.start <= MAX_INDEX - len(part.specs):
            raise ValueError(f"tasks from {part.start} on; the last one may be {MAX_INDEX}")
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

    def _fact(self, batch: Batch, parts: list[str], fact: model.Fact) -> None:
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
        index = int(parts[2])
        if not 0 <= index <= MAX_INDEX:
            raise ValueError(f"task {index}; the last one may be {MAX_INDEX}")
        author = Writer(parts[4])
        run = batch.task(index).run(parts[3])
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
