"""How a ROUTER that receives is read on an asyncio loop: its descriptor wakes, a bounded drain reads.

ZMQ_FD is edge-triggered: after a wake-up everything must be read until EAGAIN, or the rest would lie there
until the next edge. A drain that stops early, by its budget or by an exception, therefore schedules its own
going on.
"""

import asyncio
import time
from collections.abc import Callable

import zmq

from node.transport.base import SyncSocket

BUDGET = 500
"""Messages per turn of the loop."""
SLICE = 0.004
"""Seconds per turn of the loop: a message may take 5 us or, with envelopes in it, milliseconds."""

Deliver = Callable[[bytes, zmq.Frame], None]
"""(routing id, payload frame)"""


class Inlet:
    """Reads messages of one payload frame; others are dropped and counted in `malformed`."""

    def __init__(self, socket: SyncSocket, deliver: Deliver) -> None:
        self._socket = socket
        self._deliver = deliver
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: asyncio.Handle | None = None
        self.malformed = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._wake)
        self._again()  # what arrived before has spent its edge

    def stop(self) -> None:
        if self._loop is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop = None
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def drain(self) -> None:
        """Deliver everything that has arrived."""
        while self._read(BUDGET):
            pass

    def _wake(self) -> None:
        more = True
        try:
            more = self._read(BUDGET)
        finally:
            if more:
                self._again()

    def _again(self) -> None:
        if self._loop is not None and self._pending is None:
            self._pending = self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._pending = None
        self._wake()

    def _read(self, budget: int) -> bool:
        """Deliver up to `budget` messages, or for `SLICE` seconds; whether there may be more."""
        receive, end = self._socket.recv, time.monotonic() + SLICE
        for _ in range(budget):
            if self._socket.closed:
                return False
            try:
                route = receive(zmq.NOBLOCK)
            except zmq.Again:
                return False
            frame = receive(zmq.NOBLOCK, copy=False)
            if frame.more:
                self._skip()
            else:
                self._deliver(route, frame)
            if time.monotonic() > end:
                break
        return True

    def _skip(self) -> None:
        self.malformed += 1
        while self._socket.getsockopt(zmq.RCVMORE):
            self._socket.recv(zmq.NOBLOCK)
