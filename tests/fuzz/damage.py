"""Bytes and values that went wrong: mutations of sound ones, all drawn from one generator."""

import random
from typing import Any

import msgspec

NUMBERS = (
    0,
    1,
    -1,
    127,
    128,
    4095,
    4096,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**63 - 1,
    2**64 - 1,
)
TEXTS = (
    "",
    "|",
    "a.1",
    "a.",
    ".",
    "é",
    "\x00",
    "x" * 300,
    "9" * 5000,
    "-1",
    "e|a.1",
    "../../etc",
    "%s{0}$(x)",
)
RAW = (
    b"\xc1",  # a byte that MessagePack never uses
    b"\x91" * 3000 + b"\xc0",  # deeper than any recursion limit
    b"\x81\xa1a" * 1500 + b"\xc0",
    b"\xdd\xff\xff\xff\xff",  # an array of 2^32 items that are not there
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\x7f\xff\xff\xff",
    b"\xa2\xc3\x28",  # not UTF-8
    b"\xa3\xed\xa0\x80",  # a lone surrogate
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # NaN
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",  # infinity
    b"\xd6\xff\xff\xff\xff\xff",  # a timestamp
    b"\xd4\x05\x00",  # an extension
    b"\x81\x90\xc0",  # an array as a key
    b"\x81\x80\xc0",  # a map as a key
    b"\x81\xc0\xc0",
)


def mutate(rng: random.Random, data: bytes, times: int = 3) -> bytes:
    """Flips, deletions, insertions, copies of parts, interesting numbers, and an early end."""
    found = bytearray(data)
    for _ in range(rng.randint(1, times)):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(6):
            case 0 if found:
                found[at % len(found)] ^= 1 << rng.randrange(8)
            case 1:
                del found[at : at + rng.choice((1, 1, 2, 8))]
            case 2:
                found[at:at] = rng.randbytes(rng.choice((1, 1, 2, 8)))
            case 3:
                found[at:at] = found[at : at + rng.randint(1, 16)]
            case 4:
                found[at : at + 1] = rng.choice(
                    (b"\xff" * 9, b"\x00", b"\x7f", b"\x80", b"\xff\xff\xff\xff\x0f")
                )
            case _:
                del found[at:]
    return bytes(found)


def value(rng: random.Random, depth: int = 2) -> Any:
    """Any MessagePack value, odd ones more often."""
    match rng.randrange(9 if depth else 6):
        case 0:
            return rng.choice(NUMBERS)
        case 1:
            return rng.choice(TEXTS)
        case 2:
            return rng.randbytes(rng.choice((0, 1, 40)))
        case 3:
            return rng.choice((None, True, False))
        case 4:
            return rng.choice((0.5, -0.0, 1e308, float("nan"), float("inf")))
        case 5:
            return msgspec.Raw(rng.choice(RAW))
        case 6:
            return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
        case 7:
            return {rng.choice(TEXTS): value(rng, depth - 1) for _ in range(rng.randrange(3))}
        case _:
            return {rng.choice(NUMBERS): value(rng, depth - 1)}


def warp(rng: random.Random, sound: Any) -> Any:
    """The value with one part, at a random place, replaced, dropped, repeated or added."""
    if isinstance(sound, list) and sound and rng.random() < 0.8:
        found, at = list(sound), rng.randrange(len(sound))
        match rng.randrange(8):
            case 0:
                del found[at]
            case 1:
                found.append(value(rng))
            case 2:
                found[at] = [found[at]] * rng.choice((2, 20))
            case _:
                found[at] = warp(rng, found[at])
        return found
    if isinstance(sound, dict) and sound and rng.random() < 0.8:
        key = rng.choice(list(sound))
        return {**sound, key: warp(rng, sound[key])}
    return value(rng)


def warped(rng: random.Random, sound: bytes) -> bytes:
    """MessagePack bytes of a value like the one in `sound`, with a part changed."""
    try:
        decoded = msgspec.msgpack.decode(sound)
    except (ValueError, TypeError, RecursionError):  # it was odd before
        return mutate(rng, sound)
    return msgspec.msgpack.encode(warp(rng, decoded))
