"""/healthz: the process answers. /readyz: it can take work; else why not."""

from aiohttp import web

from node.api.answers import json_answer
from node.api.context import service_of
from node.api.route import Route
from node.api.shapes import Health


async def healthz(_: web.Request) -> web.Response:
    return json_answer(Health(status="ok"))


async def readyz(request: web.Request) -> web.Response:
    ready, reasons = service_of(request).ready()
    health = Health(status="ready" if ready else "not ready", reasons=reasons)
    return json_answer(health, status=200 if ready else 503)


ROUTES = (
    Route(
        method="GET",
        path="/healthz",
        handler=healthz,
        name="healthz",
        about="The process is alive.",
        tag="probes",
        answers={200: Health},
        open=True,
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=readyz,
        name="readyz",
        about="The node takes work; 503 with the reasons when it does not.",
        tag="probes",
        answers={200: Health, 503: Health},
        open=True,
    ),
)
