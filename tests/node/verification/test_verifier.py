"""What a verification says of nodes that answer some of its questions only."""

from pathlib import Path
from typing import Any

import pytest

from gossip.identity import NodeId
from node.execution.roots import FolderRoots
from node.schema import Finding, VerifySummary
from node.serving.calls import Calls, NoAnswer
from node.verification.verifier import Verifier
from tests.node.stewardship.desk import member
from tests.node.verification.test_mending import Machine

A, B = NodeId("a"), NodeId("b")


async def verified(folder: Path, *unanswered: str) -> tuple[list[Finding], VerifySummary]:
    """Two nodes with the same: b answers what a does, but for these operations."""
    machine = Machine(folder)
    machine.start()
    machine.core.members({one: member(one) for one in (A, B)}, 1.0, 1)
    verifier = Verifier(machine.core, machine.driver, Calls(lambda *_: False, {}), FolderRoots({}))
    own = verifier.ask

    async def ask(node: NodeId, operation: str, arguments: dict[str, Any]) -> Any:
        if node == B and operation in unanswered:
            raise NoAnswer("node b is busy")
        return await own(A, operation, arguments)

    verifier.ask = ask  # type: ignore[method-assign]
    lines = [line async for line in verifier.run(repair=False, deep=False)]
    await machine.driver.close()
    assert lines[-1].summary is not None
    return [line.finding for line in lines if line.finding], lines[-1].summary


async def test_who_answers_everything_is_compared(tmp_path: Path) -> None:
    findings, summary = await verified(tmp_path)
    assert findings == []
    assert summary.nodes == 2


@pytest.mark.parametrize("operation", ["verify-slots", "verify-batches"])
async def test_who_does_not_answer_a_comparison_is_told(tmp_path: Path, operation: str) -> None:
    (finding,), summary = await verified(tmp_path, operation)
    assert (finding.kind, finding.node, summary.unchecked, summary.differences) == ("unchecked", "b", 1, 0)
    assert "was not compared in " in finding.what
    assert finding.what.endswith("it could not be asked: node b is busy")
