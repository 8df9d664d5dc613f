"""/v1/tasks/{id}/...: look closer at one task."""

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from node.api.answers import ENCODER, json_answer, list_answer, stream_answer, wants_lines
from node.api.context import service_of
from node.api.requests import MAX_LIMIT, check_parameters, parameter_int, ref_of, tenant_of
from node.api.route import BYTES, JSON, NDJSON, TENANT, Handler, Parameter, Route
from node.api.shapes import DeadLetterPage
from node.api.tasks import PAGING
from node.schema import Coverage, ErrorEntry, Run, Shard, Why


async def runs(request: web.Request) -> web.StreamResponse:
    check_parameters(request, "tenant")
    return list_answer(request, await service_of(request).runs(ref_of(request), tenant=tenant_of(request)))


async def shards(request: web.Request) -> web.StreamResponse:
    check_parameters(request, "tenant", "run")
    found = await service_of(request).shards(
        ref_of(request), tenant=tenant_of(request), run=request.query.get("run")
    )
    return list_answer(request, found)


async def coverage(request: web.Request) -> web.StreamResponse:
    check_parameters(request, "tenant")
    return json_answer(await service_of(request).coverage(ref_of(request), tenant=tenant_of(request)))


async def errors(request: web.Request) -> web.StreamResponse:
    check_parameters(request, "tenant")
    return list_answer(request, await service_of(request).errors(ref_of(request), tenant=tenant_of(request)))


async def why(request: web.Request) -> web.StreamResponse:
    check_parameters(request, "tenant")
    return json_answer(await service_of(request).why(ref_of(request), tenant=tenant_of(request)))


async def dead_letters(request: web.Request) -> web.StreamResponse:
    """One page; as lines: all from the cursor on, unless a limit is given."""
    check_parameters(request, "tenant", "limit", "cursor")
    limit = parameter_int(request, "limit", low=1, high=MAX_LIMIT)
    if wants_lines(request) and limit is None:
        return await stream_answer(request, _all_letters(request), NDJSON)
    page = await service_of(request).dead_letters(
        ref_of(request),
        tenant=tenant_of(request),
        cursor=request.query.get("cursor"),
        limit=limit or MAX_LIMIT,
    )
    return list_answer(request, page.items) if wants_lines(request) else json_answer(page)


async def _all_letters(request: web.Request) -> AsyncIterator[bytes]:
    cursor = request.query.get("cursor")
    while True:
        page = await service_of(request).dead_letters(
            ref_of(request), tenant=tenant_of(request), cursor=cursor, limit=MAX_LIMIT
        )
        yield ENCODER.encode_lines(page.items)
        cursor = page.next
        if cursor is None:
            return


async def export(request: web.Request) -> web.StreamResponse:
    """The bytes of one file in the format of the sink."""
    check_parameters(request, "tenant")
    chunks = service_of(request).export(ref_of(request), tenant=tenant_of(request))
    return await stream_answer(request, chunks, BYTES)


def _route(
    name: str, handler: Handler, about: str, answer: Any, *parameters: Parameter, lines: bool = True
) -> Route:
    return Route(
        method="GET",
        path=f"/v1/tasks/{{id}}/{name}",
        handler=handler,
        name=f"read_{name.replace('-', '_')}",
        about=about,
        tag="tasks",
        parameters=(TENANT, *parameters),
        answers={200: answer},
        answer_media=(JSON, NDJSON) if lines else (JSON,),
        problems=(404, 409, 503),
    )


ROUTES = (
    _route("runs", runs, "The runs of a task, oldest first.", list[Run]),
    _route(
        "shards", shards, "The shards of a run.", list[Shard], Parameter("run", "The run; absent: the last.")
    ),
    _route("coverage", coverage, "What is collected, what is missing, what twice.", Coverage, lines=False),
    _route("errors", errors, "Failures of its shards, and its dead letters in groups.", list[ErrorEntry]),
    _route("dead-letters", dead_letters, "Records that were set aside.", DeadLetterPage, *PAGING),
    _route("why", why, "Why it does, or does not, progress.", Why, lines=False),
    Route(
        method="GET",
        path="/v1/tasks/{id}/export",
        handler=export,
        name="read_export",
        about="The published rows as one file.",
        tag="tasks",
        parameters=(TENANT,),
        answers={200: str},
        answer_media=(BYTES,),
        problems=(404, 409, 503),
    ),
)
