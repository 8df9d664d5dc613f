"""The gate: the ZAP handler (RFC 27) of a ZeroMQ context, on a thread of its own.

CURVE only. Domain `mesh` admits the keys of the roster and names the node id as user. Domain `join` admits any
key and names that key as user: whoever gets through that handshake knew the join socket's public key and holds
the secret half of its own, and has yet to prove that it may join. Sockets set ZAP_ENFORCE_DOMAIN, so with the
thread dead the handshake fails: closed, not open. A key that leaves the roster keeps its live connections;
receivers therefore check each message's sender.
"""

import threading

import zmq
from zmq.utils import z85

from node.security.roster import Roster
from node.security.selftest import require_library
from node.transport.base import SyncContext, SyncSocket

MESH = b"mesh"
JOIN = b"join"
ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"


class ZapHandler:
    """`start` before the first socket binds, `stop` after the last closed."""

    def __init__(self, context: SyncContext, roster: Roster) -> None:
        self._context = context
        self._roster = roster
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
        """Raises ZMQError when the context has a handler already, Unguarded for a libzmq that cannot do this."""
        require_library()
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
        return key if domain == JOIN else None
