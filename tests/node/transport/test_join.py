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
from node.security.selftest import Unguarded, require_join_guarded
from node.transport.hello import VERSION, Hello, JoinFailed, JoinReason, Refusal, encode
from node.transport.introduce import JoinAnswer, introduce
from node.transport.join import JoinServer, unproven_hello
from tests.node.transport.kit import gated, new_keys


def entry(keys: NodeKeys, boot: int = 1) -> Entry:
    return Entry(public_key=keys.pair.public, boot=boot, name="n", gossip="127.0.0.1:1")


class Member:
    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.keys, self.cluster = new_keys(), new_cluster_key()
        self.roster = Roster([entry(self.keys)])
        self.context = stack.enter_context(gated(self.roster))
        self.server = JoinServer(self.context, bind="127.0.0.1:0", cluster=self.cluster, roster=self.roster)
        stack.callback(self.server.close)
        self.joined: list[Entry] = []
        self.server.start(lambda: entry(self.keys), self.joined.append)

    async def meets(self, keys: NodeKeys, boot: int = 1, cluster: ClusterKey | None = None) -> JoinAnswer:
        """A newcomer says hello here."""
        return await introduce(
            self.context,
            self.server.bound_address,
            cluster=cluster or self.cluster,
            pair=keys.pair,
            me=entry(keys, boot),
        )


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
async def member(stack: contextlib.ExitStack) -> Member:
    return Member(stack)


async def test_a_hello_with_the_key_gets_the_roster_and_a_place_on_it(member: Member) -> None:
    newcomer = new_keys()
    answer = await member.meets(newcomer)
    assert answer.server == entry(member.keys)
    assert {each.id for each in answer.roster} == {member.keys.id, newcomer.id}
    assert newcomer.id in member.roster.keys
    assert member.joined == [entry(newcomer)]


async def test_a_second_hello_is_no_news_but_a_new_boot_is(member: Member) -> None:
    newcomer = new_keys()
    for boot in (1, 1, 2):
        await member.meets(newcomer, boot)
    assert [each.boot for each in member.joined] == [1, 2]


async def test_another_clusters_key_is_told_so(member: Member) -> None:
    with pytest.raises(JoinFailed, match="turned the key away") as caught:
        await member.meets(new_keys(), cluster=new_cluster_key())
    assert caught.value.reason is JoinReason.WRONG_KEY
    assert member.joined == []


async def test_the_public_key_alone_opens_nothing(member: Member) -> None:
    class Thief(ClusterKey):
        """Knows the public half of the join socket and has no cluster key."""

        @property
        def join_server(self) -> Pair:
            return Pair(member.cluster.join_server.public, b"")

    with pytest.raises(JoinFailed, match="does not prove the key of this mesh") as caught:
        await member.meets(new_keys(), cluster=Thief(b"x" * 32))
    assert caught.value.reason is JoinReason.WRONG_KEY
    assert member.joined == []


async def test_nobody_states_facts_of_another_node(member: Member) -> None:
    """Not even who holds the cluster key: the key on the roster is that of the connection."""
    victim, evil = new_keys(), new_keys()
    await member.meets(victim)
    before = member.roster.digest()
    false = msgspec.structs.replace(entry(victim, boot=99), gossip="192.0.2.66:1")
    for proof in (member.cluster.proof(evil.pair.public), member.cluster.proof(victim.pair.public)):
        answer = await ask(member, evil.pair, encode(Hello(VERSION, false, proof)))
        assert answer.code == JoinReason.REFUSED
        assert "another key" in answer.message
    stolen = Hello(VERSION, entry(evil), member.cluster.proof(victim.pair.public))
    assert (await ask(member, evil.pair, encode(stolen))).code == JoinReason.WRONG_KEY
    assert member.roster.digest() == before


async def test_a_revoked_node_stays_out(member: Member) -> None:
    newcomer = new_keys()
    await member.meets(newcomer)
    member.roster.revoke(newcomer.id)
    with pytest.raises(JoinFailed, match="was revoked: it needs a new data directory") as caught:
        await member.meets(newcomer, 2)
    assert caught.value.reason is JoinReason.REVOKED


async def test_the_self_test_passes_here_and_fails_where_anyone_is_welcome(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, key = member.server.bound_address, member.cluster.join_server.public
    await asyncio.to_thread(require_join_guarded, member.context, address, key, unproven_hello())
    monkeypatch.setattr(JoinServer, "_admit", lambda *_: member.server._enter(entry(new_keys())))
    with pytest.raises(Unguarded, match="did not refuse a hello without proof"):
        await asyncio.to_thread(require_join_guarded, member.context, address, key, unproven_hello())


async def test_nobody_there_is_told_at_once(member: Member) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(JoinFailed, match=r"cannot reach .*is a node running there") as caught:
        await greet(member, f"127.0.0.1:{port}")
    assert caught.value.reason is JoinReason.UNREACHABLE


async def greet(member: Member, address: str, within: float = 3.0) -> JoinAnswer:
    keys = new_keys()
    return await introduce(
        member.context, address, cluster=member.cluster, pair=keys.pair, me=entry(keys), within=within
    )


async def test_something_else_there_is_told(member: Member) -> None:
    hung: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: hung.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(JoinFailed, match="no collect-node join port") as caught:
        await greet(member, f"127.0.0.1:{port}", 0.5)
    assert caught.value.reason is JoinReason.NO_ANSWER
    server.close()
    for writer in hung:
        writer.transport.abort()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (b"\xff\xff", JoinReason.VERSION),
        (b"", JoinReason.VERSION),
        (Hello(1, Entry(public_key=b"k" * 40)), JoinReason.VERSION),
        (Hello(VERSION + 1, Entry(public_key=b"k" * 40)), JoinReason.VERSION),
        (Hello(VERSION, Entry(public_key=b"short")), JoinReason.REFUSED),
        (Hello(VERSION, Entry(public_key=b"", gossip="nonsense")), JoinReason.REFUSED),
    ],
)
async def test_bad_hellos_are_refused_and_change_nothing(
    member: Member, hello: bytes | Hello, code: JoinReason
) -> None:
    keys, before = new_keys(), member.roster.digest()
    if isinstance(hello, Hello) and not hello.entry.public_key:
        own = msgspec.structs.replace(hello.entry, public_key=keys.pair.public)
        hello = Hello(VERSION, own, member.cluster.proof(keys.pair.public))
    answer = await ask(member, keys.pair, hello if isinstance(hello, bytes) else encode(hello))
    assert answer.code == code
    assert member.roster.digest() == before
    assert member.joined == []


async def ask(member: Member, pair: Pair, payload: bytes) -> Refusal:
    """What a client of our own making is answered."""
    with member.context.socket(zmq.DEALER, socket_class=zmq.Socket) as client:
        client.linger = 0
        client.curve_publickey, client.curve_secretkey = pair.public, pair.secret
        client.curve_serverkey = member.cluster.join_server.public
        client.connect(f"tcp://{member.server.bound_address}")
        client.send(payload)
        assert await asyncio.to_thread(client.poll, 10_000)
        return msgspec.msgpack.decode(client.recv(), type=Refusal)
