"""The events of all nodes at one of them: nothing missed while it listens, a reset where something may be."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gossip.identity import NodeId
from node.serving import news
from node.serving.calls import NoAnswer
from node.serving.hub import MEMORY, Event, Hub
from node.serving.news import News

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


class Mesh:
    """Three nodes; `silent` ones do not answer, `dead` ones are no members."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, News] = {}
        self.silent: set[NodeId] = set()
        self.garbage: set[NodeId] = set()
        self.dead: set[NodeId] = set()
        self.questions = 0
        for node in (A, B, C):
            self.start(node)

    def start(self, node: NodeId, life: int = 1) -> None:
        self.nodes[node] = News(node, Hub(), f"{node}{life}", self.live, self.ask)

    def live(self) -> frozenset[NodeId]:
        return frozenset(self.nodes) - self.dead

    async def ask(self, to: NodeId, operation: str, arguments: dict[str, Any], *, timeout: float) -> Any:  # noqa: ASYNC109
        assert (operation, timeout > news.PATIENCE) == ("events", True)
        self.questions += 1
        if to in self.silent:
            raise NoAnswer("silent")
        if to in self.garbage:
            return {"epoch": 7, "events": [["task"]]}
        return await self.nodes[to].recent(arguments)

    def tell(self, node: NodeId, number: int, kind: str = "task") -> None:
        self.nodes[node].own.publish(kind, {"task": "t", "number": number})


@pytest.fixture
async def mesh(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    monkeypatch.setattr(news, "PAUSE", 0.001)
    monkeypatch.setattr(news, "PATIENCE", 0.05)
    made = Mesh()
    yield made
    for node in made.nodes.values():
        await node.close()


async def begun(mesh: Mesh, after: int | None = None, task: str | None = None) -> AsyncIterator[Event | None]:
    stream = mesh.nodes[A].listen(after=after, task=task, mesh=True)
    assert await anext(stream) is None
    return stream


async def take(stream: AsyncIterator[Event | None], count: int) -> list[Event]:
    async with asyncio.timeout(10):
        found = [await anext(stream) for _ in range(count)]
    return [event for event in found if event is not None]


async def until(true: Callable[[], bool], step: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await step()


def numbers(events: list[Event]) -> list[int]:
    return sorted(data["number"] for _, _, data in events)


async def test_what_happens_anywhere_is_told_once(mesh: Mesh) -> None:
    stream = await begun(mesh)
    for number in range(30):
        mesh.tell([A, B, C][number % 3], number)
    events = await take(stream, 30)
    assert numbers(events) == list(range(30))
    assert [number for number, _, _ in events] == list(range(1, 31))
    mesh.tell(B, 99, "member")
    mesh.tell(A, 100, "member")
    assert [event[2]["number"] for event in await take(stream, 1)] == [100], "of members the own view"


async def test_who_comes_back_has_missed_nothing(mesh: Mesh) -> None:
    stream = await begun(mesh)
    mesh.tell(B, 1)
    ((seen, _, _),) = await take(stream, 1)
    await stream.aclose()  # type: ignore[attr-defined]
    mesh.tell(C, 2)
    mesh.tell(B, 3)
    again = await begun(mesh, after=seen)
    assert numbers(await take(again, 2)) == [2, 3]


@pytest.mark.parametrize("fault", ["silent", "garbage"])
async def test_a_node_that_does_not_answer_for_a_while_tells_later(mesh: Mesh, fault: str) -> None:
    stream = await begun(mesh)
    setattr(mesh, fault, {B})
    asked = mesh.questions
    mesh.tell(C, 1)
    mesh.tell(C, 2)
    await until(lambda: mesh.questions > asked + 5, lambda: asyncio.sleep(0.001))
    mesh.tell(B, 3)
    setattr(mesh, fault, set())
    assert numbers(await take(stream, 3)) == [1, 2, 3]


async def test_a_node_that_dies_or_starts_anew_may_have_said_more(mesh: Mesh) -> None:
    stream = await begun(mesh)
    mesh.dead = {C}
    ((_, kind, data),) = await take(stream, 1)
    assert (kind, data["node"]) == ("reset", "c")
    mesh.start(B, life=2)
    ((_, kind, data),) = await take(stream, 1)
    assert (kind, data["node"]) == ("reset", "b")
    mesh.tell(B, 1)
    assert numbers(await take(stream, 1)) == [1]


async def test_more_than_a_node_remembers_is_a_gap(mesh: Mesh) -> None:
    stream = await begun(mesh)
    mesh.silent = {B}
    asked = mesh.questions
    await until(lambda: mesh.questions > asked + 5, lambda: asyncio.sleep(0.001))
    for number in range(MEMORY + 10):
        mesh.tell(B, number)
    mesh.silent = set()
    assert (await take(stream, 1))[0][1] == "reset"


async def test_nobody_is_asked_when_nobody_listens(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = await begun(mesh)
    mesh.tell(B, 1)
    ((seen, _, _),) = await take(stream, 1)
    monkeypatch.setattr(news, "LINGER", 0.0)
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: mesh.nodes[A].all.last > seen, lambda: asyncio.sleep(0.001))
    asked = mesh.questions
    mesh.tell(B, 2)
    await asyncio.sleep(0)
    assert mesh.questions == asked
    again = await begun(mesh, after=seen)
    assert (await take(again, 1))[0][1] == "reset", "2 was missed"
