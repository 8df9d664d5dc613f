"""A slot's facts, indexed by what they speak of: batches, tasks of a batch, runs of a task.

These are plain holders that `Ledger` fills; `join` reads them. Bulk tasks that ended without incident cost a
bit
in a bitmap; only a task about which more is known has a `TaskFacts`.
"""

from typing import NamedTuple

from pyroaring import BitMap

from state.envelope import SegmentId, Writer
from state.model import Ended, Group, Letter, Part, Plan, Progress, RunFact, Wish


class RunFacts:
    """All that any author said of one run."""

    __slots__ = ("cleared", "ended", "facts", "letters", "live", "plans")

    def __init__(self) -> None:
        self.facts: dict[Writer, RunFact] = {}
        self.plans: dict[Writer, Plan] = {}
        self.live: dict[Writer, Progress] = {}
        self.ended: dict[str, Ended] = {}
        self.letters: dict[str, Letter] = {}
        self.cleared: set[str] = set()


class TaskFacts:
    """What is known of one task beyond its spec and the outcome of a first run without incident."""

    __slots__ = ("runs", "wishes")

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.runs: dict[str, RunFacts] = {}

    def run(self, name: str) -> RunFacts:
        found = self.runs.get(name)
        if found is None:
            found = self.runs[name] = RunFacts()
        return found


class Outcome:
    """A decoded group of outcomes."""

    __slots__ = ("at_ms", "bits", "group")

    def __init__(self, at_ms: int, group: Group) -> None:
        self.at_ms = at_ms
        self.group = group
        self.bits = BitMap.deserialize(group.bits)


class Place(NamedTuple):
    """Where a part lies, after what decides between two: the one created first counts, then the smaller key."""

    created_ms: int
    origin: str
    key: str
    segment: SegmentId


class Batch:
    """Tasks that were submitted together. `parts`: where their specs lie, by first index."""

    __slots__ = (
        "content",
        "count",
        "created_ms",
        "done",
        "heard",
        "key",
        "name",
        "origin",
        "outcomes",
        "parts",
        "present",
        "rivals",
        "roots",
        "segment",
        "tasks",
        "tenant",
    )

    def __init__(self, segment: SegmentId, part: Part) -> None:
        self.segment = segment
        self.tenant = part.tenant
        self.key = part.key
        self.content = part.content
        self.name = part.name
        self.origin = part.origin
        self.roots = part.roots
        self.count = part.count
        self.created_ms = part.created_ms
        self.present = BitMap()
        self.done = BitMap()
        self.outcomes: list[Outcome] = []
        self.parts: dict[int, Place] = {}
        self.rivals: dict[str, tuple[int, str]] | None = None
        """Where submits of several contents met here: content -> when and through which node."""
        self.heard: set[str] = set()
        """Names of the wishes that are known, each made from its request's key."""
        self.tasks: dict[int, TaskFacts] = {}

    def add_part(self, segment: SegmentId, key: str, part: Part) -> None:
        """Merge a part; the story and the specs are those of one submit wherever two meet.

        Of two submits that have different numbers of tasks the longer one's stay, beyond the end of the shorter.
        """
        if self.parts and part.content != self.content:
            self._meet(self.content, self.created_ms, self.origin)
            self._meet(part.content, part.created_ms, part.origin)
        place = Place(part.created_ms, part.origin, key, segment)
        first = min(self.parts.values(), default=None)
        if first is None or place[:3] < first[:3]:
            self.created_ms, self.origin, self.key = part.created_ms, part.origin, part.key
            self.roots, self.content = part.roots, part.content
        self.segment = min(self.segment, segment)
        self.count = max(self.count, part.count)
        self.present.update(range(part.start, part.start + len(part.specs)))
        known = self.parts.get(part.start)
        if known is None or place[:3] <= known[:3]:
            self.parts[part.start] = place

    @property
    def lost(self) -> list[tuple[int, str]]:
        """When and through which node submits were accepted that do not count, for another took the name or the key."""
        return sorted(when for content, when in (self.rivals or {}).items() if content != self.content)

    def _meet(self, content: str, created_ms: int, origin: str) -> None:
        self.rivals = self.rivals or {}
        self.rivals[content] = min(self.rivals.get(content, (created_ms, origin)), (created_ms, origin))

    def task(self, index: int) -> TaskFacts:
        found = self.tasks.get(index)
        if found is None:
            found = self.tasks[index] = TaskFacts()
        return found

    def packed(self, among: BitMap) -> dict[str, int]:
        """How many of these tasks' first runs ended how, by the packed outcomes; each counts once."""
        counts: dict[str, int] = {}
        seen = BitMap()
        for outcome in self.outcomes:
            fresh = (outcome.bits & among) - seen
            seen |= fresh
            if fresh:
                counts[outcome.group.state] = counts.get(outcome.group.state, 0) + len(fresh)
        return counts

    def outcome(self, index: int) -> Outcome | None:
        """How the first run of the task ended, the best where several say; None if no packed outcome says."""
        if index not in self.done:
            return None
        return min(
            (outcome for outcome in self.outcomes if index in outcome.bits),
            key=lambda outcome: (_ORDER.get(outcome.group.state, 9), outcome.at_ms),
        )


_ORDER = {"succeeded": 0, "cancelled": 1, "failed": 2}
