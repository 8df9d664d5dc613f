"""The join socket with real sockets: who gets onto the roster, and what the others are told."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import msgspec
import pytest
import zmq

from node.security.keys import ClusterKey, NodeKeys, Pair, new_cluster_key
from node.security.roster import Entry, Roster
from node.transport.base import SyncContext
from node.transport.join import VERSION, Hello, JoinFailed, JoinReason, JoinServer, Refusal, introduce
from tests.node.transport.kit import gated, new_keys


def entry(keys: NodeKeys, boot: int = 1) -> Entry:
    return Entry(public_key=keys.pair.public, boot=boot, name="n", gossip="127.0.0.1:1")


class Member:
    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.keys, self.cluster = new_keys(), new_cluster_key()
        self.roster = Roster([entry(self.keys)])
        self.context = stack.enter_context(gated(self.roster, self.cluster))
        self.server = JoinServer(self.context, bind="127.0.0.1:0", cluster=self.cluster, roster=self.roster)
        stack.callback(self.server.close)
        self.joined: list[Entry] = []
        self.server.start(lambda: entry(self.keys), self.joined.append)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
async def member(stack: contextlib.ExitStack) -> Member:
    return Member(stack)


async def test_a_hello_with_the_key_gets_the_roster_and_a_place_on_it(member: Member) -> None:
    newcomer = new_keys()
    answer = await introduce(
        member.context, member.server.bound_address, cluster=member.cluster, me=entry(newcomer)
    )
    assert answer.server == entry(member.keys)
    assert {each.id for each in answer.roster} == {member.keys.id, newcomer.id}
    assert newcomer.id in member.roster.keys
    assert member.joined == [entry(newcomer)]


async def test_a_second_hello_is_no_news_but_a_new_boot_is(member: Member) -> None:
    newcomer = new_keys()
    for boot in (1, 1, 2):
        await introduce(
            member.context, member.server.bound_address, cluster=member.cluster, me=entry(newcomer, boot)
        )
    assert [each.boot for each in member.joined] == [1, 2]


async def test_another_clusters_key_is_told_so(member: Member) -> None:
    newcomer = new_keys()
    with pytest.raises(JoinFailed, match="turned the key away") as caught:
        await introduce(
            member.context, member.server.bound_address, cluster=new_cluster_key(), me=entry(newcomer)
        )
    assert caught.value.reason is JoinReason.WRONG_KEY
    assert newcomer.id not in member.roster.keys


async def test_knowing_the_servers_public_key_is_not_enough(member: Member) -> None:
    class Thief(ClusterKey):
        """Knows the public half of the join socket and has no cluster key."""

        @property
        def join_server(self) -> Pair:
            return Pair(member.cluster.join_server.public, b"")

    stranger = new_keys()
    with pytest.raises(JoinFailed) as caught:
        await introduce(
            member.context, member.server.bound_address, cluster=Thief(b"x" * 32), me=entry(stranger)
        )
    assert caught.value.reason is JoinReason.WRONG_KEY
    assert member.joined == []


async def test_a_revoked_node_stays_out(member: Member) -> None:
    newcomer = new_keys()
    address = member.server.bound_address
    await introduce(member.context, address, cluster=member.cluster, me=entry(newcomer))
    member.roster.revoke(newcomer.id)
    with pytest.raises(JoinFailed, match="was revoked: it needs a new data directory") as caught:
        await introduce(member.context, address, cluster=member.cluster, me=entry(newcomer, 2))
    assert caught.value.reason is JoinReason.REVOKED


async def test_nobody_there_is_told_at_once(member: Member) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(JoinFailed, match=r"cannot reach .*is a node running there") as caught:
        await introduce(member.context, f"127.0.0.1:{port}", cluster=member.cluster, me=entry(new_keys()))
    assert caught.value.reason is JoinReason.UNREACHABLE


async def test_something_else_there_is_told(member: Member) -> None:
    hung: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: hung.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(JoinFailed, match="no collect-node join port") as caught:
        await introduce(
            member.context, f"127.0.0.1:{port}", cluster=member.cluster, me=entry(new_keys()), within=0.5
        )
    assert caught.value.reason is JoinReason.NO_ANSWER
    server.close()
    for writer in hung:
        writer.transport.abort()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\xff\xff", JoinReason.VERSION),
        (b"", JoinReason.VERSION),
        (msgspec.msgpack.encode(Hello(VERSION + 1, Entry(public_key=b"k" * 40))), JoinReason.VERSION),
        (msgspec.msgpack.encode(Hello(VERSION, Entry(public_key=b"short"))), JoinReason.REFUSED),
        (
            msgspec.msgpack.encode(Hello(VERSION, Entry(public_key=b"k" * 40, gossip="nonsense"))),
            JoinReason.REFUSED,
        ),
    ],
)
async def test_bad_hellos_are_refused_and_change_nothing(
    member: Member, payload: bytes, code: JoinReason
) -> None:
    before = member.roster.digest()
    answer = await ask(member.context, member, payload)
    assert answer.code == code
    assert member.roster.digest() == before
    assert member.joined == []


async def ask(context: SyncContext, member: Member, payload: bytes) -> Refusal:
    pair = member.cluster.join_client
    with context.socket(zmq.DEALER, socket_class=zmq.Socket) as client:
        client.linger = 0
        client.curve_publickey, client.curve_secretkey = pair.public, pair.secret
        client.curve_serverkey = member.cluster.join_server.public
        client.connect(f"tcp://{member.server.bound_address}")
        client.send(payload)
        assert await asyncio.to_thread(client.poll, 10_000)
        return msgspec.msgpack.decode(client.recv(), type=Refusal)
