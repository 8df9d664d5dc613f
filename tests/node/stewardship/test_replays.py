"""What a steward makes of a replay of dead letters: which of them it runs, and when they leave the list."""

from typing import Any

import pytest

from node.execution.jobs import Counts, DeadLetter
from sharding.key import parse
from state import join, model
from state.model import Cleared, RunFact
from tests.node.stewardship.desk import Desk, spec

RUNS = ("20260101T000000Z-000001-letters-a", "20260101T000000Z-000002-letters-b")


def letter(position: Any) -> DeadLetter:
    return DeadLetter(
        shard="x", stream="", position=position, step="sink s", code="bad", reason="is bad", record={"n": 1}
    )


@pytest.fixture
def desk() -> Desk:
    """It has a task whose only run left two letters."""
    desk = Desk()
    desk.join()
    (task,) = desk.submit(spec("many"))
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), counts=Counts(3, 1, 0, 2), letters=(letter([9, 1, 0]), letter([9, 1, 1])))
    desk.step()
    desk.end(desk.one("publish", task))
    desk.step()
    return desk


def the_task(desk: Desk) -> str:
    return desk.started[0].key.task


def listed(desk: Desk) -> list[str]:
    batch, place = desk.batch(the_task(desk))
    return [letter.id for _, letter in join.letters_of(batch.tasks[place])]


def replay(desk: Desk, run: str) -> None:
    edited = [{"id": i, "record": {"edited": i}} for i in listed(desk)]
    desk.wish(the_task(desk), "letters", run=run, letters=edited)
    desk.step()


def hear_of(desk: Desk, run: str, home: list[str]) -> None:
    """A replay elsewhere has ended well, and brought these home."""
    at = parse(the_task(desk))
    assert at is not None
    place = (at.batch, at.place, run, desk.core.writer)
    ended = RunFact(token=(1, "z", 1), state="succeeded", scheduled_ms=1, started_ms=1, finished_ms=2)
    facts = [
        (at.batch, model.key_of("x", *place, 1 << 30), Cleared(home)),
        (at.batch, model.key_of("r", *place), ended),
    ]
    desk.core.write(at.slot, facts, desk.now, desk.wall)
    desk.flush()


def test_letters_leave_the_list_when_the_replay_is_published(desk: Desk) -> None:
    replay(desk, RUNS[0])
    job = desk.one("shard")
    assert len(job.letters) == 2
    desk.end(job, counts=Counts(2, 2))
    desk.step()
    assert len(listed(desk)) == 2
    desk.end(desk.one("publish"))
    desk.step()
    assert (desk.state(the_task(desk), RUNS[0]), listed(desk)) == ("succeeded", [])


def test_letters_of_a_replay_that_cannot_be_published_stay(desk: Desk) -> None:
    replay(desk, RUNS[0])
    desk.end(desk.one("shard"), counts=Counts(2, 2))
    desk.step()
    desk.end(desk.one("publish"), "failed", code="sink-unwritable", error="no", retryable=False)
    desk.step()
    assert (desk.state(the_task(desk), RUNS[0]), len(listed(desk))) == ("failed", 2)


def test_a_replay_that_sets_letters_aside_again_has_succeeded_in_part(desk: Desk) -> None:
    _, second = listed(desk)
    replay(desk, RUNS[0])
    desk.end(desk.one("shard"), counts=Counts(2, 1, 0, 1), letters=(letter([2, 1, 0]),))
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    assert (desk.state(the_task(desk), RUNS[0]), listed(desk)) == ("partial", [second])


def test_two_replays_of_one_letter_bring_it_home_once(desk: Desk) -> None:
    first, _ = listed(desk)
    for run in RUNS:
        replay(desk, run)
    desk.end(desk.one("shard"), counts=Counts(2, 1, 0, 1), letters=(letter([1, 1, 0]),))
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    assert listed(desk) == [first]
    job = desk.one("shard")
    assert (job.key.run, job.letters) == (RUNS[1], ({"edited": first}, None))
    desk.end(job, counts=Counts(1, 1))
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    assert (desk.state(the_task(desk), RUNS[1]), listed(desk)) == ("succeeded", [])


def test_a_letter_keeps_its_number_when_one_before_it_comes_home(desk: Desk) -> None:
    """The side of a cut where another replay did that is heard of between two attempts."""
    first, second = listed(desk)
    replay(desk, RUNS[0])
    desk.end(desk.one("shard"), "failed", counts=Counts(), code="down", error="is down", retryable=True)
    hear_of(desk, RUNS[1], [first])
    assert listed(desk) == [second]
    desk.step(10)
    job = desk.one("shard")
    assert job.letters == (None, {"edited": second})
    desk.end(job, counts=Counts(1, 0, 0, 1), letters=(letter([2, 1, 0]),))
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    assert (desk.state(the_task(desk), RUNS[0]), listed(desk)) == ("partial", [second])


def test_a_replay_of_letters_that_are_home_runs_nothing(desk: Desk) -> None:
    for run in RUNS:
        replay(desk, run)
    desk.end(desk.one("shard"), counts=Counts(2, 2))
    desk.step()
    desk.end(desk.one("publish"))
    desk.step()
    assert desk.waiting("shard") == desk.waiting("solo") == desk.waiting("plan") == []
    desk.end(desk.one("publish"))
    desk.step()
    assert desk.state(the_task(desk), RUNS[1]) == "succeeded"
