"""A sink has committed more than the steward heard of, for the node died between: what was read of that counts too."""

import pytest

from plugins.api import Since
from tests.node.execution.conftest import Bench, job
from tests.node.execution.samples import CountSource, Store
from tests.node.execution.test_pipeline import Stores

KEY = ("run", "part-0")


def dead_after(held: Store, position: int, *bad: int) -> None:
    """What an attempt left behind that died after its commit at `position` and before it could tell of it."""
    held.positions[KEY] = position
    held.records[KEY] = [n for n in range(1, position + 1) if n not in bad]


@pytest.mark.parametrize("heard", [None, 3])
@pytest.mark.parametrize("committed", [5, 6, 9])
async def test_its_highest_value_and_its_letters_are_told(
    bench: Bench, store: Stores, heard: int | None, committed: int
) -> None:
    """`committed` 5 is the end of no batch."""
    sink, held = store()
    dead_after(held, committed, 5)
    source = {"total": 9, "size": 3, "bad": [5]}
    report = await bench.run(job(source, sink, resume=heard, since=Since("n", 0, False)))
    assert (report.state, report.position, report.high) == ("done", 9, 9)
    assert [letter.record for letter in report.letters] == ["bad 5 "]
    assert held.records[KEY] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert CountSource.opened[0] == heard
    assert (report.held or 0) + report.counts.written == 8


@pytest.mark.parametrize("heard", [None, 3])
@pytest.mark.parametrize("committed", [6, 9])
async def test_what_the_sink_had_refused_is_told(
    bench: Bench, store: Stores, heard: int | None, committed: int
) -> None:
    sink, held = store()
    sink["refuse"] = [2, 5, 8]
    dead_after(held, committed, *sink["refuse"])
    report = await bench.run(job({"total": 9, "size": 3}, sink, resume=heard))
    assert (report.state, report.position) == ("done", 9)
    refused = [2, 5, 8] if heard is None else [5, 8]
    assert [letter.record for letter in report.letters] == [{"n": n} for n in refused]
    assert (report.counts.dead, report.counts.read) == (len(refused), 9 if heard is None else 6)
    assert held.all() == [1, 3, 4, 6, 7, 9]


async def test_what_the_sink_had_refused_is_called_as_it_was(bench: Bench, store: Stores) -> None:
    """The steward may have heard of it after all."""
    sink, held = store()
    sink["refuse"] = [5]
    first = await bench.run(job({"total": 9, "size": 3}, sink))
    again = await bench.run(job({"total": 9, "size": 3}, sink))
    assert len(first.letters) == 1
    assert first.letters == again.letters
    assert held.all() == [1, 2, 3, 4, 6, 7, 8, 9]


async def test_a_sink_that_is_ahead_of_the_other_tells_what_it_refused(bench: Bench, store: Stores) -> None:
    ahead, held = store()
    behind, other = store()
    ahead["refuse"] = [2, 8]
    dead_after(held, 6, 2)
    report = await bench.run(job({"total": 9, "size": 3}, ahead, behind))
    assert [letter.record for letter in report.letters] == [{"n": 2}, {"n": 8}]
    assert held.all() == [1, 3, 4, 5, 6, 7, 9]
    assert other.all() == list(range(1, 10))


async def test_what_the_sink_had_refused_counts_for_the_budget(bench: Bench, store: Stores) -> None:
    sink, held = store()
    sink["refuse"] = [2, 5]
    dead_after(held, 6, 2, 5)
    report = await bench.run(job({"total": 9, "size": 3}, sink, dead_budget=1))
    assert (report.state, report.code) == ("failed", "dead-letters")


@pytest.mark.parametrize(("committed", "kept", "high"), [(9, 7, 7), (6, 2, 9), (5, 2, 9), (9, None, 9)])
async def test_the_highest_value_is_of_what_was_committed_and_not_of_what_the_source_says_now(
    bench: Bench, store: Stores, committed: int, kept: int | None, high: int
) -> None:
    """A row that has got a higher value since, or is new, is not in the sink: the cursor must not pass it over."""
    sink, held = store()
    dead_after(held, committed)
    held.highs[KEY] = kept
    report = await bench.run(job({"total": 9, "size": 3}, sink, since=Since("n", 0, False)))
    assert (report.state, report.position, report.high) == ("done", 9, high)
    assert held.all() == list(range(1, 10))


async def test_what_the_steward_has_heard_of_is_not_read_again(bench: Bench, store: Stores) -> None:
    sink, held = store()
    dead_after(held, 6)
    report = await bench.run(job({"total": 9, "size": 3}, sink, resume=6))
    assert CountSource.opened == [6]
    assert report.counts.read == 3


async def test_a_sink_that_has_nothing_is_filled_from_the_start(bench: Bench, store: Stores) -> None:
    sink, held = store()
    await bench.run(job({"total": 9, "size": 3}, sink, resume=6))
    assert held.all() == list(range(1, 10))


@pytest.mark.parametrize(
    ("field", "known", "state"), [("n", None, "done"), ("m", None, "failed"), ("m", 5, "done")]
)
async def test_what_has_no_value_to_go_on_from_is_not_published(
    bench: Bench, store: Stores, field: str, known: int | None, state: str
) -> None:
    """The next run would collect it all again. `known`: the highest value of what an attempt before has committed."""
    sink, held = store()
    report = await bench.run(job({"total": 5}, sink, kind="solo", since=Since(field), high=known))
    assert (report.state, len(held.published)) == (state, int(state == "done"))
    assert report.retryable == (state == "done")
    assert ("'m'" in report.error) == (state == "failed")
