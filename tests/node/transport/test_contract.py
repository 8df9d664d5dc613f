"""The promises of a plane, held by every implementation."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from gossip.identity import NodeId
from node.security.keys import NodeKeys
from node.security.roster import Roster
from node.transport.base import TooLarge, Transport
from node.transport.memory import MemoryPlane, Network
from node.transport.zmq import Plane
from tests.node.transport.kit import gated, listing, new_keys, until

LIMIT = 1000
HWM = 20


@dataclass
class Side:
    keys: NodeKeys
    roster: Roster
    plane: Transport
    inbox: list[tuple[NodeId, bytes]]

    def receive(self, sender: NodeId, payload: bytes) -> None:
        self.inbox.append((sender, payload))


@pytest.fixture(params=["zmq", "memory"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Side, Side]]:
    one, other = new_keys(), new_keys()
    for sides in (_over_zmq if request.param == "zmq" else _in_memory)(one, other):
        for side in sides:
            side.plane.start(side.receive)
        yield sides
        for side in sides:
            side.plane.close()


def _over_zmq(*everybody: NodeKeys) -> Iterator[tuple[Side, Side]]:
    rosters = [listing(*everybody) for _ in everybody]
    with gated(rosters[0]) as first, gated(rosters[1]) as second:
        one, other = (
            Side(
                keys,
                roster,
                Plane(context, bind="127.0.0.1:0", keys=keys, roster=roster, max_message=LIMIT, hwm=HWM),
                [],
            )
            for keys, roster, context in zip(everybody, rosters, (first, second), strict=True)
        )
        yield one, other


def _in_memory(*everybody: NodeKeys) -> Iterator[tuple[Side, Side]]:
    network = Network()
    one, other = (
        Side(
            keys,
            roster := listing(*everybody),
            MemoryPlane(network, bind="host:0", me=keys.id, roster=roster, max_message=LIMIT, hwm=HWM),
            [],
        )
        for keys in everybody
    )
    yield one, other


async def test_a_message_arrives_whole_with_its_sender(pair: tuple[Side, Side]) -> None:
    one, other = pair
    payloads = [b"", b"x", bytes(range(256)) * 3, b"z" * LIMIT]
    for payload in payloads:
        assert one.plane.send(other.keys.id, other.plane.bound_address, payload)
    await until(lambda: len(other.inbox) == len(payloads))
    assert other.inbox == [(one.keys.id, payload) for payload in payloads]


async def test_both_directions(pair: tuple[Side, Side]) -> None:
    one, other = pair
    assert one.plane.send(other.keys.id, other.plane.bound_address, b"ping")
    await until(lambda: other.inbox)
    assert other.plane.send(one.keys.id, one.plane.bound_address, b"pong")
    await until(lambda: one.inbox)
    assert one.inbox == [(other.keys.id, b"pong")]


async def test_port_zero_is_resolved(pair: tuple[Side, Side]) -> None:
    addresses = {side.plane.bound_address for side in pair}
    assert len(addresses) == 2
    assert not any(address.endswith(":0") for address in addresses)


async def test_too_large_is_the_callers_mistake(pair: tuple[Side, Side]) -> None:
    one, other = pair
    with pytest.raises(TooLarge, match="1001 bytes"):
        one.plane.send(other.keys.id, other.plane.bound_address, b"z" * (LIMIT + 1))


async def test_who_is_not_listed_is_not_dialled(pair: tuple[Side, Side]) -> None:
    one, other = pair
    assert not one.plane.send(new_keys().id, other.plane.bound_address, b"x")


async def test_who_is_revoked_is_no_longer_heard(pair: tuple[Side, Side]) -> None:
    one, other = pair
    assert one.plane.send(other.keys.id, other.plane.bound_address, b"before")
    await until(lambda: other.inbox)
    other.roster.revoke(one.keys.id)
    assert one.plane.send(other.keys.id, other.plane.bound_address, b"after")
    # The next one that is heard was sent later, so the one in between has arrived and was dropped.
    assert other.plane.send(other.keys.id, other.plane.bound_address, b"own")
    await until(lambda: len(other.inbox) > 1)
    await asyncio.sleep(0)
    assert [payload for _, payload in other.inbox] == [b"before", b"own"]
    assert not other.plane.send(one.keys.id, one.plane.bound_address, b"x")


async def test_another_key_at_the_address_hears_nothing(pair: tuple[Side, Side]) -> None:
    one, other = pair
    assert one.plane.send(other.keys.id, one.plane.bound_address, b"for the other")
    assert one.plane.send(other.keys.id, other.plane.bound_address, b"moved")
    await until(lambda: other.inbox)
    assert other.inbox == [(one.keys.id, b"moved")]
    assert one.inbox == []


async def test_a_full_queue_says_so(pair: tuple[Side, Side]) -> None:
    """The receiver cannot read while this loop does not turn."""
    one, other = pair
    address = other.plane.bound_address
    assert one.plane.send(other.keys.id, address, b"first")
    await until(lambda: other.inbox)
    assert any(not one.plane.send(other.keys.id, address, b"x" * LIMIT) for _ in range(100_000))


async def test_a_failing_callback_loses_no_other_message(pair: tuple[Side, Side]) -> None:
    one, other = pair
    heard: list[bytes] = []
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def receive(_sender: NodeId, payload: bytes) -> None:
        heard.append(payload)
        if payload == b"bad":
            raise RuntimeError("in the callback")

    other.plane.start(receive)
    for payload in (b"bad", b"good"):
        assert one.plane.send(other.keys.id, other.plane.bound_address, payload)
    await until(lambda: heard == [b"bad", b"good"])
    assert [str(failure) for failure in failures] == ["in the callback"]
