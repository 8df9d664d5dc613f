"""What nodes say to each other. A packet carries several; each is an array whose first element is its tag.

Ids, addresses and numbers are bounded here, so that a decoded message needs no further checks of shape.
"""

from typing import Annotated

import msgspec

from gossip.identity import Boot, NodeId
from gossip.member import MAX_BOOT, META_BYTES, State

Id = Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]
_ADDRESS = r"^(\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]|[^][\s:/;@*]+):[0-9]{1,5}\Z"
Address = Annotated[str, msgspec.Meta(max_length=262, pattern=_ADDRESS)]
"""host:port, IPv6 hosts in brackets: no correct node says another, and nobody could dial it."""
Life = Annotated[Boot, msgspec.Meta(ge=0, le=MAX_BOOT)]
Incarnation = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
EncodedMeta = Annotated[bytes, msgspec.Meta(max_length=META_BYTES)]


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """From a prober, or from a helper on its behalf, once
    per probe. The target, and nobody else, answers with Ack.
    """

    sequence: Sequence
    target: Id


class Ack(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The answer to Ping; a helper passes it on under the sequence of the request. Nothing answers it."""

    sequence: Sequence


class Nack(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """From a helper that has no Ack after 0.8 probe timeouts: the prober is heard. Nothing answers it."""

    sequence: Sequence


class PingRequest(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """From a prober without an Ack after its timeout, to
    its helpers. Answered with Nack, Ack, or both in turn.
    """

    sequence: Sequence
    target: Id
    address: Address


class Alive(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """From the subject at start, change or refutation; anyone passes it on."""

    id: Id
    boot: Life
    incarnation: Incarnation
    address: Address
    meta: EncodedMeta


class Suspect(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """From the accuser after a failed probe; anyone passes it on. The subject answers with a larger Alive."""

    id: Id
    boot: Life
    incarnation: Incarnation
    accuser: Id


class Dead(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """From whoever's suspicion expired; anyone passes it on.
    The subject, if it hears, answers with a larger Alive.
    """

    id: Id
    boot: Life
    incarnation: Incarnation


class Departed(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """From the subject when it leaves; anyone passes it on. Nothing answers it."""

    id: Id
    boot: Life
    incarnation: Incarnation


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One member in a Sync. age: seconds since the state was
    taken, so that no death is forgotten later for being told.
    """

    id: Id
    boot: Life
    incarnation: Incarnation
    state: State
    address: Address
    meta: EncodedMeta
    age: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Sync(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """A part of all that the sender believes; the last
    part of a push asks for an answer, which asks for none.
    """

    answer: bool
    records: list[Record]


Message = Ping | Ack | Nack | PingRequest | Alive | Suspect | Dead | Departed | Sync
NEWEST_KIND = 9
"""The largest tag; one beyond it is of a later protocol and is skipped."""
