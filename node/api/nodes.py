"""/v1/nodes/{id}/...: pause and resume one node."""

from aiohttp import web

from node.api.answers import json_answer
from node.api.bodies import Nothing
from node.api.context import service_of
from node.api.requests import check_parameters, read_table
from node.api.route import Route
from node.schema import Node


async def act(request: web.Request) -> web.Response:
    check_parameters(request)
    await read_table(request, Nothing)
    return json_answer(
        await service_of(request).node_control(request.match_info["id"], request.match_info["action"])
    )


ROUTES = tuple(
    Route(
        method="POST",
        path="/v1/nodes/{id}/{action:" + action + "}",
        handler=act,
        name=f"{action}_node",
        about=about,
        tag="mesh",
        body=Nothing,
        body_required=False,
        answers={200: Node},
        problems=(400, 404, 422),
    )
    for action, about in (
        (
            "pause",
            "The node takes no new shards; what it runs stops at its next commit and goes on elsewhere.",
        ),
        ("resume", "The node takes shards again."),
    )
)
