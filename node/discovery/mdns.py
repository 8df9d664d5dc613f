"""mDNS: nodes of one mesh on one LAN find each other with no argument.

A node advertises `_collect-node._tcp.local.` with its mesh id (a public hash of the cluster key, never the
key), region and join address, and proposes what others of the same mesh id advertise. Anyone on the LAN can
advertise anything, ten thousand names too: a proposal is worth nothing without the key, texts are bounded, 64
names are looked up at a time, 1024 wait for that and 256 are kept, and where there is no room a random one makes
it, so that a flood delays a true name and never shuts it out. Names of nodes on our roster do not wait.
"""

import asyncio
import contextlib
import ipaddress
import logging
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass

from structlog import get_logger
from zeroconf import Error as ZeroconfError
from zeroconf import (
    InterfaceChoice,
    IPVersion,
    NonUniqueNameException,
    ServiceInfo,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from gossip.identity import NodeId
from node.discovery.base import Propose
from node.transport.addresses import BadAddress, split

SERVICE = "_collect-node._tcp.local."
LOOPBACK = "127.0.0.1"
MAX_CANDIDATES = 256
MAX_WAITING = 1024
MAX_LOOKUPS = 64
MAX_TEXT = 255
ANSWER_TIMEOUT = 1_000  # milliseconds to wait for the details of a name
REPEAT = 5.0  # seconds between proposals of what is known: a first try may have come too early

log = get_logger(__name__)


def _without_trace(record: logging.LogRecord) -> bool:
    """That an interface has gone, or that a packet is none, is no failure of the node: one line is enough."""
    record.exc_info = None
    return True


logging.getLogger("zeroconf").addFilter(_without_trace)


@dataclass(frozen=True, slots=True)
class Found:
    """What one node advertises; nothing of it is proven."""

    mesh: str
    region: str
    join: str


Known = Callable[[NodeId], bool]
"""Whether a node of this id is on our roster; a name that claims to be one is looked at first, no more."""


class Browser:
    """Looks at what is advertised; `found` maps service names to what they say."""

    def __init__(
        self,
        zeroconf: AsyncZeroconf,
        service: str,
        on_found: Callable[[Found], None],
        *,
        own: str = "",
        known: Known = lambda _: False,
        rng: random.Random | None = None,
    ) -> None:
        self._service = service
        self._on_found = on_found
        self._own = own
        self._known = known
        self._rng = rng or random.Random()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[str] = []
        self._zeroconf = zeroconf.zeroconf
        self.found: dict[str, Found] = {}
        self._browser = AsyncServiceBrowser(zeroconf.zeroconf, service, handlers=[self._changed])

    async def close(self) -> None:
        await self._browser.async_cancel()
        self._waiting.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """Called by keyword, on the loop."""
        del service_type, zeroconf
        if state_change is ServiceStateChange.Removed:
            self.found.pop(name, None)
        elif name == self._own:
            return
        elif len(self._tasks) < MAX_LOOKUPS or self._known(NodeId(name.partition(".")[0])):
            self._start(name)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(name)
        else:
            self._waiting[self._rng.randrange(MAX_WAITING)] = name

    def _start(self, name: str) -> None:
        task = asyncio.ensure_future(self._look(self._zeroconf, name))
        self._tasks.add(task)
        task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._waiting and len(self._tasks) < MAX_LOOKUPS and not task.cancelled():
            at = self._rng.randrange(len(self._waiting))
            self._waiting[at], self._waiting[-1] = self._waiting[-1], self._waiting[at]
            self._start(self._waiting.pop())

    async def _look(self, zeroconf: Zeroconf, name: str) -> None:
        with contextlib.suppress(ZeroconfError, BadAddress, UnicodeDecodeError, OSError):
            info = AsyncServiceInfo(self._service, name)
            if await info.async_request(zeroconf, ANSWER_TIMEOUT):
                found = read(info.properties)
                if name not in self.found and len(self.found) >= MAX_CANDIDATES:
                    del self.found[self._rng.choice(list(self.found))]
                self.found[name] = found
                self._on_found(found)


def read(properties: dict[bytes, bytes | None]) -> Found:
    """The TXT record of a node. Raises BadAddress, UnicodeDecodeError."""
    mesh, region, address = (
        (properties.get(key) or b"")[:MAX_TEXT].decode() for key in (b"mesh", b"region", b"join")
    )
    _, port = split(address)
    if not port:
        raise BadAddress(f"{address!r} has no port")
    return Found(mesh, region, address)


class Mdns:
    """Advertises this node, proposes the others of its mesh. Without multicast it says so and rests."""

    def __init__(
        self, node: NodeId, me: Found, *, service: str = SERVICE, known: Known = lambda _: False
    ) -> None:
        self._service = service
        self._known = known
        self._name = f"{node}.{service}"
        self._me = me

    async def run(self, propose: Propose) -> None:
        zeroconf = open_zeroconf(split(self._me.join)[0])
        if zeroconf is None:
            return
        try:
            await self._serve(zeroconf, propose)
        except (OSError, ZeroconfError) as error:
            log.warning("mDNS stopped; nodes are found by seeds only", error=str(error))
        finally:
            await zeroconf.async_close()

    async def _serve(self, zeroconf: AsyncZeroconf, propose: Propose) -> None:
        def consider(found: Found) -> None:
            if found.mesh == self._me.mesh and found.join != self._me.join:
                propose(found.join)

        browser = Browser(zeroconf, self._service, consider, own=self._name, known=self._known)
        try:
            await self._advertise(zeroconf)
            while True:
                await asyncio.sleep(REPEAT)
                for found in random.sample(list(browser.found.values()), len(browser.found)):
                    consider(found)
        finally:
            await browser.close()

    async def _advertise(self, zeroconf: AsyncZeroconf) -> None:
        host, port = split(self._me.join)
        info = ServiceInfo(
            self._service,
            self._name,
            port=port,
            properties={"mesh": self._me.mesh, "region": self._me.region, "join": self._me.join},
            server=f"{self._name.partition('.')[0]}.local.",
            addresses=_packed(host),
        )
        try:
            await zeroconf.async_register_service(info, strict=False)
        except NonUniqueNameException:
            log.warning("another process advertises this node's name", name=self._name)


def _packed(host: str) -> list[bytes]:
    """The address in the form of a DNS record; none for a name, since the TXT record has it."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            return [socket.inet_pton(family, host)]
    return []


def open_zeroconf(host: str | None = None) -> AsyncZeroconf | None:
    """Multicast on every interface that has it, or None, logged, where there is none.

    `host`: of the node that is advertised; one that is reached on loopback only is not told to the LAN.
    """
    interfaces = [LOOPBACK] if host is not None and _on_loopback(host) else InterfaceChoice.All
    try:
        return AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
    except OSError as error:
        log.warning("mDNS is not available here; give --seed or --join", error=str(error))
        return None


def _on_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def find(seconds: float, service: str = SERVICE) -> list[Found]:
    """Whatever nodes of any mesh advertise within `seconds`, each once; empty without multicast."""
    zeroconf = open_zeroconf()
    if zeroconf is None:
        return []
    met = asyncio.Event()
    browser = Browser(zeroconf, service, lambda _: met.set())
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await met.wait()
        return list(dict.fromkeys(browser.found.values()))
    finally:
        await browser.close()
        await zeroconf.async_close()
