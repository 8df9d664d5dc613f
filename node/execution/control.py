"""How a running job is interrupted, and how it lets others have their turn on the event loop.

A job may be interrupted at any await, but only one place is harmless: while it waits for its source (or
for its budget), when all that it has written is whole batches. So a drain, a pause or an expired time
limit cancels only that wait; what was written is then committed. A stop that may lose uncommitted work
cancels anywhere.
"""

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

TURN = 0.004
"""seconds; a job that was busy this long lets the loop go round, so that with several in a row it stays
under 10 ms
"""


class Wish(enum.Enum):
    """Why a job is to end before its source does."""

    DRAIN = "commit what is written, then stop"
    STOP = "stop now"
    TIMEOUT = "the time limit of the attempt has passed: commit what is written, then fail"


class Control:
    """One job's interrupt. `wish`: None while the job may go on; the first wish stays, but STOP overrides.

    `held`: set by the job while nothing may cut it off; it looks at `wish` afterwards.
    """

    __slots__ = ("_closing", "_task", "_waiting", "_woken", "held", "wish")

    def __init__(self) -> None:
        self.wish: Wish | None = None
        self.held = False
        self._task: asyncio.Task[object] | None = None
        self._waiting = False
        self._woken = False
        self._closing = False

    def begin(self, task: "asyncio.Task[None] | None" = None) -> None:
        """`task` (None: the current one) runs the job from here on."""
        self._task = task or asyncio.current_task()

    def close(self) -> None:
        """The job is being wound up: nothing interrupts it any more."""
        self._closing = True

    @property
    def waiting(self) -> bool:
        return self._waiting

    def ask(self, wish: Wish) -> None:
        if self.wish is None or wish is Wish.STOP:
            self.wish = wish
        self._cancel(anywhere=wish is Wish.STOP)

    def wake(self) -> None:
        """End the job's wait for its source, for it has something else to look at."""
        if self._waiting:
            self._woken = True
            self._cancel(anywhere=False)

    def force(self) -> None:
        """Cancel whatever the job is doing; its wish must be set."""
        self._cancel(anywhere=True)

    async def wait(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """What `call` gives, or None if the job was asked to end or woken while it waited."""
        if self.wish is not None:
            return None
        self._waiting = True
        try:
            return await call()
        except asyncio.CancelledError:
            if not self.absorb():
                raise
            return None
        finally:
            self._waiting = False

    def absorb(self) -> bool:
        """Whether a cancellation that arrived was this control's doing; if so it is taken off the task."""
        if self.wish is None and not self._woken:
            return False
        self._woken = False
        while self._task is not None and self._task.uncancel():
            pass
        return True

    def _cancel(self, *, anywhere: bool) -> None:
        """Not from within the job itself (its own reports lead here): it looks at its wish before it
        waits, and a cancellation that it outruns would hit what its asyncio task does next.
        """
        task = self._task
        if task is None or self._closing or self.held or task is asyncio.current_task():
            return
        if anywhere or self._waiting:
            task.cancel()


class Turn:
    """The time that the jobs of one loop share between two rounds of it. `clock`: seconds, monotonic.

    Jobs that passed on are let go one a round, in order, so that many of them take no more of a round than
    one.
    """

    __slots__ = ("_clock", "_passed", "_since")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._passed: deque[asyncio.Future[None]] = deque()

    def over(self) -> bool:
        return self._clock() - self._since > TURN

    def __len__(self) -> int:
        """How many wait for their next turn."""
        return len(self._passed)

    async def pass_on(self) -> None:
        """Let the loop go round, and whoever passed on before have a turn."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._passed.append(mine)
        if len(self._passed) == 1:
            loop.call_soon(self._begin)
        await mine

    def _begin(self) -> None:
        self._since = self._clock()
        while self._passed:
            first = self._passed.popleft()
            if not first.done():
                first.set_result(None)
                break
        if self._passed:
            asyncio.get_running_loop().call_soon(self._begin)
