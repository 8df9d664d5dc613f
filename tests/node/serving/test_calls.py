"""Requests between nodes: answers, refusals, silence, answers from the wrong node."""

from typing import Any

import pytest

from gossip.identity import NodeId
from node import messages
from node.api.problems import refuse
from node.messages import Answer, Call
from node.service import Refused
from node.serving.calls import Calls, NoAnswer

A, B, C = NodeId("a" * 16), NodeId("b" * 16), NodeId("c" * 16)


async def double(arguments: dict[str, Any]) -> Any:
    return arguments["n"] * 2


async def refusing(_: dict[str, Any]) -> Any:
    refused = refuse(503, "busy", "not now")
    refused.retry_after = 7.0
    raise refused


async def failing(_: dict[str, Any]) -> Any:
    raise ZeroDivisionError


class Pair:
    """Two nodes; every message is encoded and decoded on its way. `lose`: what A sends is lost."""

    def __init__(self, *, lose: bool = False) -> None:
        operations = {"double": double, "refusing": refusing, "failing": failing}
        self.lose = lose
        self.a = Calls(self._from_a, {})
        self.b = Calls(self._from_b, operations)  # type: ignore[arg-type]

    def _from_a(self, to: NodeId, message: Call | Answer) -> bool:
        if to == B and not self.lose:
            self.b.received(A, messages.decode(messages.encode(message)))
        return to == B

    def _from_b(self, to: NodeId, message: Call | Answer) -> bool:
        self.a.received(B, messages.decode(messages.encode(message)))
        return to == A


async def test_an_answer_comes_back() -> None:
    assert await Pair().a.call(B, "double", {"n": 21}, timeout=5) == 42


async def test_a_refusal_is_the_same_refusal_here() -> None:
    with pytest.raises(Refused) as caught:
        await Pair().a.call(B, "refusing", {}, timeout=5)
    assert (caught.value.problem.status, caught.value.retry_after) == (503, 7.0)


@pytest.mark.parametrize(("operation", "status"), [("failing", 500), ("unheard-of", 501)])
async def test_what_goes_wrong_there_is_a_problem_here(operation: str, status: int) -> None:
    with pytest.raises(Refused) as caught:
        await Pair().a.call(B, operation, {}, timeout=5)
    assert caught.value.problem.status == status
    assert "Traceback" not in caught.value.problem.detail


async def test_silence_and_unreachable_nodes_are_no_answer() -> None:
    with pytest.raises(NoAnswer):
        await Pair(lose=True).a.call(B, "double", {"n": 1}, timeout=0.01)
    with pytest.raises(NoAnswer):
        await Pair().a.call(C, "double", {"n": 1}, timeout=5)


async def test_an_answer_from_another_node_is_not_taken() -> None:
    pair = Pair(lose=True)

    def answer_as_c(to: NodeId, message: Call | Answer) -> bool:
        pair.a.received(C, Answer(message.id, True, "forged"))
        return True

    pair.a = Calls(answer_as_c, {})
    with pytest.raises(NoAnswer):
        await pair.a.call(B, "double", {"n": 1}, timeout=0.01)
