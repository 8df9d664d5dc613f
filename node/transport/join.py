"""The join socket of a member: who proves the cluster key there gets its own public key onto the roster.

What is said there, and what proves what: `node.transport.hello`.
"""

import hmac
from collections.abc import Callable

import msgspec
import zmq

from node.security.keys import ClusterKey
from node.security.roster import BadRoster, Entry, Roster
from node.security.zap import JOIN as JOIN_DOMAIN
from node.transport.base import SyncContext
from node.transport.hello import VERSION, Hello, JoinReason, Refusal, Welcome, decode_hello, encode
from node.transport.inlet import Inlet
from node.transport.zmq import Limits, endpoint_address, server_socket

LIMITS = Limits(max_message=16 * 1024, hwm=100)


class JoinServer:
    """Admits to `roster` whoever says a sound hello. `me`: this node's entry now; `on_joined`: told of each
    that changed it.

    Made and used on one loop. Raises CannotBind.
    """

    def __init__(self, context: SyncContext, *, bind: str, cluster: ClusterKey, roster: Roster) -> None:
        self._cluster = cluster
        self._roster = roster
        self._socket = server_socket(
            context, bind=bind, pair=cluster.join_server, domain=JOIN_DOMAIN.decode(), limits=LIMITS
        )
        self._inlet = Inlet(self._socket, self._answer)
        self.bound_address = endpoint_address(self._socket)
        self._me: Callable[[], Entry] | None = None
        self._on_joined: Callable[[Entry], None] | None = None
        self.refused = 0
        """hellos that were not accepted"""

    def start(self, me: Callable[[], Entry], on_joined: Callable[[Entry], None]) -> None:
        self._me, self._on_joined = me, on_joined
        self._inlet.start()

    def close(self) -> None:
        self._inlet.stop()
        self._socket.close()

    def _answer(self, route: bytes, frame: zmq.Frame) -> None:
        answer = self._admit(str(frame.get("User-Id")).encode(), frame.bytes)
        self.refused += isinstance(answer, Refusal)
        try:
            self._socket.send_multipart([route, encode(answer)], zmq.NOBLOCK)
        except (zmq.Again, zmq.ZMQError):
            return  # who asks a hundred times without reading gets no more answers

    def _admit(self, public_key: bytes, payload: bytes) -> Welcome | Refusal:
        try:
            hello = decode_hello(payload)
        except msgspec.MsgspecError as error:
            return Refusal(JoinReason.VERSION, f"the hello cannot be read: {error}")
        if hello.version != VERSION:
            return Refusal(
                JoinReason.VERSION,
                f"the node speaks join protocol {hello.version}, the mesh {VERSION}: upgrade the older",
            )
        if hello.entry.public_key != public_key:
            return Refusal(JoinReason.REFUSED, "the hello is about another key than it was sent with")
        if not hmac.compare_digest(hello.proof, self._cluster.proof(public_key)):
            return Refusal(JoinReason.WRONG_KEY, "the hello does not prove the key of this mesh")
        return self._enter(hello.entry)

    def _enter(self, entry: Entry) -> Welcome | Refusal:
        assert self._me is not None
        assert self._on_joined is not None
        try:
            changed = self._roster.join([msgspec.structs.replace(entry, revoked=False)])
        except BadRoster as error:
            return Refusal(JoinReason.REFUSED, str(error))
        if entry.id not in self._roster.keys:
            return Refusal(JoinReason.REVOKED, f"node {entry.id} was revoked: it needs a new data directory")
        if changed:
            self._on_joined(entry)
        return Welcome(VERSION, self._me(), self._roster.entries())


def unproven_hello() -> bytes:
    """A hello that must be refused, for the self-test."""
    return encode(Hello(VERSION, Entry(public_key=b"0" * 40)))
