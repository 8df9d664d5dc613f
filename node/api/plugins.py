"""/v1/plugins: what this node can collect from and write to, with the schema of every option."""

from aiohttp import web

from node.api.answers import list_answer
from node.api.context import service_of
from node.api.requests import check_parameters
from node.api.route import JSON, NDJSON, Route
from plugins.registry import PluginInfo


async def plugins(request: web.Request) -> web.Response:
    check_parameters(request)
    return list_answer(request, service_of(request).plugins())


ROUTES = (
    Route(
        method="GET",
        path="/v1/plugins",
        handler=plugins,
        name="list_plugins",
        about="The plugins of this node.",
        tag="mesh",
        answers={200: list[PluginInfo]},
        answer_media=(JSON, NDJSON),
    ),
)
