"""The self-test of the ports where it cannot be as usual: not reached at all, or bound to all addresses."""

import asyncio

import pytest

from node.security.selftest import Unguarded, refuses_strangers, require_guarded
from node.transport.zmq import Plane
from tests.node.transport.kit import gated, listing, new_keys
from tests.ports import free_ports


async def test_a_socket_that_is_not_reached_ends_the_test() -> None:
    """Each new try of libzmq began the time anew: a node whose own host cannot reach it hung at its start."""
    keys = new_keys()
    address = f"127.0.0.1:{free_ports(1)}"
    with gated(listing(keys)) as context:
        check = asyncio.to_thread(refuses_strangers, context, address, keys.pair.public, timeout=0.5)
        with pytest.raises(Unguarded, match=f"{address} cannot be reached from its own host"):
            await asyncio.wait_for(check, 20)


@pytest.mark.parametrize("bind", ["[::]:0", "0.0.0.0:0"])
async def test_a_socket_of_all_addresses(bind: str) -> None:
    """Of all addresses of IPv6 the loopback of IPv4 will do, where the host has no IPv6."""
    keys = new_keys()
    with gated(listing(keys)) as context:
        plane = Plane(context, bind=bind, keys=keys, roster=listing(keys))
        plane.start(lambda *_: None)
        await asyncio.to_thread(require_guarded, context, plane.bound_address, keys.pair.public)
        plane.close()
