"""/v1/nodes/{id}/...: pause, resume and drain one node; forget one that is gone for good."""

from aiohttp import web

from node.api.answers import json_answer
from node.api.bodies import DrainBody, Nothing
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


async def drain(request: web.Request) -> web.Response:
    check_parameters(request)
    body, _ = await read_table(request, DrainBody)
    action = "undrain" if body.cancel else "drain"
    return json_answer(await service_of(request).node_control(request.match_info["id"], action))


async def forget(request: web.Request) -> web.Response:
    """Answers the node as it is then."""
    check_parameters(request)
    return json_answer(await service_of(request).forget_node(request.match_info["id"]))


ROUTES = (
    *(
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
            problems=(404, 409, 422, 503, 507),
        )
        for action, about in (
            (
                "pause",
                "The node takes no new shards; what it runs stops at its next commit and goes on elsewhere.",
            ),
            ("resume", "The node takes shards again."),
        )
    ),
    Route(
        method="POST",
        path="/v1/nodes/{id}/drain",
        handler=drain,
        name="drain_node",
        about="The node hands its slots, shards and copies of data to others, until it may be stopped; `drain` of "
        "GET /v1/cluster says how far it is. With `cancel`, that is taken back.",
        tag="mesh",
        body=DrainBody,
        body_required=False,
        answers={200: Node},
        problems=(404, 409, 422, 503, 507),
    ),
    Route(
        method="DELETE",
        path="/v1/nodes/{id}",
        handler=forget,
        name="forget_node",
        about="A node that is dead, or has left, is no replica any more, at once: others take its copies over, and the "
        "majorities of locks count it no more. If it comes back, it joins anew. Refused while the node is alive.",
        tag="mesh",
        answers={200: Node},
        problems=(404, 409),
    ),
)
