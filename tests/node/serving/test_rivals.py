"""Two nodes accept different requests under one Idempotency-Key, or one name, before they hear of each other."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from node import operations
from node.schema import Task
from node.service import Refused
from node.serving.driver import Driver
from node.serving.local import Local
from node.serving.reasons import why
from state.model import Wish
from tests.node.stewardship.desk import Desk, member, run_all, settle, spec

MINE, OTHER = spec(), spec(priority=7)


class Pair:
    """Two replicas. `heard`: what one writes has reached the other before its client is answered."""

    def __init__(self, *, heard: bool) -> None:
        self.desks = [Desk("a"), Desk("b")]
        for desk in self.desks:
            desk.join(member("a"), member("b"))
        settle(*self.desks)
        run_all(self.desks, 3.0)
        self.heard = heard
        self.locals = [Local(desk.core, self._driver(desk), lambda: None) for desk in self.desks]

    def _driver(self, desk: Desk) -> Driver:
        async def write(slot: int, facts: list[Any]) -> int:
            desk.core.write(slot, facts, desk.now, desk.wall)
            desk.flush()
            await asyncio.sleep(0)  # the other one writes as well
            if self.heard:
                settle(*self.desks)
            return 2

        keeping = SimpleNamespace(thaw=lambda slot, batch: None, read=lambda slot, batch: None)
        return cast(Driver, SimpleNamespace(write=write, keeping=keeping))

    def deliver(self) -> None:
        settle(*self.desks)

    def wishes(self, at: int) -> list[Wish]:
        """About the task that was submitted last."""
        batch, place = self.desks[at].batch(self.id)
        return batch.tasks[place].wishes

    async def submit(self, at: int, raw: bytes, name: str | None, key: str = "k") -> Any:
        (part,) = operations.group([raw], tenant="t", key=key, region="local", name=name, slots=8)
        self.id = part.ids[0]
        submission = msgspec.to_builtins(part, builtin_types=(bytes,))
        common: dict[str, Any] = {
            "tenant": "t",
            "key": key,
            "origin": "ab"[at],
            "roots": {},
            "durability": None,
        }
        return await self.locals[at].submit({**common, "submission": submission})

    async def both(self, name: str | None) -> list[Any]:
        requests = (self.submit(0, MINE, name), self.submit(1, OTHER, name))
        return list(await asyncio.gather(*requests, return_exceptions=True))

    async def read(self) -> list[Task]:
        return [msgspec.convert(await local.task({"id": self.id}), Task) for local in self.locals]


@pytest.mark.parametrize(("name", "kind"), [(None, "key-reused"), ("weather", "other-spec")])
async def test_who_hears_of_the_other_in_time_is_refused(name: str | None, kind: str) -> None:
    pair = Pair(heard=True)
    won, lost = await pair.both(name)
    assert won["created"]
    assert isinstance(lost, Refused)
    assert (lost.problem.status, lost.problem.type.rpartition(":")[2]) == (409, kind)
    assert [task.priority for task in await pair.read()] == [5, 5]


@pytest.mark.parametrize("name", [None, "weather"])
async def test_what_was_accepted_and_does_not_count_is_shown(name: str | None) -> None:
    pair = Pair(heard=False)
    answers = await pair.both(name)
    assert [answer["created"] for answer in answers] == [True, True]
    assert [task.warnings for task in await pair.read()] == [[], []]
    settle(*pair.desks)
    tasks = await pair.read()
    assert [task.priority for task in tasks] == [5, 5]
    for task in tasks:
        (said,) = task.warnings
        assert said.startswith(
            f"another request with this {'name' if name else 'Idempotency-Key'} and another"
        )
        assert said.endswith("through node b: this one counts, but a run that began may be of the other")
    with pytest.raises(Refused) as caught:
        await pair.submit(1, OTHER, name)
    assert caught.value.problem.status == 409, "sent again, it is refused"
    assert not (await pair.submit(0, MINE, name))["created"]
    needs = {"task": msgspec.to_builtins(tasks[0]), "nodes": [], "errors": [], "running": []}
    assert tasks[0].warnings[0] in why(needs).reasons


async def test_a_steward_goes_on_with_the_one_that_counts() -> None:
    """Whichever of the two it took first; half of the slots are stewarded by the node whose request is lost."""
    scheduled = [spec(schedule="0 0 1 1 *", priority=priority) for priority in (5, 7)]
    pair = Pair(heard=False)
    for name in "abcdefgh":
        await asyncio.gather(*(pair.submit(at, raw, name) for at, raw in enumerate(scheduled)))
    settle(*pair.desks)
    works = [work for desk in pair.desks for work in desk.core.table.works.values()]
    assert [work.priority for work in works] == [5] * 8
    assert all(desk.core.table.works for desk in pair.desks), "both are stewards"


async def test_one_request_through_two_nodes_has_no_rival() -> None:
    pair = Pair(heard=False)
    answers = await asyncio.gather(pair.submit(0, MINE, None), pair.submit(1, MINE, None))
    assert [answer["created"] for answer in answers] == [True, True]
    settle(*pair.desks)
    assert [task.warnings for task in await pair.read()] == [[], []]


async def test_a_resume_counts_that_reaches_a_node_before_the_pause_does() -> None:
    pair = Pair(heard=False)
    await pair.submit(0, MINE, None)
    settle(*pair.desks)
    for at, action in ((0, "pause"), (1, "resume")):
        await pair.locals[at].control({"id": pair.id, "action": action, "key": action, "arguments": {}})
    settle(*pair.desks)
    assert [task.state == "paused" for task in await pair.read()] == [False, False]
