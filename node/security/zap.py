"""The gate: the ZAP handler (RFC 27) of a ZeroMQ context, on a thread of its own.

CURVE only. Domain `mesh` admits the keys of the roster and names the node id as user; domain `join` admits
the derived join key. Sockets set ZAP_ENFORCE_DOMAIN, so with the thread dead the handshake fails: closed, not
open. A key that leaves the roster keeps its live connections; receivers therefore check each message's
sender.
"""

import threading

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from node.security.keys import Pair
from node.security.roster import Roster
from node.transport.base import SyncContext, SyncSocket

MESH = b"mesh"
JOIN = b"join"
ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"
HANDSHAKE_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)


class ZapHandler:
    """`start` before the first socket binds, `stop` after the last closed. `join_key`: None: nobody joins."""

    def __init__(self, context: SyncContext, roster: Roster, join_key: bytes | None = None) -> None:
        self._context = context
        self._roster = roster
        self._join_key = join_key
        self._stop_endpoint = f"inproc://gate-{id(self):x}"
        self._thread = threading.Thread(target=self._run, name="zap", daemon=True)
        self._socket: SyncSocket | None = None
        self._stopper: SyncSocket | None = None
        self.refused = 0
        """handshakes refused since the start"""

    @property
    def alive(self) -> bool:
        """Whether new connections can be admitted; a watchdog reads this."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Raises ZMQError when the context has a handler already."""
        self._socket = self._context.socket(zmq.REP, socket_class=zmq.Socket)
        self._socket.linger = 0
        self._socket.bind(ENDPOINT)
        self._stopper = self._context.socket(zmq.PAIR, socket_class=zmq.Socket)
        self._stopper.linger = 0
        self._stopper.bind(self._stop_endpoint)
        self._thread.start()

    def stop(self) -> None:
        """From then on nobody new is admitted. Stopping twice is no error."""
        if self._stopper is None:
            return
        self._stopper.send(b"")
        self._thread.join()
        self._stopper.close()
        self._stopper = None

    def _run(self) -> None:
        gate = self._socket
        assert gate is not None
        with self._context.socket(zmq.PAIR, socket_class=zmq.Socket) as stop:
            stop.connect(self._stop_endpoint)
            poller = zmq.Poller()
            poller.register(gate, zmq.POLLIN)
            poller.register(stop, zmq.POLLIN)
            with gate:
                while stop not in dict(poller.poll()):
                    gate.send_multipart(self._answer(gate.recv_multipart()))

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """The reply to [version, request id, domain, address, identity, mechanism, credentials...]."""
        number = request[1] if len(request) > 1 else b""
        user = self._user(request)
        if user is None:
            self.refused += 1
            return [VERSION, number, b"400", b"unknown key", b"", b""]
        return [VERSION, number, b"200", b"OK", user, b""]

    def _user(self, request: list[bytes]) -> bytes | None:
        if len(request) != 7 or request[0] != VERSION or request[5] != b"CURVE" or len(request[6]) != 32:
            return None
        domain, key = request[2], z85.encode(request[6])
        if domain == MESH:
            node = self._roster.admitted(key)
            return None if node is None else node.encode()
        return JOIN if domain == JOIN and key == self._join_key else None


class Unguarded(Exception):
    """A socket lets strangers in: the node must not go on."""


def require_guarded(context: SyncContext, address: str, server_key: bytes) -> None:
    """Start-up self-test of a bound socket; blocks for milliseconds, at most 5 s. Raises Unguarded."""
    if not refuses_strangers(context, address, server_key):
        raise Unguarded(f"{address} did not refuse an unknown key: the start was stopped, for safety")


def refuses_strangers(context: SyncContext, address: str, server_key: bytes, *, timeout: float = 5.0) -> bool:
    """Self-test: whether the socket at `address` (`host:port`) turns away a key that nobody knows.

    Blocks for up to `timeout` seconds. A node whose port answers False must not go on.
    """
    stranger = Pair(*zmq.curve_keypair())
    with context.socket(zmq.DEALER, socket_class=zmq.Socket) as client:
        client.linger = 0
        client.curve_publickey, client.curve_secretkey = stranger.public, stranger.secret
        client.curve_serverkey = server_key
        client.ipv6 = address.startswith("[")
        with client.get_monitor_socket() as monitor:
            client.connect(f"tcp://{address}")
            refused = _refused(monitor, timeout)
            client.disable_monitor()
        return refused


def _refused(monitor: SyncSocket, timeout: float) -> bool:
    while monitor.poll(int(timeout * 1000)):
        event = parse_monitor_message(monitor.recv_multipart())["event"]
        if event in HANDSHAKE_FAILURES:
            return True
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return False
    return False
