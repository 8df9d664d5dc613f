"""The steward of the slots that this node owns: it decides what is to be done, and when."""

from collections.abc import Callable, Iterable

from gossip.identity import NodeId
from node.effects import Effect
from node.execution.executor import Credit
from node.execution.jobs import Job, Report
from node.leases.keeper import Keeper
from node.stewardship import handover
from node.stewardship.bulk import BulkGroup
from node.stewardship.leasing import Leasing
from node.stewardship.preparation import opened, prepare
from node.stewardship.recording import Recording, noted
from node.stewardship.run import RunWork
from node.stewardship.specs import decode_brief, effective
from node.stewardship.table import Table
from node.stewardship.work import TaskWork, WorkKey, needs_of
from sharding.key import TaskId
from state import join, model
from state.entries import Batch
from state.envelope import Writer
from state.join import Request
from state.ledger import Change
from state.model import Part, Wish

UNPARK_INTERVAL = 0.25
"""Seconds between tries of work that no node could take; shorter costs more where much waits for one node."""
HANDOVER_INTERVAL = 1.0


class Steward:
    """`sharded(collector)`: whether the collector of this name shards its runs."""

    def __init__(
        self,
        table: Table,
        *,
        sharded: Callable[[str], bool],
        lease_here: Callable[[list[Job]], None],
        own_credit: Callable[[], Credit],
        keeper: Keeper,
    ) -> None:
        self.table = table
        self.leasing = Leasing(table, lease_here, own_credit, keeper)
        self.recording = Recording(table)
        self._sharded = sharded
        self._dirty_slots: set[int] = set()
        self._fresh: set[tuple[int, str]] = set()
        self._touched: set[WorkKey] = set()
        self._adopted: dict[tuple[int, str], set[int]] = {}
        """Parts that are on the table, by slot and batch."""
        self._recheck_all = False
        self._recheck_at = 0.0
        """When the slots of those that died last can be taken over."""
        self._next_unpark = 0.0
        self._next_handover = 0.0

    # ---- what became known

    def changed(self, slot: int, changes: list[Change], author: Writer) -> None:
        """Facts became known here, by whoever; looked at in the next `flush`."""
        for key, fact in changes:
            kind, _, rest = key.partition("|")
            batch = rest.partition("|")[0]
            if isinstance(fact, Part):
                self._fresh.add((slot, batch))
                if slot not in self.table.mine:
                    self._dirty_slots.add(slot)
            elif isinstance(fact, Wish):
                self._touched.update((slot, batch, index) for index in fact.indices)
            elif author != self.table.writer:
                if kind == "e":
                    self._dirty_slots.add(slot)
                elif kind == "o":
                    self._fresh.add((slot, batch))
                else:
                    self._touched.add((slot, batch, int(rest.split("|")[1])))

    def members(self, gone: Iterable[NodeId]) -> None:
        """The members changed; `gone`: lives of nodes that ended."""
        self._recheck_all = True
        self._recheck_at = self.table.now + self.table.ownership.config.takeover_delay
        for node in gone:
            self.leasing.node_lost(node)

    def handover(self, slots: Iterable[int]) -> None:
        """The steward of these slots wants us to take them."""
        for slot in slots:
            ledger = self.table.replicator.ledger(slot)
            if slot not in self.table.mine and self.table.me in self.table.ownership.placement.owners(slot):
                claim = ledger.claim()
                token = (claim[0] + 1, self.table.me, self.table.boot)
                self.table.mine[slot] = token
                self.table.write(slot, None, model.key_of("e", self.table.writer), model.Claim(token[0]))
                self._adopt_slot(slot)

    def reports(self, sender: NodeId, reports: list[Report]) -> None:
        for report in reports:
            self.recording.report(sender, report)
        answer = noted(sender, reports)
        if answer is not None:
            self.table.effects.append(answer)

    def settled(self, ticket: int, level: int) -> None:
        """A write of ours is as durable as it gets: plans that waited for it are leased, if it is on a disk."""
        if not level:
            self.recording.wait_on(ticket)
            return
        for work in self.recording.settled(ticket):
            run = work.run
            if run is None or run.phase != "wait":
                continue
            facts = work.facts.runs.get(run.name)
            plan = join.plan_of(facts) if facts is not None else None
            assert plan is not None
            if run.shards:  # taken over from an earlier stewardship of this life
                run.phase = "shards"
            else:
                run.adopt_plan(plan.shards)
            run.advance()
            self._go_on(work)

    # ---- time

    def tick(self) -> None:
        table = self.table
        if table.now >= self._next_unpark:
            self._next_unpark = table.now + UNPARK_INTERVAL
            self.leasing.keep()
            table.backlog.unpark()
        for work in table.due():
            self._go_on(work)
        if 0.0 < self._recheck_at <= table.now:
            self._recheck_at = 0.0
            self._recheck_all = True
        if table.now >= self._next_handover:
            self._next_handover = table.now + HANDOVER_INTERVAL
            self._recheck_all = True
            table.effects += handover.returned(table)

    def flush(self) -> list[Effect]:
        """Look at what changed, lease what can be leased, write what is to be recorded."""
        for _ in range(3):  # what is written may change what is to be done; it settles at once
            if not (self._news or self._recheck_all or self.recording.due or self.table.busy):
                break
            self._look()
            self.leasing.pump()
            self.recording.flush()
            self.recording.flush_plans(self.table.flush_facts())
            ended, self.recording.ended = self.recording.ended, []
            for work in ended:  # now that the ledger has it, what comes next begins with what it left
                self._go_on(work)
            if not (ended or self._news):
                break
        effects, self.table.effects = self.table.effects, []
        return effects

    @property
    def _news(self) -> bool:
        return bool(self._dirty_slots or self._fresh or self._touched or self.recording.singled)

    def _look(self) -> None:
        if self._recheck_all:
            self._recheck_all = False
            self._dirty_slots.update(self.table.replicator.ledgers)
        slots, self._dirty_slots = self._dirty_slots, set()
        for slot in sorted(slots):
            self._recheck(slot)
        fresh, self._fresh = self._fresh, set()
        for slot, batch in sorted(fresh):
            if slot in self.table.mine:
                self._adopt_batch(slot, batch)
        touched, self._touched = self._touched, set()
        for key in sorted(touched):
            if key[0] in self.table.mine:
                self._refresh(key)
        singled, self.recording.singled = self.recording.singled, []
        for slot, batch, index, report, sender in singled:
            self._refresh((slot, batch, index))
            self.recording.report(sender, report)

    # ---- slots

    def _recheck(self, slot: int) -> None:
        ledger = self.table.replicator.ledgers.get(slot)
        if ledger is None or not (ledger.batches or slot in self.table.mine):
            return
        mine = self.table.ownership.steward(slot, ledger, self.table.now) == self.table.me
        if mine and slot not in self.table.mine:
            self.table.mine[slot] = None
            self._adopt_slot(slot)
            if ledger.claim()[1] not in ("", self.table.me) and self.table.has_work(slot):
                self.table.token(slot)  # at once: its holder must not have it back the moment it returns
        elif slot in self.table.mine and (not mine or self.table.overtaken(slot)):
            again = mine or self.table.ownership.outvotes(slot, ledger.claim()[1], self.table.now)
            self._release_slot(slot)
            if again:  # another claimed it and is gone, or was cut off: it stays here, under a newer token
                self.table.mine[slot] = None
                self.table.token(slot)
                self._adopt_slot(slot)

    def _adopt_slot(self, slot: int) -> None:
        for batch in sorted(self.table.replicator.ledger(slot).batches):
            self._adopt_batch(slot, batch)

    def _release_slot(self, slot: int) -> None:
        """Another node stewards it now: ask our leases back, forget the rest."""
        for key in self.table.works.of_slot(slot):
            work = self.table.works.pop(key)
            self.leasing.revoke(work, drain=True)
            work.run = None
            self.table.backlog.remove(work)
        for batch in self.table.replicator.ledger(slot).batches:
            for group in self.table.bulk.pop((slot, batch), ()):
                self.leasing.revoke_bulk(group, self.table.mine[slot])
                self.table.backlog.remove(group)
            self._adopted.pop((slot, batch), None)
        self.leasing.given_up(slot)
        self.table.leave(slot)

    def forget(self, slot: int, batches: Iterable[str]) -> None:
        """These batches left memory: they are over and archived, or were dropped."""
        names = set(batches)
        for key in [key for key in self.table.works.of_slot(slot) if key[1] in names]:
            work = self.table.works.pop(key)
            self.leasing.revoke(work, drain=False)
            work.run = None
            self.table.backlog.remove(work)
        for name in names:
            for group in self.table.bulk.pop((slot, name), ()):
                self.table.backlog.remove(group)
            self._adopted.pop((slot, name), None)
            self._fresh.discard((slot, name))
        self._touched = {key for key in self._touched if key[0] != slot or key[1] not in names}

    def give_away(self) -> None:
        """This node leaves."""
        self.table.ownership.leaving = True
        self.table.effects += handover.parting(self.table)

    # ---- tasks

    def _adopt_batch(self, slot: int, name: str) -> None:
        """Put the tasks of a batch that are not over on the table."""
        ledger = self.table.replicator.ledger(slot)
        entry = ledger.batches[name]
        kinds: dict[tuple[int, str, tuple[str, ...]], list[int]] = {}
        adopted = self._adopted.setdefault((slot, name), set())
        for start in sorted(entry.parts):
            if start in adopted:
                continue
            adopted.add(start)
            for index, raw in enumerate(ledger.specs(name, start), start):
                if index in entry.tasks:
                    self._refresh((slot, name, index))
                elif index not in entry.done:
                    self._adopt_task(slot, name, index, raw, kinds)
        if entry.rivals:  # the spec may be another one now
            for key in [key for key in self.table.works.of_slot(slot) if key[1] == name]:
                self._refresh(key)
        for group in self.table.bulk.get((slot, name), ()):
            group.drop_done(entry.done)
        for kind, indices in sorted(kinds.items()):
            group = BulkGroup(slot, name, entry.tenant, kind[0], indices)
            self.table.bulk.setdefault((slot, name), []).append(group)
            self.table.backlog.push(group)

    def _adopt_task(
        self,
        slot: int,
        name: str,
        index: int,
        raw: bytes,
        kinds: dict[tuple[int, str, tuple[str, ...]], list[int]],
    ) -> None:
        brief = decode_brief(raw)
        plain = (
            brief.schedule is None
            and brief.mode == "full"
            and brief.placement is None
            and b'"secret"' not in raw
            and b'"on_partition"' not in raw  # only "pause" is written out
        )
        if plain and not self._sharded(brief.source.plugin):
            kinds.setdefault(brief.kind, []).append(index)
        else:
            self._refresh((slot, name, index))

    def _refresh(self, key: WorkKey) -> None:
        """What is wanted or known of this task changed: bring its work up to date."""
        slot, name, index = key
        entry = self.table.replicator.ledger(slot).batches[name]
        if index not in entry.present:
            return
        facts = entry.tasks.get(index)
        wanted = join.desired(facts.wishes) if facts is not None else join.NOTHING_DESIRED
        work = self.table.works.get(key)
        if work is None:
            work = self._open(key, entry, wanted)
        elif work.desired != wanted or entry.rivals:
            before, work.desired = work.priority, wanted
            self.table.paced[key] = work
            work.effective = effective(self.table.replicator.ledger(slot).spec(name, index), wanted)
            work.needs = needs_of(work.effective.spec, entry)
            if work.priority != before:
                self.table.backlog.remove(work)
        self._go_on(work)

    def _open(self, key: WorkKey, entry: Batch, wanted: join.Desired) -> TaskWork:
        slot, name, index = key
        raw = self.table.replicator.ledger(slot).spec(name, index)
        work = TaskWork(TaskId(slot, name, index), entry, effective(raw, wanted), wanted)
        self.table.works[key] = work
        for group in self.table.bulk.get((slot, name), ()):
            since = group.leased.get(index)
            if group.remove(index) is not None and since is not None:
                run = self._begin(work, join.first_request(entry))
                shard = run.shards["0"]
                shard.state, (shard.node, shard.since) = "leased", since
        return work

    def _go_on(self, work: TaskWork) -> None:
        """Bring the work one step further: end what was cancelled, begin what is asked for, queue what can
        be leased.
        """
        if work.key not in self.table.works:
            return
        if work.pauses:
            self.leasing.pausing.add(work.key)
        run = work.run
        if run is not None and (self._ended_elsewhere(work, run) or self._cancel(work, run)):
            run = None
        if work.scheduled and not work.desired.paused:
            work.collect_due(self.table.wall_ms)
        if (request := self.leasing.to_begin(work)) is not None:
            self._cancel(work, self._begin(work, request))
        self.recording.end_if_over(work)
        if work.scheduled:  # also while a run goes on: what falls due meanwhile is skipped or queued
            self.table.wake(work, self.table.now + work.until_next(self.table.wall_ms))
        if work.run is not None:
            self._queue(work)
        elif not work.scheduled and work.next_request() is None:
            self.table.backlog.remove(work)
            self.table.works.pop(work.key)

    def _queue(self, work: TaskWork) -> None:
        if work.desired.paused:
            self.leasing.revoke(work, drain=True)
        elif work.leasable(self.table.now) is not None:
            self.table.backlog.push(work)
        if (at := work.retry_due(self.table.now)) is not None:
            self.table.wake(work, at)

    def _ended_elsewhere(self, work: TaskWork, run: RunWork) -> bool:
        """Another steward's facts say that the run is over."""
        if not work.finished(run.name):
            return False
        self.leasing.revoke(work, drain=False)
        work.run = None
        return True

    def _cancel(self, work: TaskWork, run: RunWork) -> bool:
        if not work.cancelled(run.request):
            return False
        over = run.cancellable(self.table.now)
        if run.phase != "publish":
            self.leasing.revoke(work, drain=False)
        if not over:
            self.table.wake(work, self.table.now + 1.0)  # a message may be lost, an executor too
            return False
        for shard in run.open_shards():
            shard.state = "cancelled"
            run.ended_unsaid.append(shard.ended(run.token, self.table.wall_ms))
        self.recording.finish(work, run, "cancelled")
        return True

    # ---- beginning a run

    def _begin(self, work: TaskWork, request: Request) -> RunWork:
        """Start a run, or take over one that an earlier steward started."""
        token = self.table.token(work.id.slot)
        sharded = self._sharded(str(work.effective.spec.source["plugin"]))
        run = opened(work, request, token, self.table.wall_ms, sharded=sharded)
        work.run = run
        self.table.unsaid[work.key] = work
        work.due = [ms for ms in work.due if ms != request.at_ms or request.kind != "schedule"]
        facts = work.facts.runs.get(request.run)
        if facts is not None and facts.facts:
            run.restore(facts)
        else:
            prepare(self.table, work, run)
        if facts is not None and not run.solo and request.kind != "letters":
            if not facts.facts and (plan := join.plan_of(facts)):
                run.adopt_plan(plan.shards)
            self.recording.await_own_plan(work, run, facts)
        self.table.notice(work, "running", run=run.name)
        return run
