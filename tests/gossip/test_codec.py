"""Bytes from the network never raise out of the machine, whatever they are."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.codec import MAX_PACKET, VERSION, encode, head, pack, unpack
from gossip.effects import Received, Tick
from gossip.errors import Malformed
from gossip.identity import Boot, NodeId
from gossip.member import State
from gossip.messages import Ack, Message, Nack, Ping, PingRequest, Sync
from tests.gossip.peers import ME, Peer, acquainted, machine

A = Peer("a")
MESSAGES: list[Message] = [
    Ping(1, ME),
    Ack(2),
    Nack(3),
    PingRequest(4, NodeId("b"), "b:1"),
    A.alive(),
    A.suspect(),
    A.dead(),
    A.departed(),
    Sync(True, [A.record(), Peer("b").record(State.DEAD, 5)]),
]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 200])
def test_a_packet_comes_back_as_it_went(count: int) -> None:
    messages = [MESSAGES[number % len(MESSAGES)] for number in range(count)]
    packet = unpack(pack(head(Boot(3), 3 << 32, "a:1"), [encode(one) for one in messages]))
    assert (packet.boot, packet.incarnation, packet.address) == (3, 3 << 32, "a:1")
    assert packet.messages == messages


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes([VERSION + 1]) + A.packet()[1:],
        A.packet()[:-1],
        A.packet() + b"\0",
        bytes([VERSION]) + b"\x91" * 50_000,
        bytes(MAX_PACKET + 1),
        pack(head(Boot(1), 2**63, "a:1"), []),
        pack(head(Boot(-1), 0, "a:1"), []),
        pack(head(Boot(1), 0, "a" * 300), []),
    ],
)
def test_what_is_no_packet_is_counted_and_dropped(payload: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(payload)
    swim = machine()
    assert swim.handle(Received(NodeId("a"), payload), 1.0) == []
    assert swim.rejected == 1


@given(st.binary(max_size=200))
def test_junk_never_raises(junk: bytes) -> None:
    swim = machine()
    swim.handle(Received(NodeId("a"), bytes([VERSION]) + junk), 1.0)
    swim.handle(Received(NodeId("a"), junk), 1.0)


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_damaged_packets_never_raise_nor_stop_the_machine(seed: int) -> None:
    rng = random.Random(seed)
    swim = machine(seed=seed)
    acquainted(swim, "a", "b", "c")
    now = 0.0
    for _ in range(100):
        sound = bytearray(A.packet(*rng.sample(MESSAGES, k=rng.randint(1, 4))))
        for _ in range(rng.randint(0, 3)):
            sound[rng.randrange(len(sound))] = rng.randrange(256)
        now += rng.random() / 10
        swim.handle(Received(NodeId(rng.choice("abc")), bytes(sound[: rng.randint(1, len(sound) + 40)])), now)
        swim.handle(Tick(), now)
    due = swim.due()
    assert due is not None
    assert now < due <= now + 8.0, "the longest probe interval, at the worst local health"


def test_one_bad_message_does_not_take_the_others_with_it() -> None:
    swim = machine()
    liar = Peer("liar")
    forged = Peer("a", boot=1, step=0)
    wrong = forged.alive().__class__(forged.id, Boot(1), 7, "a:1", b"\xc1")
    liar.says(swim, wrong, Peer("b").alive())
    assert NodeId("a") not in swim.members
    assert NodeId("b") in swim.members
    assert swim.rejected == 1
