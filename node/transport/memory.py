"""A plane within one process, for tests: the same promises as over sockets, on the running loop.

Payloads are copied as bytes; a queue is bounded by `hwm`; the roster is checked at both ends. A network is
cut with `cut` and joined again with `heal`.
"""

import asyncio
from collections import deque

from gossip.identity import NodeId
from node.security.roster import Roster
from node.transport.addresses import split
from node.transport.base import CONTROL_HWM, CONTROL_MESSAGE, OnMessage, TooLarge


class Network:
    """Where in-memory planes find each other, by address."""

    def __init__(self) -> None:
        self.planes: dict[str, MemoryPlane] = {}
        self._cuts: set[frozenset[str]] = set()
        self._next_port = 1

    def cut(self, one: str, other: str) -> None:
        """Lose what is sent between these two addresses."""
        self._cuts.add(frozenset((one, other)))

    def heal(self) -> None:
        self._cuts.clear()

    def reach(self, source: str, target: str) -> "MemoryPlane | None":
        return None if frozenset((source, target)) in self._cuts else self.planes.get(target)

    def bind(self, address: str, plane: "MemoryPlane") -> str:
        host, port = split(address)
        if not port:
            address, self._next_port = f"{host}:{self._next_port}", self._next_port + 1
        self.planes[address] = plane
        return address


class MemoryPlane:
    """See `node.transport.base.Transport`, which this is."""

    def __init__(
        self,
        network: Network,
        *,
        bind: str,
        me: NodeId,
        roster: Roster,
        max_message: int = CONTROL_MESSAGE,
        hwm: int = CONTROL_HWM,
    ) -> None:
        self._network = network
        self._me = me
        self._roster = roster
        self._max_message = max_message
        self._hwm = hwm
        self._inbox: deque[tuple[NodeId, bytes]] = deque()
        self._on_message: OnMessage | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bound = network.bind(bind, self)

    @property
    def bound_address(self) -> str:
        return self._bound

    def start(self, on_message: OnMessage) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._loop.call_soon(self.drain)

    def send(self, to: NodeId, address: str, payload: bytes) -> bool:
        if len(payload) > self._max_message:
            raise TooLarge(f"a message of {len(payload)} bytes; this plane carries up to {self._max_message}")
        if to not in self._roster.keys:
            return False
        target = self._network.reach(self._bound, address)
        if target is None or target._me != to:  # noqa: SLF001  the wrong key answers there: silence
            return True
        return target._accept(self._me, bytes(payload))  # noqa: SLF001

    def drain(self) -> None:
        while self._inbox and self._on_message is not None:
            sender, payload = self._inbox.popleft()
            if sender in self._roster.keys:
                self._on_message(sender, payload)

    def disconnect(self, node: NodeId) -> None:
        """Nothing is kept per peer."""

    def close(self) -> None:
        self._network.planes.pop(self._bound, None)
        self._on_message = None
        self._inbox.clear()

    def _accept(self, sender: NodeId, payload: bytes) -> bool:
        if len(self._inbox) >= self._hwm:
            return False
        self._inbox.append((sender, payload))
        if self._loop is not None:
            self._loop.call_soon(self.drain)
        return True
