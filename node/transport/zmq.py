"""A plane over ZeroMQ with CURVE: one ROUTER that binds and receives, one that connects and sends.

Each connection has a routing id of its own, `node#n`: libzmq aborts the process when a connect repeats a
routing id that still has a pipe. ZMQ_IMMEDIATE stays off: with it the pipe is made after the handshake and
the id given for the connect is ignored, so the peer could never be addressed (measured with libzmq 4.3.5:
each send "host unreachable"); letting the peer name itself would let a member steal another's messages. What
is queued for a peer that is down is therefore bounded by the high-water mark and may arrive late; probes
carry sequence and deadline.

A peer that refuses our key ends the session for good, without a reconnect; sends then fail with EHOSTUNREACH.
So the next send dials anew, after 0.1 to 5 s.
"""

import asyncio
import contextlib
import errno
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from gossip.identity import NodeId
from node.security.keys import NodeKeys, Pair
from node.security.roster import Roster
from node.transport.addresses import BadAddress, split
from node.transport.backoff import Backoff
from node.transport.base import (
    CONTROL_HWM,
    CONTROL_MESSAGE,
    CannotBind,
    OnMessage,
    SyncContext,
    SyncSocket,
    TooLarge,
)
from node.transport.hangup import hang_up
from node.transport.inlet import Inlet

MESH_DOMAIN = "mesh"
CURVE_OVERHEAD = 64  # bytes; 33 in libzmq 4.3.5: the limit is held against the encrypted message
ZERO_COPY = 65_536  # below this libzmq copies faster than Python keeps a buffer alive


REMEDIES = {
    errno.EADDRINUSE: "choose another port or stop what listens there",
    errno.EACCES: "this user may not take that port: choose one from 1024 on",
}
REMEDY = "choose an address that this host has"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a socket: bytes of a message, messages of a queue per peer."""

    max_message: int
    hwm: int


def server_socket(context: SyncContext, *, bind: str, pair: Pair, domain: str, limits: Limits) -> SyncSocket:
    """A bound ROUTER, CURVE server in an enforced ZAP domain. Raises CannotBind, BadAddress."""
    host, port = split(bind)
    socket = context.socket(zmq.ROUTER, socket_class=zmq.Socket)
    _configure(socket, limits)
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
    socket.zap_domain = domain.encode()
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.ipv6 = ":" in host
    try:
        socket.bind(f"tcp://{bind}" if port else f"tcp://{bind.removesuffix(':0')}:*")
    except zmq.ZMQError as error:
        socket.close()
        number = error.errno or 0
        reason, remedy = zmq.strerror(number), REMEDIES.get(number, REMEDY)
        raise CannotBind(f"cannot listen on {bind}: {reason}; {remedy} (mesh.bind, --mesh)") from error
    return socket


def endpoint_address(socket: SyncSocket) -> str:
    endpoint = socket.last_endpoint
    assert isinstance(endpoint, bytes)
    return endpoint.rstrip(b"\0").decode().removeprefix("tcp://")


def _configure(socket: SyncSocket, limits: Limits) -> None:
    """Every option whose default does not suit; the reasons stand in the reliability notes of the project."""
    socket.linger = 0
    socket.maxmsgsize = limits.max_message + CURVE_OVERHEAD
    socket.sndhwm = socket.rcvhwm = limits.hwm
    socket.handshake_ivl = 5_000
    socket.heartbeat_ivl = 5_000
    socket.heartbeat_timeout = 15_000
    socket.heartbeat_ttl = 15_000
    socket.setsockopt(zmq.TCP_MAXRT, 10_000)
    socket.connect_timeout = 3_000  # else a SYN lost in a cut is repeated only after up to 32 s
    socket.reconnect_ivl = 100
    socket.reconnect_ivl_max = 5_000


@dataclass(slots=True)
class _Link:
    address: str
    route: bytes


class Plane:
    """See `node.transport.base.Transport`, which this is. `domain` is the ZAP domain of the bound socket.

    Made and used on one thread. Measured between two processes on two cores, CURVE on: 120,000 messages/s of
    1 kB, 6,700/s of 50 kB, 880/s (440 MB/s) of 500 kB. Again: `python -m tests.node.transport.throughput`.
    """

    def __init__(
        self,
        context: SyncContext,
        *,
        bind: str,
        keys: NodeKeys,
        roster: Roster,
        domain: str = MESH_DOMAIN,
        max_message: int = CONTROL_MESSAGE,
        hwm: int = CONTROL_HWM,
    ) -> None:
        limits = Limits(max_message, hwm)
        self._roster = roster
        self._max_message = max_message
        self._receiver = server_socket(context, bind=bind, pair=keys.pair, domain=domain, limits=limits)
        self._bound = endpoint_address(self._receiver)
        self._sender = context.socket(zmq.ROUTER, socket_class=zmq.Socket)
        _configure(self._sender, limits)
        self._sender.router_mandatory = True
        self._sender.curve_publickey, self._sender.curve_secretkey = keys.pair.public, keys.pair.secret
        self._links: dict[NodeId, _Link] = {}
        self._dialled = 0
        self._refusals: Backoff[NodeId] = Backoff(first=0.1, limit=5.0, rng=random.Random())
        self._inlet = Inlet(self._receiver, self._deliver)
        self._on_message: OnMessage | None = None
        self.on_refused: Callable[[NodeId], None] | None = None
        """called when a peer has turned our key away: it does not have it on its roster (yet)"""
        self.unlisted = 0
        """messages dropped since their sender is no longer on the roster"""
        self._sources: dict[NodeId, tuple[bytes, int]] = {}  # routing id and descriptor of the connection
        self._unsubscribe: Callable[[], None] = lambda: None

    @property
    def bound_address(self) -> str:
        return self._bound

    def start(self, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._inlet.start()
        loop = asyncio.get_running_loop()

        def changed(ids: frozenset[NodeId]) -> None:
            """Called on whichever thread changed the roster."""
            with contextlib.suppress(RuntimeError):  # this loop has ended
                loop.call_soon_threadsafe(self._expel, ids)

        self._unsubscribe = self._roster.subscribe(changed)

    def send(self, to: NodeId, address: str, payload: bytes) -> bool:
        if len(payload) > self._max_message:
            raise TooLarge(f"a message of {len(payload)} bytes; this plane carries up to {self._max_message}")
        if to not in self._roster.keys:
            self.disconnect(to)
            return False
        link = self._links.get(to)
        if link is None or link.address != address:
            link = self._dial(to, address)
            if link is None:
                return False
        return self._queue(to, link, payload)

    def drain(self) -> None:
        self._inlet.drain()

    def disconnect(self, node: NodeId) -> None:
        link = self._links.pop(node, None)
        if link is None:
            return
        try:
            self._sender.disconnect(f"tcp://{link.address}")
        except zmq.ZMQError as error:
            if error.errno != errno.ENOENT:  # a refused session has gone by itself
                raise

    def close(self) -> None:
        self._unsubscribe()
        self._inlet.stop()
        self._links.clear()
        self._sender.close()
        self._receiver.close()

    def _queue(self, to: NodeId, link: _Link, payload: bytes) -> bool:
        try:
            self._sender.send(link.route, zmq.SNDMORE | zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._refused(to)
            return False
        self._sender.send(payload, zmq.NOBLOCK, copy=len(payload) < ZERO_COPY)
        return True

    def _refused(self, node: NodeId) -> None:
        self.disconnect(node)
        self._refusals.failed(node, time.monotonic())
        if self.on_refused is not None:
            self.on_refused(node)

    def _dial(self, to: NodeId, address: str) -> _Link | None:
        """Connect; None while a refusal is too recent, and for what is no address: others say where a node is. A
        refused peer at a new address is dialled at once.
        """
        moved = to in self._links
        if not moved and not self._refusals.ready(to, time.monotonic()):
            return None
        try:
            host, _ = split(address)
        except BadAddress:
            return None
        self._yield_address(address)
        self.disconnect(to)
        self._dialled += 1
        link = _Link(address, f"{to}#{self._dialled}".encode())
        self._sender.ipv6 = ":" in host
        try:
            self._sender.curve_serverkey = self._roster.keys[to]
            self._sender.setsockopt(zmq.CONNECT_ROUTING_ID, link.route)
            self._sender.connect(f"tcp://{address}")
        except zmq.ZMQError:  # no host has such a name, or nobody such a key
            return None
        self._links[to] = link
        return link

    def _yield_address(self, address: str) -> None:
        """Drop another node's link to this address: one node is there, and `disconnect` goes by address."""
        for node in [node for node, link in self._links.items() if link.address == address]:
            self.disconnect(node)

    def _deliver(self, route: bytes, frame: zmq.Frame) -> None:
        sender = NodeId(str(frame.get("User-Id")))
        if sender not in self._roster.keys:
            self.unlisted += 1
            self._hang_up(_descriptor(frame))
            return
        source = self._sources.get(sender)
        if source is None or source[0] != route:
            self._sources[sender] = (route, _descriptor(frame))
        assert self._on_message is not None
        self._on_message(sender, frame.bytes)

    def _expel(self, ids: frozenset[NodeId]) -> None:
        """End the connections, both ways, with those of `ids` that are no longer listed."""
        for node in ids:
            if node not in self._roster.keys:
                self.disconnect(node)
                source = self._sources.pop(node, None)
                if source is not None:
                    self._hang_up(source[1])

    def _hang_up(self, descriptor: int) -> None:
        hang_up(descriptor, split(self._bound)[1])


def _descriptor(frame: zmq.Frame) -> int:
    """Of the connection that the message came on."""
    return int(frame.get(zmq.SRCFD))
