"""The folded beginning of a ledger: what is left of all envelopes up to a head of each author.

Theory. A replica holds of each author the envelopes `1..head`, so the heads say everything about its content, and any
replica may replace what it holds by a fold of it at any time, alone: the facts of the batches that are not over, each
key with its newest value. Batches that are over go to the archive with all their facts; both together are the base.
A replica that lacks envelopes from before the base gets the base instead (`Ledger.adopt`).

Merge rule. Every key has one author, so who is ahead is decided author by author: of an author whose head in the base
is beyond ours we take the base's values, of all others we keep ours. A batch of ours whose part the base had seen,
and that it does not hold any more, was dropped by its retention and is dropped here.
"""

from typing import Any

import msgspec

VERSION = 1

OVERWRITTEN = frozenset("rpqe")
"""Kinds of facts that their author may write again under the same key; see `model`."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A fact. For kinds that are overwritten (else 0) `client`, `clock`: the CRDT entry that holds it; `seq`: of the
    author's envelope that brought it, so of two values of a key the larger is the newer.
    """

    key: str
    value: bytes
    client: int = 0
    clock: int = 0
    seq: int = 0


class Base(msgspec.Struct, frozen=True, array_like=True):
    """`heads`, `chains`: author -> last sequence, and the hash over its updates. `folded`: opener -> the number of its
    last segment that is folded. `archived`: batches whose facts are in the archive.
    """

    version: int
    slot: int
    heads: dict[str, int]
    chains: dict[str, bytes]
    folded: dict[str, int]
    facts: list[Kept]
    archived: list[str] = []


class BadBase(ValueError):
    """Bytes that are no base that this node can take; nothing was changed."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Base)


def encode(base: Base) -> bytes:
    return _encoder.encode(base)


def decode(data: bytes) -> Base:
    """Raises BadBase."""
    try:
        base = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBase(f"not a base: {error}") from None
    if base.version != VERSION:
        raise BadBase(f"base version {base.version}; this node reads {VERSION}")
    return base


def batch_of(key: str) -> str | None:
    """The batch that a fact speaks of; None for claims."""
    parts: list[Any] = key.split("|", 2)
    return None if parts[0] == "e" or len(parts) < 2 else parts[1]
