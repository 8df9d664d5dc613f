"""The join socket: how a node proves the cluster key once and gets its public key onto the roster.

The socket is a CURVE server with the pair derived from the cluster key; only the derived client key is
admitted. So a hello that arrives proves the key, and an answer that can be read proves that the server has it
too. That the newcomer holds the secret half of the key it names is proven by every connection it makes
afterwards.

    client   Hello    (version, its entry)
    server   Welcome  (version, its entry, the whole roster), or Refusal (code, message)
"""

import asyncio
import enum
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from node.security.keys import ClusterKey
from node.security.roster import BadRoster, Entry, Roster
from node.security.zap import HANDSHAKE_FAILURES
from node.security.zap import JOIN as JOIN_DOMAIN
from node.transport.addresses import BadAddress, join, split
from node.transport.base import SyncContext, SyncSocket
from node.transport.inlet import Inlet
from node.transport.zmq import Limits, endpoint_address, server_socket

VERSION = 1
LIMITS = Limits(max_message=16 * 1024, hwm=100)
ANSWER_LIMIT = 8 * 1024 * 1024
POLL = 0.005  # seconds


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """From a node that wants to be on the roster, to any member's join socket."""

    version: int
    entry: Entry


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The answer to a hello that was accepted: who answers, and all members."""

    version: int
    entry: Entry
    roster: list[Entry]


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The answer to a hello that was not accepted; nothing was changed."""

    code: str
    message: str


_encode = msgspec.msgpack.Encoder().encode
_decode_hello = msgspec.msgpack.Decoder(Hello).decode
_answers: msgspec.msgpack.Decoder[Welcome | Refusal] = msgspec.msgpack.Decoder(Welcome | Refusal)


class JoinReason(enum.StrEnum):
    UNREACHABLE = "unreachable"
    WRONG_KEY = "wrong key"
    NO_ANSWER = "no answer"
    VERSION = "version"
    REVOKED = "revoked"
    REFUSED = "refused"


class JoinFailed(Exception):
    """Not on that mesh's roster. `reason` decides whether to try again; the text is for people."""

    def __init__(self, reason: JoinReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """`server`: who answered; `roster`: all members, the server and ourselves among them."""

    server: Entry
    roster: list[Entry]


class JoinServer:
    """Admits to `roster` whoever says hello. `me`: this node's entry now; `on_joined`: told of each that
    changed it.

    Made and used on one loop. Raises CannotBind.
    """

    def __init__(self, context: SyncContext, *, bind: str, cluster: ClusterKey, roster: Roster) -> None:
        self._roster = roster
        self._socket = server_socket(
            context, bind=bind, pair=cluster.join_server, domain=JOIN_DOMAIN.decode(), limits=LIMITS
        )
        self._inlet = Inlet(self._socket, self._answer)
        self.bound_address = endpoint_address(self._socket)
        self._me: Callable[[], Entry] | None = None
        self._on_joined: Callable[[Entry], None] | None = None

    def start(self, me: Callable[[], Entry], on_joined: Callable[[Entry], None]) -> None:
        self._me, self._on_joined = me, on_joined
        self._inlet.start()

    def close(self) -> None:
        self._inlet.stop()
        self._socket.close()

    def _answer(self, route: bytes, frame: zmq.Frame) -> None:
        answer = _encode(self._admit(frame.bytes))
        try:
            self._socket.send_multipart([route, answer], zmq.NOBLOCK)
        except zmq.Again:
            return  # who asks a hundred times without reading gets no more answers

    def _admit(self, payload: bytes) -> Welcome | Refusal:
        assert self._me is not None
        assert self._on_joined is not None
        try:
            hello = _decode_hello(payload)
        except msgspec.MsgspecError as error:
            return Refusal(JoinReason.VERSION, f"the hello cannot be read: {error}")
        if hello.version != VERSION:
            return Refusal(
                JoinReason.VERSION,
                f"the node speaks join protocol {hello.version}, the mesh {VERSION}: upgrade the older",
            )
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


async def introduce(
    context: SyncContext, address: str, *, cluster: ClusterKey, me: Entry, within: float = 3.0
) -> JoinAnswer:
    """Say hello to the join socket at `address` (`host:port`, a name or an IP). Raises JoinFailed.

    `within`: seconds for all of it. Answers that are not from this mesh's key are never read.
    """
    deadline = time.monotonic() + within
    numeric = await _reachable(address, within)
    with _client(context, cluster, numeric) as (client, monitor):
        client.send(_encode(Hello(VERSION, me)))
        answer = _read(await _reply(client, monitor, address, deadline))
    if isinstance(answer, Refusal):
        known = {reason.value: reason for reason in JoinReason}
        raise JoinFailed(known.get(answer.code, JoinReason.REFUSED), f"{address} refused: {answer.message}")
    return JoinAnswer(answer.entry, answer.roster)


async def _reachable(address: str, within: float) -> str:
    """The numeric address behind `address`, at which something listens."""
    try:
        host, port = split(address)
        async with asyncio.timeout(within):
            _, writer = await asyncio.open_connection(host, port)
    except BadAddress as error:
        raise JoinFailed(JoinReason.UNREACHABLE, str(error)) from error
    except TimeoutError as error:
        raise JoinFailed(
            JoinReason.UNREACHABLE, f"{address} does not answer; is a firewall between?"
        ) from error
    except OSError as error:
        text = error.strerror or str(error)
        raise JoinFailed(
            JoinReason.UNREACHABLE, f"cannot reach {address}: {text}; is a node running there?"
        ) from error
    peer = writer.get_extra_info("peername")
    writer.transport.abort()
    return join(peer[0], peer[1])


@contextmanager
def _client(
    context: SyncContext, cluster: ClusterKey, numeric: str
) -> Iterator[tuple[SyncSocket, SyncSocket]]:
    pair = cluster.join_client
    with context.socket(zmq.DEALER, socket_class=zmq.Socket) as client:
        client.linger = 0
        client.maxmsgsize = ANSWER_LIMIT
        client.ipv6 = numeric.startswith("[")
        client.curve_publickey, client.curve_secretkey = pair.public, pair.secret
        client.curve_serverkey = cluster.join_server.public
        with client.get_monitor_socket() as monitor:
            client.connect(f"tcp://{numeric}")
            try:
                yield client, monitor
            finally:
                client.disable_monitor()


async def _reply(client: SyncSocket, monitor: SyncSocket, address: str, deadline: float) -> bytes:
    """Reads without blocking every few milliseconds: a join is rare, and this can be cancelled anywhere."""
    while time.monotonic() < deadline:
        try:
            return client.recv(zmq.NOBLOCK)
        except zmq.Again:
            if _failed(monitor):
                raise JoinFailed(
                    JoinReason.WRONG_KEY,
                    f"{address} turned the key away: it is a port of another mesh, or no join port; "
                    "get a new token from a member of the mesh you mean",
                ) from None
        await asyncio.sleep(POLL)
    raise JoinFailed(JoinReason.NO_ANSWER, f"{address} accepts connections but is no collect-node join port")


def _failed(monitor: SyncSocket) -> bool:
    try:
        return parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))["event"] in HANDSHAKE_FAILURES
    except zmq.Again:
        return False


def _read(payload: bytes) -> Welcome | Refusal:
    try:
        return _answers.decode(payload)
    except msgspec.MsgspecError as error:
        raise JoinFailed(
            JoinReason.VERSION, f"the mesh's answer cannot be read ({error}): upgrade the older of the two"
        ) from error
