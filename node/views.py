"""What people are shown of a task: facts and, at its steward, the work under way, read into the shapes of
`schema`.

Pure: everything comes from the core's memory; `wall_ms` is the time of the answer.
"""

import datetime as dt
import functools

import msgspec

from gossip.identity import NodeId
from node.core import Core
from node.leases.reason import held_back
from node.progress import share_done, time_left
from node.schema import Coverage, DeadLetterItem, ErrorEntry, Records, Run, Shard, Task
from node.stewardship.preparation import covered_by, cursor_of
from node.stewardship.run import RunWork
from node.stewardship.specs import Effective, effective
from node.stewardship.work import TaskWork
from plugins import ordering
from sharding.key import TaskId
from state import coverage as ranges
from state import join
from state.entries import Batch, RunFacts, TaskFacts
from state.join import Desired, Request
from state.ledger import Ledger
from state.model import FIRST_RUN, Ended, Live, PlannedShard, Totals

NO_FACTS = TaskFacts()


@functools.lru_cache(maxsize=256)
def instant(ms: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return (
        dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


class TaskReader:
    """One task, read at one moment. Raises KeyError when it is not here."""

    def __init__(self, core: Core, task: TaskId, wall_ms: int, ledger: Ledger | None = None) -> None:
        """`ledger`: where its facts are, if not in the core's memory."""
        ledger = ledger or core.replicator.ledgers[task.slot]
        self.entry: Batch = ledger.batches[task.batch]
        if task.place not in self.entry.present:
            raise KeyError(str(task))
        self.core, self.id, self.wall_ms = core, task, wall_ms
        self.facts = self.entry.tasks.get(task.place, NO_FACTS)
        self.desired: Desired = join.desired(self.facts.wishes)
        self._ledger = ledger
        self.work: TaskWork = core.table.works.get((task.slot, task.batch, task.place)) or TaskWork(
            task, self.entry, self.effective, self.desired
        )
        self.live_run: RunWork | None = self.work.run

    @functools.cached_property
    def raw(self) -> bytes:
        """The spec as it was submitted; read from the document, so only where it is needed."""
        return self._ledger.spec(self.id.batch, self.id.place)

    @functools.cached_property
    def effective(self) -> Effective:
        return effective(self.raw, self.desired)

    # ---- state

    def state(self) -> tuple[str, str | None]:
        """The task's state and, for people, why."""
        request = self.work.next_request()
        started = self._started(request)
        if self.desired.paused and (request is not None or self.work.scheduled):
            stopping = len(self.live_run.leased()) if self.live_run is not None else 0
            by = f" by {self.desired.paused_by}" if self.desired.paused_by else ""
            more = f"; {stopping} shards are committing what they have" if stopping else ""
            return "paused", f"paused{by}{more}"
        if started:
            return "running", held_back(self.core, self.work) or self._running_reason()
        if request is not None and request.kind != "schedule":
            return "pending", held_back(self.core, self.work)
        if self.work.scheduled:
            waits = held_back(self.core, self.work) if request is not None else None
            return "scheduled", waits or self._last_reason()
        return self._last()

    def _started(self, request: Request | None) -> bool:
        if self.live_run is not None:
            return self.live_run.phase != "plan" or bool(self.live_run.leased())
        if request is None:
            return self.work.ending
        run = self.facts.runs.get(request.run)
        if run is not None and run.facts:
            return True
        return self.core.table.group_of(self.id.slot, self.id.batch, self.id.place) is not None

    def _running_reason(self) -> str | None:
        run = self.live_run
        if run is None:
            return None
        failing = [
            s
            for s in (*run.shards.values(), run.step)
            if s.error and s.state in ("pending", "leased", "running")
        ]
        if failing:
            shard = failing[0]
            return f"shard {shard.key}: {shard.error} (attempt {shard.attempt})"
        return {"plan": "being planned", "wait": "being planned", "publish": "being published"}.get(run.phase)

    def _last_reason(self) -> str | None:
        state, reason = self._last()
        return f"last run {state}" + (f": {reason}" if reason else "") if self._ended_runs() else None

    def _last(self) -> tuple[str, str | None]:
        ended = self._ended_runs()
        if self.desired.cancelled_at >= 0 and self.effective.spec.schedule is not None:
            return "cancelled", None
        if ended and not (self.desired.cancelled_at >= 0 and ended[-1].state == "failed"):
            return ended[-1].state, ended[-1].error
        return "cancelled", "cancelled before it ran" if not ended else None

    def _ended_runs(self) -> list[Run]:
        return [run for run in self.runs() if run.state in join.TERMINAL]

    # ---- runs

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        found = [self._first_packed()] if self.id.place in self.entry.done else []
        names = set(self.facts.runs)
        if self.live_run is not None:
            names.add(self.live_run.name)
        found += [self._run(name) for name in names if not (found and name == FIRST_RUN)]
        return sorted(found, key=lambda run: (run.started_at or "", run.scheduled_at or "", run.id))

    def _first_packed(self) -> Run:
        outcome = self.entry.outcome(self.id.place)
        assert outcome is not None
        group, at = outcome.group, instant(outcome.at_ms)
        created = instant(self.entry.created_ms)
        return Run(
            id=FIRST_RUN,
            state=group.state,
            scheduled_at=created,
            started_at=created,
            finished_at=at,
            shards={group.state: 1},
            records=Records(group.read, group.written, group.skipped),
            bytes=group.bytes,
            progress=1.0,
        )

    def _run(self, name: str) -> Run:
        facts = self.facts.runs.get(name) or RunFacts()
        live = self.live_run if self.live_run is not None and self.live_run.name == name else None
        known = join.run_fact(facts.facts)
        shards = self._shard_states(name)
        states: dict[str, int] = {}
        for state, *_ in shards.values():
            states[state] = states.get(state, 0) + 1
        totals = live.totals() if live is not None else join.totals(facts)
        ended = known is not None and known.state in join.TERMINAL
        if known is not None and ended:
            totals = known.totals if known.published else _most(totals, known.totals)
        state = (
            known.state
            if known is not None and ended
            else "running"
            if live is not None or known is not None
            else "pending"
        )
        started_ms = live.started_ms if live is not None else known.started_ms if known is not None else 0
        progress = 1.0 if state in ("succeeded", "partial") else share_done(shards.values())
        seconds = ((known.finished_ms if known is not None and ended else self.wall_ms) - started_ms) / 1000
        return Run(
            id=name,
            state=state,
            scheduled_at=instant(known.scheduled_ms if known is not None else started_ms),
            started_at=instant(started_ms) if started_ms else None,
            finished_at=instant(known.finished_ms) if known is not None and ended else None,
            shards=states,
            records=Records(totals.read, totals.written, totals.skipped, totals.dead),
            bytes=totals.bytes,
            progress=progress,
            rate=round(totals.read / seconds, 1) if seconds > 0 and totals.read else None,
            eta_s=time_left(progress, seconds) if state == "running" else None,
            error=(known.error or None)
            if known is not None and ended
            else (live.error or None)
            if live is not None
            else None,
        )

    def _shard_states(self, name: str) -> dict[str, tuple[str, PlannedShard, Live | Ended | None]]:
        """Shard key -> (state, plan, what is known of it)."""
        facts = self.facts.runs.get(name) or RunFacts()
        live = self.live_run if self.live_run is not None and self.live_run.name == name else None
        if live is not None:
            return {s.key: (s.state, s.plan, s.live(live.token)) for s in live.shards.values()}
        plan, running = join.plan_of(facts), join.live_shards(facts)
        plans = {shard.key: shard for shard in plan.shards} if plan is not None else {}
        for key in (*running, *facts.ended):
            if key not in ("plan", "publish"):
                plans.setdefault(key, PlannedShard(key))
        over = (known := join.run_fact(facts.facts)) is not None and known.state in join.TERMINAL
        result: dict[str, tuple[str, PlannedShard, Live | Ended | None]] = {}
        for key, shard in plans.items():
            known_shard = facts.ended.get(key) or running.get(key)
            state = known_shard.state if known_shard is not None else "pending"
            if over and state in ("pending", "leased", "running"):
                state = "cancelled" if known is not None and known.state == "cancelled" else "failed"
            result[key] = (state, shard, known_shard)
        return result

    def current_run(self) -> Run | None:
        runs = self.runs()
        return next(
            (run for run in reversed(runs) if run.state not in join.TERMINAL), runs[-1] if runs else None
        )

    # ---- the shapes

    def task(self) -> Task:
        state, reason = self.state()
        spec = self.effective.spec
        run = self.current_run()
        updated = max(self.entry.created_ms, self.desired.updated_ms, _run_ms(run))
        shown = {**msgspec.to_builtins(spec), "priority": self.effective.priority}
        if self.desired.limits is not None:
            shown["limits"] = msgspec.to_builtins(self.effective.limits)
        if self.desired.retry is not None:
            shown["retry"] = msgspec.to_builtins(self.effective.retry)
        return Task(
            id=str(self.id),
            name=self.entry.name,
            tenant=self.entry.tenant,
            region=self.id.region,
            mode=spec.mode,
            priority=self.effective.priority,
            state=state,
            reason=reason,
            revision=self.desired.revision,
            created_at=instant(self.entry.created_ms),
            updated_at=instant(updated),
            next_run_at=self._next_run_at(),
            steward=self.core.steward_of(self.id.slot),
            spec=shown,
            run=run,
            as_of=instant(self.wall_ms),
            warnings=[self._lost(ms, origin) for ms, origin in self.entry.lost],
        )

    def _lost(self, ms: int, origin: str) -> str:
        node, what = self.core.ownership.members.get(NodeId(origin)), self.entry.name and "name"
        through = f"at {instant(ms)}, through node {node.meta.name if node is not None else origin}"
        request = f"another request with this {what or 'Idempotency-Key'} and another spec"
        return f"{request} was accepted {through}: this one counts, but a run that began may be of the other"

    def _next_run_at(self) -> str | None:
        if not self.work.scheduled or self.desired.paused:
            return None
        return instant(self.work.next_after(max(self.work.last_scheduled_ms(), self.wall_ms)))

    def shards(self, name: str | None) -> list[Shard]:
        """The shards of a run (None: the current one), in plan order."""
        run = name or (current.id if (current := self.current_run()) is not None else None)
        if run is None:
            return []
        if run == FIRST_RUN and self.id.place in self.entry.done:
            packed = self._first_packed()
            return [
                Shard(id="0", run=run, state=packed.state, node=None, token=None, attempt=1, from_=None, to=None,
                      position=None, records=packed.records, error=None)
            ]  # fmt: skip
        found = []
        for key, (state, plan, known) in self._shard_states(run).items():
            totals = known.totals if known is not None else Totals()
            low, high = plan.covers if plan.covers is not None else (plan.start, plan.end)
            found.append(
                Shard(
                    id=key,
                    run=run,
                    state=state,
                    node=(known.node or None) if known is not None else None,
                    token=list(known.token) if known is not None else None,
                    attempt=known.attempt if known is not None else 1,
                    from_=low,
                    to=high,
                    position=known.position if known is not None else None,
                    records=Records(totals.read, totals.written, totals.skipped, totals.dead),
                    error=(known.error or None) if known is not None else None,
                )
            )
        return found

    def coverage(self) -> Coverage:
        spec = self.effective.spec
        covered = covered_by(self.work, self.effective.generation)
        section = spec.range
        wanted = [section.from_, section.to] if section is not None else None
        missing = ranges.gaps([(wanted[0], wanted[1])], covered, ordering.parse) if wanted else []
        field = (
            section.field
            if section is not None
            else spec.incremental.field
            if spec.incremental is not None
            else None
        )
        return Coverage(
            task=str(self.id),
            field=field,
            wanted=wanted,
            covered=[list(part) for part in ranges.joined(covered, ordering.parse)],
            gaps=[list(part) for part in missing],
            overlaps=[list(part) for part in ranges.overlaps(covered, ordering.parse)],
            cursor=ordering.plain(cursor_of(self.work, self.effective.generation)),
        )

    def errors(self) -> list[ErrorEntry]:
        """What failed in the current run and is not done with, then the dead letters grouped by reason."""
        entries = []
        run = self.current_run()
        if run is not None:
            for key, (state, _, known) in self._shard_states(run.id).items():
                if known is not None and known.error and state != "succeeded":
                    entries.append(self._error(run.id, key, known, "shard"))
            live = self.live_run
            if live is not None and live.step.error:
                entries.append(self._error(run.id, "", live.step.live(live.token), live.step.key))
            elif run.error and not entries:
                entries.append(
                    ErrorEntry(run=run.id, shard="", step="run", code="failed", reason=run.error, count=1,
                               at=run.finished_at or instant(self.wall_ms))
                )  # fmt: skip
        return [*entries, *self._letter_groups()]

    @staticmethod
    def _error(run: str, shard: str, known: Live | Ended, step: str) -> ErrorEntry:
        retry_ms = known.retry_ms if isinstance(known, Live) else 0
        return ErrorEntry(
            run=run, shard=shard, step=step, code=known.code, reason=known.error, count=known.attempt,
            at=instant(known.at_ms), attempt=known.attempt, node=known.node or None,
            retry_at=instant(retry_ms) if retry_ms else None,
        )  # fmt: skip

    def _letter_groups(self) -> list[ErrorEntry]:
        groups: dict[tuple[str, str, str, str], ErrorEntry] = {}
        for run, letter in join.letters_of(self.facts):
            key = (run, letter.step, letter.code, letter.reason)
            at = instant(letter.at_ms)
            known = groups.get(key)
            if known is None:
                groups[key] = ErrorEntry(run=run, shard=letter.shard, step=letter.step, code=letter.code,
                                         reason=letter.reason, count=1, at=at)  # fmt: skip
            else:
                known.count += 1
                known.at = max(known.at, at)
        return list(groups.values())

    def dead_letters(self) -> list[DeadLetterItem]:
        return [
            DeadLetterItem(
                version=1, id=letter.id, task=str(self.id), run=run, shard=letter.shard, stream=letter.stream,
                position=letter.position, step=letter.step, code=letter.code, reason=letter.reason,
                attempts=letter.attempts, at=instant(letter.at_ms), record=letter.record,
            )
            for run, letter in join.letters_of(self.facts)
        ]  # fmt: skip


def _most(first: Totals, second: Totals) -> Totals:
    return max(first, second, key=lambda totals: (totals.written, totals.read))


def _run_ms(run: Run | None) -> int:
    text = (run.finished_at or run.started_at) if run is not None else None
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000) if text else 0
