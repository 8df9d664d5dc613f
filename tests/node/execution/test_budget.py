"""The rate limit: never above the rate in any window, one take apart."""

import random

import pytest

from node.execution.budget import Gcra
from tests.node.execution.conftest import Clock


@pytest.mark.parametrize("seed", range(10))
async def test_no_window_holds_more_than_the_rate_and_one_take(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    clock, taken = Clock(), []

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    budget = Gcra(50.0, clock, sleep)
    for _ in range(300):
        amount = rng.randint(1, 20)
        await budget.take(amount)
        taken.append((clock.now, amount))
        clock.now += rng.choice([0.0, 0.0, 0.01, 1.0])
    for first in range(len(taken)):
        total = 0
        for at, amount in taken[first:]:
            assert total <= 50 * (at - taken[first][0]) + 1e-6
            total += amount


async def test_a_wait_that_is_given_up_costs_nothing() -> None:
    clock = Clock()

    async def interrupted(_seconds: float) -> None:
        raise RuntimeError("interrupted")

    budget = Gcra(1.0, clock, interrupted)
    await budget.take(5)
    with pytest.raises(RuntimeError):
        await budget.take(100)
    clock.now += 5
    await budget.take(1)


async def test_another_rate_holds_from_the_next_turn_on() -> None:
    clock, slept = Clock(), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds

    budget = Gcra(1.0, clock, sleep)
    await budget.take()
    budget.pace(10.0)
    for _ in range(3):
        await budget.take()
    assert slept == pytest.approx([1.0, 0.1, 0.1])
