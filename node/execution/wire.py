"""What a node and its worker processes say to each other: frames of MessagePack over a socket pair.

    node -> worker    Setup (once, first), Start, Stop, Rate, Answered
    worker -> node    Said, Logged, Counted, Asked

A frame is its length (4 bytes, big-endian) and one message. Both ends are the same program and the pipe is
private, so a frame that does not decode is a bug; the reader lets the error out.
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from node.execution.assembly import Cadence
from node.execution.jobs import Job, JobKey, Report

_LENGTH = struct.Struct(">I")


class Setup(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """What a worker's host is made of. `registry`: "module:callable" that gives the plugin registry."""

    registry: str
    roots: dict[str, str]
    secrets: str | None
    allow: list[str]
    deny: list[str]
    cadence: Cadence


class Start(msgspec.Struct, frozen=True, array_like=True, tag=1):
    job: Job


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answered by the job's last report."""

    key: JobKey
    drain: bool


class Rate(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """`rate`: of a job that runs, units per second from here on."""

    key: JobKey
    rate: float


class Said(msgspec.Struct, frozen=True, array_like=True, tag=3):
    report: Report


class Logged(msgspec.Struct, frozen=True, array_like=True, tag=4):
    event: str
    fields: dict[str, Any]


class Counted(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """What plugins counted since the last message: plugin -> name -> amount."""

    counts: dict[str, dict[str, int]]


class Asked(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A plugin wants something of a named lock. Answered by Answered."""

    number: int
    operation: str
    arguments: dict[str, Any]


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """`value`: the lock, or the code and the text of the refusal."""

    number: int
    ok: bool
    value: Any


Message = Setup | Start | Stop | Rate | Said | Logged | Counted | Asked | Answered

_encoder = msgspec.msgpack.Encoder(enc_hook=repr)
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def frame(message: Message) -> bytes:
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete with `data`."""
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            if len(self._buffer) - at - _LENGTH.size < length:
                break
            at += _LENGTH.size
            yield _decoder.decode(bytes(self._buffer[at : at + length]))
            at += length
        del self._buffer[:at]
