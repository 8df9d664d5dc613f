"""The HTTP application: every resource's routes under one middleware."""

from aiohttp import web

from node.api import admission as admissions
from node.api import (
    batch,
    cluster,
    control,
    details,
    events,
    locks,
    nodes,
    openapi,
    plugins,
    probes,
    tasks,
    verify,
)
from node.api.access import Access
from node.api.context import CONTEXT, Context
from node.api.crowd import CROWD, Crowd
from node.api.middleware import name_answer, problem_middleware
from node.api.route import Route
from node.service import Admission, Service
from plugins.registry import Registry

MAX_BODY = 1024 * 1024
"""Bytes of any body but a batch's."""


def create_app(
    service: Service,
    registry: Registry,
    *,
    access: Access,
    node_id: str,
    version: str,
    admission: Admission | None = None,
) -> web.Application:
    """The application, to be served by a runner. `registry`: this node's plugins; `version`: of the node."""
    app = web.Application(middlewares=[problem_middleware(access)], client_max_size=MAX_BODY)
    app[CONTEXT] = Context(
        service=service, registry=registry, node_id=node_id, version=version, admission=admission
    )
    app[CROWD] = Crowd()
    app.on_response_prepare.append(name_answer)
    app.on_startup.append(events.start)
    app.on_shutdown.append(events.stop)
    for route in all_routes():
        app.router.add_route(route.method, route.path, route.handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, route.handler)
    return app


def all_routes() -> list[Route]:
    """Every operation; the literal path of a batch stands before the pattern of an id."""
    resources = (
        tasks, batch, details, control, cluster, nodes, locks, admissions, verify, plugins, events, probes,
        openapi,
    )  # fmt: skip
    return [route for resource in resources for route in resource.ROUTES]
