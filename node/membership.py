"""Membership: the driver of the SWIM machine, on a thread, loop and sockets of its own.

The thread runs nothing but membership: no ledger, JSON, SQLite or plugin can delay an answer to a probe. Time
is CLOCK_BOOTTIME, which goes on while the machine sleeps. Two kinds of message share the control plane:
packets of the machine, and roster exchange, without which a member that is heard of could not be dialled.

How a newcomer comes to be known to all: it is greeted by one member (join socket), whose news carry its key
to all live members at once; its packets then make it a member everywhere. Who hears of a member whose key it
lacks asks the others; who is turned away greets the other's join socket itself. So one seed is enough, and
any number may start at the same time.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
from structlog import get_logger

from gossip.effects import Changed, Conflict, Retire, SetMeta
from gossip.identity import NodeId
from gossip.member import Member, Meta, State, encode_meta
from node.clock import boottime
from node.fitness import Pulse
from node.membership_config import Identity, Settings
from node.membership_driver import Driver
from node.security.keeper import Keeper
from node.security.selftest import Unguarded, require_guarded, require_join_guarded
from node.transport.base import SyncContext
from node.transport.join import unproven_hello

OnChange = Callable[[Member, State | None], None]
"""(member, its state before; None: it was unknown)"""
OnConflict = Callable[[Conflict], None]

T = TypeVar("T")

log = get_logger(__name__)

FEEL_INTERVAL = 0.5
"""Seconds between two looks at the heartbeat of the main loop."""


class Membership:
    """Every method may be called on the main loop's thread; callbacks are delivered there."""

    def __init__(
        self,
        context: SyncContext,
        identity: Identity,
        settings: Settings,
        *,
        on_change: OnChange,
        on_conflict: OnConflict | None = None,
    ) -> None:
        self._context = context
        self._identity = identity
        self._settings = settings
        self._on_change = on_change
        self._on_conflict = on_conflict
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
        self._ready: Future[None] = Future()
        self._main: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._driver: Driver | None = None
        self._pulse = Pulse()

    async def start(self) -> None:
        """Listening and seen to be guarded when this returns.

        Raises CannotBind, BadAddress, MetaTooLarge, Unguarded; `stop` is wanted after these as well.
        """
        self._main = asyncio.get_running_loop()
        self._thread.start()
        await asyncio.wrap_future(self._ready)
        gossip, _ = self._driver_running().bound
        await asyncio.to_thread(require_guarded, self._context, gossip, self._identity.keys.pair.public)
        await self._test_join_socket()

    async def _test_join_socket(self) -> None:
        """Once more where the key was replaced meanwhile: a node that was away hears of that at its start."""
        _, joining = self._driver_running().bound
        ring, tested = self._identity.ring, None
        while tested is not ring.current:
            tested = ring.current
            try:
                await asyncio.to_thread(
                    require_join_guarded,
                    self._context,
                    joining,
                    tested.join_server.public,
                    unproven_hello(),
                )
            except Unguarded:
                if tested is ring.current:
                    raise

    async def stop(self) -> None:
        """Without a word to the others, who will take it for a crash unless `leave` came before."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    async def leave(self, within: float) -> bool:
        """Tell the others that we go on purpose; whether that was spread within so many seconds."""
        driver = self._driver_running()
        self._post(driver.leave)
        return await asyncio.to_thread(driver.left.wait, within)

    @property
    def alive(self) -> bool:
        """Whether the thread runs; when not, this node must not go on."""
        return self._thread.is_alive()

    @property
    def address(self) -> str:
        """What others dial, of the control plane."""
        return self._driver_running().address

    @property
    def join_address(self) -> str:
        """What others dial to join; for tokens and mDNS."""
        return self._driver_running().join_address

    @property
    def heard(self) -> float:
        """When (`boottime`) another member last said anything here."""
        return self._driver_running().heard

    @property
    def lag(self) -> float:
        """Seconds that the last timer of the membership loop was late."""
        return self._driver_running().alarm.lag

    @property
    def refused(self) -> int:
        """Messages of nodes that are not on the roster, and hellos that were not accepted."""
        return self._driver_running().refused

    @property
    def failures(self) -> dict[str, str]:
        """Join addresses that were proposed and did not take us, with the reason, for people."""
        return self._driver_running().failures

    @property
    def welcomed(self) -> str:
        """The join address of another node that last took us in; "" before."""
        return self._driver_running().introductions.welcomed

    @property
    def refusing(self) -> list[str]:
        """Names of the members that turned our key away when they were last dialled."""
        entries = map(self._identity.roster.entry, sorted(self._driver_running().refusing))
        return [entry.name or entry.id for entry in entries if entry is not None]

    def snapshot(self) -> dict[NodeId, Member]:
        """Everybody known, this node, the dead and the gone included."""
        return dict(self._driver_running().members)

    def set_meta(self, meta: Meta) -> None:
        """Raises MetaTooLarge. `meta.join` is filled in here."""
        meta = msgspec.structs.replace(meta, join=self.join_address)
        encode_meta(meta)
        self._post(self._driver_running().handle, SetMeta(meta))

    def beat(self) -> bool:
        """The main loop lives. Whether this thread has said in its place that the node is not ready: say it anew."""
        return self._pulse.beat(boottime())

    def propose(self, *addresses: str) -> None:
        """A node may be at one of these join addresses; known ones and too recent tries cost nothing."""
        self._post(self._driver_running().propose, addresses)

    def guess(self, *addresses: str) -> None:
        """The same for addresses that anyone on the network may have made up: they take nobody else's room."""
        self._post(lambda: self._driver_running().propose(addresses, guess=True))

    async def keep(self, act: Callable[[Keeper], Coroutine[Any, Any, T]]) -> T:
        """What the keeper of tokens, verdicts and keys answers; it acts on the thread of membership."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(act(self._driver_running().keeper), self._loop)
        return await asyncio.wrap_future(future)

    def retire(self, node: NodeId) -> None:
        """A dead member will not come back: all take it as one that left. It may still join anew."""
        self._post(self._driver_running().handle, Retire(node))

    def _driver_running(self) -> Driver:
        if self._driver is None:
            raise RuntimeError("membership has not been started")
        return self._driver

    def _post(self, call: Callable[..., object], *arguments: object) -> None:
        """Late calls, after `stop`, are dropped."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(call, *arguments)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._ready.done():
                log.critical("membership has died", error=repr(error))
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._driver = Driver(self._context, self._identity, self._settings, self._tell)
        try:
            self._driver.start()
            self._ready.set_result(None)
            saving = asyncio.ensure_future(self._driver.keep_saved())
            feeling = asyncio.ensure_future(self._feel(self._driver))
            await self._stop.wait()
            saving.cancel()
            feeling.cancel()
        finally:
            await self._driver.close()

    async def _feel(self, driver: Driver) -> None:
        """Pings are answered here; a node whose main loop stands still must not keep its slots for that."""
        while True:
            await asyncio.sleep(FEEL_INTERVAL)
            if self._pulse.still(boottime()):
                log.error("the main loop stands still; the node gives up its slots")
                meta = driver.members[self._identity.keys.id].meta
                driver.handle(
                    SetMeta(msgspec.structs.replace(meta, ready=False, reason="its main loop stands still"))
                )

    def _tell(self, effect: Changed | Conflict) -> None:
        assert self._main is not None
        with contextlib.suppress(RuntimeError):  # the main loop has ended: nobody is there to be told
            if isinstance(effect, Changed):
                self._main.call_soon_threadsafe(self._on_change, effect.member, effect.before)
            elif self._on_conflict is not None:
                self._main.call_soon_threadsafe(self._on_conflict, effect)


__all__ = ["Identity", "Membership", "OnChange", "OnConflict", "Settings"]
