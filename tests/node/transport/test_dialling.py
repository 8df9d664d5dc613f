"""What a plane is told to dial comes from others, and need be no address, or no key."""

import contextlib

import pytest

from node.security.roster import Entry
from tests.node.transport.kit import listing, new_keys, until
from tests.node.transport.test_zmq import Node


@pytest.mark.parametrize("address", ["nonsense", "*:5", "a:b:1", "[zz]:1", "", "\N{SNOWMAN}:1"])
async def test_what_is_no_address_is_not_dialled(address: str) -> None:
    """It was an error in the middle of a tick of membership, whose timer was not set again."""
    with contextlib.ExitStack() as stack:
        one, other = new_keys(), new_keys()
        here, there = (Node(stack, keys, listing(one, other)) for keys in (one, other))
        assert not here.plane.send(other.id, address, b"x")
        assert here.send(there, b"now")
        await until(lambda: there.inbox)
        assert there.inbox == [(one.id, b"now")]


async def test_a_key_that_is_none_is_not_dialled() -> None:
    """Rosters no longer take one; older files may hold it."""
    with contextlib.ExitStack() as stack:
        one, other = new_keys(), new_keys()
        here, there = (Node(stack, keys, listing(one, other)) for keys in (one, other))
        odd = Entry(public_key=b"#" * 40)  # beyond 32 bits a group
        here.roster.join([odd])
        assert not here.plane.send(odd.id, there.plane.bound_address, b"x")
        assert here.send(there, b"now")
        await until(lambda: there.inbox)
