"""How many tasks are in which state: right, in turns with other work, and never waited for long."""

import asyncio
from collections import Counter

import pytest

from node.serving import overview
from node.serving.overview import Overview
from tests.node.plugs import registry
from tests.node.serving.test_listing import desk, ids, state_of
from tests.node.serving.turns import counted
from tests.node.stewardship.desk import Desk, facts_of, spec

__all__ = ["desk"]


def view(desk: Desk) -> Overview:
    archived = {0: {("t", "succeeded"): 7, ("t", "failed"): 0}}
    return Overview(desk.core, registry(), lambda: facts_of("a"), "mesh", archived)


async def test_counts_are_those_of_the_tasks(desk: Desk) -> None:
    told = Counter({"succeeded": 7})
    told.update(state_of(desk, task) for task in await ids(desk))
    assert len(told) > 6
    assert (await view(desk).status({}))["tasks"] == told


async def test_others_have_turns_while_many_are_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "TURN", 2)
    for _ in range(10):
        desk.submit(spec("solo", schedule="0 0 1 1 *"))
    desk.step()
    _, turns = await counted(view(desk).status({}))
    assert turns > 5


async def test_who_asks_meanwhile_has_the_last_count_or_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = view(desk)
    first, second = await asyncio.gather(seen.status({}), seen.status({}))
    assert first["tasks"] is second["tasks"]
    monkeypatch.setattr(overview, "COUNT_EVERY", 0.0)
    monkeypatch.setattr(overview, "COUNT_WITHIN", 0.0)
    monkeypatch.setattr(overview, "TURN", 1)
    seen._count_due = 0.0
    desk.submit(spec("solo"))
    desk.step()
    assert (await seen.status({}))["tasks"] == first["tasks"], "it does not wait"
    assert seen._count is not None
    await seen._count
    assert seen._counts is not None
    assert sum(seen._counts.values()) == sum(first["tasks"].values()) + 1


async def test_a_count_that_fails_is_no_zero(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = view(desk)

    def broken(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(overview, "counting", broken)
    with pytest.raises(ZeroDivisionError):
        await seen.status({})
