"""Which proposed addresses are greeted, and when: one hello at a time each, with back-off after failures."""

import asyncio
import random
import time
from collections.abc import Callable

from structlog import get_logger

from node.security.keyring import KeyRing
from node.security.keys import Pair
from node.security.roster import Entry
from node.transport.backoff import Backoff
from node.transport.base import SyncContext
from node.transport.hello import JoinFailed, JoinReason
from node.transport.introduce import JoinAnswer, introduce

MAX_AT_ONCE = 16
MAX_GUESSES = 8
"""Of those, for addresses that anyone on the network could have made up: they never take the room of a seed's."""
FIRST_PAUSE = 0.2  # seconds
LONGEST_PAUSE = 30.0  # seconds
MAX_FAILURES = 64

log = get_logger(__name__)


class Introductions:
    """`me`: our entry now; `on_met`: called with each answer. Used on one loop."""

    def __init__(
        self,
        context: SyncContext,
        ring: KeyRing,
        *,
        pair: Pair,
        me: Callable[[], Entry],
        rng: random.Random,
        on_met: Callable[[JoinAnswer], None],
    ) -> None:
        self._context = context
        self._ring = ring
        self._pair = pair
        self._me = me
        self._on_met = on_met
        self._backoff: Backoff[str] = Backoff(first=FIRST_PAUSE, limit=LONGEST_PAUSE, rng=rng)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._guesses: set[str] = set()
        self._ourselves: set[str] = set()
        self.failures: dict[str, str] = {}
        """address -> why the last hello there failed; for people; bounded"""
        self.welcomed = ""
        """the address of another node that last took us in"""

    def greet(self, addresses: tuple[str, ...], *, guess: bool = False) -> None:
        """Say hello at the first of these that answers, unless one was tried too recently or is us.

        `guess`: nobody vouches for them.
        """
        key = addresses[0]
        room = len(self._guesses) < MAX_GUESSES if guess else len(self._tasks) < MAX_AT_ONCE
        busy = key in self._tasks or not room
        if (
            busy
            or not self._ourselves.isdisjoint(addresses)
            or not self._backoff.ready(key, time.monotonic())
        ):
            return
        task = asyncio.ensure_future(self._try(addresses, guess=guess))
        self._tasks[key] = task
        if guess:
            self._guesses.add(key)
        task.add_done_callback(lambda _: self._done(key))

    def _done(self, key: str) -> None:
        self._tasks.pop(key, None)
        self._guesses.discard(key)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _try(self, addresses: tuple[str, ...], *, guess: bool) -> None:
        for address in addresses:
            try:
                answer = await introduce(
                    self._context, address, cluster=self._ring.current, pair=self._pair, me=self._me()
                )
            except JoinFailed as error:
                self._report(address, error, guess=guess)
                continue
            self._backoff.succeeded(addresses[0])
            self.failures.pop(address, None)
            if answer.server.id == self._me().id:
                self._ourselves.add(address)
            else:
                self.welcomed = address
                self._on_met(answer)
            return
        self._backoff.failed(addresses[0], time.monotonic())

    def _report(self, address: str, error: JoinFailed, *, guess: bool) -> None:
        """A mesh that turns us away is told once; that a seed is not up yet is no news, nor is a wrong guess."""
        told = self.failures.get(address) == str(error)
        if told or len(self.failures) < (MAX_FAILURES // 2 if guess else MAX_FAILURES):
            self.failures[address] = str(error)
        if told or guess or error.reason in (JoinReason.UNREACHABLE, JoinReason.NO_ANSWER):
            log.debug("no introduction", address=address, error=str(error))
        else:
            log.warning("no introduction", address=address, reason=error.reason.value, error=str(error))
