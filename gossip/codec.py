"""Packets as bytes: a version byte, then one MessagePack array (boot, incarnation, address, messages).

A message of a kind that is not known here is skipped, and the rest of its packet taken (`gossip.versions`).
"""

import msgspec

from gossip.errors import Malformed
from gossip.identity import Boot
from gossip.messages import NEWEST_KIND, Address, Incarnation, Life, Message

VERSION = 1
MAX_PACKET = 60 * 1024
"""The control plane refuses messages above 64 KiB."""


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """The sender's boot, incarnation and own address, so that anyone can answer it, and what it says."""

    boot: Life
    incarnation: Incarnation
    address: Address
    messages: list[Message]


class _Raw(msgspec.Struct, frozen=True, array_like=True):
    """A packet whose messages are looked at one by one."""

    boot: Life
    incarnation: Incarnation
    address: Address
    messages: list[msgspec.Raw]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Packet)
_raw_decoder = msgspec.msgpack.Decoder(_Raw)
_one: "msgspec.msgpack.Decoder[Message]" = msgspec.msgpack.Decoder(Message)
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
_tag = msgspec.msgpack.Decoder(int)
encode = _encoder.encode


def head(boot: Boot, incarnation: int, address: str) -> bytes:
    """How each packet of this sender begins until one of these changes."""
    return bytes([VERSION, 0x94]) + encode(boot) + encode(incarnation) + encode(address)


def pack(beginning: bytes, parts: list[bytes]) -> bytes:
    """A packet of encoded messages; written out by hand, since news are encoded once and sent many times."""
    count = len(parts)
    array = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return b"".join((beginning, array, *parts))


def unpack(payload: bytes) -> Packet:
    """Raises Malformed, and nothing else, for anything that `pack` does not make."""
    if len(payload) > MAX_PACKET:
        raise Malformed(f"packet of {len(payload)} bytes; {MAX_PACKET} are allowed")
    if not payload or payload[0] != VERSION:
        raise Malformed(f"packet version {payload[:1].hex() or 'absent'}; this node speaks {VERSION}")
    try:
        return _decoder.decode(memoryview(payload)[1:])
    except msgspec.ValidationError as error:
        return _known(payload, error)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None


def _known(payload: bytes, reason: msgspec.ValidationError) -> Packet:
    """The packet without messages of unknown kinds; Malformed for `reason` where that was not what is wrong."""
    try:
        raw = _raw_decoder.decode(memoryview(payload)[1:])
        known = [part for part in raw.messages if _kind(part) <= NEWEST_KIND]
        if len(known) == len(raw.messages):
            raise Malformed(str(reason)) from None
        return Packet(raw.boot, raw.incarnation, raw.address, [_one.decode(part) for part in known])
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None


def _kind(message: msgspec.Raw) -> int:
    """The tag of a message. Raises ValueError."""
    parts = _parts.decode(message)
    if not parts:
        raise ValueError("a message without a kind")
    kind = _tag.decode(parts[0])
    if kind < 1:
        raise ValueError(f"a message of kind {kind}")
    return kind
