"""The unit that is logged, sent and applied: one update of one segment by one author.

Envelopes are stored and relayed verbatim: the bytes that the author encoded are the bytes that every replica
logs, so anyone can resend anyone's.
"""

from typing import NewType

import msgspec

from gossip.identity import Boot, NodeId

VERSION = 1
MAX_UPDATE = 1 << 20
"""Bytes. Applying 4.4 MB held the interpreter for 132 ms, longer than a probe timeout."""

MAX_SLOT = 1 << 59
"""Slots are below: a region and a number (`sharding.region`)."""

MAX_BOOT = (1 << 31) - 1

Writer = NewType("Writer", str)
"""One life of one node, `<node id>.<boot>`: the author of facts."""


def writer_of(node: NodeId, boot: Boot) -> Writer:
    return Writer(f"{node}.{boot}")


def writer_node(writer: Writer) -> NodeId:
    return NodeId(writer.partition(".")[0])


def writer_boot(writer: Writer) -> Boot:
    """Raises ValueError where it names none."""
    boot = int(writer.partition(".")[2])
    if not 0 <= boot <= MAX_BOOT:
        raise ValueError(f"boot {boot}")
    return Boot(boot)


class SegmentId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """`(slot, opener, number)`: only the opener adds tasks to it; any replica adds facts about them."""

    slot: int
    opener: Writer
    number: int


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """`seq` counts the author's envelopes of this slot from 1, without gaps. `update`: one CRDT update."""

    version: int
    segment: SegmentId
    author: Writer
    seq: int
    update: bytes

    @property
    def slot(self) -> int:
        return self.segment.slot


class BadEnvelope(ValueError):
    """Bytes that are not an envelope this node can take; nothing was applied."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    return _encoder.encode(envelope)


def decode(data: bytes) -> Envelope:
    """Raises BadEnvelope for anything malformed, too large or of another version."""
    try:
        envelope = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadEnvelope(f"not an envelope: {error}") from None
    if envelope.version != VERSION:
        raise BadEnvelope(f"envelope version {envelope.version}; this node reads {VERSION}")
    if len(envelope.update) > MAX_UPDATE:
        raise BadEnvelope(f"update of {len(envelope.update)} bytes; at most {MAX_UPDATE}")
    if envelope.seq < 1 or envelope.segment.number < 1 or not 0 <= envelope.slot < MAX_SLOT:
        raise BadEnvelope(
            f"slot {envelope.slot}, segment {envelope.segment.number}, sequence {envelope.seq}: out of bounds"
        )
    return envelope
