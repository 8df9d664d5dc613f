"""What tests with real sockets share: a node's identity, its gate, and waiting for a condition."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import zmq

from gossip.identity import node_id
from node.security.keys import NodeKeys, Pair
from node.security.roster import Entry, Roster
from node.security.zap import ZapHandler
from node.transport.base import SyncContext

PATIENCE = 20.0


async def until(condition: Callable[[], object], what: str = "", within: float = PATIENCE) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what or condition}"
        await asyncio.sleep(0.01)


def new_keys() -> NodeKeys:
    public, secret = zmq.curve_keypair()
    return NodeKeys(Pair(public, secret), node_id(public))


def listing(*everybody: NodeKeys) -> Roster:
    return Roster(Entry(public_key=keys.pair.public) for keys in everybody)


@contextmanager
def gated(roster: Roster) -> Iterator[SyncContext]:
    """A context whose gate admits this roster."""
    context: SyncContext = zmq.Context()
    gate = ZapHandler(context, roster)
    gate.start()
    try:
        yield context
    finally:
        gate.stop()
        context.term()
