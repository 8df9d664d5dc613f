"""Named locks for plugins: held, renewed and freed while a block runs, in the node or in a worker process."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from node.clock import boottime
from node.schema import Lock
from node.service import Refused
from plugins.api import Permanent, Retryable

AskLock = Callable[[str, dict[str, Any]], Awaitable[Lock]]
"""`(operation, arguments)`: acquire, renew or release; raises Refused."""

PAUSE = 0.5
"""Seconds between two tries to get a lock that another has."""
LONGEST = 3600.0


class Held:
    """A lock while it is held; `number` is its fencing token."""

    def __init__(self, number: int, until: float) -> None:
        self.number = number
        self._until = until

    @property
    def lost(self) -> bool:
        return boottime() >= self._until

    def check(self) -> None:
        if self.lost:
            raise Retryable("the lock could not be renewed in time; another may have it", code="lock-lost")

    def prolong(self, until: float) -> None:
        """It was renewed."""
        self._until = max(self._until, until)

    def end(self) -> None:
        """It is another's."""
        self._until = 0.0


class TaskLocks:
    """`holder`: what others are told."""

    def __init__(self, ask: AskLock, tenant: str, holder: str) -> None:
        self._ask, self._tenant, self._holder = ask, tenant, holder

    @contextlib.asynccontextmanager
    async def hold(self, name: str, *, ttl: float = 30.0, wait: float | None = None) -> AsyncIterator[Held]:
        if not 1 <= ttl <= LONGEST:
            raise Permanent(f"a lock's ttl is 1 to {LONGEST:g} seconds, not {ttl:g}", code="lock")
        held = await self._acquire(name, ttl, wait)
        keeping = asyncio.get_running_loop().create_task(self._keep(held, name, ttl))
        try:
            yield held
            held.check()
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
            if not held.lost:
                with contextlib.suppress(Refused):  # it frees itself by time
                    await self._ask("release", {"tenant": self._tenant, "name": name, "token": held.number})

    async def _acquire(self, name: str, ttl: float, wait: float | None) -> Held:
        arguments = {
            "tenant": self._tenant, "name": name, "holder": self._holder, "ttl": ttl, "key": uuid.uuid4().hex
        }  # fmt: skip
        end = None if wait is None else boottime() + wait
        while True:
            sent = boottime()
            try:
                lock = await self._ask("acquire", arguments)
            except Refused as refused:
                if end is not None and boottime() + PAUSE > end:
                    raise Retryable(str(refused), code="locked", after=refused.retry_after) from None
            else:
                return Held(lock.token or 0, sent + lock.expires_in)
            await asyncio.sleep(PAUSE)

    async def _keep(self, held: Held, name: str, ttl: float) -> None:
        arguments = {
            "tenant": self._tenant, "name": name, "holder": self._holder, "ttl": ttl, "token": held.number
        }  # fmt: skip
        while not held.lost:
            await asyncio.sleep(ttl / 3)
            sent = boottime()
            try:
                lock = await self._ask("renew", arguments)
            except Refused as refused:
                if refused.problem.status == 409:
                    held.end()
            else:
                held.prolong(sent + lock.expires_in)
