"""Facts of a ledger that no version of this program wrote, under keys that look right."""

import random
from typing import Any

import msgspec
from pyroaring import BitMap

from state import model
from state.envelope import Writer
from tests.fuzz.damage import TEXTS, mutate, value, warped

BATCHES = ("p", "q")
ODD_PARTS = ("", "x", "-1", "9" * 30, "9" * 5000, "²", "1_0", " 1", "é", "\x00")


def sound(rng: random.Random, kind: str) -> model.Fact:
    """A fact of this kind as a node could have written it."""
    token = (rng.randint(1, 3), rng.choice("abc"), rng.randint(1, 2))
    state = rng.choice(("running", "failed", "succeeded", "cancelled", "partial", "odd"))
    ended = model.Ended("0", token, state, at_ms=1)
    letter = model.Letter("i", "0", "s", 1, "sink", "code", "reason", 1, None)
    arguments: dict[str, Any] = rng.choice(
        (
            {},
            {"priority": 3},
            {"limits": {"rate": 1.0}},
            {"retry": {"attempts": 1}},
            {"spec": b"{}", "generation": 1},
            {"origin": "0-submit"},
            {"priority": value(rng)},
            {"generation": value(rng), "spec": value(rng)},
        )
    )
    wish = rng.choice(
        (
            "pause",
            "resume",
            "cancel",
            "delete",
            "priority",
            "limits",
            "retry-policy",
            "replace",
            "run",
            "retry",
            "odd",
        )
    )
    facts: dict[str, model.Fact] = {
        "b": model.Part("t", "k", 1, rng.choice((0, 2)), 4, [b"{}", b"{}"], "a"),
        "o": model.Outcomes(1, [model.Group(state, BitMap([0, 1]).serialize())]),
        "w": model.Wish(
            rng.randint(0, 3), wish, 1, [rng.randrange(3)], "u", arguments, rng.choice(("", "1-r"))
        ),
        "r": model.RunFact(token, state, 1, 1, published=rng.random() < 0.5),
        "p": model.Plan(token, [model.PlannedShard("0", covers=rng.choice((None, (0, 5))))]),
        "q": model.Progress({"0": model.Live(token, "running")}),
        "d": model.Finished([ended]),
        "l": model.Letters([letter]),
        "x": model.Cleared(["i"]),
        "e": model.Claim(rng.randint(1, 9)),
    }
    return facts[kind]


def key(rng: random.Random, kind: str, author: Writer) -> str:
    batch, index, run = rng.choice(BATCHES), str(rng.randrange(3)), rng.choice(("0-submit", "1-r"))
    parts: dict[str, list[str]] = {
        "b": [batch, index, author],
        "o": [batch, author, index],
        "w": [batch, index, author],
        "r": [batch, index, run, author],
        "p": [batch, index, run, author],
        "q": [batch, index, run, author],
        "d": [batch, index, run, author, index],
        "l": [batch, index, run, author, index],
        "x": [batch, index, run, author, index],
        "e": [author],
    }
    found = parts[kind]
    if rng.random() < 0.15:
        found[rng.randrange(len(found))] = rng.choice(ODD_PARTS)
    if rng.random() < 0.05:
        found = found[: rng.randrange(len(found) + 1)]
    return model.key_of(kind, *found)


def fact(rng: random.Random, author: Writer) -> tuple[str, bytes]:
    """A key and its value: sound, warped, mutated, or bytes of anything."""
    kind = rng.choice("bowrpqdlxe")
    return key(rng, kind, author), fact_of(rng, kind)


def fact_of(rng: random.Random, kind: str) -> bytes:
    encoded = model.encode(sound(rng, kind)) if kind != "o" else _outcomes(rng)
    match rng.randrange(8):
        case 0:
            encoded = mutate(rng, encoded)
        case 1:
            encoded = msgspec.msgpack.encode(value(rng))
        case 2:
            encoded = rng.choice(TEXTS).encode()
        case 3 | 4 | 5:
            encoded = warped(rng, encoded)
        case _:
            pass
    return encoded


def _outcomes(rng: random.Random) -> bytes:
    """The bitmaps are another library's: damaged ones, and ones that claim four billion tasks."""
    bits = BitMap(rng.sample(range(5), 2)).serialize()
    if rng.random() < 0.5:
        big = BitMap()
        big.add_range(rng.choice((0, 2**16, 2**31, 2**32 - 2**16)), 2**32)
        big.run_optimize()
        bits = rng.choice((bits, big.serialize(), BitMap(range(0, 20_000, 3)).serialize()))
        bits = mutate(rng, bits) if rng.random() < 0.7 else bits
    return model.encode(model.Outcomes(1, [model.Group("succeeded", bits)]))
