"""What the parts of a steward share: the work on the table, the slots that are ours, and the facts to be
written.
"""

import heapq
import random
from collections.abc import Callable

from gossip.identity import NodeId
from node.effects import Effect, Notice
from node.replication import Replicator
from node.stewardship.backlog import Backlog
from node.stewardship.bulk import BulkGroup
from node.stewardship.hearing import Hearing
from node.stewardship.ownership import Ownership, next_token
from node.stewardship.work import TaskWork, WorkKey
from node.stewardship.works import Works
from sharding.key import TaskId
from state import model
from state.model import FIRST_RUN, Fact, Token

FEW = 16
"""Small tasks that end together and are told of one by one; of more, only their number."""


class Table:
    """Owned by one `Steward`. `now`: seconds on the boot-time clock; `wall_ms`: milliseconds since the
    epoch.
    """

    def __init__(
        self, replicator: Replicator, ownership: Ownership, *, boot: int, region: str, rng: random.Random
    ) -> None:
        self.replicator = replicator
        self.ownership = ownership
        self.me = ownership.me
        self.boot = boot
        self.region = region
        self.rng = rng
        self.writer = replicator.writer
        self.has_all: Callable[[int, NodeId], bool] = lambda _slot, _node: True
        """Whether a replica has what this node, itself none any more, has of a slot."""
        self.homeless: Callable[[int], bool] = lambda _slot: False
        """Whether nobody of the slot's home region votes on its lease any more."""
        self.hearing = Hearing(replicator.synced)
        self.now = 0.0
        self.wall_ms = 0
        self.mine: dict[int, Token | None] = {}
        self._left: set[int] = set()
        self.works = Works()
        self.bulk: dict[tuple[int, str], list[BulkGroup]] = {}
        self.backlog = Backlog()
        self.effects: list[Effect] = []
        self.unsaid: dict[WorkKey, TaskWork] = {}
        """Works whose run has something to be recorded."""
        self.paced: dict[WorkKey, TaskWork] = {}
        """Works whose shards share their rate anew."""
        self._facts: dict[int, list[tuple[str | None, str, Fact]]] = {}
        self._timers: list[tuple[float, int, WorkKey]] = []
        self._serial = 0

    def serial(self) -> int:
        """A number that this writer has not used: the `n` of immutable facts."""
        self._serial += 1
        return self._serial

    def has_work(self, slot: int) -> bool:
        """Whether anything of the slot is on the table."""
        return any(
            (slot, name) in self.bulk or any((slot, name, index) in self.works for index in entry.tasks)
            for name, entry in self.replicator.ledger(slot).batches.items()
        )

    def may_have(self, slot: int, node: NodeId) -> bool:
        """Whether the replica knows enough of the slot to steward it."""
        if self.me in self.ownership.placement.owners(slot):
            return node in self.replicator.synced
        return self.has_all(slot, node)

    def may_begin(self, work: TaskWork) -> bool:
        """Whether nothing keeps a run from beginning here. It begins with what the one before it left in the ledger:
        the cursor, the coverage, the letters.
        """
        return work.run is None and not work.ending and not work.desired.paused and self.may_run(work)

    def may_run(self, work: TaskWork) -> bool:
        """Whether the task may run here: in its home region, or, where that is dead, if the task allows it. One that
        pauses in a cut waits until the home region is given up: whether it is only cut off cannot be told from here.
        """
        if work.id.region == self.region:
            return True
        if work.effective.spec.placement.region not in (None, self.region):
            return False
        return not work.pauses or self.homeless(work.id.slot)

    def token(self, slot: int) -> Token:
        """The token of our claim to the slot; the claim is written when it is first needed."""
        token = self.mine[slot]
        if token is None:
            claim = self.replicator.ledger(slot).claim()
            ours = claim[1:] == (self.me, self.boot) and slot not in self._left
            token = claim if ours else next_token(claim, self.me, self.boot)
            self._left.discard(slot)
            if token != claim:
                self.write(slot, None, model.key_of("e", self.writer), model.Claim(token[0]))
            self.mine[slot] = token
        return token

    def overtaken(self, slot: int) -> bool:
        """Whether there is a larger claim than that of our token."""
        held = self.mine[slot]
        return held is not None and held < self.replicator.ledger(slot).claim()

    def leave(self, slot: int) -> None:
        """Steward the slot no more. Whoever does it again, and be it this node, does so under a newer token: what was
        leased under this one goes on for a while, unheard.
        """
        del self.mine[slot]
        self._left.add(slot)

    def write(self, slot: int, batch: str | None, key: str, fact: Fact) -> None:
        """Write the fact with the next flush."""
        self._facts.setdefault(slot, []).append((batch, key, fact))

    def fact_key(self, kind: str, work: TaskWork, run: str, *, numbered: bool = False) -> str:
        parts: list[object] = [work.id.batch, work.id.place, run, self.writer]
        if numbered:
            parts.append(self.serial())
        return model.key_of(kind, *parts)

    def write_for(self, work: TaskWork, kind: str, run: str, fact: Fact, *, numbered: bool = False) -> None:
        self.write(work.id.slot, work.id.batch, self.fact_key(kind, work, run, numbered=numbered), fact)

    @property
    def busy(self) -> bool:
        """Whether something waits for a lease, or is to be written."""
        return bool(self.backlog.waiting or self.unsaid or self._facts)

    def flush_facts(self) -> dict[int, int]:
        """Hand the gathered facts to replication; slot -> ticket."""
        tickets: dict[int, int] = {}
        while self._facts:
            facts, self._facts = self._facts, {}
            for slot, items in facts.items():
                tickets[slot] = self.replicator.write(slot, items, self.now)
        return tickets

    def wake(self, work: TaskWork, at: float) -> None:
        """Look at the work again at `at`."""
        if not work.wake_at or at < work.wake_at:
            work.wake_at = at
            self._serial += 1
            heapq.heappush(self._timers, (at, self._serial, work.key))

    def due(self) -> list[TaskWork]:
        found = []
        while self._timers and self._timers[0][0] <= self.now:
            at, _, key = heapq.heappop(self._timers)
            work = self.works.get(key)
            if work is not None and work.wake_at <= at:
                work.wake_at = 0.0
                found.append(work)
        return found

    def notice(self, work: TaskWork, state: str, **data: object) -> None:
        fields = {
            "task": str(work.id),
            "tenant": work.tenant,
            "name": work.entry.name,
            "state": state,
            **data,
        }
        self.effects.append(Notice("task", fields))

    def notice_bulk(self, group: BulkGroup) -> None:
        """Each of a few tasks that ended without incident, and of many at once their number."""
        ended = group.ended()
        entry = self.replicator.ledger(group.slot).batches.get(group.batch)
        fields: dict[str, object] = {
            "tenant": group.tenant,
            "name": entry.name if entry else None,
            "state": "succeeded",
            "run": FIRST_RUN,
        }
        if len(ended) <= FEW:
            for index in ended:
                task = str(TaskId(group.slot, group.batch, index))
                self.effects.append(Notice("task", {"task": task, **fields}))
        else:
            first = str(TaskId(group.slot, group.batch, ended[0]))
            self.effects.append(Notice("batch", {"first": first, "tasks": len(ended), **fields}))

    def group_of(self, slot: int, batch: str, index: int) -> BulkGroup | None:
        """The bulk group that has the task leased."""
        return next((g for g in self.bulk.get((slot, batch), ()) if index in g.leased), None)
