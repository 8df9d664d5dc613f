"""How answers are written: JSON, or one JSON value a line where the client asks for it."""

import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
from aiohttp import web

from node.api.context import REQUEST_ID
from node.api.route import JSON, NDJSON
from node.schema import Task

log = logging.getLogger(__name__)

ENCODER = msgspec.json.Encoder()


def json_answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=ENCODER.encode(value), status=status, content_type=JSON, headers=headers)


def task_answer(task: Task, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A task with its revision as ETag."""
    return json_answer(task, status=status, headers={"ETag": f'"{task.revision}"', **(headers or {})})


def wants_lines(request: web.Request) -> bool:
    return NDJSON in request.headers.get("Accept", "")


def list_answer(request: web.Request, items: Iterable[Any]) -> web.Response:
    """A JSON list, or lines."""
    if wants_lines(request):
        return web.Response(body=ENCODER.encode_lines(items), content_type=NDJSON)
    return json_answer(list(items))


async def stream_answer(request: web.Request, chunks: AsyncIterator[bytes], media: str) -> web.StreamResponse:
    """The first chunk is awaited before the head is sent: its refusal is still a problem."""
    first = await anext(chunks, b"")
    if request.method == "HEAD":
        return web.Response(content_type=media)
    response = web.StreamResponse(headers={"Content-Type": media})
    await response.prepare(request)
    try:
        await response.write(first)
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
    except Exception:
        # The head is sent, so only a broken end can tell the client that this is not all.
        log.exception("request %s broke off", request[REQUEST_ID])
        if request.transport is not None:
            request.transport.abort()
    return response
