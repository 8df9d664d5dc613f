"""What is believed of a member, and which of two beliefs is the newer one."""

import enum
import math
import re

import msgspec

from gossip.errors import Malformed, MetaTooLarge
from gossip.identity import Boot, NodeId

META_BYTES = 512
"""memberlist's cap on metadata: two alive messages fit one packet of 1400 bytes."""

MAX_BOOT = 2**31 - 1
MAX_JUMP = 2**20
"""The largest rise of an incarnation taken from one message;
without a cap one liar takes away the room to refute.
"""


_REGION = re.compile(r"^[a-z0-9]{1,9}\Z")
"""Slots are numbered by it (`sharding.region`)."""


class State(enum.StrEnum):
    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


RANK = {State.ALIVE: 0, State.SUSPECT: 1, State.DEAD: 2, State.LEFT: 3}
LIVE = frozenset({State.ALIVE, State.SUSPECT})


class Meta(msgspec.Struct, frozen=True):
    """Slow facts that a node says of itself; at most META_BYTES encoded.

    protocol, oldest: `gossip.versions`. weight: share of the slots relative to 1.0; 0: a node that is drained keeps
    nothing. reason: why it is not ready, in a few words. machine: nodes with the same one share a file system.
    plugins: hash of the plugin list. ready: takes ownership of slots. http, join: advertised, "host:port".
    """

    name: str
    region: str = "local"
    zone: str = "default"
    weight: float = 1.0
    roles: tuple[str, ...] = ()
    machine: str = ""
    version: str = ""
    protocol: int = 1
    plugins: str = ""
    ready: bool = False
    http: str = ""
    join: str = ""
    reason: str = ""
    oldest: int = 1


class Member(msgspec.Struct, frozen=True):
    """address: "host:port" of the gossip and control plane. since: local time of the last change of state."""

    id: NodeId
    boot: Boot
    incarnation: int
    state: State
    address: str
    meta: Meta
    since: float


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Meta)


def encode_meta(meta: Meta) -> bytes:
    """At most META_BYTES; raises MetaTooLarge, naming the longest field."""
    encoded = _encoder.encode(meta)
    if len(encoded) <= META_BYTES:
        return encoded
    field = max(meta.__struct_fields__, key=lambda name: len(_encoder.encode(getattr(meta, name))))
    value = repr(getattr(meta, field))
    raise MetaTooLarge(
        f"the node's meta takes {len(encoded)} bytes, {META_BYTES} are allowed; "
        f"shorten {field!r} (now {value[:80]}{'…' if len(value) > 80 else ''})"
    )


def decode_meta(encoded: bytes) -> Meta:
    """Raises Malformed."""
    try:
        meta = _decoder.decode(encoded)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"meta: {error}") from None
    if not 0 <= meta.weight < math.inf:
        raise Malformed(f"meta: weight {meta.weight}")
    if _REGION.match(meta.region) is None:
        raise Malformed(f"meta: region {meta.region!r}")
    return meta


def first_incarnation(boot: Boot) -> int:
    """Where a life's incarnations begin, so that every one of a larger boot is larger."""
    return boot << 32


def precedes(incarnation: int, state: State, known: Member) -> bool:
    """Whether the claim is newer than what is known: larger
    incarnation first, then alive < suspect < dead < left.
    """
    if incarnation != known.incarnation:
        return incarnation > known.incarnation
    return RANK[state] > RANK[known.state]
