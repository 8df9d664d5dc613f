"""Nodes of other versions: what is skipped, what is withheld, who has to go. The rules: `gossip.versions`."""

from typing import ClassVar

import msgspec
import pytest

from gossip.codec import encode, head, pack, unpack
from gossip.errors import Malformed
from gossip.identity import Boot, NodeId
from gossip.member import Meta, decode_meta, encode_meta
from gossip.messages import Ack, Ping
from gossip.versions import OLDEST, PROTOCOL, spoken, strangers
from node import messages
from node.effects import Send
from node.messages import BadMessage, Digest, Message, UnknownKind
from state import envelope
from state.document import Document
from state.envelope import SegmentId, writer_of
from state.ledger import Ledger
from tests.node.stewardship.desk import Desk, member

PACKED = msgspec.msgpack.encode
HEAD = head(Boot(1), 1 << 32, "a:1")


class Recent(Message, frozen=True, array_like=True):
    """A message that the first release does not have."""

    since: ClassVar[int] = 2


class Novel(Message, frozen=True, array_like=True):
    """A message of the next protocol."""

    since: ClassVar[int] = PROTOCOL + 1
    text: str = ""


def test_a_message_of_an_unknown_kind_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(UnknownKind, match="'Novel' is not known here"):
        messages.decode(messages.encode(Novel("x")))
    for broken in (["Digest"], ["Digest", 1], [1, b""], [], {"Digest": 1}):
        with pytest.raises(BadMessage) as caught:
            messages.decode(bytes((messages.VERSION,)) + PACKED(broken))
        assert not isinstance(caught.value, UnknownKind)


def test_fields_that_are_not_known_are_ignored() -> None:
    assert messages.decode(bytes((messages.VERSION,)) + PACKED(["Digest", b"r", 7, {"new": 1}])) == Digest(
        b"r"
    )
    meta = decode_meta(PACKED({"name": "n", "protocol": 9, "novel": [1]}))
    assert (meta.protocol, meta.oldest) == (9, 1)


def test_a_gossip_message_of_an_unknown_kind_costs_only_itself() -> None:
    parts = [encode(Ping(1, NodeId("b"))), PACKED([77, "novel", {}]), encode(Ack(2)), PACKED([10])]
    packet = unpack(pack(HEAD, parts))
    assert packet.messages == [Ping(1, NodeId("b")), Ack(2)]
    assert packet.address == "a:1"


@pytest.mark.parametrize("part", [[], [1], ["x"], [0], [-1], [2, "no number"], {}, 5])
def test_a_broken_gossip_message_still_costs_the_packet(part: object) -> None:
    for parts in ([PACKED(part)], [PACKED([77]), PACKED(part)]):
        with pytest.raises(Malformed):
            unpack(pack(HEAD, parts))


def test_a_fact_of_an_unknown_kind_is_relayed_and_hashed_and_not_read() -> None:
    author = writer_of(NodeId("a"), Boot(1))
    update = Document(1).set({f"z|b|{author}": b"\x91\x01"}, author=author)
    item = envelope.Envelope(envelope.VERSION, SegmentId(1, author, 1), author, 1, update)
    one, other = Ledger(1, lambda: 2), Ledger(1, lambda: 3)
    assert one.apply(item) == other.apply(envelope.decode(envelope.encode(item))) == []
    assert one.heads == {author: 1}
    assert one.batches == {}
    assert one.content_hash() == other.content_hash() != Ledger(1, lambda: 4).content_hash()


def test_a_mesh_speaks_the_least_of_its_members() -> None:
    metas = [
        Meta(name="a", protocol=PROTOCOL),
        Meta(name="b", protocol=PROTOCOL + 3),
        Meta(name="c", protocol=1),
    ]
    assert spoken(metas) == 1
    assert spoken(metas[:2]) == spoken([]) == PROTOCOL


def test_only_those_without_a_common_protocol_are_strangers() -> None:
    near = [Meta(name="old", protocol=OLDEST), Meta(name="new", protocol=PROTOCOL + 5, oldest=PROTOCOL)]
    assert strangers(near) == []
    (why,) = strangers([*near, Meta(name="far", protocol=PROTOCOL + 5, oldest=PROTOCOL + 1)])
    assert why.startswith(f"far speaks protocols {PROTOCOL + 1} to {PROTOCOL + 5}, this version")
    assert strangers([Meta(name="past", protocol=OLDEST - 1)])


def test_a_node_of_today_says_so_in_its_meta() -> None:
    """The first release said 1 and no `oldest`, and reads what is said now."""
    assert decode_meta(encode_meta(Meta(name="n", protocol=PROTOCOL, oldest=OLDEST))).protocol == PROTOCOL


@pytest.mark.parametrize(
    ("message", "reached"),
    [(Digest(b""), ["old", "new", "unknown"]), (Recent(), ["new"]), (Novel(), [])],
)
def test_what_a_peer_does_not_speak_is_withheld_from_it_alone(message: Message, reached: list[str]) -> None:
    """Of a node that is not a member (yet) nothing is known: it is spoken to as to the first release."""
    desk = Desk("a")
    speaks = {"a": PROTOCOL, "old": 1, "new": PROTOCOL}
    known = [member(name) for name in speaks]
    desk.join(
        *(
            msgspec.structs.replace(one, meta=msgspec.structs.replace(one.meta, protocol=speaks[one.id]))
            for one in known
        )
    )
    desk.core.flush()
    desk.core.replicator._effects += [Send(NodeId(to), message) for to in ("old", "new", "unknown")]
    sent = [
        effect.to for effect in desk.core.flush() if isinstance(effect, Send) and effect.message == message
    ]
    assert sent == reached
    assert desk.core.withheld == 3 - len(reached)


def test_a_node_of_an_older_version_says_nothing_that_it_does_not_know() -> None:
    desk = Desk("a", protocol=1)
    desk.join(member("a"), member("new"))
    desk.core.flush()
    desk.core.replicator._effects += [Send(NodeId("new"), Digest(b"")), Send(NodeId("new"), Recent())]
    said = [effect.message for effect in desk.core.flush() if isinstance(effect, Send)]
    assert Digest(b"") in said
    assert Recent() not in said
    assert desk.core.protocol == 1
