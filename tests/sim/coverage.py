"""How often each rare path of the code that ships was taken, seen from outside, and which of them must be."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from gossip.member import State
from gossip.own import Own
from node.effects import Stop
from node.execution.executor import FINAL, Executor
from node.leases.gate import Gate
from node.replication import Replicator
from node.serving.keeping import Keeping
from node.stewardship.bulk import BulkGroup
from node.stewardship.leasing import Leasing
from node.stewardship.recording import Recording
from node.stewardship.steward import Steward
from node.stewardship.table import Table
from state.base import Base, Kept
from state.envelope import Envelope
from state.index import Index
from state.ledger import Ledger
from tests.sim import faults
from tests.sim.patching import Change, around, changed

Hits = Counter[str]

REQUIRED = (
    *(name for name in faults.NAMES if name != "older copy"),
    "older copy restored", "crash of all", "lost for good", "torn write cut off", "unsynced write lost",
    "write refused by a full disk", "message lost", "message cut", "message duplicated",
    "acknowledged on 1", "acknowledged on 2", "answer given up waiting",
    "gap in an author's sequence", "gap closed", "digests differed", "stray slot offered",
    "older token refused", "newer token taken over", "older revoke refused",
    "claim", "takeover from the dead", "handover", "slot released", "lease taken back on death",
    "lease lost on the way", "job stopped that another has by now",
    "final report repeated", "report of nothing known", "retry",
    "two plans of one run", "fact before its task", "run ended elsewhere", "run taken over",
    "suspicion refuted", "commit refused by the sink", "record repeated by a sink without compare-and-set",
    "submitted again", "repeat recognised", "incremental run succeeded", "deleted task stayed deleted",
    "run succeeded", "run cancelled", "ledger folded", "batch archived", "base taken",
    "base taken by one that was ahead elsewhere", "batch brought back", "late update of a folded segment",
    "commit under an overtaken token", "command in a session", "commands of a session in order",
    "left to be upgraded", "message withheld from an older node", "nothing folded because of an older node",
    "error answered without its secret", "list of one tenant", "task that pauses",
    "job waited for its slot's lease", "job stopped before its lease ended",
    "burst of small tasks", "leased in bulk", "bulk lease taken back on death", "task left its bulk",
    "outcomes of a batch",
)  # fmt: skip
"""None of these is at zero over many seeds."""
ENOUGH = 100
"""Seeds after which a path that was never taken is a failure."""


def missing(hits: Hits) -> list[str]:
    return [name for name in REQUIRED if not hits[name]]


@contextlib.contextmanager
def counting(hits: Hits) -> Iterator[None]:
    with changed(*_changes(hits)):
        yield


def _changes(hits: Hits) -> list[Change]:
    parts = (_of_replication, _of_execution, _of_stewardship, _of_bulk, _of_others)
    return [change for part in parts for change in part(hits)]


def _counted(owner: Any, name: str, see: Callable[..., None]) -> Change:
    """`see` is called with the arguments, before the real one."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            see(*arguments, **named)
            return real(*arguments, **named)

        return call

    return around(owner, name, wrap)


def _of_replication(hits: Hits) -> list[Change]:
    gaps: set[tuple[int, int]] = set()

    def ask(self: Replicator, sender: Any, slot: int, now: float) -> None:
        hits["gap in an author's sequence"] += 1
        gaps.add((id(self), slot))

    def take(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Replicator, sender: Any, items: list[bytes], now: float) -> None:
            before = hits["gap in an author's sequence"]
            real(self, sender, items, now)
            if gaps and hits["gap in an author's sequence"] == before:
                slots = {slot for _, _, names in self._waiting for slot, _, _ in names}
                closed = {(id(self), slot) for slot in slots} & gaps
                gaps.difference_update(closed)
                hits["gap closed"] += len(closed)

        return call

    def settle(self: Replicator, ticket_id: int, ticket: Any, *, late: bool = False) -> None:
        hits["answer given up waiting"] += late

    def heads(self: Replicator, sender: Any, slots: Any, *, answer: bool) -> None:
        hits["digests differed"] += 1

    def strays(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Replicator, peer: Any) -> None:
            before = len(self._effects)
            real(self, peer)
            hits["stray slot offered"] += len(self._effects) - before

        return call

    return [
        _counted(Replicator, "_ask", ask),
        around(Replicator, "_take", take),
        _counted(Replicator, "_settle", settle),
        _counted(Replicator, "_compare_heads", heads),
        around(Replicator, "_offer_strays", strays),
    ]


def _of_execution(hits: Hits) -> list[Change]:
    def lease(self: Executor, owner: Any, jobs: list[Any], now: float) -> None:
        for job in jobs:
            held = self._leases.get(job.key)
            if held is not None and tuple(job.token) != tuple(held.token):
                newer = tuple(job.token) > tuple(held.token)
                hits["newer token taken over" if newer else "older token refused"] += 1

    def revoke(self: Executor, keys: list[Any], token: Any, *, drain: bool) -> None:
        for key in keys:
            held = self._leases.get(key)
            hits["older revoke refused"] += held is not None and tuple(held.token) > tuple(token)

    def tick(self: Executor, now: float) -> None:
        if now >= self._next_repeat:
            hits["final report repeated"] += sum(due <= now for _, _, due in self._final.values())

    def add(self: Gate, job: Any, owner: Any, now: float) -> None:
        hits["job waited for its slot's lease"] += 1

    def gate(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Gate, now: float) -> Any:
            effects = real(self, now)
            hits["job stopped before its lease ended"] += sum(isinstance(one, Stop) for one in effects)
            return effects

        return call

    return [
        _counted(Gate, "add", add),
        around(Gate, "tick", gate),
        _counted(Executor, "lease", lease),
        _counted(Executor, "revoke", revoke),
        _counted(Executor, "tick", tick),
    ]


def _of_stewardship(hits: Hits) -> list[Change]:
    def handover(self: Steward, slots: Any) -> None:
        hits["handover"] += sum(slot not in self.table.mine for slot in slots)

    def token(self: Table, slot: int) -> None:
        if self.mine[slot] is None:
            hits["claim"] += 1
            holder = self.replicator.ledger(slot).claim()[1]
            member = self.ownership.members.get(holder)  # type: ignore[call-overload]
            hits["takeover from the dead"] += member is not None and member.state is State.DEAD

    def release_slot(self: Steward, slot: int) -> None:
        hits["slot released"] += 1

    def release(self: Leasing, work: Any, lost: set[str]) -> None:
        hits["lease taken back"] += len(lost)

    def node_lost(self: Leasing, node: Any) -> None:
        runs = [work.run for work in self.table.works.values() if work.run is not None]
        hits["lease taken back on death"] += sum(s.node == node for run in runs for s in run.leased())

    def holding(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Leasing, node: Any, keys: Any) -> None:
            before = hits["lease taken back"]
            real(self, node, keys)
            hits["lease lost on the way"] += hits["lease taken back"] - before

        return call

    def given_to_another(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Leasing, node: Any, key: Any) -> Any:
            token = real(self, node, key)
            hits["job stopped that another has by now"] += token is not None
            return token

        return call

    def report(self: Recording, sender: Any, report: Any) -> None:
        known = (k for k in self.table.works.values() if str(k.id) == report.key.task)
        if report.state in FINAL and next(known, None) is None:
            hits["report of nothing known"] += 1

    def failed(self: Recording, work: Any, run: Any, shard: Any, report: Any) -> None:
        hits["retry"] += 1

    def elsewhere(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Steward, work: Any, run: Any) -> bool:
            over = bool(real(self, work, run))
            hits["run ended elsewhere"] += over
            return over

        return call

    def begin(self: Steward, work: Any, request: Any) -> None:
        facts = work.facts.runs.get(request.run)
        hits["run taken over"] += facts is not None and bool(facts.facts)

    return [
        _counted(Steward, "handover", handover),
        _counted(Table, "token", token),
        _counted(Steward, "_release_slot", release_slot),
        _counted(Leasing, "node_lost", node_lost),
        around(Leasing, "holding", holding),
        around(Leasing, "_elsewhere", given_to_another),
        _counted(Leasing, "_release", release),
        _counted(Recording, "report", report),
        _counted(Recording, "_failed", failed),
        around(Steward, "_ended_elsewhere", elsewhere),
        _counted(Steward, "_begin", begin),
    ]


def _of_bulk(hits: Hits) -> list[Change]:
    def take(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: BulkGroup, count: int, node: Any, now: float) -> Any:
            taken = real(self, count, node, now)
            hits["leased in bulk"] += len(taken)
            return taken

        return call

    def give_up(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: BulkGroup, node: Any) -> Any:
            lost = real(self, node)
            hits["bulk lease taken back on death"] += lost
            return lost

        return call

    def give_back(self: BulkGroup, indices: list[int]) -> None:
        hits["bulk lease lost on the way"] += len(indices)

    def remove(self: BulkGroup, index: int) -> None:
        hits["task left its bulk"] += index in self.leased or index in self.pending

    def take_outcomes(self: BulkGroup, at_ms: int) -> None:
        hits["outcomes of a batch"] += bool(self.outcomes)

    return [
        around(BulkGroup, "take", take),
        around(BulkGroup, "give_up", give_up),
        _counted(BulkGroup, "give_back", give_back),
        _counted(BulkGroup, "remove", remove),
        _counted(BulkGroup, "take_outcomes", take_outcomes),
    ]


def _of_others(hits: Hits) -> list[Change]:
    def refute(self: Own, accused: int, now: float) -> None:
        hits["suspicion refuted"] += 1

    def index_fact(self: Index, batch: Any, parts: list[str], fact: Any) -> None:
        hits["fact before its task"] += not batch.parts
        if parts[0] == "p":
            run = batch.task(int(parts[2])).run(parts[3])
            hits["two plans of one run"] += bool(run.plans) and parts[4] not in run.plans

    def due(self: Keeping, now: float) -> None:
        hits["nothing folded because of an older node"] += not self.allowed

    def fold(self: Ledger, over: Any = (), gone: Any = ()) -> None:
        hits["ledger folded"] += 1
        hits["batch archived"] += len(over)

    def adopt(self: Ledger, base: Base, rows: Any = None) -> None:
        ahead = any(head > base.heads.get(str(a), 0) for a, head in self.heads.items())
        hits["base taken"] += bool(self.heads)
        hits["base taken by one that was ahead elsewhere"] += ahead
        hits["batch archived there and alive here"] += bool(rows)

    def thaw(self: Ledger, facts: Any) -> None:
        hits["batch brought back"] += bool(self.heads)

    def merge(self: Ledger, item: Envelope) -> None:
        late = item.segment.number <= self._folded.get(item.segment.opener, 0)
        hits["late update of a folded segment"] += late

    def overtaken(self: Ledger, fact: Kept) -> None:
        hits["archived fact put anew"] += (fact.client, fact.clock) in self.unresolved

    return [
        _counted(Own, "_refute", refute),
        _counted(Index, "_fact", index_fact),
        _counted(Keeping, "_due", due),
        _counted(Ledger, "fold", fold),
        _counted(Ledger, "adopt", adopt),
        _counted(Ledger, "thaw", thaw),
        _counted(Ledger, "_merge", merge),
        _counted(Ledger, "_overtaken", overtaken),
    ]
