"""Who gets the next unit: from the backlog to leases, by eligibility, credit and bounded loads."""

from collections.abc import Callable

from gossip.identity import NodeId
from node import messages
from node.effects import Send
from node.execution.executor import Credit
from node.execution.jobs import Job, JobKey
from node.leases.keeper import Keeper
from node.messages import Facts
from node.stewardship import specs
from node.stewardship.backlog import Item
from node.stewardship.bulk import BulkGroup
from node.stewardship.eligibility import Needs, refusals
from node.stewardship.orders import job_of
from node.stewardship.preparation import prepare
from node.stewardship.run import RunWork, ShardWork
from node.stewardship.table import Table
from node.stewardship.work import TaskWork, WorkKey, needs_of
from sharding.balance import choose
from sharding.key import TaskId, parse
from state.join import Request
from state.model import FIRST_RUN, Token

BULK_AT_ONCE = 500
MAX_TURNS = 400
"""Items served in one pump, so that one call stays short; the next event goes on."""
MAX_UNITS = 500
"""Jobs leased in one pump, for the same reason: about 5 ms."""
LOST_AFTER = 5.0
"""Seconds after which a lease that its executor does not hold is given again."""


class Leasing:
    """`lease_here(jobs)`: hand jobs to this node's own executor; `own_credit()`: what it would take."""

    def __init__(
        self,
        table: Table,
        lease_here: Callable[[list[Job]], None],
        own_credit: Callable[[], Credit],
        keeper: Keeper,
    ) -> None:
        self.table = table
        self.facts: dict[NodeId, Facts] = {}
        self.credit: dict[NodeId, Credit] = {}
        self._lease_here = lease_here
        self._own_credit = own_credit
        self._loads: dict[NodeId, float] | None = None
        self._keeper = keeper
        self.pausing: set[WorkKey] = set()
        """Works that run only under their slot's majority lease."""
        self._awaiting: set[WorkKey] = set()
        """Works that are to begin a run when all that is to be known for it is here."""

    # ---- majority leases

    def to_begin(self, work: TaskWork) -> Request | None:
        """The run that is to begin now. It begins with the cursor or the coverage that all before it have left: when
        the other replicas were heard, and, for a task that pauses, on the side of a cut that has the majority.
        """
        request = work.next_request() if self.table.may_begin(work) else None
        held = request is not None and not self._knows_all(work)
        (self._awaiting.add if held else self._awaiting.discard)(work.key)
        return None if held else request

    def _knows_all(self, work: TaskWork) -> bool:
        if work.pauses and not self._may_begin(work.id.slot):
            return False
        if work.effective.spec.mode == "full":
            return True
        owners = self.table.ownership.placement.owners(work.id.slot)
        others = self.table.ownership.live().intersection(owners) - {self.table.me}
        return all(self.table.hearing.heard(node, self.table.now) for node in others)

    def keep(self) -> None:
        """Say which slots' leases are needed: those with a run of such a task, or with one that is to begin."""
        works = self.table.works
        self.pausing = {key for key in self.pausing if key in works and works[key].pauses}
        for work in (works[key] for key in self.pausing):
            if work.id.region != self.table.region and self.table.may_begin(work) and work.next_request():
                self.table.wake(work, self.table.now)  # its home region was given up just now
        self._awaiting &= works.keys()
        for work in (works[key] for key in sorted(self._awaiting)):
            if self._knows_all(work):
                self.table.wake(work, self.table.now)
        wanted = {key[0] for key in self._awaiting & self.pausing}
        wanted |= {
            key[0] for key in self.pausing if (run := works[key].run) is not None and run.phase != "wait"
        }
        self._keeper.wanted = frozenset(wanted & self.table.mine.keys())

    def given_up(self, slot: int) -> None:
        """Another node stewards the slot now."""
        self._keeper.given_up(slot, self.table.now)

    def strays(self, node: NodeId, keys: list[JobKey]) -> list[JobKey]:
        """Of the jobs that an executor has, those that are not leased to it now: it was lost for a while, say, and they
        were given to another."""
        return [key for key in keys if not self._leased(node, key)]

    def _leased(self, node: NodeId, key: JobKey) -> bool:
        held = self._lease_of(key)
        return held is not None and held[1] == node

    def _lease_of(self, key: JobKey) -> tuple[RunWork, NodeId | None] | None:
        """The run of the job, and who has it; None if nobody has, or if it is in bulk."""
        task = parse(key.task)
        work = self.table.works.get((task.slot, task.batch, task.place)) if task is not None else None
        run = work.run if work is not None else None
        if run is None or run.name != key.run:
            return None
        wanted = run.shard_of(key)
        return next(((run, shard.node) for shard in run.leased() if shard is wanted), None)

    def _may_begin(self, slot: int) -> bool:
        """The lease is ours, and no executor that we lost sight of may still run under it."""
        now = self.table.now
        live = self.table.ownership.live()
        return self._keeper.left(slot, now) > 0 and self._keeper.clear(slot, live, now)

    # ---- choosing

    def eligible(self, needs: Needs) -> list[NodeId]:
        live = self.table.ownership.live()
        return [
            node
            for node in sorted(self.facts)
            if node in live and not refusals(node, self.facts[node], needs, self.table.region)
        ]

    def refusals(self, needs: Needs) -> dict[NodeId, list[str]]:
        """Every node that is known, with the reasons why it cannot (empty: it can)."""
        live, members = self.table.ownership.live(), self.table.ownership.members
        drained = {node for node, member in members.items() if not member.meta.weight}
        return {
            node: ([] if node in live else ["is not alive"])
            + refusals(node, facts, needs, self.table.region, drained=node in drained)
            for node, facts in sorted(self.facts.items())
        }

    def _credit_of(self, node: NodeId) -> Credit:
        return self._own_credit() if node == self.table.me else self.credit.get(node, Credit(0, 0))

    def _spend(self, node: NodeId, *, solo: int = 0, other: int = 0) -> None:
        if node != self.table.me:
            left = self.credit.get(node, Credit(0, 0))
            self.credit[node] = Credit(max(0, left.solo - solo), max(0, left.other - other))

    def _node_for_solo(self, needs: Needs) -> NodeId | None:
        """This node if it can: slots are spread evenly already. Else whoever has most room."""
        nodes = self.eligible(needs)
        if self.table.me in nodes and self._credit_of(self.table.me).solo > 0:
            return self.table.me
        return max(
            (n for n in nodes if self._credit_of(n).solo > 0),
            key=lambda n: self._credit_of(n).solo,
            default=None,
        )

    def _node_for(self, work: TaskWork, shard: ShardWork) -> NodeId | None:
        nodes = [node for node in self.eligible(work.needs) if self._credit_of(node).other > 0]
        if not nodes:
            return None
        if work.run is not None and shard is work.run.step:
            return self.table.me if self.table.me in nodes else nodes[0]
        if shard.node in nodes:
            return shard.node
        counted = self._shard_loads()
        loads = {node: counted.get(node, 0.0) for node in nodes}
        return choose(shard.plan.affinity or f"{work.id}:{shard.key}", loads)

    # ---- the pump

    def pump(self) -> None:
        """Lease what can be leased now."""
        self._pace()
        self._loads = None
        given = 0
        for _ in range(MAX_TURNS):
            if not self.table.backlog.waiting:
                return
            room = [self._credit_of(node) for node in self._everyone()]
            item = self.table.backlog.next(
                solo=any(credit.solo > 0 for credit in room), other=any(credit.other > 0 for credit in room)
            )
            if item is None:
                return
            given += self._serve(item)
            if given >= MAX_UNITS:
                return

    def _pace(self) -> None:
        """Tell executors which part of their task's rate is theirs by now."""
        works, self.table.paced = self.table.paced, {}
        for work in works.values():
            for node, rates in work.paced_anew().items():
                if work.run is not None:
                    self.table.effects.append(Send(node, messages.Rates(rates, work.run.token)))

    def _everyone(self) -> list[NodeId]:
        return [self.table.me, *self.credit]

    def _shard_loads(self) -> dict[NodeId, float]:
        """Shards that each node has of us; counted once a pump, when first needed."""
        if self._loads is None:
            self._loads = {}
            for work in self.table.works.values():
                if work.run is not None and not work.run.solo:
                    for shard in work.run.leased():
                        if shard.node is not None:
                            self._loads[shard.node] = self._loads.get(shard.node, 0.0) + 1
        return self._loads

    def _serve(self, item: Item) -> int:
        if isinstance(item, BulkGroup):
            given = self._serve_bulk(item)
            empty = not item.pending
        else:
            assert isinstance(item, TaskWork)
            given = self._serve_work(item)
            empty = item.leasable(self.table.now) is None
        if given:
            self.table.backlog.charge(item, given)
        if empty:
            self.table.backlog.done(item)
            if isinstance(item, TaskWork) and (at := item.retry_due(self.table.now)) is not None:
                self.table.wake(item, at)
        elif not given:
            self.table.backlog.park(item)
        return given

    def _serve_bulk(self, group: BulkGroup) -> int:
        if not group.pending:
            return 0
        ledger = self.table.replicator.ledger(group.slot)
        entry = ledger.batches[group.batch]
        first = ledger.spec(group.batch, group.pending[0])
        needs = needs_of(specs.decode_spec(first), entry)
        node = self._node_for_solo(needs)
        if node is None:
            return 0
        count = min(self._credit_of(node).solo, BULK_AT_ONCE)
        token = self.table.token(group.slot)
        now = self.table.now
        jobs = []
        for index in group.take(count, node, now):
            raw = ledger.spec(group.batch, index)
            limits = specs.decode_brief(raw).limits if b'"limits"' in raw else None
            task = str(TaskId(group.slot, group.batch, index))
            jobs.append(
                Job(
                    key=JobKey(task, FIRST_RUN, "solo", "0"),
                    tenant=group.tenant,
                    spec=raw,
                    token=token,
                    rate=limits.rate if limits is not None else None,
                    shards=("0",),
                    replaces=True,  # only full collections are queued in bulk
                )
            )
        self._lease(node, jobs)
        self._spend(node, solo=len(jobs))
        return len(jobs)

    def _serve_work(self, work: TaskWork) -> int:
        run, shard = work.run, work.leasable(self.table.now)
        if run is not None and shard is run.step and run.phase == "plan" and not run.origin:
            said = run.since, run.ranges
            prepare(self.table, work, run)  # anew: another may have begun it, on the far side of a cut
            run.facts_dirty |= said != (run.since, run.ranges)
            shard = work.leasable(self.table.now)
        if run is None or shard is None or (work.pauses and not self._may_begin(work.id.slot)):
            return 0
        node = self._node_for_solo(work.needs) if run.solo else self._node_for(work, shard)
        if node is None:
            return 0
        run.token = self.table.token(work.id.slot)
        shard.state, shard.node, shard.since = "leased", node, self.table.now
        self.table.unsaid[work.key] = work
        if self._loads is not None:
            self._loads[node] = self._loads.get(node, 0.0) + 1
        run.unsure |= run.phase == "publish"
        shard.rate = None if shard is run.step else work.rate_share()
        self._lease(node, [job_of(work, run, shard, nodes=len(self.table.ownership.live()))])
        self._spend(node, solo=int(run.solo), other=int(not run.solo))
        return 1

    def _lease(self, node: NodeId, jobs: list[Job]) -> None:
        if node == self.table.me:
            self._lease_here(jobs)
        else:
            self.table.effects.append(Send(node, messages.Lease(jobs)))

    # ---- taking back

    def revoke(self, work: TaskWork, *, drain: bool) -> None:
        """Ask for every lease of the run back; the executors' last reports say where the sinks are."""
        run = work.run
        if run is None:
            return
        by_node: dict[NodeId, list[JobKey]] = {}
        for shard in run.leased():
            if shard.node is not None:
                by_node.setdefault(shard.node, []).append(run.job_key(str(work.id), shard))
        for node, keys in by_node.items():
            self.table.effects.append(Send(node, messages.Revoke(keys, run.token, drain)))

    def revoke_bulk(self, group: BulkGroup, token: Token | None) -> None:
        """The same for a bulk group: whoever stewards it next cannot stop what it has not leased."""
        if token is None:
            return
        by_node: dict[NodeId, list[JobKey]] = {}
        for index, (node, _) in group.leased.items():
            task = str(TaskId(group.slot, group.batch, index))
            by_node.setdefault(node, []).append(JobKey(task, FIRST_RUN, "solo", "0"))
        for node, keys in by_node.items():
            self.table.effects.append(Send(node, messages.Revoke(keys, token, drain=True)))

    def node_lost(self, node: NodeId) -> None:
        """The node died, left, or came back as another life: what it had leased is to be leased again."""
        self.credit.pop(node, None)
        self._keeper.lost(node, self.table.now)
        for groups in self.table.bulk.values():
            for group in groups:
                if group.give_up(node):
                    self.table.backlog.push(group)
        for work in self.table.works.values():
            if work.run is not None:
                self._release(work, {shard.key for shard in work.run.leased() if shard.node == node})

    def _release(self, work: TaskWork, lost: set[str]) -> None:
        if work.run is None or not lost:
            return
        for shard in work.run.leased():
            if shard.key in lost:
                shard.release()
                self.table.unsaid[work.key] = work
        if work.leasable(self.table.now) is not None:
            self.table.backlog.push(work)

    def holding(self, node: NodeId, keys: list[JobKey]) -> None:
        """What the node still has of our leases; older ones that are not among them were lost. Those that another has
        by now, as this node was out of sight for a while, are stopped here: two would undo each other's work.
        """
        for key in keys:
            token = self._elsewhere(node, key)
            if token is not None:
                self.table.effects.append(Send(node, messages.Revoke([key], token, drain=False)))
        before = self.table.now - LOST_AFTER
        held = set(keys)
        by_batch: dict[tuple[int, str], set[int]] = {}
        for key in keys:
            task = parse(key.task)
            if task is not None:
                by_batch.setdefault((task.slot, task.batch), set()).add(task.place)
        for where, groups in self.table.bulk.items():
            for group in groups:
                overdue = group.overdue(node, before, by_batch.get(where, set()))
                if overdue:
                    group.give_back(overdue)
                    self.table.backlog.push(group)
        for work in self.table.works.values():
            run = work.run
            if run is not None:
                lost = {
                    shard.key
                    for shard in run.leased()
                    if shard.node == node
                    and shard.since < before
                    and run.job_key(str(work.id), shard) not in held
                }
                self._release(work, lost)

    def _elsewhere(self, node: NodeId, key: JobKey) -> Token | None:
        """The token of the job if it is leased to another node."""
        task = parse(key.task)
        if task is None:
            return None
        group = self.table.group_of(task.slot, task.batch, task.place)
        if group is not None:
            return self.table.mine.get(task.slot) if group.leased[task.place][0] != node else None
        held = self._lease_of(key)
        return held[0].token if held is not None and held[1] != node else None
