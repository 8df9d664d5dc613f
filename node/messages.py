"""What nodes say to each other on the bulk plane.

Each message is a MessagePack array tagged with its name; the sender is known from its key, never from the body.
What may change between versions: `gossip.versions`.
"""

import zlib
from typing import Annotated, Any, ClassVar, get_args

import msgspec

from node.execution.jobs import Job, JobKey, Report
from node.leases.wire import Ask, PlainMap, Promise, Told
from sharding.region import REGION

VERSION = 1
PACKED = 2
"""The same, deflated: for messages to other regions."""
PACKED_SINCE = 3
"""The protocol that has them."""
PACK_FROM = 512
"""Bytes; shorter ones gain nothing."""
MAX_UNPACKED = 32 << 20


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of the messages. `since`: the protocol that has it; it is withheld from nodes that speak an older one."""

    since: ClassVar[int] = 1


class Envelopes(Message, frozen=True, array_like=True):
    """Author or relay -> replica, at once for new facts, or as a resend. Answer: Stored, once durable there.

    `more`: a resend was cut here by its size; the receiver asks again.
    """

    items: list[bytes]
    more: bool = False


class Stored(Message, frozen=True, array_like=True):
    """Replica -> sender: these `(slot, author, seq)` are durable here (or were before)."""

    items: list[tuple[int, str, int]]


class Digest(Message, frozen=True, array_like=True):
    """Anyone -> replica, each second: 16 bytes over all slots that both hold. Answer, if unequal: SlotDigests."""

    root: bytes


class SlotDigests(Message, frozen=True, array_like=True):
    """slot -> 8 bytes, of the slots that the sender holds and the receiver should. Answer: Heads where they differ."""

    slots: dict[int, bytes]


class Heads(Message, frozen=True, array_like=True):
    """slot -> author -> sequence that the sender has. The receiver sends what the sender lacks; when it lacks
    something itself and `answer`, it says its own Heads. `done`: the answer to a digest found nothing to do."""

    slots: dict[int, dict[str, int]]
    answer: bool = True


class Archived(Message, frozen=True, array_like=True):
    """Replica -> replica that lacks them, before the pieces of base `serial`, which is taken only if all came: batches
    of the slot that are over, `(name, row)`.
    """

    since: ClassVar[int] = 2
    slot: int
    serial: int
    rows: list[tuple[str, bytes]]


class BasePiece(Message, frozen=True, array_like=True):
    """Replica -> replica that is too far behind for envelopes: bytes `offset…` of the `size` bytes of the encoded base
    `serial` of the slot. Answer: Heads, for what the base does not cover."""

    since: ClassVar[int] = 2
    slot: int
    serial: int
    offset: int
    size: int
    data: bytes


class Facts(Message, frozen=True, array_like=True):
    """Any -> any, at first contact and on change: what this node has, for eligibility and display.

    `holds`: regions of which it has tasks.
    `roots`: name -> [shared, fingerprint]; `plugins`: kind:name -> version; `load`: as `node.schema.Node.load`.
    """

    name: str
    roots: dict[str, tuple[bool, str]]
    plugins: dict[str, str]
    secrets: list[str]
    labels: dict[str, str]
    http: str
    version: str
    paused: bool = False
    load: dict[str, float] = {}
    region: Annotated[str, msgspec.Meta(pattern=REGION.pattern + "|^\\Z")] = ""
    zone: str = ""
    holds: list[Annotated[str, msgspec.Meta(pattern=REGION.pattern)]] = []


class Lease(Message, frozen=True, array_like=True):
    """Steward -> executor: run these. Answer: Reports as they go. A job already running here takes the new token."""

    jobs: list[Job]


class Revoke(Message, frozen=True, array_like=True):
    """Steward -> executor: stop these leases of that token or an older one; `drain`: commit first. Answer: Reports."""

    keys: list[JobKey]
    token: tuple[int, str, int]
    drain: bool = True


class Rates(Message, frozen=True, array_like=True):
    """Steward -> executor, when shards of a task with a rate have ended or its limits have changed: let these jobs of
    that token or an older one go on at so many units per second. No answer: a job that has ended needs none.
    """

    since: ClassVar[int] = 5
    rates: list[tuple[JobKey, float]]
    token: tuple[int, str, int]


class Reports(Message, frozen=True, array_like=True):
    """Executor -> steward: what became of jobs. `credit`: (solo jobs, other jobs) it would take now. Answer: Noted
    for final ones."""

    reports: list[Report]
    credit: tuple[int, int]


class Holding(Message, frozen=True, array_like=True):
    """Executor -> steward, every two seconds: the jobs of its leases that are still under way here. A lease that the
    steward gave long ago and that is not among them was lost on the way: it is given again."""

    keys: list[JobKey]


class Noted(Message, frozen=True, array_like=True):
    """Steward -> executor: these final reports are recorded (or are of no interest any more)."""

    keys: list[JobKey]


class Handover(Message, frozen=True, array_like=True):
    """Old steward -> preferred replica that holds everything: claim these slots."""

    slots: list[int]


class Hold(Message, frozen=True, array_like=True):
    """Holder of slots -> their replica: slot -> author -> sequence that I have. Answer: Held."""

    since: ClassVar[int] = 2
    number: int
    slots: dict[int, dict[str, int]]


class Held(Message, frozen=True, array_like=True):
    """Replica -> who asked: of these slots I have on my disk all that the question of that number named."""

    since: ClassVar[int] = 2
    number: int
    slots: list[int]


class LeaseAsk(Message, frozen=True, array_like=True):
    """Proposer -> voter: take, release or read these leases. `version`: of the maps that the proposer has in force.
    Answer: LeaseTold, once what it promises is durable."""

    since: ClassVar[int] = 2
    version: bytes
    items: list[Ask]


class LeaseTold(Message, frozen=True, array_like=True):
    """Voter -> proposer. `maps`: those that the voter has in force, where they are others than the proposer's."""

    since: ClassVar[int] = 2
    items: list[Told]
    maps: list[PlainMap] = []


class LeaseMaps(Message, frozen=True, array_like=True):
    """Any -> any, while a map change is under way, twice a second: the maps in force here. Answer, where `asks`: the
    same, once they are durable, with all that the answering node has promised if its newest map is the asker's."""

    since: ClassVar[int] = 2
    number: int
    asks: bool
    maps: list[PlainMap]
    settled: bool
    forgotten: list[str] = []
    promises: list[Promise] = []


class PauseAsk(Message, frozen=True, array_like=True):
    """Executor -> steward: for how long may shards of these slots go on? `stamp`: the executor's clock; `jobs`: which
    they are (an older version does not say). Answer: PauseTold."""

    since: ClassVar[int] = 2
    stamp: float
    slots: list[int]
    jobs: list[JobKey] = []


class PauseTold(Message, frozen=True, array_like=True):
    """Steward -> executor: slot -> seconds from `stamp`; slots whose lease it does not hold are left out.
    `strays`: of the jobs that were asked for, those that are not leased to this executor any more."""

    since: ClassVar[int] = 2
    stamp: float
    slots: dict[int, float]
    strays: list[JobKey] = []


class Call(Message, frozen=True, array_like=True):
    """Any -> any: carry out a request of the HTTP API here. Answer: Answer."""

    id: int
    operation: str
    arguments: dict[str, Any]


class Answer(Message, frozen=True, array_like=True):
    """`ok`: the value; otherwise a problem."""

    id: int
    ok: bool
    value: Any = None


AnyMessage = (
    Envelopes
    | Stored
    | Digest
    | SlotDigests
    | Heads
    | Archived
    | BasePiece
    | Facts
    | Lease
    | Revoke
    | Rates
    | Reports
    | Holding
    | Noted
    | Handover
    | Hold
    | Held
    | LeaseAsk
    | LeaseTold
    | LeaseMaps
    | PauseAsk
    | PauseTold
    | Call
    | Answer
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyMessage)


_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
_name = msgspec.msgpack.Decoder(str)
_KINDS = frozenset(message.__name__ for message in get_args(AnyMessage))


class BadMessage(ValueError):
    """Bytes that are not a message of this version."""


class UnknownKind(BadMessage):
    """A message of a later version, of a kind that this one does not know; it is skipped."""


def encode(message: Message, *, packed: bool = False) -> bytes:
    """`packed`: deflated where that is worth it."""
    body = _encoder.encode(message)
    if packed and len(body) >= PACK_FROM:
        return bytes((PACKED,)) + zlib.compress(body, 1)
    return bytes((VERSION,)) + body


def decode(data: bytes) -> Any:
    """Raises BadMessage, of which UnknownKind is no fault of the sender."""
    if data and data[0] == PACKED:
        data = bytes((VERSION,)) + _unpacked(data[1:])
    if not data or data[0] != VERSION:
        raise BadMessage(f"message version {data[:1].hex() or 'missing'}; this node speaks {VERSION}")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = _kind_of(data)
        if kind is not None and kind not in _KINDS:
            raise UnknownKind(f"a message of kind {kind[:40]!r} is not known here") from None
        raise BadMessage(str(error)) from None


def _kind_of(data: bytes) -> str | None:
    """The name that a message bears, if it is one."""
    try:
        parts = _parts.decode(memoryview(data)[1:])
        return _name.decode(parts[0]) if parts else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _unpacked(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data, MAX_UNPACKED)
    except zlib.error as error:
        raise BadMessage(f"not deflated: {error}") from None
    if not inflater.eof:
        raise BadMessage(f"cut off, or more than {MAX_UNPACKED} bytes")
    return body
