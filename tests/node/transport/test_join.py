"""The join socket with real sockets: who gets onto the roster, and what the others are told."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import msgspec
import pytest
import zmq

from node.security.keyring import KeyRing
from node.security.keys import ClusterKey, NodeKeys, Pair, new_cluster_key
from node.security.roster import Entry, Roster
from node.security.selftest import Unguarded, require_join_guarded
from node.security.tickets import Ticket, Tickets
from node.security.token import OneTimeToken
from node.transport.hello import VERSION, Hello, JoinFailed, JoinReason, Refusal, encode
from node.transport.introduce import JoinAnswer, introduce, redeem
from node.transport.join import Book, Household, JoinServer, unproven_hello
from tests.node.transport.kit import gated, new_keys


def entry(keys: NodeKeys, boot: int = 1) -> Entry:
    return Entry(public_key=keys.pair.public, boot=boot, name="n", gossip="127.0.0.1:1")


class Member:
    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.keys, self.cluster = new_keys(), new_cluster_key()
        self.roster = Roster([entry(self.keys)])
        self.context = stack.enter_context(gated(self.roster))
        self.ring, self.tickets = KeyRing(self.cluster), Tickets()
        book = Book(self.ring, self.roster, self.tickets)
        self.server = JoinServer(self.context, bind="127.0.0.1:0", book=book)
        self.redeemed: list[Ticket] = []
        self.saved: list[bytes] = []
        stack.callback(self.server.close)
        self.joined: list[Entry] = []
        self.house = Household(
            me=lambda: entry(self.keys),
            on_joined=self.joined.append,
            on_redeemed=self.redeemed.append,
            save=lambda: self.saved.append(self.tickets.encode()),
        )
        self.server.start(self.house)

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


def token(member: Member, secret: bytes) -> OneTimeToken:
    key = member.ring.current
    return OneTimeToken((member.server.bound_address,), secret, key.join_server.public, key.mesh_id)


async def test_a_one_time_token_lets_one_node_in_and_gives_it_the_key(member: Member) -> None:
    _, secret = member.tickets.issue(uses=1, life=60, issuer=member.keys.id, now=time.time())
    newcomer, other = new_keys(), new_keys()
    once = token(member, secret)
    answer, key = await redeem(member.context, once, pair=newcomer.pair, me=entry(newcomer))
    assert key == member.cluster
    assert {each.id for each in answer.roster} == {member.keys.id, newcomer.id}
    assert member.saved == [member.tickets.encode()], "the use must be on disk before the answer"
    assert [ticket.order for ticket in member.redeemed] == [[newcomer.id]]
    with pytest.raises(JoinFailed, match="has been used") as caught:
        await redeem(member.context, once, pair=other.pair, me=entry(other))
    assert caught.value.reason is JoinReason.TICKET
    assert other.id not in member.roster.keys
    again, _ = await redeem(member.context, once, pair=newcomer.pair, me=entry(newcomer))
    assert again.server == answer.server


async def test_many_who_use_one_token_at_once_are_one(member: Member) -> None:
    _, secret = member.tickets.issue(uses=1, life=60, issuer=member.keys.id, now=time.time())
    crowd = [new_keys() for _ in range(8)]
    tries = (redeem(member.context, token(member, secret), pair=one.pair, me=entry(one)) for one in crowd)
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(answer, JoinFailed) for answer in answers) == 1
    assert len(member.roster.keys) == 2


async def test_an_expired_or_unknown_token_opens_nothing(member: Member) -> None:
    _, secret = member.tickets.issue(uses=1, life=-1, issuer=member.keys.id, now=time.time())
    newcomer = new_keys()
    for bad, why in ((secret, "has expired"), (b"x" * 16, "is not known here")):
        with pytest.raises(JoinFailed, match=why):
            await redeem(member.context, token(member, bad), pair=newcomer.pair, me=entry(newcomer))
    assert set(member.roster.keys) == {member.keys.id}


async def test_a_revoked_node_spends_no_use(member: Member) -> None:
    newcomer = new_keys()
    await member.meets(newcomer)
    member.roster.revoke(newcomer.id)
    ticket, secret = member.tickets.issue(uses=1, life=60, issuer=member.keys.id, now=time.time())
    with pytest.raises(JoinFailed, match="was revoked"):
        await redeem(member.context, token(member, secret), pair=newcomer.pair, me=entry(newcomer))
    assert member.tickets.all(0.0) == [ticket]


async def test_after_a_rotation_only_the_new_key_opens(member: Member) -> None:
    """At the same port, also for who was connected before, and again after the next one."""
    address = member.server.bound_address
    _, secret = member.tickets.issue(uses=1, life=60, issuer=member.keys.id, now=time.time())
    old_token = token(member, secret)
    early = new_keys()
    with member.context.socket(zmq.DEALER, socket_class=zmq.Socket) as client:
        client.linger = 0
        client.curve_publickey, client.curve_secretkey = early.pair.public, early.pair.secret
        client.curve_serverkey = member.cluster.join_server.public
        client.connect(f"tcp://{address}")
        old_proof = member.cluster.proof(early.pair.public)
        client.send(encode(Hello(VERSION, msgspec.structs.replace(entry(early), public_key=b"0" * 40))))
        assert await asyncio.to_thread(client.poll, 5_000)
        client.recv()
        for _ in range(2):
            member.ring.rotate()
            member.server.rekey()
        client.send(encode(Hello(VERSION, entry(early), old_proof)))
        await asyncio.to_thread(client.poll, 300)
    late = new_keys()
    with pytest.raises(JoinFailed, match="the key of the mesh was rotated") as caught:
        await member.meets(late)
    assert caught.value.reason is JoinReason.WRONG_KEY
    with pytest.raises(JoinFailed, match="turned the key away"):
        await redeem(member.context, old_token, pair=late.pair, me=entry(late))
    assert set(member.roster.keys) == {member.keys.id}
    await member.meets(late, cluster=member.ring.current)
    assert member.server.bound_address == address
    assert set(member.roster.keys) == {member.keys.id, late.id}


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::1]:0", "[::]:0"])
async def test_a_rotation_keeps_the_port_whatever_is_bound(member: Member, bind: str) -> None:
    server = JoinServer(member.context, bind=bind, book=Book(member.ring, member.roster, member.tickets))
    address = server.bound_address
    member.ring.rotate()
    server.rekey()
    local = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    key = member.ring.current.join_server.public
    server.start(member.house)
    try:
        await asyncio.to_thread(require_join_guarded, member.context, local, key, unproven_hello())
        assert server.bound_address == address
    finally:
        server.close()


async def test_the_self_test_passes_here_and_fails_where_anyone_is_welcome(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, key = member.server.bound_address, member.cluster.join_server.public
    await asyncio.to_thread(require_join_guarded, member.context, address, key, unproven_hello())
    monkeypatch.setattr(JoinServer, "_checked", lambda *_: Hello(VERSION, entry(new_keys())))
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
