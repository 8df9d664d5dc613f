"""Server-sent events as bytes: what the API writes and the client reads (WHATWG HTML, section 9.2)."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec


class Frame(NamedTuple):
    """One event; `id` "" where the sender gave none, `data` is JSON text."""

    id: str
    kind: str
    data: bytes


HEARTBEAT = b": heartbeat\n\n"


def encode_frame(frame: Frame) -> bytes:
    """`data` must be one line, as JSON is."""
    return f"id: {frame.id}\nevent: {frame.kind}\ndata: ".encode() + frame.data + b"\n\n"


async def read_frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[Frame | None]:
    """The events of a stream as they arrive; None for a comment, which only says that the sender lives."""
    rest = b""
    async for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            yield _decode_frame(block)


def _decode_frame(block: bytes) -> Frame | None:
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        fields[name] = value.removeprefix(b" ")
    if b"data" not in fields:
        return None
    kind = fields.get(b"event", b"message").decode(errors="replace")
    return Frame(fields.get(b"id", b"").decode(errors="replace"), kind, fields[b"data"])


def frame_of(id_: str, kind: str, data: object) -> Frame:
    return Frame(id_, kind, msgspec.json.encode(data))
