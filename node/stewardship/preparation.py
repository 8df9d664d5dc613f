"""What a new run starts from: the cursor, the gaps, or the run that it retries."""

from node.stewardship.letters import left
from node.stewardship.run import RunWork
from node.stewardship.specs import lower_bound, wanted_ranges
from node.stewardship.table import Table
from node.stewardship.work import TaskWork
from plugins import ordering
from state import join
from state.coverage import gaps
from state.join import Request
from state.model import Plan, PlannedShard, Token


def opened(work: TaskWork, request: Request, token: Token, now_ms: int, *, sharded: bool) -> RunWork:
    """A run that begins here. `sharded`: whether the collector shards its runs; what one over a range covers is known
    from its plan, so that has one in any case. Of a replay of letters the plan is known.
    """
    replay = request.kind == "letters"
    solo = not replay and work.effective.spec.mode != "range" and not sharded
    run = RunWork(request, work.effective, token, now_ms, solo=solo)
    if replay:
        run.adopt_plan([PlannedShard("letters")] if left(request, work.facts) else [])
    return run


def prepare(table: Table, work: TaskWork, run: RunWork) -> None:
    """What a new run starts from: the cursor, the gaps, or the run that it retries."""
    spec = run.effective.spec
    if run.request.kind == "letters":
        run.advance()
        return
    if run.request.origin and not _overtaken(work, run):
        _retry_of(table, work, run)
        return
    if spec.mode == "incremental":
        run.since = lower_bound(spec, cursor_of(work, run.generation))
    elif spec.mode == "range":
        force = bool(run.request.arguments.get("force"))
        run.ranges = wanted_ranges(spec, covered_by(work, run.generation), force=force)
        if not run.ranges:
            run.adopt_plan([])
            run.advance()


def _overtaken(work: TaskWork, run: RunWork) -> bool:
    """Whether what the failed run set out to do is done, or is no longer what the task says: a run that ended later
    has collected it, or the task was replaced. Such a retry is a run like any other, lest rows are collected twice.
    """
    name = run.request.origin
    facts = {known: fact for known, of in work.facts.runs.items() if (fact := join.run_fact(of.facts))}
    if (failed := facts.get(name)) is None:
        return False
    replays = {request.run for request in work.desired.requests if request.kind == "letters"}
    later = [
        known
        for known, fact in facts.items()
        if fact.published
        and fact.generation == failed.generation
        and (fact.origin or known) != (failed.origin or name)
        and (known > name or fact.finished_ms > failed.finished_ms)
        and known not in replays
    ]
    if failed.generation != run.generation or not later or run.effective.spec.mode != "range":
        return failed.generation != run.generation or bool(later)
    covered = [part for of, part in join.covered(work.facts, run.generation) if of in later]
    return gaps(failed.ranges, covered, ordering.parse) != gaps(failed.ranges, [], ordering.parse)


def _retry_of(table: Table, work: TaskWork, run: RunWork) -> None:
    """Take over the plan and the positions of the run that is retried; what it finished stays
    finished.
    """
    before = work.facts.runs.get(run.request.origin)
    known = join.run_fact(before.facts) if before is not None else None
    run.origin = (known.origin if known is not None else "") or run.request.origin
    if before is None or known is None:
        return
    run.since, run.ranges, run.generation = known.since, list(known.ranges), known.generation
    plan = join.plan_of(before)
    if plan is not None and not run.solo:
        run.adopt_plan(plan.shards)
        table.write_for(work, "p", run.name, Plan(run.token, plan.shards, plan.node))
    for shard in run.shards.values():
        ended = before.ended.get(shard.key)
        if ended is not None and ended.state == "succeeded" and not run.solo:
            shard.restore_end(ended)
            run.ended_unsaid.append(ended)
        elif ended is not None:
            shard.position, shard.high = ended.position, ended.high
            shard.base = shard.totals = ended.totals
    run.advance()


def cursor_of(work: TaskWork, generation: int) -> object:
    """The highest cursor that a succeeded run of this generation left."""
    cursor: object = None
    for name in sorted(work.facts.runs):
        fact = join.run_fact(work.facts.runs[name].facts)
        if fact is not None and fact.generation == generation:
            cursor = ordering.highest(cursor, fact.cursor)
    return cursor


def covered_by(work: TaskWork, generation: int) -> list[tuple[object, object]]:
    """The ranges that finished shards of this generation's runs cover, as they are."""
    return [part for _, part in join.covered(work.facts, generation)]
