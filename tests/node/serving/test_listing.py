"""Lists by state: the same as a look at each task, without one at each."""

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.schema import TASK_STATES
from node.serving import listing
from node.serving.keeping import Keeping
from node.serving.listing import Listing
from node.views import TaskReader
from sharding.key import parse
from state.ledger import Ledger
from tests.node.serving.turns import counted
from tests.node.stewardship.desk import Desk, spec

EMPTY = cast(Keeping, SimpleNamespace(outlines=lambda _slot: [], read=lambda _slot, _batch: None))


@pytest.fixture
def desk() -> Desk:
    """With tasks in many states, in bulk and single."""
    desk = Desk()
    desk.join()
    first = desk.submit(*[spec("solo")] * 6)
    jobs = {job.key.task: job for job in desk.waiting("solo")}
    assert set(first) <= jobs.keys()
    desk.end(jobs[first[0]], written=1)
    desk.end(jobs[first[1]], "failed", error="broken", code="x", retryable=False)
    desk.end(jobs[first[2]], "progress", written=1, position=1)
    desk.wish(first[3], "pause")
    desk.wish(first[4], "cancel")
    desk.submit(spec("solo", schedule="0 0 1 1 *"), spec("count"))
    (gone,) = desk.submit(spec("solo", schedule="0 0 1 1 *"))
    desk.wish(gone, "delete")
    desk.core.executor.pause(paused=True)
    desk.step()
    desk.submit(*[spec("solo")] * 5)
    desk.step()
    return desk


async def ids(desk: Desk, **arguments: Any) -> list[str]:
    query = {"slots": list(range(8)), "limit": 100, **arguments}
    return [task["id"] for task in await Listing(desk.core, EMPTY).query(query)]


def state_of(desk: Desk, task: str) -> str:
    at = parse(task)
    assert at is not None
    return TaskReader(desk.core, at, desk.wall).state()[0]


async def test_a_state_has_those_that_a_look_at_each_finds(desk: Desk) -> None:
    every = await ids(desk)
    states = {task: state_of(desk, task) for task in every}
    assert {"succeeded", "failed", "running", "pending", "scheduled", "paused", "cancelled"} <= set(
        states.values()
    )
    for count in (1, 2):
        for wanted in itertools.combinations(TASK_STATES, count):
            found = await ids(desk, state=list(wanted))
            assert found == [task for task in every if states[task] in wanted], wanted


async def test_what_does_not_match_is_not_looked_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit(*[spec("solo")] * 50)
    desk.step()
    looked = []
    read = TaskReader.__init__

    def counting(self: TaskReader, core: Any, task: Any, *rest: Any) -> None:
        looked.append(task)
        read(self, core, task, *rest)

    monkeypatch.setattr(TaskReader, "__init__", counting)
    assert len(await ids(desk, state=["failed"])) == 1
    assert len(looked) < 15


async def test_a_list_that_finds_nothing_lets_others_have_a_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "TURN", 2)
    for _ in range(8):
        desk.submit(spec("solo"))
    found, turns = await counted(ids(desk, tenant="nobody"))
    assert found == []
    assert turns >= 4


class Shelf:
    """An archive to which batches move while a list is made."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[SimpleNamespace, Ledger]] = {}

    def put(self, ledger: Ledger, batch: str) -> None:
        entry = ledger.batches[batch]
        specs = {index: ledger.spec(batch, index) for index in entry.present}
        alone = SimpleNamespace(
            slot=ledger.slot, batches={batch: entry}, spec=lambda _batch, index: specs[index]
        )
        row = SimpleNamespace(batch=batch, tenant=entry.tenant, name=entry.name, states={"succeeded": 1})
        self.rows[batch] = row, cast(Ledger, alone)
        del ledger.batches[batch]

    def outlines(self, _slot: int) -> list[Any]:
        return [row for row, _ in self.rows.values()]

    def read(self, _slot: int, batch: str) -> Ledger | None:
        return self.rows[batch][1] if batch in self.rows else None


@pytest.mark.parametrize("tasks", [1, 6], ids=["before its turn", "in its midst"])
async def test_what_is_archived_meanwhile_is_listed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tasks: int
) -> None:
    monkeypatch.setattr(listing, "TURN", 1)
    slot = next(slot for slot, ledger in desk.core.replicator.ledgers.items() if ledger.batches)
    ledger = desk.core.replicator.ledger(slot)
    shelf = Shelf()
    names = sorted(ledger.batches, key=lambda name: (len(ledger.batches[name].present) != tasks, name))
    assert names
    before = await Listing(desk.core, cast(Keeping, shelf)).query({"slots": [slot], "limit": 100})
    query = Listing(desk.core, cast(Keeping, shelf)).query({"slots": [slot], "limit": 100})
    task = asyncio.create_task(query)
    for name in names:
        await asyncio.sleep(0)
        shelf.put(ledger, name)
    assert [found["id"] for found in await task] == [found["id"] for found in before]
