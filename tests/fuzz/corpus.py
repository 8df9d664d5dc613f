"""Sound input for each target, and input drawn from it with a part spoilt."""

import random

import msgspec

from gossip.member import State
from gossip.messages import Ack, Nack, Ping, PingRequest, Sync
from node import config, messages
from node.execution.jobs import Job, JobKey
from node.security.exchange import Entries, Offer
from node.security.roster import Entry
from node.transport.hello import Hello, Refusal, Welcome
from state import envelope
from state.envelope import Envelope, SegmentId, Writer
from tests.fuzz import facts
from tests.fuzz.damage import mutate, warp, warped
from tests.fuzz.updates import Aim, Hostile
from tests.gossip.peers import ME, Peer

_KEY = JobKey("t", "0-submit", "shard", "0")
_JOB = Job(key=_KEY, tenant="t", spec=b"{}", token=(1, "a", 1), hints={"a": [1]}, letters=({"x": 1},))
_ENTRY = Entry(public_key=b"a" * 40, name="n", gossip="h:1", bulk="[::1]:2", join="h:3")
_A = Peer("a")
_SPEC = {
    "name": "n",
    "mode": "range",
    "range": {"field": "t", "from": "2013-01-01", "to": "2013-02-01", "step": "month"},
    "source": {"plugin": "files", "path": "in.csv", "batch": 3},
    "sink": [{"plugin": "log"}],
    "limits": {"rate": "600/m", "timeout": "1h30m", "batch_bytes": "64KiB"},
    "retry": {"strategy": "fixed", "delay": "250ms"},
    "schedule": "*/5 * * * *",
    "timezone": "Europe/Zurich",
    "placement": {"nodes": ["berlin"]},
}
_AMOUNTS = [
    "250ms",
    "1h30m",
    "64MiB",
    "50/s",
    "600/m",
    "*/5 8-18 * * 1#2",
    "every 5m",
    "0 0 29 2 *",
    "Europe/Zurich",
]
_OPTIONS = [
    {"path": "in/*.csv", "delimiter": ";", "fields": ["a"], "types": {"a": "int"}},
    {"url": "https://h/x", "headers": {"a": {"secret": "S"}}, "paging": {"kind": "page", "parameter": "p"}},
    {"url": "mysql://h/d", "query": "select 1", "password": {"secret": "S"}, "key": "id"},
    {"path": "out", "compression": "gzip"},
]

SOUND: dict[str, list[bytes]] = {
    "message": [
        messages.encode(one)
        for one in (
            messages.Envelopes([b"x"]),
            messages.Stored([(1, "a.1", 2)]),
            messages.Digest(b"x" * 16),
            messages.SlotDigests({1: b"12345678"}),
            messages.Heads({1: {"a.1": 2}}),
            messages.Facts(
                "n", {"r": (True, "f")}, {"a": "1"}, ["s"], {"l": "m"}, "h:1", "1.0", load={"x": 1.0}
            ),
            messages.Lease([_JOB]),
            messages.Revoke([_KEY], (1, "a", 1)),
            messages.Rates([(_KEY, 2.5)], (1, "a", 1)),
            messages.Reports([], (1, 1)),
            messages.Holding([_KEY]),
            messages.Handover([1]),
            messages.Call(1, "list", {"a": [1]}),
            messages.Answer(1, True, {"a": 1.5}),
        )
    ],
    "gossip": [
        _A.packet(Ping(1, ME), Ack(2), Nack(3), PingRequest(4, ME, "b:1")),
        _A.packet(_A.alive(), _A.suspect(), _A.dead(), _A.departed()),
        _A.packet(Sync(True, [_A.record(), Peer("b").record(State.DEAD, 5)])),
    ],
    "envelopes": [envelope.encode(Envelope(1, SegmentId(3, Writer("a.1"), 1), Writer("a.1"), 1, b"\0\0"))],
    "hello": [
        msgspec.msgpack.encode(one)
        for one in (Hello(1, _ENTRY), Welcome(1, _ENTRY, [_ENTRY]), Refusal("c", "m"))
    ],
    "rosters": [
        msgspec.msgpack.encode((1, [_ENTRY])),
        msgspec.msgpack.encode(Offer((b"12345678",) * 16)),
        msgspec.msgpack.encode(Entries([_ENTRY], 3)),
    ],
    "spec": [msgspec.json.encode(_SPEC)],
    "amounts": [text.encode() for text in _AMOUNTS],
    "toml": [
        config.example_text().encode(),
        b'[node]\nname="n"\nweight=2\nlabels={a="b"}\n[roots.d]\npath="."\n[mesh]\nseeds=["h:1","[::1]"]\n',
    ],
    "options": [msgspec.json.encode(one) for one in _OPTIONS],
}


def draw(target: str, rng: random.Random) -> bytes:
    """One input for the target."""
    match target:
        case "update":
            made = Hostile(rng).update(Aim(7, 0, 9, 1), b"e|a.1", b"value")
            return mutate(rng, made) if rng.random() < 0.3 else made
        case "fact":
            key, encoded = facts.fact(rng, Writer("a.1"))
            return key[:1].encode() + encoded
        case "acceptance":
            return rng.randbytes(rng.randrange(400))
    sound = rng.choice(SOUND[target])
    if rng.random() < 0.4:
        return mutate(rng, sound)
    match target:
        case "spec" | "options":
            return _json(rng, sound)
        case "amounts":
            return rng.choice((b"-", b"", b"1e", b"9" * 400)) + mutate(rng, sound)
        case "toml":
            return _line(rng, sound)
        case "message" | "gossip":
            return sound[:1] + warped(rng, sound[1:])
    return warped(rng, sound)


def _json(rng: random.Random, sound: bytes) -> bytes:
    found = warp(rng, msgspec.json.decode(sound))
    try:
        return msgspec.json.encode(found)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return mutate(rng, sound)


def _line(rng: random.Random, sound: bytes) -> bytes:
    """One key of the file with an odd value."""
    lines = [line.lstrip(b"# ") for line in sound.splitlines()]
    keys = [at for at, line in enumerate(lines) if b"=" in line]
    at = rng.choice(keys)
    odd = (
        b"-1",
        b"1e999",
        b"nan",
        b'""',
        b"[]",
        b"{}",
        b"true",
        b'"\\ud7ff\\u0000"',
        b"[[[1]]]",
        b"1979-05-27",
        b"9" * 50,
    )
    name = lines[at].partition(b"=")[0]
    section = next((line for line in reversed(lines[:at]) if line.startswith(b"[")), b"")
    return section + b"\n" + name + b"= " + rng.choice(odd) + b"\n"
