"""The event streams of a node: of what it learns itself, and of the whole mesh.

For the second, every live node is asked what is new there while somebody listens, and for a while after, so that who
reconnects misses nothing. A question waits at the other node until something happens. Of the members only this node's
own view is told: the others' are the same news again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec

from gossip.identity import NodeId
from node.service import Refused
from node.serving.calls import NoAnswer
from node.serving.hub import Event, Hub

PATIENCE = 10.0
"""Seconds for which a node holds a question about news; who asks waits so long again."""
PAUSE = 1.0
"""Seconds between two looks at who lives, and after a question without an answer."""
LINGER = 60.0
"""Seconds for which the mesh is followed after the last listener has gone."""
MOST = 500
"""Events in an answer."""
FIRST = 1.0
"""Seconds within which all nodes should have said where they stand before a stream begins."""


class Recent(msgspec.Struct):
    """`last`: the number up to which this is; `events`: (kind, data). `gap`: some before them are forgotten."""

    epoch: str
    last: int
    events: list[tuple[str, dict[str, Any]]] = []
    gap: bool = False


class Ask(Protocol):
    """A question to another node; raises NoAnswer, Refused. `timeout`: seconds."""

    async def __call__(self, to: NodeId, operation: str, arguments: dict[str, Any], *, timeout: float) -> Any:  # noqa: ASYNC109
        ...


class News:
    """`own`: what this node learns. `epoch`: another with each of its starts. `live`: the members, this node too."""

    def __init__(
        self, me: NodeId, own: Hub, epoch: str, live: Callable[[], frozenset[NodeId]], ask: Ask
    ) -> None:
        self.own, self.all = own, Hub()
        self._me, self._epoch, self._live, self._ask = me, epoch, live, ask
        self._listeners = 0
        self._left = 0.0
        self._attending: asyncio.Task[None] | None = None
        self._following: dict[NodeId, asyncio.Task[None]] = {}
        self._begun: dict[NodeId, asyncio.Event] = {}

    async def listen(self, *, after: int | None, task: str | None, mesh: bool) -> AsyncIterator[Event | None]:
        """As `Hub.listen`; `mesh`: of all nodes."""
        if not mesh:
            async for event in self.own.listen(after=after, task=task):
                yield event
            return
        self._listeners += 1
        try:
            await self._begin()
            async for event in self.all.listen(after=after, task=task):
                yield event
        finally:
            self._listeners -= 1
            self._left = asyncio.get_running_loop().time()

    async def recent(self, arguments: dict[str, Any]) -> Any:
        """For another node: a `Recent`, after `after` if `epoch` is this start."""
        if arguments["epoch"] != self._epoch:
            return msgspec.to_builtins(Recent(self._epoch, self.own.last))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.own.beyond(arguments["after"]), PATIENCE)
        events = self.own.since(arguments["after"])
        some = events[:MOST]
        return msgspec.to_builtins(
            Recent(
                self._epoch,
                some[-1][0] if some else self.own.last,
                [(kind, data) for _, kind, data in some if kind not in ("member", "reset")],
                gap=any(kind == "reset" for _, kind, _ in events),
            )
        )

    async def close(self) -> None:
        if self._attending is not None:
            self._attending.cancel()
            await asyncio.gather(self._attending, return_exceptions=True)

    # ---- following the others

    async def _begin(self) -> None:
        """Follow everybody who lives, if that is not done yet, and wait until they have said where they stand."""
        if self._attending is None:
            self._attending = asyncio.get_running_loop().create_task(self._attend())
            await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST):
                for begun in list(self._begun.values()):
                    await begun.wait()

    async def _attend(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._listeners or loop.time() < self._left + LINGER:
                live = self._live()
                for node in live - self._following.keys():
                    self._begun[node] = asyncio.Event()
                    follow = self._relay() if node == self._me else self._follow(node)
                    self._following[node] = loop.create_task(follow)
                for node in self._following.keys() - live:
                    self._following.pop(node).cancel()
                    del self._begun[node]
                    self._lost(node, "it is gone")
                await asyncio.sleep(PAUSE)
        finally:
            self._attending = None  # who comes now begins anew
            following = list(self._following.values())
            self._following.clear()
            self._begun.clear()
            self.all.publish("reset", {"reason": "nobody has listened for a while"})
            for one in following:
                one.cancel()
            await asyncio.gather(*following, return_exceptions=True)

    async def _relay(self) -> None:
        async for event in self.own.listen(after=None, task=None):
            if event is None:
                self._begun[self._me].set()
            else:
                self.all.publish(event[1], event[2])

    async def _follow(self, node: NodeId) -> None:
        epoch, after = "", 0
        while True:
            arguments = {"epoch": epoch, "after": after}
            try:
                told = await self._ask(node, "events", arguments, timeout=2 * PATIENCE)
                answer = msgspec.convert(told, Recent)
            except (NoAnswer, Refused, msgspec.ValidationError):  # it is gone, or too old to tell
                await asyncio.sleep(PAUSE)
                continue
            if epoch and (answer.epoch != epoch or answer.gap):
                self._lost(node, "it has started anew" if answer.epoch != epoch else "it was too fast")
            epoch, after = answer.epoch, answer.last
            for kind, data in answer.events:
                self.all.publish(kind, data)
            self._begun[node].set()

    def _lost(self, node: NodeId, why: str) -> None:
        self.all.publish("reset", {"node": node, "reason": f"not all of node {node} is known: {why}"})
