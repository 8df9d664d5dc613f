"""Hostile CRDT updates: Yjs update format 1, written by hand, so that every length and id can lie.

An update is `clients { structs client clock struct… }… deletes { client ranges { clock length }… }…`, all
numbers varints. Much of what this writes the library would take, die of, or let spread (see `state.prepass`).
"""

import random
from dataclasses import dataclass

ROOT = b"f"
ODD_NUMBERS = (
    0,
    1,
    2,
    127,
    128,
    4096,
    4097,
    2**31,
    2**32 - 1,
    2**32,
    2**53 - 1,
    2**53,
    2**56,
    2**63,
    2**64 - 1,
)
ODD_KEYS = (
    b"",
    b"e|a.1",
    b"e|b.1",
    b"e|c.9",
    b"e|z.3|more",
    b"z|a.1",
    b"|||||",
    b"w|p|x|a.1",
    b"d|p|-1|r|a.1|0",
    b"d|p|" + b"9" * 400 + b"|r|a.1|0",
    b"\xff\xfe",  # not UTF-8
    b"\xed\xa0\x80",  # a lone surrogate
    b"\xc0\x80",  # an overlong NUL
    b"k\x00k",
    b"k" * 5000,
)
LARGE = 1 << 20
"""Bytes of a value that is refused for its size; an update of sixty of them would only fill the memory of the fuzzer"""
GC, SKIP, DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, MOVE = (
    0,
    10,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    11,
)
CONTENTS = (DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, MOVE)


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def sized(data: bytes) -> bytes:
    return varint(len(data)) + data


def any_bytes(data: bytes) -> bytes:
    """lib0 `Any` of one byte string: the only value that this program writes."""
    return bytes((116,)) + sized(data)


def entry(key: bytes, data: bytes) -> bytes:
    """As `state.document` writes a new key."""
    return b"\x28\x01" + sized(ROOT) + sized(key) + varint(1) + any_bytes(data)


def overwrite(client: int, clock: int, data: bytes) -> bytes:
    return b"\xa8" + varint(client) + varint(clock) + varint(1) + any_bytes(data)


@dataclass(frozen=True, slots=True)
class Block:
    """Structs of one client; `count` may lie."""

    client: int
    clock: int
    structs: tuple[bytes, ...]
    count: int | None = None

    def encoded(self) -> bytes:
        count = len(self.structs) if self.count is None else self.count
        return varint(count) + varint(self.client) + varint(self.clock) + b"".join(self.structs)


@dataclass(frozen=True, slots=True)
class Deletes:
    client: int
    ranges: tuple[tuple[int, int], ...]
    count: int | None = None

    def encoded(self) -> bytes:
        count = len(self.ranges) if self.count is None else self.count
        ranges = b"".join(varint(clock) + varint(length) for clock, length in self.ranges)
        return varint(self.client) + varint(count) + ranges


def update(blocks: tuple[Block, ...] = (), deletes: tuple[Deletes, ...] = ()) -> bytes:
    return b"".join(
        (
            varint(len(blocks)),
            *(block.encoded() for block in blocks),
            varint(len(deletes)),
            *(one.encoded() for one in deletes),
        )
    )


@dataclass(frozen=True, slots=True)
class Aim:
    """What the writer of a hostile update knows: the next clock of its client, and of another's."""

    client: int
    clock: int
    other: int
    other_clock: int


class Hostile:
    """Draws updates: sound ones, ones with a lie or two, and ones of another form altogether."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def update(self, aim: Aim, key: bytes, data: bytes) -> bytes:
        rng = self.rng
        blocks = [Block(self._client(aim), self._clock(aim), self._structs(aim, key, data), self._count())]
        deletes: list[Deletes] = []
        if rng.random() < 0.1:
            blocks.append(Block(self._client(aim, 0.5), self._clock(aim), self._structs(aim, key, data)))
        if rng.random() < 0.1:
            blocks.clear()
        if rng.random() < 0.3:
            deletes.append(self._deletes(aim))
        return update(tuple(blocks), tuple(deletes))

    def _client(self, aim: Aim, odd: float = 0.12) -> int:
        if self.rng.random() >= odd:
            return aim.client
        return self.rng.choice(
            (aim.other, aim.client + 1, aim.client | 1 << 53, aim.client + (1 << 32), *ODD_NUMBERS)
        )

    def _clock(self, aim: Aim) -> int:
        if self.rng.random() < 0.85:
            return aim.clock
        return self.rng.choice((max(0, aim.clock - 1), aim.clock + 1, aim.other_clock, *ODD_NUMBERS))

    def _count(self) -> int | None:
        return self.rng.choice(ODD_NUMBERS) if self.rng.random() < 0.06 else None

    def _structs(self, aim: Aim, key: bytes, data: bytes) -> tuple[bytes, ...]:
        many = 1 if self.rng.random() < 0.7 or len(data) > LARGE else self.rng.choice((2, 3, 8, 60))
        return tuple(self._struct(aim, key + b"|%d" % n * (n > 0), data, n) for n in range(many))

    def _struct(self, aim: Aim, key: bytes, data: bytes, n: int) -> bytes:
        rng = self.rng
        if rng.random() < 0.6:
            key = rng.choice(ODD_KEYS) if rng.random() < 0.15 else key
            return entry(key, data)
        match rng.randrange(8):
            case 0:
                return bytes((rng.choice((GC, SKIP)),)) + varint(rng.choice(ODD_NUMBERS))
            case 1 | 2:
                return overwrite(self._client(aim), max(0, self._clock(aim) - 1), data)
            case 3:
                return self._nested(key)
            case 4:
                return entry(key, data)[: rng.randrange(1, 12)]
            case 5:
                return b"\x28\x01" + sized(rng.choice((b"", b"g", b"f\x00", b"\xff"))) + entry(key, data)[4:]
            case 6:
                return entry(key, data)[: -len(data) - 2] + self._lying(data)
            case _:
                return self._item(aim, key)

    def _lying(self, data: bytes) -> bytes:
        """A value of another kind, or one whose length is not its own."""
        rng = self.rng
        kind = rng.choice((116, 116, *range(116, 128)))
        return bytes((kind,)) + varint(rng.choice((len(data), len(data) + 1, *ODD_NUMBERS))) + data

    def _nested(self, key: bytes) -> bytes:
        """Arrays within arrays, two bytes a level: 30,000 levels end the process that decodes them."""
        depth = self.rng.choice((1, 33, 1000, 40_000))
        return b"\x28\x01" + sized(ROOT) + sized(key) + varint(1) + b"\x75\x01" * depth + b"\x7e"

    def _item(self, aim: Aim, key: bytes) -> bytes:
        """An item of any kind with any of origin, right origin and key."""
        rng = self.rng
        flags = rng.choice((0, 0x20, 0x40, 0x80, 0xC0, 0xE0, 0xA0, 0x60))
        found = bytearray((flags | rng.choice(CONTENTS),))
        for flag in (0x80, 0x40):
            if flags & flag:
                found += varint(self._client(aim, 0.4)) + varint(self._clock(aim))
        if not flags & 0xC0:
            found += b"\x01" + sized(ROOT) if rng.random() < 0.7 else b"\x00" + varint(aim.other) + varint(0)
            if flags & 0x20:
                found += sized(key)
        return bytes(found) + self._content(found[0] & 0x1F)

    def _content(self, kind: int) -> bytes:
        rng = self.rng
        match kind:
            case _ if kind == DELETED:
                return varint(rng.choice(ODD_NUMBERS))
            case _ if kind == TYPE:
                return bytes((rng.randrange(8),)) + sized(b"x")
            case _ if kind in (ANY, JSON):
                return varint(rng.choice((1, 2, *ODD_NUMBERS))) + any_bytes(b"v")
            case _:
                return sized(rng.randbytes(rng.randrange(6)))

    def _deletes(self, aim: Aim) -> Deletes:
        rng = self.rng
        ranges = tuple(
            (rng.choice((0, aim.clock, *ODD_NUMBERS)), rng.choice((1, *ODD_NUMBERS)))
            for _ in range(rng.randint(1, 3))
        )
        return Deletes(self._client(aim, 0.3), ranges, self._count())
