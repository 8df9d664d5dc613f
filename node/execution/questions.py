"""What a plugin in a worker process asks of its node: named locks, over the pipe."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from node.execution.holding import AskLock
from node.execution.wire import Answered, Asked
from node.schema import Lock, Problem
from node.service import Refused


class Questions:
    """A worker's end: what it asked of its node and is not answered yet."""

    def __init__(self, send: Callable[[Asked], None]) -> None:
        self._send = send
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        self._number = 0

    async def ask(self, operation: str, arguments: dict[str, Any]) -> Lock:
        self._number += 1
        number = self._number
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(Asked(number, operation, arguments))
            found = await future
        finally:
            del self._waiting[number]
        if found.ok:
            return msgspec.convert(found.value, Lock)
        refusal = msgspec.convert(found.value, _Refusal)
        raise Refused(refusal.problem, retry_after=refusal.retry_after)

    def answered(self, message: Answered) -> None:
        future = self._waiting.get(message.number)
        if future is not None and not future.done():
            future.set_result(message)


class _Refusal(msgspec.Struct):
    problem: Problem
    retry_after: float | None


async def answer(asked: Asked, ask: AskLock | None) -> Answered:
    """The node's end."""
    if ask is None:
        raise AssertionError("a worker asked for a lock that its host does not offer")
    try:
        lock = await ask(asked.operation, asked.arguments)
    except Refused as refused:
        value = {"problem": msgspec.to_builtins(refused.problem), "retry_after": refused.retry_after}
        return Answered(asked.number, False, value)
    return Answered(asked.number, True, msgspec.to_builtins(lock))
