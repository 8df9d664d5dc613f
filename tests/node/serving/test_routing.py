"""Which node's answer counts, in particular that a task is not there."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gossip.identity import NodeId
from gossip.member import State
from node.api.problems import refuse
from node.service import Query, Refused
from node.serving.calls import Calls
from node.serving.local import Local
from node.serving.service import MeshService
from sharding.key import TaskId
from tests.node.stewardship.desk import Desk, member, settle, spec

ABSENT = "local-003-aaaaaaaaaaaaa000"


class Service(MeshService):
    """Of a desk; without `calls` it reaches no other node."""

    def __init__(self, desk: Desk, *, compared: bool = True, calls: Calls | None = None) -> None:
        given: Any = None
        unused: Any = SimpleNamespace()
        nothing_kept: Any = SimpleNamespace(keeping=SimpleNamespace(read=lambda _slot, _batch: None))
        local = Local(desk.core, nothing_kept, given)
        calls = calls or Calls(lambda _to, _message: False, {})
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


@pytest.mark.parametrize(("state", "status"), [(State.DEAD, 503), (State.LEFT, 404)])
async def test_absent_is_not_said_for_a_region_that_cannot_be_reached(state: State, status: int) -> None:
    """What it accepted in its last seconds may not have come to its copy here."""
    far = member("b", state=state)
    far = msgspec.structs.replace(far, meta=msgspec.structs.replace(far.meta, region="eu"))
    desk = Desk("a")
    desk.join(member("a"), far)
    assert await status_of(Service(desk), "eu-003-aaaaaaaaaaaaa000") == status


async def test_absent_is_not_said_before_the_peers_are_asked() -> None:
    """A node that has just started believes to be alone; the others may know the task."""
    desk = mesh("a")
    (task,) = desk.submit(spec())
    young = Service(desk, compared=False)
    assert await status_of(young, ABSENT) == 503
    assert await young.runs(task, tenant=None) == []  # what it knows it tells
    with pytest.raises(Refused, match="comparing"):
        await young.query(Query())


class Knowing(Calls):
    """These nodes have the task, all others say that it is absent; each answers when `others` have been asked."""

    def __init__(self, *names: str, others: int) -> None:
        super().__init__(lambda _to, _message: True, {})
        self._names, self._asked = names, asyncio.Barrier(others)

    async def call(self, to: NodeId, operation: str, arguments: dict[str, Any], *, timeout: float) -> Any:  # noqa: ASYNC109
        async with asyncio.timeout(timeout):
            await self._asked.wait()
        if to in self._names:
            return []
        raise refuse(404, "not-found", f"node {to} has no {arguments['id']} for {operation}")


async def test_what_the_first_replica_does_not_know_all_others_are_asked_at_once() -> None:
    desk = mesh("a", "b", "c")
    task = next(
        str(TaskId(slot, "aaaaaaaaaaaaa", 0))
        for slot in range(8)
        if desk.core.steward_of(slot) == desk.core.me
    )
    assert await status_of(Service(desk, calls=Knowing(others=2)), task) == 404
    assert await Service(desk, calls=Knowing("c", others=2)).runs(task, tenant=None) == []
