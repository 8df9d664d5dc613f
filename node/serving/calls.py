"""Request and answer between nodes, over the bulk plane."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from structlog import get_logger

from gossip.identity import NodeId
from node.api.problems import refuse
from node.messages import Answer, Call
from node.schema import Problem
from node.service import Refused

log = get_logger(__name__)

T = TypeVar("T")

Operation = Callable[[dict[str, Any]], Awaitable[Any]]


class NoAnswer(Exception):
    """The node did not answer in time; whether it did what was asked is unknown."""


class Calls:
    """`send(to, message)`: False when the message could not even be queued."""

    def __init__(
        self, send: Callable[[NodeId, Call | Answer], bool], operations: dict[str, Operation]
    ) -> None:
        self._send = send
        self._operations = operations
        self._waiting: dict[int, tuple[NodeId, asyncio.Future[Any]]] = {}
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, to: NodeId, operation: str, arguments: dict[str, Any], *, timeout: float) -> Any:  # noqa: ASYNC109
        """The other node's answer. Raises Refused as it does there, NoAnswer."""
        self._next += 1
        number = self._next
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (to, future)
        try:
            if not self._send(to, Call(number, operation, arguments)):
                raise NoAnswer(f"node {to} cannot be reached")
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise NoAnswer(f"node {to} did not answer within {timeout:g} s") from None
        finally:
            self._waiting.pop(number, None)

    def received(self, sender: NodeId, message: Call | Answer) -> None:
        if isinstance(message, Call):
            task = asyncio.get_running_loop().create_task(self._carry_out(sender, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        waiting = self._waiting.get(message.id)
        if waiting is None or waiting[0] != sender or waiting[1].done():
            return
        if message.ok:
            waiting[1].set_result(message.value)
        else:
            problem = msgspec.convert(message.value["problem"], Problem)
            waiting[1].set_exception(Refused(problem, retry_after=message.value.get("retry_after")))

    async def _carry_out(self, sender: NodeId, call: Call) -> None:
        try:
            operation = self._operations.get(call.operation)
            if operation is None:
                raise refuse(501, "not-known-here", f"this node does not know the operation {call.operation}")
            answer = Answer(call.id, True, await operation(call.arguments))
        except Refused as refused:
            problem = msgspec.to_builtins(refused.problem)
            answer = Answer(call.id, False, {"problem": problem, "retry_after": refused.retry_after})
        except Exception as error:
            log.exception("a call failed", operation=call.operation, sender=sender)
            problem = msgspec.to_builtins(
                refuse(500, "internal", f"node failed: {type(error).__name__}").problem
            )
            answer = Answer(call.id, False, {"problem": problem, "retry_after": None})
        self._send(sender, answer)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def at_once(*questions: Coroutine[Any, Any, T]) -> AsyncIterator[list[asyncio.Task[T]]]:
    """All are under way from now on, to be awaited in their order; the end drops what is not answered by then."""
    tasks = [asyncio.ensure_future(question) for question in questions]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
