"""How many messages a second a plane carries: `python -m tests.node.transport.throughput [BYTES [SECONDS]]`.

Two processes, CURVE on, one sends as fast as the queue takes, the other counts.
"""

import asyncio
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection

import uvloop

from gossip.identity import NodeId
from node.security.keys import NodeKeys
from node.transport.base import BULK_HWM, BULK_MESSAGE
from node.transport.zmq import Plane
from tests.node.transport.kit import gated, listing, new_keys, until


def receive(keys: NodeKeys, peer: NodeKeys, pipe: Connection) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_receive(keys, peer, pipe))


async def _receive(keys: NodeKeys, peer: NodeKeys, pipe: Connection) -> None:
    roster = listing(keys, peer)
    with gated(roster) as context:
        plane = Plane(
            context, bind="127.0.0.1:0", keys=keys, roster=roster, max_message=BULK_MESSAGE, hwm=BULK_HWM
        )
        count, began = 0, 0.0
        ended = asyncio.Event()

        def on_message(_sender: NodeId, payload: bytes) -> None:
            nonlocal count, began
            began = began or time.perf_counter()
            count += 1
            if payload == b"end":
                ended.set()

        plane.start(on_message)
        pipe.send(plane.bound_address)
        await ended.wait()
        pipe.send((count, time.perf_counter() - began))
        plane.close()


async def _send(keys: NodeKeys, peer: NodeKeys, address: str, size: int, seconds: float) -> None:
    roster = listing(keys, peer)
    with gated(roster) as context:
        plane = Plane(
            context, bind="127.0.0.1:0", keys=keys, roster=roster, max_message=BULK_MESSAGE, hwm=BULK_HWM
        )
        payload, ends = b"x" * size, time.perf_counter() + seconds
        while time.perf_counter() < ends:
            if not plane.send(peer.id, address, payload):
                await asyncio.sleep(0)
        await until(lambda: plane.send(peer.id, address, b"end"))
        await asyncio.sleep(0.5)  # closing drops what is still queued
        plane.close()


def main(size: int = 1000, seconds: float = 3.0) -> None:
    keys, peer = new_keys(), new_keys()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(peer, keys, there))
    process.start()
    address = here.recv()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_send(keys, peer, address, size, seconds))
    count, took = here.recv()
    process.join()
    print(f"{count / took:,.0f} messages/s of {size} bytes, {count * size / took / 1e6:,.0f} MB/s")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
