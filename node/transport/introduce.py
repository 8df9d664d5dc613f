"""Saying hello at another node's join socket."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from node.security.keys import ClusterKey, Pair, unpack_cluster_key
from node.security.roster import Entry
from node.security.selftest import HANDSHAKE_FAILURES
from node.security.token import OneTimeToken
from node.transport.addresses import BadAddress, join, split
from node.transport.base import SyncContext, SyncSocket
from node.transport.hello import (
    UNREADABLE,
    VERSION,
    Hello,
    JoinFailed,
    JoinReason,
    Refusal,
    Welcome,
    decode_answer,
    encode,
)

ANSWER_LIMIT = 8 * 1024 * 1024
POLL = 0.005  # seconds
FAILURES = 2
"""Handshakes that have to fail before the key is to blame."""
CONNECT_WITHIN = 3.0
"""Seconds for a TCP connection; longer keeps a try busy with hosts that drop packets."""
WITHIN = 10.0
"""Seconds for all of it, which is some six round trips with the handshakes; over a satellite they take 0.8 s each."""


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """`server`: who answered; `roster`: all members, the server and ourselves among them."""

    server: Entry
    roster: list[Entry]


async def introduce(
    context: SyncContext, address: str, *, cluster: ClusterKey, pair: Pair, me: Entry, within: float = WITHIN
) -> JoinAnswer:
    """Say hello to the join socket at `address` (`host:port`, a name or an IP). Raises JoinFailed.

    `pair`: our node key, which proves that `me` is ours. `within`: seconds for all of it. Answers that are
    not from this mesh's key are never read.
    """
    hello = Hello(VERSION, me, cluster.proof(pair.public))
    answer = await _say(context, address, (pair, cluster.join_server.public), hello, within)
    return JoinAnswer(answer.entry, answer.roster)


async def redeem(
    context: SyncContext, token: OneTimeToken, *, pair: Pair, me: Entry, within: float = WITHIN
) -> tuple[JoinAnswer, ClusterKey]:
    """Join by a one-time token, at the first of its addresses that takes it; the key of the mesh with the
    answer. Raises JoinFailed: of several, the one that says most.
    """
    failure = JoinFailed(JoinReason.UNREACHABLE, "the join token names no address")
    for address in token.addresses:
        try:
            hello = Hello(VERSION, me, ticket=token.secret)
            answer = await _say(context, address, (pair, token.server_key), hello, within)
            key = unpack_cluster_key(answer.key)
        except JoinFailed as error:
            told = error.reason not in (JoinReason.UNREACHABLE, JoinReason.NO_ANSWER)
            if told or failure.reason is JoinReason.UNREACHABLE:
                failure = error
        except ValueError:
            failure = JoinFailed(
                JoinReason.VERSION, f"{address} sent no key that this version can read: upgrade"
            )
        else:
            return JoinAnswer(answer.entry, answer.roster), key
    raise failure


async def _say(
    context: SyncContext, address: str, keys: tuple[Pair, bytes], hello: Hello, within: float
) -> Welcome:
    """`keys`: our own, and the join socket's public one."""
    deadline = time.monotonic() + within
    numeric = await _reachable(address, min(within, CONNECT_WITHIN))
    with _client(context, *keys, numeric) as (client, monitor):
        client.send(encode(hello))
        answer = _read(await _reply(client, monitor, address, deadline))
    if isinstance(answer, Refusal):
        known = {reason.value: reason for reason in JoinReason}
        raise JoinFailed(known.get(answer.code, JoinReason.REFUSED), f"{address} refused: {answer.message}")
    return answer


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
    context: SyncContext, pair: Pair, server_key: bytes, numeric: str
) -> Iterator[tuple[SyncSocket, SyncSocket]]:
    with context.socket(zmq.DEALER, socket_class=zmq.Socket) as client:
        client.linger = 0
        client.maxmsgsize = ANSWER_LIMIT
        client.ipv6 = numeric.startswith("[")
        client.curve_publickey, client.curve_secretkey = pair.public, pair.secret
        client.curve_serverkey = server_key
        with client.get_monitor_socket() as monitor:
            client.connect(f"tcp://{numeric}")
            try:
                yield client, monitor
            finally:
                client.disable_monitor()


async def _reply(client: SyncSocket, monitor: SyncSocket, address: str, deadline: float) -> bytes:
    """Reads without blocking every few milliseconds: a join is rare, and this can be cancelled anywhere.

    A handshake that fails once may be a connection that broke; libzmq tries again by itself.
    """
    failed = 0
    while time.monotonic() < deadline:
        try:
            return client.recv(zmq.NOBLOCK)
        except zmq.Again:
            failed += _failed(monitor)
            if failed == FAILURES:
                raise JoinFailed(
                    JoinReason.WRONG_KEY,
                    f"{address} turned the key away: it is a port of another mesh, or no join port, or the key "
                    "of the mesh was rotated; get a new token from a member of the mesh you mean",
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
        return decode_answer.decode(payload)
    except UNREADABLE as error:
        raise JoinFailed(
            JoinReason.VERSION, f"the mesh's answer cannot be read ({error}): upgrade the older of the two"
        ) from error
