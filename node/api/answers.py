"""How answers are written: JSON, or one JSON value a line where the client asks for it."""

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from node.api.route import JSON, NDJSON
from node.schema import Task

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
