"""What many clients together may hold of a node: connections, and the bytes of bodies that are still arriving.

Without a token anybody on the host may connect, and a connection that says nothing costs its sender nothing.
So nobody is turned away at the door: who comes in when the node is full takes the place of the connection that
has been open longest without a request under way, and of the oldest of all where each has one. A client asks
as soon as it is connected, so those give way that only hold a place. With TLS a connection is one when its handshake
is over: until then, for `listening.HANDSHAKE` at most, it is not known here, and costs an open file.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web

from node.api.problems import refuse
from node.service import Refused

FREE = 64 * 1024
"""Bytes of a body that count for nothing: the largest task is as long."""
ROOM = 128 * 1024 * 1024
"""Bytes that all longer bodies may hold while they arrive: eight whole batches."""
RETRY_AFTER = 1.0


class Crowd:
    """The connections of one server and the bodies on them."""

    def __init__(self) -> None:
        self._busy: set[web.RequestHandler] = set()
        self._held = 0

    @contextlib.contextmanager
    def busy(self, connection: web.RequestHandler | None) -> Iterator[None]:
        """While a request is under way. None: the connection is gone."""
        if connection is None:
            yield
            return
        self._busy.add(connection)
        try:
            yield
        finally:
            self._busy.discard(connection)

    def admit(self, server: web.Server, most: int) -> asyncio.Protocol:
        """The protocol of a new connection; the place of another is taken where there are `most`."""
        there = {connection: connection.transport for connection in server.connections}
        if len(there) < most:
            return server()
        open_ = {at: transport for at, transport in there.items() if transport and not transport.is_closing()}
        for going in sorted(open_, key=self._busy.__contains__)[: max(0, len(open_) + 1 - most)]:
            open_[going].abort()
        return server()

    @contextlib.contextmanager
    def body(self) -> Iterator["Body"]:
        """While a body arrives."""
        body = Body(self)
        try:
            yield body
        finally:
            self._held -= body.held

    def hold(self, size: int) -> None:
        """Raises Refused 503 where the bodies that are arriving hold too much already."""
        if self._held + size > ROOM:
            raise _full()
        self._held += size


class Body:
    """What one body holds."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.held = 0

    def grow(self, size: int) -> None:
        """So many bytes have arrived. Raises Refused 503 where there is no room for them."""
        more = max(0, size - FREE) - self.held
        if more > 0:
            self._crowd.hold(more)
            self.held += more


def _full() -> Refused:
    # Not built where it is raised: a name for it there, in a frame of its own traceback, would keep the body.
    refused = refuse(503, "busy", "too many large bodies are arriving at once: send this one again")
    refused.retry_after = RETRY_AFTER
    return refused


CROWD = web.AppKey("crowd", Crowd)
