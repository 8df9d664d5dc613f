"""Whether the sockets that were just bound turn strangers away; a node whose do not must not go on.

Each test is a real connection, as anyone on the network can make one. It blocks for milliseconds where the
port is guarded, for some seconds where it is not.
"""

import contextlib
import socket
import time

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from node.security.keys import Pair
from node.transport.addresses import LOOPBACK, join, split
from node.transport.base import SyncContext, SyncSocket

HANDSHAKE_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)
WAIT = 5.0  # seconds


class Unguarded(Exception):
    """A socket lets strangers in: the node must not go on."""


LEAST_LIBZMQ = (4, 3, 5)
"""What everything here was measured with; earlier ones have known holes before the handshake is over."""


def require_library(version: tuple[int, int, int] | None = None, *, curve: bool | None = None) -> None:
    """libzmq is recent enough, and can encrypt; a system's own may be neither. Raises Unguarded."""
    major, minor, patch = version or zmq.zmq_version_info()
    if (major, minor, patch) < LEAST_LIBZMQ:
        least = ".".join(map(str, LEAST_LIBZMQ))
        raise Unguarded(
            f"libzmq is {major}.{minor}.{patch}, at least {least} is needed: install pyzmq from its wheel"
        )
    if not (zmq.has("curve") if curve is None else curve):
        raise Unguarded(
            "libzmq was built without CURVE, so nothing could be encrypted: install pyzmq's wheel"
        )


def require_guarded(context: SyncContext, address: str, server_key: bytes) -> None:
    """A plane at `address` (`host:port`) refuses an unknown key, and a client without any. Raises Unguarded, here
    and below also where no connection comes about.
    """
    if not refuses_strangers(context, address, server_key):
        raise _unguarded(address, "an unknown key")
    _require_curve(context, address)


def require_join_guarded(context: SyncContext, address: str, server_key: bytes, hello: bytes) -> None:
    """A join socket refuses who does not know its key, and answers `hello`, which proves nothing, with no
    roster. Raises Unguarded.
    """
    if not refuses_strangers(context, address, stranger().public):
        raise _unguarded(address, "a client that does not know its key")
    _require_curve(context, address)
    if not _turns_away(context, address, server_key, hello):
        raise _unguarded(address, "a hello without proof")


def refuses_strangers(
    context: SyncContext, address: str, server_key: bytes, *, timeout: float = WAIT
) -> bool:
    """Whether a key that nobody knows is turned away in the handshake."""
    return _refused(context, address, stranger(), server_key, timeout)


def refuses_plain(context: SyncContext, address: str, *, timeout: float = WAIT) -> bool:
    """Whether a client that speaks NULL, without any key, is turned away."""
    return _refused(context, address, None, b"", timeout)


def stranger() -> Pair:
    """A key that nobody knows."""
    return Pair(*zmq.curve_keypair())


def _unguarded(address: str, whom: str) -> Unguarded:
    return Unguarded(f"{address} did not refuse {whom}: the start was stopped, for safety")


def _require_curve(context: SyncContext, address: str) -> None:
    if not refuses_plain(context, address):
        raise _unguarded(address, "a client without a key")


def _client(context: SyncContext, address: str, pair: Pair | None, server_key: bytes) -> SyncSocket:
    client = context.socket(zmq.DEALER, socket_class=zmq.Socket)
    client.linger = 0
    client.ipv6 = address.startswith("[")
    if pair is not None:
        client.curve_publickey, client.curve_secretkey = pair.public, pair.secret
        client.curve_serverkey = server_key
    return client


def _refused(
    context: SyncContext, address: str, pair: Pair | None, server_key: bytes, timeout: float
) -> bool:
    with (
        _client(context, address, pair, server_key) as client,
        client.get_monitor_socket() as monitor,
    ):
        client.connect(f"tcp://{_own(address)}")
        refused = _failed(monitor, address, timeout)
        client.disable_monitor()
        return refused


def _own(address: str) -> str:
    """Where this host reaches its socket: of IPv6 the wildcard takes IPv4 too, and may be all that there is."""
    host, port = split(address)
    if host != "::":
        return address
    with contextlib.suppress(OSError), socket.create_connection(("::1", port), WAIT):
        return join("::1", port)
    return join(LOOPBACK, port)


def _failed(monitor: SyncSocket, address: str, timeout: float) -> bool:
    """Whether the handshake failed. Raises Unguarded when there is none in time: then nothing is known."""
    end = time.monotonic() + timeout
    while monitor.poll(
        max(0, int((end - time.monotonic()) * 1000))
    ):  # libzmq tries again and again, each an event
        event = parse_monitor_message(monitor.recv_multipart())["event"]
        if event in HANDSHAKE_FAILURES:
            return True
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return False
    raise Unguarded(
        f"{address} cannot be reached from its own host, so whether it is guarded is not known: is a firewall in "
        "the way, or is mesh.bind no address of this host any more?"
    )


def _turns_away(context: SyncContext, address: str, server_key: bytes, hello: bytes) -> bool:
    """Whether the answer is a refusal: [3, code, message]. None comes where `server_key` is not the key now."""
    with (
        _client(context, address, stranger(), server_key) as client,
        client.get_monitor_socket() as monitor,
    ):
        client.connect(f"tcp://{_own(address)}")
        client.send(hello)
        through = not _failed(monitor, address, WAIT)
        client.disable_monitor()
        if not through or not client.poll(int(WAIT * 1000)):
            return False
        return bool(msgspec.msgpack.decode(client.recv())[0] == 3)
