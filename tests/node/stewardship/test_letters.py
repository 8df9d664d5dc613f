"""How a task stands whose dead letters are replayed."""

import pytest

from node.execution.jobs import Counts, DeadLetter
from node.views import TaskReader
from sharding.key import parse
from state.join import letters_of
from tests.node.stewardship.desk import Desk, spec


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join()
    return desk


def two_letters(desk: Desk, **fields: object) -> tuple[str, list[dict[str, object]]]:
    """A task whose run set two records aside, and these as a replay takes them."""
    (task,) = desk.submit(spec("many", **fields))
    desk.plan(desk.one("plan"), "x")
    desk.step()
    letters = tuple(
        DeadLetter(shard="x", stream="s", position=n, step="sink", code="bad", reason="why", record={})
        for n in (1, 2)
    )
    desk.end(desk.one("shard"), counts=Counts(3, 1, 0, 2), letters=letters)
    desk.step()
    desk.end(desk.one("publish", task))
    desk.step()
    batch, place = desk.batch(task)
    ids = [letter.id for _, letter in letters_of(batch.tasks[place])]
    return task, [{"id": one, "record": {}} for one in ids]


def replay(desk: Desk, task: str, run: str, letters: list[dict[str, object]], again: int) -> str:
    """Replay these; the first `again` of them are set aside again. The state of the run."""
    desk.wish(task, "letters", run=run, letters=letters)
    refused = tuple(
        DeadLetter(shard="letters", stream="s", position=n, step="sink", code="bad", reason="why", record={})
        for n in range(1, again + 1)
    )
    done = len(letters) - again
    desk.end(desk.one("shard"), counts=Counts(len(letters), done, 0, again), letters=refused)
    desk.step()
    desk.end(desk.one("publish", task))
    desk.step()
    return desk.state(task, run)


def test_a_replay_that_leaves_letters_again_is_partial(desk: Desk) -> None:
    task, letters = two_letters(desk)
    assert replay(desk, task, "r1", letters, again=2) == "partial"
    assert replay(desk, task, "r2", letters, again=1) == "partial"
    at = parse(task)
    assert at is not None
    reader = TaskReader(desk.core, at, desk.wall)
    assert (reader.state()[0], len(reader.dead_letters())) == ("partial", 1)


def test_a_replay_is_partial_until_no_letter_is_left(desk: Desk) -> None:
    task, letters = two_letters(desk)
    assert replay(desk, task, "r1", letters[:1], again=0) == "partial"
    assert replay(desk, task, "r2", letters[1:], again=0) == "succeeded"


def again(desk: Desk, task: str, run: str, letters: tuple[DeadLetter, ...]) -> list[str]:
    """Run the task once more; the ids of the letters that are listed then."""
    desk.wish(task, "run", run=run)
    desk.plan(desk.one("plan"), "x")
    desk.step()
    desk.end(desk.one("shard"), counts=Counts(3, 3 - len(letters), 0, len(letters)), letters=letters)
    desk.step()
    desk.end(desk.one("publish", task))
    desk.step()
    batch, place = desk.batch(task)
    return [f"{run}: {letter.id}" for run, letter in letters_of(batch.tasks[place])]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [({}, 0), ({"sink": [{"plugin": "s", "key": ["id"], "mode": "upsert"}]}, 2)],
)
def test_a_full_run_that_takes_the_place_of_all_before_leaves_its_own_letters(
    desk: Desk, fields: dict[str, object], kept: int
) -> None:
    """Else the same record is listed once for each run that met it, and a replay brings it as often."""
    task, _ = two_letters(desk, **fields)
    bad = DeadLetter(shard="x", stream="s", position=1, step="sink", code="bad", reason="why", record={})
    assert [one.split(":")[0] for one in again(desk, task, "r1", (bad,))] == ["0-submit"] * kept + ["r1"]
    assert len(again(desk, task, "r2", ())) == (3 if kept else 0)
