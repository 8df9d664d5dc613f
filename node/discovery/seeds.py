"""Seeds: addresses and names given by hand, asked again with back-off for as long as the node lives.

Names are resolved again each time, each by itself: one whose server does not answer keeps no other waiting. A seed
is what its node was started with, `mesh.bind`, or its join socket two ports above; both are proposed, the join
socket of the former first.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from structlog import get_logger

from node.discovery.base import Propose
from node.discovery.dns import Unresolved, check, resolve
from node.transport.addresses import BadAddress, shifted
from node.transport.backoff import Backoff

JOIN_OFFSET = 2  # from mesh.bind to the join socket
FIRST_PAUSE = 0.25  # seconds
LONGEST_PAUSE = 30.0  # seconds; also how often names are resolved again

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

log = get_logger(__name__)


class Seeds:
    """`entries`: `host:port` or SRV service names. Raises BadAddress naming the one that is neither.

    `exact`: the addresses are join sockets (those of a token), no port is added.
    """

    def __init__(
        self,
        entries: Sequence[str],
        *,
        rng: random.Random,
        exact: bool = False,
        resolver: "Resolver | None" = None,
    ) -> None:
        for entry in entries:
            check(entry)
        self._entries = tuple(entries)
        self._exact = exact
        self._resolver = resolver
        self._backoff: Backoff[str] = Backoff(first=FIRST_PAUSE, limit=LONGEST_PAUSE, rng=rng)
        self.failures: dict[str, str] = {}
        """entry -> why there is no address behind it now; for people"""

    async def run(self, propose: Propose) -> None:
        await asyncio.gather(*(self._follow(entry, propose) for entry in self._entries))

    async def _follow(self, entry: str, propose: Propose) -> None:
        while True:
            for address in await self._resolved(entry):
                propose(*self._candidates(address))
            await asyncio.sleep(self._backoff.failed(entry, 0.0))

    async def _resolved(self, entry: str) -> list[str]:
        """Why there is none is told once, and again when it is something else."""
        try:
            found = await resolve(entry, self._resolver)
        except Unresolved as error:
            if self.failures.get(entry) != str(error):
                log.warning("a seed is not found", seed=entry, error=str(error))
            self.failures[entry] = str(error)
            return []
        self.failures.pop(entry, None)
        return found

    def _candidates(self, address: str) -> tuple[str, ...]:
        if not self._exact:
            with contextlib.suppress(BadAddress):
                return shifted(address, JOIN_OFFSET), address
        return (address,)
