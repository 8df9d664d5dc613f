"""What executors report becomes facts: progress, ends, retries, the end of a run and its cursor."""

from gossip.identity import NodeId
from node import messages
from node.effects import Send
from node.execution.executor import FINAL
from node.execution.jobs import Report
from node.stewardship.bulk import BulkGroup
from node.stewardship.letters import in_facts, left, letters_from, replayed, superseded
from node.stewardship.preparation import cursor_of
from node.stewardship.run import OPEN, RunWork, ShardWork
from node.stewardship.specs import retry_delay
from node.stewardship.table import Table
from node.stewardship.work import TaskWork, WorkKey
from plugins.high import cursor_after, later
from sharding.key import parse
from state import join, model
from state.entries import RunFacts
from state.model import Cleared, Finished, Letters, Plan, PlannedShard, Progress, Totals

MAX_PLAN = 900 << 10
"""Bytes: a plan is one fact, and no fact may be larger than 1 MiB."""
CLEARED_AT_ONCE = 10_000
"""Ids in one fact: some 200 KB"""
PROGRESS_INTERVAL = 1.0
"""Seconds between progress facts of a run; shorter makes ledgers grow, the sink's position is the truth
anyway.
"""


class Recording:
    """`ended`: works whose run is over, `singled`: bulk reports out of the ordinary; the steward empties
    both.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.finished_tasks = 0
        self.records = 0
        self.ended: list[TaskWork] = []
        self.singled: list[tuple[int, str, int, Report, NodeId]] = []
        self.waiting: dict[int, list[TaskWork]] = {}
        self._planned: list[TaskWork] = []
        self._bulk_dirty: dict[tuple[int, str], float] = {}
        self._progressed: dict[WorkKey, TaskWork] = {}
        """Whose progress is to be written with the next interval"""
        self._next_progress = 0.0

    # ---- reports

    def report(self, sender: NodeId, report: Report) -> None:
        """Record one report. A final one is noted to its sender whatever becomes of it."""
        task = parse(report.key.task)
        if task is None or task.slot not in self.table.mine:
            return
        work = self.table.works.get((task.slot, task.batch, task.place))
        if work is None:
            group = self.table.group_of(task.slot, task.batch, task.place)
            if group is not None:
                self._bulk_report(group, task.place, report, sender)
            return
        run = work.run
        if run is None or run.name != report.key.run:
            return
        shard = run.shard_of(report.key)
        if shard is None or shard.state not in ("pending", "leased", "running"):
            return
        if shard.node != sender and report.state not in ("done", "planned"):
            return
        if report.state == "failed" and report.attempt < shard.attempt:
            return  # said again of an attempt that is counted already
        self._apply(work, run, shard, report)

    def _bulk_report(self, group: BulkGroup, index: int, report: Report, sender: NodeId) -> None:
        """A bulk task's job ended well: a bit. Anything else, such as progress, of which only a job that takes
        long tells: the task gets a TaskWork, and the report again.
        """
        if report.state == "done" and not report.letters and not report.counts.dead:
            group.settle(index, report.counts)
            self.finished_tasks += 1
            self.records += report.counts.written
            self._bulk_dirty.setdefault((group.slot, group.batch), self.table.now)
        else:
            self.singled.append((group.slot, group.batch, index, report, sender))

    def _apply(self, work: TaskWork, run: RunWork, shard: ShardWork, report: Report) -> None:
        self.table.unsaid[work.key] = work
        self._take_letters(work, run, shard, report)
        run.unsure &= report.state not in ("failed", "stopped")
        match report.state:
            case "progress":
                shard.state = "running"
                self._take_position(shard, report)
            case "planned":
                self._planned_run(work, run, report)
            case "done":
                self._take_position(shard, report)
                self._done(work, run, shard)
            case "failed":
                self._take_position(shard, report)
                self._failed(work, run, shard, report)
            case "stopped":
                self._take_position(shard, report)
                shard.release()
                self.table.wake(work, self.table.now)
            case _:
                pass

    def _take_position(self, shard: ShardWork, report: Report) -> None:
        counts, base = report.counts, shard.base
        before = shard.totals.written
        written = base.written + counts.written if report.held is None else report.held + counts.written
        if report.state == "progress" and written < before:
            return  # a later one has overtaken it
        if report.position is not None:
            shard.position = report.position
        skipped, dead = base.skipped + counts.skipped, base.dead + counts.dead
        read = max(base.read + counts.read, written + skipped + dead)
        shard.totals = Totals(read, written, skipped, dead, base.bytes + counts.bytes)
        shard.high = later(shard.high, report.high)
        shard.at_ms = self.table.wall_ms
        self.records += max(0, shard.totals.written - before)

    def _take_letters(self, work: TaskWork, run: RunWork, shard: ShardWork, report: Report) -> None:
        if run.request.kind == "letters":
            self._replayed(work, run, report)
            return
        if report.letters:
            found = letters_from(run.origin or run.name, report.letters, shard.attempt, self.table.wall_ms)
            for some in in_facts(found):
                self.table.write_for(work, "l", run.name, Letters(some), numbered=True)
            run.with_letters += len(found)

    def _replayed(self, work: TaskWork, run: RunWork, report: Report) -> None:
        """What succeeds is to leave the list, when the run is published."""
        originals = left(run.request, work.facts)
        # a report of an attempt that resumed does not name the letters that an earlier one set aside
        # again
        if report.state != "done" or report.counts.read < len(originals):
            return
        again = replayed(run.request, report.letters)
        cleared = [str(item["id"]) for item in originals if item["id"] not in again]
        if cleared:
            self.table.write_for(work, "x", run.name, Cleared(cleared), numbered=True)

    # ---- steps of a run

    def _planned_run(self, work: TaskWork, run: RunWork, report: Report) -> None:
        if run.phase != "plan":
            return
        shards = [PlannedShard(p.key, p.start, p.end, p.affinity, p.weight, p.covers) for p in report.plans]
        plan = Plan(run.token, shards, run.step.node or "")
        if len(model.encode(plan)) > MAX_PLAN:
            error = f"the plan has {len(shards)} shards, too many to record: choose a larger step, or fewer shards"
            self.finish(work, run, "failed", error=error)
            return
        self.table.write_for(work, "p", run.name, plan)
        run.phase = "wait"
        run.step.state = "succeeded"
        self._planned.append(work)

    def flush_plans(self, tickets: dict[int, int]) -> None:
        """The plans that were just written: go on when they are durable."""
        for work in self._planned:
            ticket = tickets.get(work.id.slot)
            if ticket is not None:
                self.waiting.setdefault(ticket, []).append(work)
        self._planned = []

    def settled(self, ticket: int) -> list[TaskWork]:
        """Works whose plan is durable now."""
        return self.waiting.pop(ticket, [])

    def await_own_plan(self, work: TaskWork, run: RunWork, facts: RunFacts) -> None:
        """A run that this life gave away and has back: its plan may be on no disk yet."""
        if self.table.writer in facts.plans and run.phase == "shards" and self.table.replicator.unsettled:
            run.phase = "wait"
            barrier = self.table.replicator.write(work.id.slot, (), self.table.now)
            self.waiting[barrier] = [work]

    def wait_on(self, ticket: int) -> None:
        """The disk was too slow for the ticket: an empty write, which is durable after all before it, takes over.

        A plan that is leased and then lost with a crash would be made again with other shards, and what the first
        ones had committed would be collected twice.
        """
        works = self.settled(ticket)
        if works:
            barrier = self.table.replicator.write(works[0].id.slot, (), self.table.now)
            self.waiting[barrier] = works

    def _done(self, work: TaskWork, run: RunWork, shard: ShardWork) -> None:
        shard.state, shard.error, shard.code = "succeeded", "", ""
        if shard is run.step:
            run.published = True
            if run.failed():
                self.finish(work, run, "failed", error=_failure(run))
            else:
                self.finish(work, run, _good_end(work, run))
            return
        run.ended_unsaid.append(shard.ended(run.token, self.table.wall_ms))
        if run.solo:
            run.published = True
            self.finish(work, run, _good_end(work, run))
        else:
            self._next_step(work, run)

    def _failed(self, work: TaskWork, run: RunWork, shard: ShardWork, report: Report) -> None:
        shard.error, shard.code = report.error, report.code
        shard.count_failure()
        retry = work.effective.retry
        if report.retryable and shard.in_vain < retry.attempts:
            delay = retry_delay(retry, shard.in_vain, self.table.rng, after=report.after)
            shard.release()
            shard.attempt += 1
            shard.retry_at = self.table.now + delay
            shard.retry_ms = self.table.wall_ms + int(delay * 1000)
            self.table.wake(work, shard.retry_at)
            self.table.notice(work, "retrying", shard=shard.key, error=report.error, after=round(delay, 3))
            return
        shard.state = "failed"
        run.error = report.error
        if shard is run.step:
            self.finish(work, run, "failed", error=report.error)
            return
        run.ended_unsaid.append(shard.ended(run.token, self.table.wall_ms))
        self._next_step(work, run)

    def _next_step(self, work: TaskWork, run: RunWork) -> None:
        """A shard ended: publish when all are done; give up when all are over and one failed."""
        run.advance()
        self.table.paced[work.key] = work
        if run.phase == "shards" and not run.open_shards():
            self.finish(work, run, "failed", error=_failure(run))
        else:
            self.table.wake(work, self.table.now)

    def end_if_over(self, work: TaskWork) -> None:
        """A run that was taken over between the end of its last shard and its own."""
        run = work.run
        if run is None or run.phase != "shards" or run.open_shards():
            return
        if run.failed() or (not run.solo and run.adrift()):
            self.finish(work, run, "failed", error=_failure(run))
        elif run.solo:
            run.published = True
            self.finish(work, run, _good_end(work, run))

    def finish(self, work: TaskWork, run: RunWork, state: str, *, error: str = "") -> None:
        """The run is over; its cursor moves now, once, if it succeeded."""
        cursor = None
        if state in ("succeeded", "partial") and run.effective.spec.incremental is not None:
            before = cursor_of(work, run.generation)  # not `since`: nobody has seen what the first starts at
            cursor = cursor_after(before, (shard.high for shard in run.shards.values()))
        self._say_ended(work, run)
        if state in ("succeeded", "partial") and run.replaces:
            old = superseded(work.facts, run.name, run.origin or run.name)
            for start in range(0, len(old), CLEARED_AT_ONCE):
                ids = old[start : start + CLEARED_AT_ONCE]
                self.table.write_for(work, "x", run.name, Cleared(ids), numbered=True)
        fact = run.fact(state, finished_ms=self.table.wall_ms, cursor=cursor, error=error)
        self.table.write_for(work, "r", run.name, fact)
        work.run = None
        work.end(run.name)
        self.finished_tasks += 1
        self.ended.append(work)
        self.table.notice(work, state, run=run.name, error=error or None)

    # ---- flushing

    @property
    def due(self) -> bool:
        """Whether a flush may have something to do."""
        progress = self._progressed and self.table.now >= self._next_progress
        return bool(progress or self.ended or self._planned or self._bulk_dirty)

    def flush(self) -> None:
        """Write the facts that are due: ends at once, bulk outcomes when gathered, progress after a second."""
        self._flush_bulk()
        unsaid, self.table.unsaid = self.table.unsaid, {}
        for work in unsaid.values():
            run = work.run
            if run is None:
                continue
            self._say_ended(work, run)
            if run.facts_dirty:
                run.facts_dirty = False
                self.table.write_for(work, "r", run.name, run.fact("running"))
        if unsaid and not self._progressed:
            self._next_progress = self.table.now + PROGRESS_INTERVAL
        self._progressed |= unsaid
        if self.table.now >= self._next_progress:
            progressed, self._progressed = self._progressed, {}
            for work in progressed.values():
                if work.run is not None:
                    self._say_progress(work, work.run)

    def _say_progress(self, work: TaskWork, run: RunWork) -> None:
        units = [*run.shards.values(), run.step] if run.step.error else list(run.shards.values())
        live = {
            shard.key: shard.live(run.token)
            for shard in units
            if shard.state in OPEN and (shard.state != "pending" or shard.error or shard.position is not None)
        }
        if live:
            self.table.write_for(work, "q", run.name, Progress(live))

    def _say_ended(self, work: TaskWork, run: RunWork) -> None:
        if run.ended_unsaid:
            self.table.write_for(work, "d", run.name, Finished(run.ended_unsaid), numbered=True)
            run.ended_unsaid = []

    def _flush_bulk(self) -> None:
        """Outcomes are written when their group has nothing leased any more, or 50 ms after the first of
        them.
        """
        for where, since in list(self._bulk_dirty.items()):
            slot, batch = where
            groups = self.table.bulk.get(where, [])
            if any(group.leased for group in groups) and self.table.now - since < 0.05:
                continue
            del self._bulk_dirty[where]
            for group in groups:
                self.table.notice_bulk(group)
                outcomes = group.take_outcomes(self.table.wall_ms)
                if outcomes is not None:
                    key = model.key_of("o", batch, self.table.writer, self.table.serial())
                    self.table.write(slot, batch, key, outcomes)
            left = [group for group in groups if len(group)]
            if left:
                self.table.bulk[where] = left
            else:
                self.table.bulk.pop(where, None)


def _good_end(work: TaskWork, run: RunWork) -> str:
    """How a run ends whose shards are done: `partial` where records were set aside, of a replay also while any letter
    of the task is left in the list.
    """
    replay = run.request.kind == "letters"
    left = run.totals().dead or join.letters_of(work.facts, run.name) if replay else run.with_letters
    return "partial" if left else "succeeded"


def _failure(run: RunWork) -> str:
    failed = run.failed()
    if not failed:
        return run.adrift()
    return f"{len(failed)} of {len(run.shards)} shards failed: {failed[0].error}"


def noted(sender: NodeId, reports: list[Report]) -> Send | None:
    """The answer to final reports."""
    keys = [report.key for report in reports if report.state in FINAL]
    return Send(sender, messages.Noted(keys)) if keys else None
