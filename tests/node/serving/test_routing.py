"""Which node's answer counts, in particular that a task is not there."""

from types import SimpleNamespace
from typing import Any

import pytest

from node.service import Query, Refused
from node.serving.calls import Calls
from node.serving.local import Local
from node.serving.service import MeshService
from tests.node.stewardship.desk import Desk, member, settle, spec

ABSENT = "local-003-aaaaaaaaaaaaa000"


class Service(MeshService):
    """Of a desk; it reaches no other node."""

    def __init__(self, desk: Desk, *, compared: bool = True) -> None:
        given: Any = None
        unused: Any = SimpleNamespace()
        nothing_kept: Any = SimpleNamespace(keeping=SimpleNamespace(read=lambda _slot, _batch: None))
        local = Local(desk.core, nothing_kept, given)
        calls = Calls(lambda _to, _message: False, {})
        super().__init__(
            desk.core, local, calls, given, given, given, facts=given, ready=given, nodes=given,
            exporter=given, locks=given, rules=given, verifier=unused, compared=lambda: compared,
        )  # fmt: skip


def mesh(*names: str) -> Desk:
    desk = Desk("a")
    desk.join(*(member(name) for name in names))
    settle(desk)
    return desk


async def status_of(service: MeshService, task: str) -> int:
    with pytest.raises(Refused) as refused:
        await service.runs(task, tenant=None)
    return refused.value.problem.status


async def test_absent_is_said_only_when_every_live_replica_says_so() -> None:
    assert await status_of(Service(mesh("a")), ABSENT) == 404
    assert await status_of(Service(mesh("a", "b")), ABSENT) == 503


async def test_absent_is_not_said_before_the_peers_are_asked() -> None:
    """A node that has just started believes to be alone; the others may know the task."""
    desk = mesh("a")
    (task,) = desk.submit(spec())
    young = Service(desk, compared=False)
    assert await status_of(young, ABSENT) == 503
    assert await young.runs(task, tenant=None) == []  # what it knows it tells
    with pytest.raises(Refused, match="comparing"):
        await young.query(Query())
