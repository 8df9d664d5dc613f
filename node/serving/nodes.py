"""Control of nodes: pause, resume, drain one, forget one that is gone. A node is told over the mesh and acts itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gossip.identity import NodeId
from gossip.member import LIVE, State
from node.api.problems import refuse
from node.clock import boottime
from node.drain import Drain
from node.schema import Node
from node.service import Refused
from node.serving.absence import absent
from node.serving.calls import Calls, NoAnswer
from node.serving.driver import PauseNode
from node.serving.overview import Overview
from node.serving.shortage import Watch

TIMEOUT = 3.0
"""Seconds a node has to carry out what it is told."""
FORGET_WITHIN = 2.0

Operation = Callable[[dict[str, Any]], Awaitable[Any]]


class Nodes:
    """`retire(node)`: tell the mesh that a dead member will not come back."""

    def __init__(
        self,
        overview: Overview,
        calls: Calls,
        drain: Drain,
        *,
        pause: PauseNode,
        retire: Callable[[NodeId], None],
    ) -> None:
        self._overview, self._calls, self._drain = overview, calls, drain
        self._pause, self._retire = pause, retire
        self._core = overview.core
        self._shortage = Watch(self._core)
        overview.drain = drain.progress

    def look(self) -> None:
        """Every few seconds: say in the log what began or ended."""
        self._drain.note()
        self._shortage.look()

    def operations(self) -> dict[str, Operation]:
        """What other nodes may ask of this one."""
        return {"node-control": self._controlled, "node-drain": self._drained}

    async def control(self, node: str, action: str) -> Node:
        """`action`: pause, resume, drain, undrain."""
        draining = action in ("drain", "undrain")
        operation = "node-drain" if draining else "node-control"
        target = self._overview.find(node)
        if target == self._core.me:
            return self._overview.node(target, await self.operations()[operation]({"action": action}))
        try:
            answer = await self._calls.call(target, operation, {"action": action}, timeout=TIMEOUT)
        except NoAnswer as error:
            refused = refuse(503, "no-answer", f"{error}{self._remedy(target, action)}")
            refused.retry_after = 1.0
            raise refused from None
        return self._overview.node(target, answer)

    def _remedy(self, node: NodeId, action: str) -> str:
        dead = self._core.ownership.members[node].state is State.DEAD
        return "; if it is gone for good: collect drain NODE --forget" if dead and action == "drain" else ""

    async def _controlled(self, arguments: dict[str, Any]) -> Any:
        if self._drain.wanted:
            action = arguments["action"]
            detail = f"this node is being drained; {action} it after `collect drain NODE --cancel`"
            raise refuse(409, "draining", detail)
        self._pause(paused=arguments["action"] == "pause")
        return await self._overview.status({})

    async def _drained(self, arguments: dict[str, Any]) -> Any:
        self._drain.order(wanted=arguments["action"] == "drain")
        return await self._overview.status({})

    async def forget(self, node: str) -> Node:
        """The node that is dead, or has left, is no replica and no voter any more, at once and for all.

        Raises Refused 404, 409.
        """
        try:
            target = self._overview.find(node, also=absent(self._core))
        except Refused as refused:
            if refused.problem.status != 404 or (voter := self._voter(node)) is None:
                raise
            self._retire(voter)
            return _unknown(voter)
        member = self._core.ownership.members[target]
        if member.state in LIVE:
            detail = f"node {member.meta.name} is {member.state}: only one that is dead or has left can be forgotten"
            raise refuse(
                409, "alive", f"{detail}; stop it first, or empty it with `collect drain {member.meta.name}`"
            )
        self._retire(target)
        end = boottime() + FORGET_WITHIN
        while self._core.ownership.members[target].state is State.DEAD and boottime() < end:
            await asyncio.sleep(0.02)
        return self._overview.node(target, None)

    def _voter(self, ref: str) -> NodeId | None:
        """One that gossip knows no more (it has been away for a day), while majorities still count it."""
        found = [node for node in self._core.leases.maps.members if node.startswith(ref)]
        return found[0] if len(found) == 1 else None


def _unknown(node: NodeId) -> Node:
    return Node(
        id=node, name=node, state=str(State.LEFT), region="", zone="", addresses={}, load={}, slots=0, version="",
        boot=0, plugins={}, ready=False,
    )  # fmt: skip
