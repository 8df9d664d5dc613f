"""What a plane promises, whatever carries it.

Messages are whole, at most once, in order per pair of nodes while a connection lasts, and bounded in size.
The sender that a receiver sees is authenticated. `send` says whether the message was queued, never whether it
arrived.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import zmq

from gossip.identity import NodeId

SyncSocket: TypeAlias = "zmq.Socket[bytes]"
SyncContext: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

OnMessage = Callable[[NodeId, bytes], None]
"""(sender, payload), called on the plane's loop; it must not block."""

CONTROL_MESSAGE = 64 * 1024
CONTROL_HWM = 100
BULK_MESSAGE = 8 * 1024 * 1024
BULK_HWM = 256


class CannotBind(Exception):
    """An address cannot be listened on; the message names it, the reason and the remedy."""


class TooLarge(ValueError):
    """A payload is above the plane's bound: a mistake of the caller, nothing was sent."""


class Transport(Protocol):
    """One plane of one node. Used on one thread only; `bound_address` may be read on any."""

    @property
    def bound_address(self) -> str:
        """`host:port`, with the port that was picked where 0 was asked for."""
        ...

    def start(self, on_message: OnMessage) -> None:
        """Deliver from now on, on the running loop."""
        ...

    def send(self, to: NodeId, address: str, payload: bytes) -> bool:
        """Queue for a node at `address`, connecting or moving the connection as needed.

        False: nothing was queued, since the queue is full, the node is not on the roster, or its refusal is
        too recent to dial again. Raises TooLarge.
        """
        ...

    def drain(self) -> None:
        """Deliver all that has arrived, now."""
        ...

    def disconnect(self, node: NodeId) -> None:
        """Drop the connection to a node and what is queued for it."""
        ...

    def close(self) -> None: ...
