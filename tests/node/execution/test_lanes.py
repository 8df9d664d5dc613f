"""Many short jobs on one loop: none waits for another that waits for something else."""

import asyncio
import time

from node.execution.control import Turn
from node.execution.lanes import BUSY, Lanes


async def test_jobs_that_pass_on_and_then_wait_do_not_keep_the_queue() -> None:
    turn = Turn(time.monotonic)
    gate = asyncio.Event()
    ran = []

    async def run(name: str, _task: asyncio.Task[None]) -> None:
        if name == "waits":
            await turn.pass_on()
            await gate.wait()
        ran.append(name)

    lanes: Lanes[str] = Lanes(run, turn)
    for _ in range(3 * BUSY):
        lanes.add("waits")
    lanes.add("quick")
    async with asyncio.timeout(5):
        while not ran:
            await asyncio.sleep(0)
    assert ran == ["quick"]
    gate.set()
    await lanes.join()
    assert len(ran) == 3 * BUSY + 1


async def test_jobs_that_never_wait_need_one_lane_and_the_loop_goes_round() -> None:
    clock = iter(x * 0.003 for x in range(10**6))
    lanes: Lanes[int]
    seen, most = [], 0

    async def run(number: int, _task: asyncio.Task[None]) -> None:
        nonlocal most
        seen.append(number)
        most = max(most, len(lanes._tasks))

    lanes = Lanes(run, Turn(lambda: next(clock)))
    for number in range(100):
        lanes.add(number)
    rounds = 0
    while len(seen) < 100:
        rounds += 1
        await asyncio.sleep(0)
    await lanes.join()
    assert seen == list(range(100))
    assert most == 1
    assert rounds > 20
