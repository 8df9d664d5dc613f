"""A submit that arrives a second time, when its task has been deleted: through a node that stood still, say."""

import pytest

from node.service import Refused
from tests.node.serving.test_rivals import MINE, Pair


@pytest.mark.parametrize("at", [0, 1])
async def test_it_does_not_bring_the_task_back(at: int) -> None:
    pair = Pair(heard=True)
    assert (await pair.submit(0, MINE, "weather"))["created"]
    pair.desks[0].wish(pair.id, "delete")
    pair.deliver()
    with pytest.raises(Refused, match="deleted since") as caught:
        await pair.submit(at, MINE, "weather")
    assert caught.value.problem.status == 409
    assert not [wish.kind for wish in pair.wishes(at) if wish.kind != "delete"]


async def test_neither_does_one_that_had_brought_it_back_before() -> None:
    pair = Pair(heard=True)
    await pair.submit(0, MINE, "weather")
    pair.desks[0].wish(pair.id, "delete")
    assert (await pair.submit(0, MINE, "weather", key="second"))["created"]
    pair.desks[0].wish(pair.id, "delete")
    with pytest.raises(Refused, match="deleted since"):
        await pair.submit(0, MINE, "weather", key="second")
    assert (await pair.submit(0, MINE, "weather", key="third"))["created"]
