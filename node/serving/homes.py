"""In which region a new task is at home.

The one that it is pinned to; else, for a named task, the one where it is already; else the one that is nearest to its
target, if its source names a host and its files are on shared roots (and it has the replicas that a task with
`on_partition = "pause"` needs); else that of the node that was asked. The answer
for a target is remembered, so that a submit waits for a measurement once in five minutes.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from yarl import URL

from node.core import Core
from node.schema import TaskSpec
from node.service import Refused
from node.serving.calls import Calls, NoAnswer, at_once
from node.serving.nearness import Nearness, Remembered
from node.serving.routes import Routes
from node.spec.rules import PAUSE_NEEDS
from node.stewardship.specs import decode_brief, decode_spec
from sharding.key import TaskId, batch_name
from sharding.region import slot_in
from sharding.slots import GROUP_LINES, named_digest, slot_of

CALL_WITHIN = 2.0
"""Seconds another region has to say how near it is."""
CLEARLY = 0.8
"""Another region is nearer when it needs less than this share of the own region's time,"""
GAIN = 0.005
"""and at least so many seconds less."""

Look = Callable[[int, str, dict[str, Any]], Awaitable[Any]]
"""(slot, operation, arguments): asks who keeps the slot."""


class Homes:
    def __init__(self, core: Core, routes: Routes, calls: Calls, nearness: Nearness) -> None:
        self.core, self.routes, self.calls, self.nearness = core, routes, calls, nearness
        self._nearest: Remembered[str] = Remembered()

    async def home(
        self,
        specs: Sequence[bytes],
        name: str | None,
        tenant: str,
        look: Look,
        *,
        tied: bool = False,
    ) -> str:
        """`tied`: it needs folders of this machine."""
        own = self.core.config.region
        if b'"region"' in specs[0] and (pin := pinned(specs)):
            return pin
        elsewhere = self.routes.elsewhere()
        if not elsewhere:
            return own
        if name is not None:
            with contextlib.suppress(Refused):
                if (task := await self.named(name, tenant, look)) is not None:
                    return task.region
        target = None if tied else target_of(specs)
        found = own if target is None else await self._near(target)
        return found if self._may_vote(found, specs) else own

    def _may_vote(self, region: str, specs: Sequence[bytes]) -> bool:
        """Whether the region has the replicas that its tasks with `on_partition = "pause"` need."""
        pauses = any(b'"on_partition"' in raw for raw in specs)
        return not pauses or self.core.voters_in(region) >= PAUSE_NEEDS

    async def named(self, name: str, tenant: str, look: Look) -> TaskId | None:
        """The task of this name. All regions are asked at once, for each is a long way off; the answer of the own one
        counts first. Raises Refused where none has it and one could not say so.
        """
        digest = named_digest(tenant, name)
        slot = slot_of(digest, self.core.config.slots)
        regions = (self.core.config.region, *self.routes.elsewhere())
        tasks = [TaskId(slot_in(region, slot), batch_name(digest), 0) for region in regions]
        unsaid: Refused | None = None
        async with at_once(*(_has(look, task) for task in tasks)) as answers:
            for task, answer in zip(tasks, answers, strict=True):
                try:
                    if await answer:
                        return task
                except Refused as refused:
                    unsaid = refused
        if unsaid is not None:
            raise unsaid
        return None

    async def _near(self, target: tuple[str, int]) -> str:
        known = self._nearest.get(target)
        return known[0] if known is not None else self._nearest.put(target, await self._measure(target))

    async def _measure(self, target: tuple[str, int]) -> str:
        """One ready node of each region is asked, all at once."""
        members, own = self.core.ownership.members, self.core.config.region
        asked = {own: self.core.me}
        for node in sorted(self.core.ownership.live()):
            if self.core.ownership.ready(node):
                asked.setdefault(members[node].meta.region, node)

        async def ask(node: Any) -> float | None:
            arguments = {"host": target[0], "port": target[1]}
            if node == self.core.me:
                return await self.nearness.operation(arguments)
            try:
                answer = await self.calls.call(node, "nearness", arguments, timeout=CALL_WITHIN)
            except (NoAnswer, Refused):
                return None  # cut off just now, or of an earlier version
            return float(answer) if answer is not None else None

        async with at_once(*map(ask, asked.values())) as answers:
            mine = await answers[0]
            if mine is not None and mine < GAIN:
                return own  # none is nearer by so much; the others are a long way off
            return nearest(own, dict(zip(asked, [await answer for answer in answers], strict=True)))


async def _has(look: Look, task: TaskId) -> bool:
    """Whether the task is there. Raises Refused where that is not known."""
    try:
        await look(task.slot, "task", {"id": str(task)})
    except Refused as refused:
        if refused.problem.status != 404:
            raise
        return False
    return True


def pinned(specs: Sequence[bytes]) -> str | None:
    """The region that all specs of a submit name; None where they do not agree on one."""
    named = {(decode_brief(raw).placement or {}).get("region") for raw in specs}
    return named.pop() if len(named) == 1 else None


def target_of(specs: Sequence[bytes]) -> tuple[str, int] | None:
    """The host and port that all specs of a submit collect from; None where they name none, or several, or where there
    are too many to look.
    """
    if len(specs) > GROUP_LINES or any(b'"url"' not in raw for raw in specs):
        return None
    found = {_target(decode_spec(raw)) for raw in specs}
    return found.pop() if len(found) == 1 else None


def _target(spec: TaskSpec) -> tuple[str, int] | None:
    url = spec.source.get("url")
    with contextlib.suppress(ValueError):
        parsed = URL(url) if isinstance(url, str) else URL()
        if parsed.host and parsed.port:
            return parsed.host, parsed.port
    return None


def nearest(own: str, seconds: Mapping[str, float | None]) -> str:
    """The region of the least time, if it is clearly less than that of the own one."""
    known = sorted((time, region) for region, time in seconds.items() if time is not None)
    if not known:
        return own
    best, region = known[0]
    mine = seconds.get(own)
    if mine is None or (best < CLEARLY * mine and mine - best >= GAIN):
        return region
    return own
