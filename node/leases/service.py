"""Locks that users and plugins name, as requests to the voters of the lock's slot. Any node can ask."""

import asyncio
from typing import Any

from node.api.problems import refuse
from node.clock import boottime, wall_ms
from node.core import Core
from node.leases.acceptor import LOCKS
from node.leases.proposer import Result
from node.leases.wire import LeaseToken
from node.schema import Lock, ProblemItem
from node.service import Refused
from node.serving.driver import Driver
from sharding.slots import named_digest, slot_of

FREE: LeaseToken = (0, "", 0)


class Locks:
    """The fencing token of a lock is the epoch of its lease: a number that grows for ever."""

    def __init__(self, core: Core, driver: Driver) -> None:
        self._core, self._driver = core, driver

    async def act(
        self, action: str, tenant: str, name: str, *, key: str, holder: str, token: int | None, ttl: float
    ) -> Lock:
        """`action`: acquire, renew, release, read."""
        if action == "acquire":
            return await self.acquire(tenant, name, holder=holder, ttl=ttl, key=key)
        if token is None:
            return await self.read(tenant, name)
        if action == "renew":
            return await self.renew(tenant, name, token=token, holder=holder, ttl=ttl)
        return await self.release(tenant, name, token=token)

    async def acquire(self, tenant: str, name: str, *, holder: str, ttl: float, key: str) -> Lock:
        """Take the lock. The same `key` again is the same request: it has the lock, perhaps under a larger token.
        Raises Refused 409 while another has it, 503 without a majority."""
        return self._held(
            tenant, name, await self._ask("take", tenant, name, (0, key, 0), ttl, holder), holder
        )

    async def renew(self, tenant: str, name: str, *, token: int, holder: str, ttl: float) -> Lock:
        """Hold it for `ttl` seconds from now on. Raises Refused 409 when it is not held under this token any more."""
        whole, known = await self._whole(tenant, name, token)
        return self._held(
            tenant, name, await self._ask("renew", tenant, name, whole, ttl, holder or known), holder or known
        )

    async def release(self, tenant: str, name: str, *, token: int) -> Lock:
        """Free it. Raises Refused 409 when it is not held under this token."""
        whole, _ = await self._whole(tenant, name, token)
        result = await self._ask("release", tenant, name, whole, 0.0, "")
        if not result.won:
            raise self._nobody(result)
        return Lock(name=name, tenant=tenant, held=False, token=token)

    async def read(self, tenant: str, name: str) -> Lock:
        result = await self._ask("read", tenant, name, FREE, 0.0, "")
        if not result.won:
            raise self._nobody(result)
        if result.grant is None:
            return Lock(name=name, tenant=tenant, held=False)
        return Lock(
            name=name,
            tenant=tenant,
            held=True,
            holder=result.note,
            token=result.grant[0],
            expires_in=round(result.left, 3),
        )

    async def answer(self, operation: str, arguments: dict[str, Any]) -> Lock:
        """For plugins, also in worker processes."""
        match operation:
            case "acquire":
                return await self.acquire(**arguments)
            case "renew":
                return await self.renew(**arguments)
            case "release":
                return await self.release(**arguments)
        raise refuse(501, "not-known-here", f"this node does not know the operation {operation}")

    async def _whole(self, tenant: str, name: str, token: int) -> tuple[LeaseToken, str]:
        """The lease's token of this epoch, and its holder."""
        result = await self._ask("read", tenant, name, FREE, 0.0, "")
        if not result.won:
            raise self._nobody(result)
        if result.grant is None or result.grant[0] != token:
            raise self._lost(name, token, result)
        return result.grant, result.note

    async def _ask(
        self, kind: str, tenant: str, name: str, token: LeaseToken, ttl: float, holder: str
    ) -> Result:
        found: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        slot = slot_of(named_digest(tenant, name), self._core.config.slots)

        def done(result: Result) -> None:
            if not found.done():
                found.set_result(result)

        self._core.propose(
            kind,
            f"{LOCKS}{tenant}/{name}",
            slot,
            token,
            done,
            ttl=ttl,
            note=holder,
            now=boottime(),
            wall_ms=wall_ms(),
        )
        self._driver.kick()
        return await found

    def _held(self, tenant: str, name: str, result: Result, holder: str) -> Lock:
        left = result.until - boottime()
        if result.won and left > 0:
            return Lock(
                name=name,
                tenant=tenant,
                held=True,
                holder=holder,
                token=result.token[0],
                expires_in=round(left, 3),
            )
        if result.grant is not None and result.left > 0:
            raise self._taken(name, result)
        raise self._nobody(result)

    def _taken(self, name: str, result: Result) -> Refused:
        holder = result.note or "another holder"
        detail = f"lock {name} is held by {holder}, for at most {result.left:.1f} s if it is not renewed"
        item = ProblemItem(pointer="", message="held", value=holder, remedy="try again when it is free")
        refused = refuse(409, "locked", detail, errors=[item])
        refused.retry_after = max(1.0, min(result.left, 5.0))
        return refused

    def _lost(self, name: str, token: int, result: Result) -> Refused:
        now = (
            f"{result.note or 'another'} holds it under token {result.grant[0]}"
            if result.grant
            else "it is free"
        )
        detail = f"lock {name} is not held under token {token} any more: {now}; stop what relied on it"
        return refuse(409, "lock-lost", detail)

    def _nobody(self, result: Result) -> Refused:
        """No majority of the voters answered, or this node cannot ask yet."""
        if not result.ready:
            detail = (
                "this node has not heard from every other node yet, which it needs before it deals with locks"
            )
        else:
            members = self._core.ownership.members
            names = [members[node].meta.name if node in members else node for node in result.silent]
            silent = f"; no answer from {', '.join(names)}" if names else "; others asked at the same time"
            detail = f"a lock needs a majority of the replicas of its slot{silent}"
            if not self._core.leases.live.issuperset(result.silent):
                detail += "; what is gone for good: collect drain NODE --forget"
        refused = refuse(503, "no-majority", detail)
        refused.retry_after = 1.0
        return refused
