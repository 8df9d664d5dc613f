"""One shard from source to sinks: counts, letters, commits, moved positions, several sinks, interruption."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from node.execution.assembly import Cadence
from node.execution.control import Wish
from node.execution.duty import GRACE, Duty
from plugins.api import Permanent
from tests.node.execution.conftest import Bench, job
from tests.node.execution.samples import CountSource, Store

Stores = Callable[[], tuple[dict[str, Any], Store]]
SMALL = Cadence(commit_bytes=1)
"""commits after every batch"""


async def test_a_shard_arrives_whole_and_is_acknowledged_last(bench: Bench, store: Stores) -> None:
    sink, held = store()
    held.before = lambda step, value: held.events.append(f"{step} {CountSource.acknowledged}")
    report = await bench.run(job({"total": 10, "size": 4}, sink))
    assert (report.state, report.position, report.held) == ("done", 10, 0)
    assert (report.counts.read, report.counts.written, report.counts.bytes) == (10, 10, 100)
    assert held.all() == list(range(1, 11))
    assert held.commits == [(None, 10)]
    assert held.events[-1] == "committed []"
    assert CountSource.acknowledged == [10]


async def test_an_empty_source_commits_nothing(bench: Bench, store: Stores) -> None:
    sink, held = store()
    report = await bench.run(job({"total": 0}, sink))
    assert (report.state, report.position, held.commits) == ("done", None, [])


async def test_it_goes_on_where_the_sink_stands_not_where_the_ledger_thinks(
    bench: Bench, store: Stores
) -> None:
    sink, held = store()
    key = ("run", "part-0")
    held.positions[key], held.records[key] = 6, [1, 2, 3, 4, 5, 6]
    report = await bench.run(job({"total": 10}, sink, resume=2))
    assert held.all() == list(range(1, 11))
    assert (report.held, report.counts.written) == (6, 4)


async def test_commits_come_by_bytes_and_by_time(bench: Bench, store: Stores) -> None:
    sink, held = store()
    bench.cadence = Cadence(commit_bytes=50)
    await bench.run(job({"total": 10, "size": 2}, sink))
    assert held.commits == [(None, 6), (6, 10)]

    sink, held = store()
    bench.cadence = Cadence()

    def later(step: str, _value: Any) -> None:
        bench.clock.now += 6 if step == "write" else 0

    held.before = later
    await bench.run(job({"total": 10, "size": 2}, sink))
    assert held.commits == [(None, 4), (4, 8), (8, 10)]


async def test_solo_publishes_with_what_the_sink_held_before(bench: Bench, store: Stores) -> None:
    sink, held = store()
    held.positions["run", "0"], held.records["run", "0"] = 3, [1, 2, 3]
    report = await bench.run(job({"total": 5}, sink, kind="solo", replaces=True, generation=2))
    assert report.state == "done"
    (published,) = held.published
    assert (published.records, published.shards, published.replaces, published.generation) == (
        5,
        ("0",),
        True,
        2,
    )


async def test_plan_and_publish(bench: Bench, store: Stores) -> None:
    sink, held = store()
    report = await bench.run(job({}, sink, kind="plan", hints={"shards": 3}))
    assert (report.state, [plan.key for plan in report.plans]) == ("planned", ["part-0", "part-1", "part-2"])
    report = await bench.run(job({}, sink, kind="publish", shards=("a", "b"), records=7))
    assert (report.state, held.published[0].shards, held.published[0].records) == ("done", ("a", "b"), 7)


async def test_dead_letters_from_source_transform_and_sink(bench: Bench, store: Stores) -> None:
    sink, held = store()
    spec = {"transform": [{"plugin": "picky", "refuse": [3], "drop": 5}]}
    report = await bench.run(job({"total": 10, "bad": [2]}, {**sink, "refuse": [7, 8]}, spec=spec))
    assert report.state == "done"
    assert held.all() == [1, 4, 6, 9]
    counts = report.counts
    assert (counts.read, counts.written, counts.skipped, counts.dead) == (10, 4, 2, 4)
    found = [(letter.step, letter.code, letter.position) for letter in letters(bench)]
    assert found == [
        ("source count", "malformed", [10, 0, 9]),
        ("transform picky", "picky", [10, 1, 1]),
        ("sink memory", "refused", [10, 2, 3]),
        ("sink memory", "refused", [10, 2, 4]),
    ]


async def test_letters_keep_their_names_over_a_retry(bench: Bench, store: Stores) -> None:
    sink, held = store()
    failing = {"total": 12, "size": 4, "bad": [2, 6], "fail_at": 8, "error": "bug"}
    assert (await bench.run(job(failing, sink))).state == "failed"
    assert letters(bench) == []
    await bench.run(job({**failing, "fail_at": None}, sink))
    assert [letter.position for letter in letters(bench)] == [[4, 0, 3], [8, 0, 3]]
    assert held.all() == [n for n in range(1, 13) if n not in (2, 6)]


async def test_too_many_letters_fail_the_shard_and_are_shown(bench: Bench, store: Stores) -> None:
    sink, _ = store()
    report = await bench.run(job({"total": 10, "bad": [2, 4, 6]}, sink, dead_budget=2))
    assert (report.state, report.code, report.retryable) == ("failed", "dead-letters", False)
    assert (len(letters(bench)), "errors.max" in report.error) == (3, True)


async def test_without_dead_letters_a_bad_record_fails_the_shard(bench: Bench, store: Stores) -> None:
    sink, _ = store()
    report = await bench.run(job({"bad": [2]}, sink, spec={"errors": {"dead_letters": False}}))
    found = (report.state, report.code, report.retryable, report.error[:21])
    assert found == ("failed", "malformed", False, "source count: record ")


async def test_many_letters_travel_in_portions(bench: Bench, store: Stores) -> None:
    sink, _ = store()
    bench.cadence = Cadence(commit_letters=10)
    await bench.run(job({"total": 60, "size": 25, "bad": list(range(1, 41))}, sink))
    assert max(len(report.letters) for report in bench.reports) == 10
    assert [letter.position[0] for letter in letters(bench)] == [25] * 25 + [50] * 15


async def test_replay_runs_letters_in_place_of_the_source(bench: Bench, store: Stores) -> None:
    sink, held = store()
    report = await bench.run(
        job({"total": 99}, {**sink, "refuse": [7]}, letters=({"n": 5}, None, {"n": 7}, {"n": 6}))
    )
    assert (report.state, report.position, report.counts.read, held.all()) == ("done", 4, 3, [5, 6])
    assert [letter.position for letter in letters(bench)] == [[3, 1, 0]]


async def test_the_last_report_of_a_replay_names_all_that_failed_again(bench: Bench, store: Stores) -> None:
    sink, held = store()
    bench.cadence = Cadence(commit_letters=2, commit_bytes=1)
    bad = list(range(1, 20, 3))
    report = await bench.run(job({}, {**sink, "refuse": bad}, letters=tuple({"n": n} for n in range(1, 31))))
    assert [letter.position[0] for letter in report.letters] == bad
    assert len(held.commits) == 1


@pytest.mark.parametrize(
    ("error", "code", "retryable", "after"),
    [
        ("retryable", "retryable", True, 7),
        ("permanent", "gone", False, None),
        ("bug", "error", True, None),
        ("exit", "error", True, None),
    ],
)
async def test_failures_have_a_code_and_no_secret(
    bench: Bench, store: Stores, error: str, code: str, retryable: bool, after: float | None
) -> None:
    sink, held = store()
    bench.environment["COLLECT_SECRET_PASS"] = "canary-77"
    bench.cadence = SMALL
    source = {"total": 9, "size": 3, "fail_at": 6, "error": error, "bad": [1], "password": {"secret": "PASS"}}
    report = await bench.run(job(source, sink))
    assert (report.state, report.code, report.retryable, report.after) == ("failed", code, retryable, after)
    assert (report.position, report.counts.read) == (6, 6)
    assert report.error.startswith("source count: ")
    assert held.all() == [2, 3, 4, 5, 6]
    assert letters(bench)[0].record == "bad 1 ***"
    assert "canary-77" not in repr(bench.reports) + repr(bench.logs)


async def test_letters_can_be_stored_whatever_they_hold(bench: Bench, store: Stores) -> None:
    sink, _ = store()
    records = ({"n": 1, "wide": 1 << 70, "half": "\ud800", "deep": [{"raw": b"\xff"}]},)
    await bench.run(job({}, {**sink, "refuse": [1]}, letters=records))
    (letter,) = letters(bench)
    assert letter.record == {"n": 1, "wide": str(1 << 70), "half": "?", "deep": [{"raw": "/w=="}]}
    assert msgspec.msgpack.encode(letter)


async def test_a_missing_secret_is_named_with_its_remedy(bench: Bench, store: Stores) -> None:
    sink, _ = store()
    report = await bench.run(job({"password": {"secret": "PASS"}}, sink))
    assert (report.state, report.code, report.retryable) == ("failed", "secret", True)
    assert "COLLECT_SECRET_PASS" in report.error


async def test_plugins_at_fault_are_told_apart(bench: Bench, store: Stores) -> None:
    sink, _ = store()
    report = await bench.run(job({"total": 9, "size": 3, "skip_to": 5}, sink))
    assert (report.code, report.retryable) == ("plugin", False)
    assert "starts at 5, but the one before ended at 3" in report.error


@pytest.mark.parametrize("step", ["write", "commit", "committed"])
@pytest.mark.parametrize("nth", range(1, 5))
async def test_a_crash_at_any_point_leaves_no_gap_and_no_double(
    bench: Bench, store: Stores, step: str, nth: int
) -> None:
    one, first = store()
    two, second = store()
    bench.cadence = SMALL
    left = {"crash": nth}

    def crash(at: str, _value: Any) -> None:
        if at == step:
            left["crash"] -= 1
            if left["crash"] == 0:
                raise RuntimeError("crash")

    first.before = second.before = crash
    source = {"total": 12, "size": 3}
    report = await bench.run(job(source, one, two))
    assert report.state == "failed"
    assert (report.position or 0) <= min(len(first.all()), len(second.all()))
    for total in (3, 2, 5):
        await bench.run(job({**source, "size": total}, one, two))
    assert first.all() == second.all() == list(range(1, 13))
    assert bench.reports[-1].state == "done"


async def test_a_sink_ahead_joins_where_batches_meet_or_is_read_for_again(
    bench: Bench, store: Stores
) -> None:
    for ahead, readings in ((6, [None]), (7, [None, 7])):
        one, first = store()
        two, second = store()
        key = ("run", "part-0")
        first.positions[key], first.records[key] = ahead, list(range(1, ahead + 1))
        CountSource.opened.clear()
        report = await bench.run(job({"total": 12, "size": 3, "bad": [2, 11]}, one, two))
        assert report.state == "done"
        assert CountSource.opened == readings
        assert second.all() == [n for n in range(1, 13) if n not in (2, 11)]
        assert first.all() == [*range(1, ahead + 1), *(n for n in range(ahead + 1, 13) if n != 11)]
        assert (report.counts.read, report.counts.written, report.counts.dead) == (12, 10, 2)
        assert len(letters(bench)) == 2
        bench.reports.clear()


async def test_two_executors_of_one_shard_write_every_record_once(bench: Bench, store: Stores) -> None:
    for seed in range(20):
        print("seed", seed)
        rng = random.Random(seed)
        one, first = store()
        two, second = store()
        bench.cadence = SMALL
        jobs = [job({"total": 60, "size": rng.randint(1, 9), "pause": 1e-9}, one, two) for _ in range(3)]
        await asyncio.gather(*(bench.duty(job_).run() for job_ in jobs))
        ends = [report for report in bench.reports if report.state != "progress"]
        assert {report.state for report in ends} == {"done"}
        assert Counter(first.all()) == Counter(second.all()) == Counter(range(1, 61))
        assert {report.held + report.counts.written for report in ends if report.held is not None} == {60}
        bench.reports.clear()


async def test_a_sink_that_lies_about_its_position_ends_the_shard(bench: Bench, store: Stores) -> None:
    sink, held = store()

    def lie(step: str, _value: Any) -> None:
        if step == "commit":
            held.positions["run", "part-0"] = object()
        elif step == "write":
            held.positions.pop(("run", "part-0"), None)

    held.before = lie
    original = held.positions
    report = await asyncio.wait_for(bench.run(job({"total": 3}, sink)), 5)
    assert (report.state, report.retryable) == ("failed", True)
    assert original is held.positions


async def test_a_drain_commits_what_is_written(bench: Bench, store: Stores) -> None:
    sink, held = store()
    duty = bench.duty(job({"total": 9, "size": 3, "hang_at": 6}, sink))
    running = await started(duty)
    duty.control.ask(Wish.DRAIN)
    await running
    report = bench.reports[-1]
    assert (report.state, report.position, held.all()) == ("stopped", 6, [1, 2, 3, 4, 5, 6])


async def test_a_stop_discards_it(bench: Bench, store: Stores) -> None:
    sink, held = store()
    duty = bench.duty(job({"total": 9, "size": 3, "hang_at": 6}, sink))
    running = await started(duty)
    duty.control.ask(Wish.STOP)
    await running
    assert (bench.reports[-1].state, bench.reports[-1].position, held.all()) == ("stopped", None, [])


async def test_a_time_limit_commits_then_fails(bench: Bench, store: Stores) -> None:
    sink, held = store()
    duty = bench.duty(job({"total": 9, "size": 3, "hang_at": 3}, sink, spec={"limits": {"timeout": 5}}))
    running = await started(duty)
    duty.tick(bench.clock.now + 4)
    assert not running.done()
    duty.tick(bench.clock.now + 6)
    await running
    report = bench.reports[-1]
    assert (report.state, report.code, report.retryable, report.position) == ("failed", "timeout", True, 3)
    assert held.all() == [1, 2, 3]


async def test_a_sink_that_hangs_is_cut_off_after_the_time_limit(bench: Bench, store: Stores) -> None:
    sink, held = store()
    job_ = job({"total": 9}, sink, spec={"limits": {"timeout": 5}})
    duty = bench.duty(job_)

    async def hang(_batch: Any) -> None:
        await asyncio.Event().wait()

    opened = duty.assembly.sink

    async def hanging(index: int) -> Any:
        made = await opened(index)
        made.write = hang  # type: ignore[method-assign,assignment]
        return made

    duty.assembly.sink = hanging  # type: ignore[method-assign]
    running = await started(duty)
    for late in (6, 6 + GRACE):
        duty.tick(bench.clock.now + late)
    await running
    assert (bench.reports[-1].code, held.all()) == ("timeout", [])


async def test_a_slow_source_is_committed_beside(bench: Bench, store: Stores) -> None:
    sink, held = store()
    duty = bench.duty(job({"total": 9, "size": 3, "hang_at": 6}, sink))
    running = await started(duty)
    duty.tick(bench.clock.now + 2)
    assert (bench.reports[-1].position, bench.reports[-1].counts.read) == (None, 6)
    duty.tick(bench.clock.now + 11)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (held.commits, bench.reports[-1].position) == ([(None, 6)], 6)

    duty.control.ask(Wish.DRAIN)
    await running
    assert held.commits == [(None, 6)]


async def test_a_commit_beside_that_fails_ends_the_wait(bench: Bench, store: Stores) -> None:
    sink, held = store()

    def full(step: str, _value: Any) -> None:
        if step == "commit":
            raise Permanent("no room", code="disk-full")

    held.before = full
    duty = bench.duty(job({"total": 9, "size": 3, "hang_at": 6}, sink))
    running = await started(duty)
    duty.tick(bench.clock.now + 11)
    await asyncio.wait_for(running, 5)
    assert (bench.reports[-1].state, bench.reports[-1].code) == ("failed", "disk-full")


async def test_a_foreign_cancellation_is_not_swallowed(bench: Bench, store: Stores) -> None:
    sink, held = store()
    duty = bench.duty(job({"total": 9, "hang_at": 0}, sink))
    running = await started(duty)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ([report.state for report in bench.reports], held.all()) == (
        ["progress"],
        [],
    )  # said when it began


async def started(duty: Duty) -> asyncio.Task[None]:
    running = asyncio.create_task(duty.run())
    for _ in range(5):
        await asyncio.sleep(0)
    return running


def letters(bench: Bench) -> list[Any]:
    return [letter for report in bench.reports for letter in report.letters]
