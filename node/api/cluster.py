"""/v1/cluster: the mesh as this node sees it."""

from aiohttp import web

from node.api.answers import json_answer
from node.api.context import service_of
from node.api.requests import check_parameters
from node.api.route import Route
from node.schema import Cluster


async def cluster(request: web.Request) -> web.Response:
    check_parameters(request)
    return json_answer(await service_of(request).cluster())


ROUTES = (
    Route(
        method="GET",
        path="/v1/cluster",
        handler=cluster,
        name="read_cluster",
        about="Members, slots, tasks, throughput.",
        tag="mesh",
        answers={200: Cluster},
    ),
)
