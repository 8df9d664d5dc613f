"""What an executor is told of a shard that it gets."""

from node.execution.jobs import Job
from node.schema import RangeSpec
from node.stewardship.letters import records
from node.stewardship.run import RunWork, ShardWork
from node.stewardship.work import TaskWork
from plugins.api import Range, ShardPlan
from state.model import PlannedShard


def job_of(work: TaskWork, run: RunWork, shard: ShardWork, *, nodes: int) -> Job:
    """The shard that is leased now, at its rate. `nodes`: how many are alive. What tells of all shards goes to who
    publishes, and not to each of thousands.
    """
    spec = run.effective.spec
    limits = work.effective.limits
    publishes = run.solo or (shard is run.step and run.phase == "publish")
    return Job(
        key=run.job_key(str(work.id), shard),
        tenant=work.tenant,
        spec=run.effective.raw,
        token=run.token,
        attempt=shard.attempt,
        generation=run.generation,
        mode=spec.mode,
        range=_range(spec.range) if spec.range is not None else None,
        ranges=tuple((a, b) for a, b in run.ranges),
        since=run.lower_bound,
        hints={"shards": limits.shards or 4 * max(1, nodes)},
        plan=None if shard is run.step or run.solo else _shard_plan(shard.plan),
        resume=shard.position,
        rate=shard.rate,
        dead_budget=max(0, spec.errors.max - run.with_letters) if spec.errors.dead_letters else 0,
        letters=records(run.request, work.facts) if run.request.kind == "letters" else (),
        shards=_finished(run) if publishes else (),
        complete=not publishes or not run.failed(),
        records=run.totals().written if publishes else 0,
        replaces=spec.mode == "full" and run.request.kind != "letters",
        origin=run.origin,
        pause=work.pauses,
        high=shard.high,
    )


def _finished(run: RunWork) -> tuple[str, ...]:
    return tuple(sorted(key for key, s in run.shards.items() if s.state == "succeeded" or run.solo))


def _range(section: RangeSpec) -> Range:
    return Range(field=section.field, from_=section.from_, to=section.to, step=section.step)


def _shard_plan(plan: PlannedShard) -> ShardPlan:
    return ShardPlan(
        key=plan.key,
        start=plan.start,
        end=plan.end,
        affinity=plan.affinity,
        weight=plan.weight,
        covers=plan.covers,
    )
