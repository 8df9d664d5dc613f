"""What CURVE, ZAP and libzmq must do for a plane: ways in that are closed, connections that come and go."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from gossip.identity import NodeId
from node.security.keys import NodeKeys, Pair
from node.security.roster import Entry, Roster
from node.security.selftest import (
    Unguarded,
    refuses_plain,
    refuses_strangers,
    require_guarded,
    require_library,
)
from node.security.zap import ZapHandler
from node.transport.base import CannotBind, SyncContext, SyncSocket
from node.transport.hangup import hang_up
from node.transport.zmq import Plane, endpoint_address
from tests.node.transport.kit import gated, listing, new_keys, until


class Node:
    """One node with a context, a gate and a plane of its own."""

    def __init__(
        self, stack: contextlib.ExitStack, keys: NodeKeys, roster: Roster, bind: str = "127.0.0.1:0"
    ) -> None:
        self.keys, self.roster = keys, roster
        self.inbox: list[tuple[NodeId, bytes]] = []
        self.context = stack.enter_context(gated(roster))
        self.plane = Plane(self.context, bind=bind, keys=keys, roster=roster, hwm=10)
        stack.callback(self.plane.close)
        self.plane.start(lambda sender, payload: self.inbox.append((sender, payload)))

    def send(self, other: "Node", payload: bytes) -> bool:
        return self.plane.send(other.keys.id, other.plane.bound_address, payload)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def raw_client(
    context: SyncContext, node: Node, pair: Pair | None, routing_id: bytes | None = None
) -> SyncSocket:
    """A stranger's socket, as anyone on the network can make it."""
    client = context.socket(zmq.DEALER, socket_class=zmq.Socket)
    client.linger = 0
    if routing_id is not None:
        client.routing_id = routing_id
    if pair is not None:
        client.curve_publickey, client.curve_secretkey = pair.public, pair.secret
        client.curve_serverkey = node.keys.pair.public
    client.connect(f"tcp://{node.plane.bound_address}")
    return client


async def heard_only_from(node: Node, friend: Node, intruder: SyncSocket) -> None:
    """The intruder speaks first and for long enough; still only the friend is heard."""
    for _ in range(5):
        with contextlib.suppress(zmq.Again):
            intruder.send(b"let me in", zmq.NOBLOCK)
    deadline = asyncio.get_running_loop().time() + 0.3  # many times what a handshake takes
    while asyncio.get_running_loop().time() < deadline or not node.inbox:
        friend.send(node, b"friend")
        await asyncio.sleep(0.01)
    assert set(node.inbox) == {(friend.keys.id, b"friend")}


async def test_unlisted_key_is_refused(stack: contextlib.ExitStack) -> None:
    one, other = new_keys(), new_keys()
    node, friend = (Node(stack, keys, listing(one, other)) for keys in (one, other))
    intruder = stack.enter_context(raw_client(friend.context, node, new_keys().pair))
    await heard_only_from(node, friend, intruder)


async def test_null_client_is_refused(stack: contextlib.ExitStack) -> None:
    one, other = new_keys(), new_keys()
    node, friend = (Node(stack, keys, listing(one, other)) for keys in (one, other))
    intruder = stack.enter_context(raw_client(friend.context, node, None))
    await heard_only_from(node, friend, intruder)


async def test_a_listed_key_cannot_speak_as_another(stack: contextlib.ExitStack) -> None:
    one, evil, victim = new_keys(), new_keys(), new_keys()
    node = Node(stack, one, listing(one, evil, victim))
    liar = stack.enter_context(raw_client(node.context, node, evil.pair, routing_id=victim.id.encode()))
    liar.send(b"I am the victim")
    await until(lambda: node.inbox)
    assert node.inbox == [(evil.id, b"I am the victim")]


class Tap:
    """A wire that is listened to: passes on a connection and keeps every byte that the client sent."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self.target = host, int(port)
        self.captured = b""

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection(*self.target)
        back = asyncio.ensure_future(self._copy(there, writer))
        while data := await reader.read(65536):
            self.captured += data
            onward.write(data)
        onward.close()
        await back
        writer.close()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)

    async def replay(self, address: str) -> bool:
        """Say it all again to `address`, waiting for an answer after each part as the client did; whether the
        other ended the connection.
        """
        host, port = address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(OSError, TimeoutError):
            for at in range(0, len(self.captured), 64):
                writer.write(self.captured[at : at + 64])
                await writer.drain()
                await asyncio.sleep(0.005)
            async with asyncio.timeout(2):
                while await reader.read(65536):
                    pass
        ended = reader.at_eof()
        writer.transport.abort()
        return ended


async def reopened(stack: contextlib.ExitStack, keys: NodeKeys, roster: Roster, bind: str) -> Node:
    """The next life at the same port, which libzmq gives up a moment after a close."""
    for _ in range(200):
        with contextlib.suppress(CannotBind), contextlib.ExitStack() as trying:
            node = Node(trying, keys, roster, bind)
            stack.push(trying.pop_all())
            return node
        await asyncio.sleep(0.02)
    raise AssertionError(f"{bind} stays in use")


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_captured_session_that_is_replayed_is_refused(
    stack: contextlib.ExitStack, *, restarted: bool
) -> None:
    """CURVE's short-term keys: what was said once decrypts in no other connection, of this life or the next."""
    one, other = new_keys(), new_keys()
    node, friend = (Node(stack, keys, listing(one, other)) for keys in (one, other))
    tap = Tap(node.plane.bound_address)
    wire = await tap.start()
    friend.plane.send(one.id, wire, b"bury node-7")
    await until(lambda: node.inbox == [(other.id, b"bury node-7")])
    friend.plane.disconnect(one.id)
    await until(lambda: len(tap.captured) > 300)
    address = node.plane.bound_address
    if restarted:
        node.plane.close()
        node = await reopened(stack, one, listing(one, other), address)
    node.inbox.clear()
    assert await tap.replay(address), "the replay was borne"
    assert friend.send(node, b"fresh")
    await until(lambda: node.inbox)
    assert node.inbox == [(other.id, b"fresh")]
    tap.server.close()


async def test_messages_of_several_frames_are_dropped(stack: contextlib.ExitStack) -> None:
    one, other = new_keys(), new_keys()
    node = Node(stack, one, listing(one, other))
    client = stack.enter_context(raw_client(node.context, node, other.pair))
    client.send_multipart([b"a", b"b", b"c"])
    client.send(b"whole")
    await until(lambda: node.inbox)
    assert node.inbox == [(other.id, b"whole")]


async def test_oversized_messages_end_the_connection(stack: contextlib.ExitStack) -> None:
    one, other = new_keys(), new_keys()
    node = Node(stack, one, listing(one, other))
    client = stack.enter_context(raw_client(node.context, node, other.pair))
    client.send(b"x" * 100_000)
    client.send(b"small")
    friend = Node(stack, other, listing(one, other))
    await until(lambda: friend.send(node, b"later") and node.inbox)
    assert {len(payload) for _, payload in node.inbox} <= {5}


async def test_a_revoked_key_is_cut_off_on_its_live_connection(stack: contextlib.ExitStack) -> None:
    """Without a word from it; and it does not get in again until the verdict is taken back."""
    one, other, evil = new_keys(), new_keys(), new_keys()
    node = Node(stack, one, listing(one, other, evil))
    friend = Node(stack, other, listing(one, other))
    client = stack.enter_context(raw_client(friend.context, node, evil.pair))
    monitor = stack.enter_context(client.get_monitor_socket(zmq.EVENT_DISCONNECTED))
    client.send(b"first")
    await until(lambda: node.inbox == [(evil.id, b"first")])
    assert node.roster.revoke(evil.id)
    assert await asyncio.to_thread(monitor.poll, 5_000), "it is silent, and its connection lives on"
    client.send(b"second")
    await heard_only_from_friend(node, friend, client)
    assert node.roster.readmit(evil.id)
    again = stack.enter_context(raw_client(friend.context, node, evil.pair))
    again.send(b"back")
    await until(lambda: (evil.id, b"back") in node.inbox)


async def test_messages_that_were_under_way_at_the_revocation_are_dropped(
    stack: contextlib.ExitStack,
) -> None:
    one, evil = new_keys(), new_keys()
    node = Node(stack, one, listing(one, evil))
    client = stack.enter_context(raw_client(node.context, node, evil.pair))
    client.send(b"first")
    await until(lambda: node.inbox)
    for _ in range(5):
        client.send(b"late")
    time.sleep(0.3)  # noqa: ASYNC251  they arrive, and lie there unread
    node.roster.revoke(evil.id)
    await until(lambda: node.plane.unlisted == 5)
    assert [payload for _, payload in node.inbox] == [b"first"]


async def heard_only_from_friend(node: Node, friend: Node, intruder: SyncSocket) -> None:
    node.inbox.clear()
    await heard_only_from(node, friend, intruder)


def test_another_ports_connection_is_never_hung_up(stack: contextlib.ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        accepted = stack.enter_context(server.accept()[0])
        assert not hang_up(accepted.fileno(), port + 1)
        client.send(b"x")
        assert accepted.recv(1) == b"x"
        assert hang_up(accepted.fileno(), port)
        assert client.recv(1) == b""
    with (Path(__file__)).open("rb") as file:
        assert not hang_up(file.fileno(), port)
    assert not hang_up(9999, port)


async def test_dead_handler_admits_nobody() -> None:
    """Fails closed: the sockets demand an answer from the gate."""
    one, other = new_keys(), new_keys()
    roster = listing(one, other)
    context: SyncContext = zmq.Context()
    gate = ZapHandler(context, roster)
    gate.start()
    plane = Plane(context, bind="127.0.0.1:0", keys=one, roster=roster)
    inbox: list[bytes] = []
    plane.start(lambda _, payload: inbox.append(payload))
    gate.stop()
    assert not gate.alive
    with gated(listing(one, other)) as elsewhere:
        client = Plane(elsewhere, bind="127.0.0.1:0", keys=other, roster=listing(one, other))
        assert client.send(one.id, plane.bound_address, b"x")
        assert await asyncio.to_thread(refuses_strangers, elsewhere, plane.bound_address, one.pair.public)
        await asyncio.sleep(0.3)
        client.close()
    assert inbox == []
    plane.close()
    context.term()


async def test_self_test_tells_an_open_socket(stack: contextlib.ExitStack) -> None:
    keys = new_keys()
    node = Node(stack, keys, listing(keys))
    assert await asyncio.to_thread(
        refuses_strangers, node.context, node.plane.bound_address, keys.pair.public
    )
    ungated: SyncContext = stack.enter_context(zmq.Context())
    with ungated.socket(zmq.ROUTER, socket_class=zmq.Socket) as careless:
        careless.linger = 0
        careless.curve_server = True
        careless.curve_publickey, careless.curve_secretkey = keys.pair.public, keys.pair.secret
        careless.bind("tcp://127.0.0.1:*")
        address = endpoint_address(careless)
        assert not await asyncio.to_thread(refuses_strangers, node.context, address, keys.pair.public)
        with pytest.raises(Unguarded, match=f"{address} did not refuse an unknown key"):
            await asyncio.to_thread(require_guarded, node.context, address, keys.pair.public)


def test_a_library_that_is_too_old_or_cannot_encrypt_is_told() -> None:
    require_library()
    require_library((5, 0, 0), curve=True)
    with pytest.raises(Unguarded, match=r"libzmq is 4\.3\.4, at least 4\.3\.5 is needed"):
        require_library((4, 3, 4))
    with pytest.raises(Unguarded, match="without CURVE"):
        require_library((4, 3, 5), curve=False)


async def test_self_test_tells_a_socket_without_curve(stack: contextlib.ExitStack) -> None:
    keys = new_keys()
    node = Node(stack, keys, listing(keys))
    assert await asyncio.to_thread(refuses_plain, node.context, node.plane.bound_address)
    ungated: SyncContext = stack.enter_context(zmq.Context())
    with ungated.socket(zmq.ROUTER, socket_class=zmq.Socket) as plain:
        plain.linger = 0
        plain.bind("tcp://127.0.0.1:*")
        address = endpoint_address(plain)
        assert not await asyncio.to_thread(refuses_plain, node.context, address)
        with pytest.raises(Unguarded, match=f"{address} did not refuse a client without a key"):
            await asyncio.to_thread(require_guarded, node.context, address, keys.pair.public)


async def test_turned_away_then_listed_gets_through(stack: contextlib.ExitStack) -> None:
    one, other = new_keys(), new_keys()
    node = Node(stack, one, listing(one))
    newcomer = Node(stack, other, listing(one, other))
    refusals: list[NodeId] = []
    newcomer.plane.on_refused = refusals.append
    newcomer.send(node, b"early")
    await until(lambda: newcomer.send(node, b"early") is False and refusals)
    assert refusals[0] == one.id
    node.roster.join([Entry(public_key=other.pair.public)])
    await until(lambda: newcomer.send(node, b"late") and node.inbox)
    assert node.inbox[0] == (other.id, b"late")


async def test_a_peer_that_moves_is_followed(stack: contextlib.ExitStack) -> None:
    one, other = new_keys(), new_keys()
    sender = Node(stack, one, listing(one, other))
    before = Node(stack, other, listing(one, other))
    assert sender.send(before, b"here")
    await until(lambda: before.inbox)
    before.plane.close()
    after = Node(stack, other, listing(one, other))
    assert sender.send(after, b"there")
    await until(lambda: after.inbox)
    assert after.inbox == [(one.id, b"there")]


async def test_a_peer_that_restarts_in_place_is_met_again(stack: contextlib.ExitStack) -> None:
    one, other = new_keys(), new_keys()
    sender = Node(stack, one, listing(one, other))
    before = Node(stack, other, listing(one, other))
    assert sender.send(before, b"1")
    await until(lambda: before.inbox)
    address = before.plane.bound_address
    before.plane.close()
    after = await reopened(stack, other, listing(one, other), address)
    await until(lambda: sender.send(after, b"2") and after.inbox)
    assert after.inbox[0] == (one.id, b"2")


async def test_many_moves_between_two_nodes_of_one_address(stack: contextlib.ExitStack) -> None:
    """Routing ids are never reused and an address has one link: either mistake aborts the process."""
    one, other, third = new_keys(), new_keys(), new_keys()
    everybody = listing(one, other, third)
    sender, target = Node(stack, one, everybody), Node(stack, other, everybody)
    for _ in range(50):
        sender.plane.send(other.id, target.plane.bound_address, b"right")
        sender.plane.send(third.id, target.plane.bound_address, b"wrong")
        sender.plane.disconnect(other.id)
    await until(lambda: sender.send(target, b"end") and target.inbox)
    assert {payload for _, payload in target.inbox} <= {b"right", b"end"}


async def test_port_in_use_is_said(stack: contextlib.ExitStack) -> None:
    keys = new_keys()
    node = Node(stack, keys, listing(keys))
    with pytest.raises(
        CannotBind, match=f"cannot listen on {node.plane.bound_address}: .* choose another port"
    ):
        Plane(node.context, bind=node.plane.bound_address, keys=keys, roster=node.roster)


async def test_ipv6(stack: contextlib.ExitStack) -> None:
    one, other = new_keys(), new_keys()
    node, friend = (Node(stack, keys, listing(one, other), bind="[::1]:0") for keys in (one, other))
    assert friend.send(node, b"six")
    await until(lambda: node.inbox)
    assert node.plane.bound_address.startswith("[::1]:")
