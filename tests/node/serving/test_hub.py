"""The event stream: replay after a reconnect, a reset where events are gone, slow listeners."""

import asyncio
from typing import Any

from node.serving.hub import MEMORY, QUEUE, Hub


async def take(
    hub: Hub, count: int, *, after: int | None, task: str | None = None
) -> list[tuple[int, str, Any]]:
    found = []
    stream = hub.listen(after=after, task=task)
    async with asyncio.timeout(5):
        async for event in stream:
            if event is not None:
                found.append(event)
            if len(found) == count:
                break
    await stream.aclose()
    return found


async def test_what_came_after_the_last_seen_event_is_replayed() -> None:
    hub = Hub()
    for number in range(5):
        hub.publish("task", {"task": str(number)})
    assert [event[0] for event in await take(hub, 3, after=2)] == [3, 4, 5]


async def test_a_gap_is_said_and_not_hidden() -> None:
    hub = Hub()
    for number in range(MEMORY + 10):
        hub.publish("task", {"task": str(number)})
    assert (await take(hub, 1, after=3))[0][1] == "reset"
    assert (await take(hub, 1, after=10**9))[0][1] == "reset"


async def test_only_the_events_of_the_task_that_was_asked_for() -> None:
    hub = Hub()
    for number in range(6):
        hub.publish("task", {"task": str(number % 2)})
    assert [event[0] for event in await take(hub, 3, after=0, task="1")] == [2, 4, 6]


async def test_a_listener_too_slow_gets_a_reset() -> None:
    hub = Hub()
    stream = hub.listen(after=None, task=None)
    assert await anext(stream) is None
    for number in range(QUEUE + 5):
        hub.publish("task", {"task": str(number)})
    event = await anext(stream)
    assert event is not None
    assert event[1] == "reset"
    await stream.aclose()
