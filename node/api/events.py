"""/v1/events: what happens, as server-sent events.

An event id is "<epoch>.<number>"; the epoch names one start of one node, and one of its two streams: what it learns
itself (`scope=node`), and what all nodes learn (`scope=cluster`). A client that comes back with an id of this epoch
gets what it missed. With any other id it gets a `reset` event first: it must read again what it shows, for this node
cannot know what it missed. A comment at the begin, and every 15 s, shows that the connection lives.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from node.api.context import CONTEXT
from node.api.problems import bad_parameter
from node.api.requests import check_parameters
from node.api.route import EVENTS, Parameter, Route
from node.sse import HEARTBEAT, encode_frame, frame_of

HEARTBEAT_INTERVAL = 15.0
"""Seconds without an event after which a comment is sent; proxies cut idle connections after 30 to 60."""

SCOPES = ("node", "cluster")
END: Any = object()

CLOSING = web.AppKey("closing", asyncio.Event)
"""Set when the server stops: open streams end, and do not hold it up."""


async def events(request: web.Request) -> web.StreamResponse:
    check_parameters(request, "task", "after", "scope")
    context, task = request.app[CONTEXT], request.query.get("task")
    mesh = _of_mesh(request.query.get("scope", "cluster" if task else "node"))
    epoch = f"{context.epoch}c" if mesh else context.epoch
    given = request.headers.get("Last-Event-ID") or request.query.get("after")
    after = resume_point(epoch, given)
    if request.method == "HEAD":
        return web.Response(content_type=EVENTS)
    response = web.StreamResponse(headers={"Content-Type": EVENTS, "X-Accel-Buffering": "no"})
    await response.prepare(request)
    source = context.service.events(after=after, task=task, mesh=mesh)
    with contextlib.suppress(ConnectionError):  # the client went away
        if given and after is None:
            await response.write(frame(epoch, 0, "reset", {"reason": "the id is of another node or start"}))
        await _forward(response, epoch, source, request.app[CLOSING])
    return response


def _of_mesh(scope: str) -> bool:
    if scope not in SCOPES:
        raise bad_parameter("scope", "is no scope", value=scope[:64], allowed=list(SCOPES))
    return scope == "cluster"


async def _forward(
    response: web.StreamResponse,
    epoch: str,
    source: AsyncIterator[tuple[int, str, dict[str, Any]] | None],
    closing: asyncio.Event,
) -> None:
    """Send events until either side ends."""
    stop = asyncio.ensure_future(closing.wait())
    following: asyncio.Future[Any] = asyncio.ensure_future(anext(source, END))
    try:
        while not stop.done():
            await asyncio.wait(
                {following, stop}, timeout=HEARTBEAT_INTERVAL, return_when=asyncio.FIRST_COMPLETED
            )
            if following.done():
                item = following.result()
                if item is END:
                    return
                await response.write(frame(epoch, *item) if item else HEARTBEAT)
                following = asyncio.ensure_future(anext(source, END))
            elif not stop.done():
                await response.write(HEARTBEAT)
    finally:
        stop.cancel()
        following.cancel()
        await asyncio.gather(stop, following, return_exceptions=True)


def resume_point(epoch: str, given: str | None) -> int | None:
    """The number after which to go on; None for an id that is not of this epoch."""
    its, _, number = (given or "").rpartition(".")
    return int(number) if its == epoch and number.isdigit() and number.isascii() else None


def frame(epoch: str, number: int, kind: str, data: dict[str, Any]) -> bytes:
    """One event as it is sent."""
    return encode_frame(frame_of(f"{epoch}.{number}", kind, data))


async def start(app: web.Application) -> None:
    app[CLOSING] = asyncio.Event()


async def stop(app: web.Application) -> None:
    app[CLOSING].set()


ROUTES = (
    Route(
        method="GET",
        path="/v1/events",
        handler=events,
        name="read_events",
        about="What happens to the nodes and tasks, as server-sent events; goes on after Last-Event-ID. A node by "
        "itself tells of the tasks that it stewards (`steward` of a task). Kinds: `task` (its `state`), `batch` (of "
        "more than 16 small ones that ended together: their number and the first), `member`, `reset`.",
        tag="mesh",
        parameters=(
            Parameter(
                "scope", "node: what this node learns (the default); cluster: what all do (with `task`)."
            ),
            Parameter("task", "Events of the task with this id only."),
            Parameter("after", "As Last-Event-ID, for clients that cannot set a header."),
            Parameter("Last-Event-ID", "The last event that was seen.", str, "header"),
        ),
        answers={200: str},
        answer_media=(EVENTS,),
    ),
)
