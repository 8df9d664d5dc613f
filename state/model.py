"""The facts of a ledger: their keys and their values.

A key is `kind|batch|…|writer…`; the writer is part of every key, so no key has two writers. A value is the
MessagePack array of the struct named beside the key; fields are only ever added at the end, with defaults.

    b|batch|start|writer              Part       some tasks of a submit (immutable)
    o|batch|writer|n                  Outcomes   first runs that ended without incident, packed (immutable)
    w|batch|n|writer                  Wish       what a user asked of tasks of the batch (immutable)
    r|batch|index|run|writer          RunFact    a run as this steward saw it
    p|batch|index|run|writer          Plan       the shards of a run (immutable)
    q|batch|index|run|writer          Progress   the shards that this steward had under way
    d|batch|index|run|writer|n        Finished   shards that ended (immutable)
    l|batch|index|run|writer|n        Letters    dead letters (immutable)
    x|batch|index|run|writer|n        Cleared    dead letters that were replayed with success (immutable)
    e|writer                          Claim      this writer stewards the slot
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from state.envelope import Writer

FIRST_RUN = "0-submit"
"""The run that a submit starts by itself; the same on every steward. Run ids sort by age: all later ones
begin with an
instant.
"""

MAX_INDEX = (1 << 32) - 1
"""Of a task in its batch: what a bitmap can hold; it takes larger numbers without a word, as others."""

Index = Annotated[int, msgspec.Meta(ge=0, le=MAX_INDEX)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Number = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
"""Bounded, so that what is reckoned with them can be stored and sent as well."""

Millis = Annotated[int, msgspec.Meta(ge=-62_135_596_800_000, le=253_402_300_799_999)]
"""Unix time; of the years 1 to 9999."""

Token = tuple[Whole, str, Whole]
"""`(epoch, node, boot)`."""

NO_TOKEN: Token = (0, "", 0)

MAX_RUN_NAME = 40

LOST = b'{"sink":[{"plugin":"lost"}],"source":{"plugin":"lost"}}'
"""What stands for a spec that its author has overwritten with what is none; a run of it fails."""


class Fact(msgspec.Struct, frozen=True, array_like=True):
    """Base of the values."""


class Part(Fact, frozen=True, array_like=True):
    """Tasks `start..start + len(specs) - 1` of a batch of `count`.

    `key`: the Idempotency-Key. `content`: hash of all specs of the submit, so that the key with other
    content is
    noticed. `origin`: the node that accepted it; `roots`: its unshared roots that the specs use, name ->
    fingerprint.
    """

    tenant: str
    key: str
    created_ms: Millis
    start: Index
    count: Whole
    specs: list[bytes]
    origin: str
    content: str = ""
    name: str | None = None
    roots: dict[str, str] = {}


class Group(Fact, frozen=True, array_like=True):
    """Indices (`bits`: a serialised bitmap) whose first run ended alike."""

    state: str
    bits: bytes
    read: Number = 0
    written: Number = 0
    skipped: Number = 0
    bytes: Number = 0


class Outcomes(Fact, frozen=True, array_like=True):
    at_ms: Millis
    groups: list[Group]


class Wish(Fact, frozen=True, array_like=True):
    """`kind`: pause resume cancel priority limits retry-policy replace delete undelete run retry letters.

    `indices`: which tasks of the batch. `arguments`: as in `node.service.Service.control`; `run`: the run
    that a
    `run`, `retry` or `letters` wish starts, named after the request's key so that a repeated request is one
    run.
    """

    revision: Number
    kind: str
    at_ms: Millis
    indices: list[Index]
    by: str = ""
    arguments: dict[str, Any] = {}
    run: str = ""


class Totals(Fact, frozen=True, array_like=True):
    read: Number = 0
    written: Number = 0
    skipped: Number = 0
    dead: Number = 0
    bytes: Number = 0

    def plus(self, other: "Totals") -> "Totals":
        return Totals(
            self.read + other.read,
            self.written + other.written,
            self.skipped + other.skipped,
            self.dead + other.dead,
            self.bytes + other.bytes,
        )


class RunFact(Fact, frozen=True, array_like=True):
    """A run as one steward saw it. `state`: running, succeeded, partial, failed, cancelled.

    `origin`: the run under whose name the sinks keep positions (a retry takes over what failed). `revision`:
    the
    spec's. `cursor`: the new cursor, set when the run succeeded. `covered`: ranges collected. `ranges`: what
    it set
    out to collect, in range mode. `published`: its finished shards are in the published result.
    """

    token: Token
    state: str
    scheduled_ms: Millis
    started_ms: Millis
    finished_ms: Millis = 0
    origin: str = ""
    revision: Number = 0
    generation: Number = 0
    totals: Totals = Totals()
    error: str = ""
    cursor: Any = None
    covered: list[tuple[Any, Any]] = []
    ranges: list[tuple[Any, Any]] = []
    shards: dict[str, Number] = {}
    since: Any = None
    published: bool = False


class PlannedShard(Fact, frozen=True, array_like=True):
    key: str
    start: Any = None
    end: Any = None
    affinity: str | None = None
    weight: float = 1.0
    covers: tuple[Any, Any] | None = None


class Plan(Fact, frozen=True, array_like=True):
    """The shards of a run; where two plans exist, the one of the lower token counts."""

    token: Token
    shards: list[PlannedShard]
    node: str = ""


class Live(Fact, frozen=True, array_like=True):
    """A shard under way: where it runs, how far its sink is. `error`: of the last attempt, with its code."""

    token: Token
    state: str
    node: str = ""
    attempt: Number = 1
    position: Any = None
    totals: Totals = Totals()
    error: str = ""
    code: str = ""
    at_ms: Millis = 0
    retry_ms: Millis = 0
    high: Any = None


class Progress(Fact, frozen=True, array_like=True):
    """shard key -> Live."""

    shards: dict[str, Live]


class Ended(Fact, frozen=True, array_like=True):
    key: str
    token: Token
    state: str
    position: Any = None
    totals: Totals = Totals()
    node: str = ""
    attempt: Number = 1
    error: str = ""
    code: str = ""
    high: Any = None
    at_ms: Millis = 0


class Finished(Fact, frozen=True, array_like=True):
    shards: list[Ended]


class Letter(Fact, frozen=True, array_like=True):
    """`id` derives from (run, shard, position): the same record set aside twice is one letter."""

    id: str
    shard: str
    stream: str
    position: Any
    step: str
    code: str
    reason: str
    at_ms: Millis
    record: Any
    attempts: Number = 1


class Letters(Fact, frozen=True, array_like=True):
    letters: list[Letter]


class Cleared(Fact, frozen=True, array_like=True):
    ids: list[str]


class Claim(Fact, frozen=True, array_like=True):
    """This writer stewards the slot from `epoch` on; the largest (epoch, node, boot) counts."""

    epoch: Whole


KINDS: dict[str, type[Fact]] = {
    "b": Part,
    "o": Outcomes,
    "w": Wish,
    "r": RunFact,
    "p": Plan,
    "q": Progress,
    "d": Finished,
    "l": Letters,
    "x": Cleared,
    "e": Claim,
}

_encoder = msgspec.msgpack.Encoder()
_decoders = {kind: msgspec.msgpack.Decoder(fact) for kind, fact in KINDS.items()}


def encode(fact: Fact) -> bytes:
    return _encoder.encode(fact)


Check = Callable[[Fact], object]


def unchecked(_: Fact) -> None:
    """Any fact will do."""


def decode(key: str, value: bytes, check: Check = unchecked) -> Any:
    """The fact under this key; raises ValueError for an unknown kind or a malformed value. `check` raises likewise for
    what nobody here could use.
    """
    decoder = _decoders.get(key[:1])
    if decoder is None:
        raise ValueError(f"fact of unknown kind: {key[:40]!r}")
    fact = decoder.decode(value)
    check(fact)
    return fact


def key_of(kind: str, *parts: object) -> str:
    return "|".join((kind, *map(str, parts)))


def author_in(key: str) -> Writer | None:
    """The writer that a key names; None if it names none."""
    parts = key.split("|")
    at = {"b": 3, "o": 2, "w": 3, "r": 4, "p": 4, "q": 4, "d": 4, "l": 4, "x": 4, "e": 1}.get(parts[0])
    return Writer(parts[at]) if at is not None and len(parts) > at else None
