"""Which leases an executor takes, and how long it repeats what became of them."""

import itertools

import msgspec
import pytest

from gossip.identity import NodeId
from node import messages
from node.effects import Effect, Rate, Run, Send, Stop
from node.execution.executor import HOLDING_INTERVAL, MAX_SOLO, REPEAT, Credit, Executor
from node.execution.jobs import Job, JobKey, Report
from node.leases.gate import Gate
from sharding.key import TaskId

ME, OLD, NEW = NodeId("me"), NodeId("old"), NodeId("new")


class Bench:
    def __init__(self, concurrency: int = 4) -> None:
        self.steward: NodeId | None = OLD
        self.executor = Executor(ME, concurrency=concurrency, steward_of=lambda _: self.steward)
        self.executor.members(frozenset({ME, OLD, NEW}))
        self.executor.flush()
        self.names = itertools.count()

    def job(self, name: str = "", *, kind: str = "shard", epoch: int = 1, attempt: int = 1) -> Job:
        key = JobKey(name or f"t{next(self.names)}", "run", kind, "0")
        return Job(key=key, tenant="t", spec=b"{}", token=(epoch, "n", 1), attempt=attempt)

    def lease(self, job: Job, owner: NodeId = OLD, now: float = 0.0) -> list[Effect]:
        self.executor.lease(owner, [job], now)
        return self.executor.flush()[0]

    def say(
        self, job: Job, state: str, now: float = 0.0, *, seconds: float = 0.0
    ) -> list[tuple[NodeId, Report]]:
        """The runner's report; what goes out of it, to whom."""
        self.executor.report(Report(key=job.key, state=state, token=(0, "", 0), seconds=seconds), now)
        return self.reports()

    def reports(self) -> list[tuple[NodeId, Report]]:
        effects, own = self.executor.flush()
        out = [(ME, report) for report in own]
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, messages.Reports):
                out += [(effect.to, report) for report in effect.message.reports]
        return out

    def tick(self, now: float) -> list[tuple[NodeId, Report]]:
        self.executor.tick(now)
        return self.reports()


def test_a_lease_is_run_once_and_its_reports_bear_its_token() -> None:
    bench = Bench()
    job = bench.job()
    assert bench.lease(job) == [Run([job])]
    assert bench.lease(job) == []
    ((to, report),) = bench.say(job, "progress")
    assert (to, report.token, report.state) == (OLD, job.token, "progress")


def test_a_job_leased_again_by_a_newer_steward_goes_on_under_it() -> None:
    bench = Bench()
    job = bench.job("t")
    bench.lease(job)
    assert bench.lease(bench.job("t", epoch=2), NEW) == []
    assert bench.lease(bench.job("t", epoch=1), OLD) == []
    ((to, report),) = bench.say(job, "done")
    assert (to, report.token[0]) == (NEW, 2)


@pytest.mark.parametrize(
    ("resume", "held", "told"),
    [(9, None, 12), (32, None, None), (32, 5, 12)],
    ids=["its own", "another's", "the sink's"],
)
def test_where_another_execution_was_nobody_is_taken_back(
    resume: int, held: int | None, told: int | None
) -> None:
    """It was leased again from where an execution elsewhere had come, while it went on from where it had begun."""
    bench = Bench()
    job = bench.job("t")
    bench.lease(job)
    bench.executor.report(Report(key=job.key, state="progress", token=job.token, position=9), 0.0)
    bench.lease(msgspec.structs.replace(bench.job("t", epoch=2), resume=resume), NEW)
    bench.executor.report(Report(key=job.key, state="stopped", token=job.token, position=12, held=held), 0.0)
    assert [report.position for _, report in bench.reports()] == [told]


def test_a_revoke_by_an_older_steward_is_not_obeyed() -> None:
    bench = Bench()
    bench.lease(bench.job("t", epoch=2))
    key = bench.job("t").key
    bench.executor.revoke([key], (1, "n", 1), drain=True)
    assert bench.executor.flush()[0] == []
    bench.executor.revoke([key], (2, "n", 1), drain=False)
    bench.executor.revoke([key, bench.job("other").key], (3, "n", 1), drain=False)
    assert bench.executor.flush()[0] == [Stop(key, drain=False)]


def test_a_final_report_is_repeated_until_it_is_noted() -> None:
    bench = Bench()
    job = bench.job()
    bench.lease(job)
    bench.say(job, "done")
    now, said = 0.0, []
    while now < 5 * REPEAT:
        now += 0.1
        said += bench.tick(now)
    assert 3 <= len(said) <= 5
    assert {(to, report.state) for to, report in said} == {(OLD, "done")}
    bench.executor.noted([job.key])
    assert bench.tick(now + 2 * REPEAT) == []


def test_it_is_repeated_to_whoever_stewards_by_then() -> None:
    bench = Bench()
    job = bench.job()
    bench.lease(job)
    bench.say(job, "done")
    bench.steward = NEW
    assert [to for to, _ in bench.tick(2 * REPEAT)] == [NEW]
    bench.steward = None
    assert [to for to, _ in bench.tick(4 * REPEAT)] == [NEW]


def test_a_lease_of_what_has_ended_here_is_answered_and_not_run_again() -> None:
    bench = Bench()
    bench.lease(bench.job("t"))
    bench.say(bench.job("t"), "done")
    effects = bench.lease(bench.job("t", epoch=2), NEW)
    (answer,) = [e for e in effects if isinstance(e, Send)]
    assert answer.to == NEW
    assert isinstance(answer.message, messages.Reports)
    assert [(r.state, r.token[0]) for r in answer.message.reports] == [("done", 2)]
    assert not [e for e in effects if isinstance(e, Run)]


def test_a_next_attempt_is_run() -> None:
    bench = Bench()
    bench.lease(bench.job("t"))
    bench.say(bench.job("t"), "failed")
    again = bench.job("t", attempt=2)
    assert bench.lease(again) == [Run([again])]
    assert bench.tick(2 * REPEAT) == []


def test_a_job_that_was_stopped_is_run_when_it_is_leased_again() -> None:
    """Paused, stopped and resumed before anybody has noted the stop: the attempt is still the same."""
    bench = Bench()
    bench.lease(bench.job("t"))
    bench.say(bench.job("t"), "stopped")
    again = bench.job("t")
    assert bench.lease(again) == [Run([again])]


def test_reports_of_unknown_jobs_go_nowhere() -> None:
    bench = Bench()
    assert bench.say(bench.job(), "done") == []


def test_long_jobs_are_bounded_by_the_concurrency() -> None:
    bench = Bench(concurrency=4)
    jobs = [bench.job() for _ in range(6)]
    for left, job in enumerate(jobs[:4]):
        assert bench.executor.credit().other == 4 - left
        bench.lease(job)
    for job in jobs[4:]:  # a steward that did not know better
        bench.lease(job)
    assert bench.executor.credit().other == 0
    bench.say(jobs[0], "done")
    assert bench.executor.credit().other == 0
    for job in jobs[1:]:
        bench.say(job, "done")
    assert bench.executor.credit().other == 4


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(10.0, 4, 4), (0.0, MAX_SOLO, MAX_SOLO), (0.004, 80, 120)]
)
def test_short_jobs_are_taken_by_how_long_they_take(seconds: float, least: int, most: int) -> None:
    bench = Bench(concurrency=4)
    for _ in range(300):
        job = bench.job(kind="solo")
        bench.lease(job)
        bench.say(job, "done", seconds=seconds)
        bench.executor.noted([job.key])
    assert least <= bench.executor.credit().solo <= most
    taken = [bench.job(kind="solo") for _ in range(3)]
    before = bench.executor.credit()
    for job in taken:
        bench.lease(job)
    assert bench.executor.credit() == (before.solo - 3, before.other)


def test_a_paused_node_drains_and_takes_nothing() -> None:
    bench = Bench()
    job = bench.job()
    bench.lease(job)
    bench.executor.pause(paused=True)
    assert bench.executor.credit() == Credit(0, 0)
    assert bench.executor.flush()[0] == [Stop(job.key, drain=True)]
    bench.executor.pause(paused=True)
    assert bench.executor.flush()[0] == []
    bench.say(job, "stopped")
    bench.executor.pause(paused=False)
    assert bench.executor.credit().other == 4


def test_owners_are_told_what_is_held_and_peers_what_is_free() -> None:
    bench = Bench()
    job = bench.job()
    bench.lease(job)
    bench.executor.tick(3 * HOLDING_INTERVAL)
    effects, _ = bench.executor.flush()
    held = {
        e.to: e.message.keys
        for e in effects
        if isinstance(e, Send) and isinstance(e.message, messages.Holding)
    }
    assert held == {OLD: [job.key], NEW: []}
    credit = {
        e.to: e.message.credit
        for e in effects
        if isinstance(e, Send) and isinstance(e.message, messages.Reports)
    }
    assert set(credit) == {OLD, NEW}
    assert all(given[1] <= 3 for given in credit.values())


def test_each_of_many_peers_has_room_for_one_job_while_there_is_any() -> None:
    """Shares that are rounded down are nothing for everybody, and a job that may run here alone never ran."""
    bench = Bench(concurrency=4)
    peers = frozenset(NodeId(f"peer-{number}") for number in range(9))
    bench.executor.members(peers | {ME})
    for _ in range(300):
        job = bench.job(kind="solo")
        bench.lease(job)
        bench.say(job, "done", seconds=10.0)
        bench.executor.noted([job.key])
    assert _told(bench, HOLDING_INTERVAL) == dict.fromkeys(peers, Credit(1, 1))
    taken = [bench.job(kind="solo") for _ in range(4)]
    for job in taken:
        bench.lease(job)
    assert _told(bench, 2 * HOLDING_INTERVAL) == dict.fromkeys(peers | {OLD}, Credit(0, 1))


def _told(bench: Bench, now: float) -> dict[NodeId, Credit]:
    """What each peer hears of the room here."""
    bench.executor.tick(now)
    return {
        effect.to: Credit(*effect.message.credit)
        for effect in bench.executor.flush()[0]
        if isinstance(effect, Send) and isinstance(effect.message, messages.Reports)
    }


def test_a_job_that_waits_for_a_dead_steward_is_given_up() -> None:
    """Nobody will ever say that it may begin; whoever stewards the task now hears that it did not."""
    bench, task = Bench(), str(TaskId(1, "skx6dic6edyju", 0))
    job = msgspec.structs.replace(bench.job(task), pause=True)
    assert bench.lease(job) == []
    assert bench.tick(HOLDING_INTERVAL) == []
    bench.executor.members(frozenset({ME, NEW}))
    bench.steward = NEW
    ((_, report),) = bench.tick(2 * HOLDING_INTERVAL)
    assert (report.key, report.state) == (job.key, "stopped")
    assert bench.executor.running == 0
    assert {to for to, _ in bench.tick(2 * HOLDING_INTERVAL + 2 * REPEAT)} == {NEW}
    bench.executor.noted([job.key])
    later = bench.job(task, epoch=2)
    assert bench.lease(later, NEW) == [Run([later])]


def test_a_job_goes_on_at_the_rate_that_its_steward_says() -> None:
    bench = Bench()
    slow, free = msgspec.structs.replace(bench.job(), rate=2.0), bench.job()
    bench.lease(slow)
    bench.lease(free)

    def told(job: Job, rate: float, epoch: int = 1) -> list[Effect]:
        bench.executor.pace([(job.key, rate)], (epoch, "n", 1))
        return bench.executor.flush()[0]

    assert told(slow, 4.0) == [Rate(slow.key, 4.0)]
    assert told(slow, 4.0) == [], "it is known"
    assert told(slow, 9.0, epoch=0) == [], "an older steward says it"
    assert told(free, 4.0) == [], "it has no limit"
    assert told(bench.job(), 4.0) == [], "it is not here"
    taken = msgspec.structs.replace(slow, token=(2, "n", 1), rate=3.0)
    assert bench.lease(taken, NEW) == [Rate(slow.key, 3.0)], "who takes the run over shares it anew"


def test_a_job_that_waits_for_its_slots_lease_begins_at_its_latest_rate() -> None:
    bench = Bench()
    job = msgspec.structs.replace(bench.job(), rate=2.0, pause=True)
    gate = Gate(10.0)
    bench.executor.gate = gate
    assert not any(isinstance(effect, Run) for effect in bench.lease(job))
    bench.executor.pace([(job.key, 4.0)], job.token)
    gate.ready.append(job)
    bench.executor._begin()
    (run,) = [effect for effect in bench.executor.flush()[0] if isinstance(effect, Run)]
    assert [one.rate for one in run.jobs] == [4.0]
