"""/openapi.json: the API's own description, made from the routes and the structs that the handlers use."""

import functools
import inspect
import re
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from node.api.access import BODIED
from node.api.answers import json_answer
from node.api.context import CONTEXT
from node.api.route import JSON, NDJSON, PROBLEM, Parameter, Route
from node.schema import Problem

COMMON_PROBLEMS = (400, 401, 403, 421, 500)
"""What any operation but the probes may be refused with."""
BODY_PROBLEMS = (408, 413, 415)
"""The same where there is a body: too slow, too large, of another type."""

_VARIABLE = re.compile(r"\{(\w+)(?::([^}]*))?\}")
_REF = "#/components/schemas/{name}"


async def openapi(request: web.Request) -> web.Response:
    return json_answer(_document(request.app[CONTEXT].version))


@functools.lru_cache(maxsize=2)
def _document(version: str) -> dict[str, Any]:
    from node.api.app import all_routes  # the routes import this module's own

    return describe(all_routes(), version)


def describe(routes: list[Route], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    shapes = _shapes(routes)
    schemas, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    known = dict(zip(map(repr, shapes), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Collection node",
            "version": version,
            "description": "Any node of the mesh answers for all of it. Errors are application/problem+json.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _shapes(routes: list[Route]) -> list[Any]:
    found: dict[str, Any] = {repr(Problem): Problem}
    for route in routes:
        for shape in (
            *route.answers.values(),
            route.body,
            *(parameter.shape for parameter in route.parameters),
        ):
            if shape is not None:
                found[repr(shape)] = shape
    return list(found.values())


def _path(route: Route) -> str:
    """OpenAPI's form of a path: a variable of one value is that value."""
    return _VARIABLE.sub(lambda match: match[2] or "{" + match[1] + "}", route.path)


def _operation(route: Route, known: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.about,
        "tags": [route.tag],
        "parameters": _parameters(route, known),
        "responses": _answers(route, known),
    }
    doc = inspect.getdoc(route.handler)
    if doc:
        operation["description"] = doc
    if route.body is not None:
        content = {media: {"schema": known[repr(route.body)]} for media in route.media}
        operation["requestBody"] = {"required": route.body_required, "content": content}
    if route.open:
        operation["security"] = []
    return operation


def _parameters(route: Route, known: dict[str, Any]) -> list[dict[str, Any]]:
    variables = [match[1] for match in _VARIABLE.finditer(route.path) if match[2] is None]
    described = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in variables
    ]
    return described + [_parameter(parameter, known) for parameter in route.parameters]


def _parameter(parameter: Parameter, known: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.about,
        "schema": known[repr(parameter.shape)],
    }


def _answers(route: Route, known: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(status): {"description": _meaning(status), "content": _content(route, shape, known)}
        for status, shape in route.answers.items()
    }
    for status in sorted(problems_of(route)):
        answers[str(status)] = {
            "description": _meaning(status),
            "content": {PROBLEM: {"schema": known[repr(Problem)]}},
        }
    return answers


def problems_of(route: Route) -> set[int]:
    """Statuses of all refusals that the operation may answer."""
    if route.open:
        return set()
    return {*route.problems, *COMMON_PROBLEMS, *(BODY_PROBLEMS if route.method in BODIED else ())}


def _content(route: Route, shape: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Lines have no schema of their own: each is an item of the list."""
    return {
        media: {"schema": {"type": "string"} if media == NDJSON else known[repr(shape)]}
        for media in route.answer_media
    }


def _meaning(status: int) -> str:
    return HTTPStatus(status).phrase


ROUTES = (
    Route(
        method="GET",
        path="/openapi.json",
        handler=openapi,
        name="read_openapi",
        about="This description.",
        tag="probes",
        answers={200: dict[str, Any]},
        answer_media=(JSON,),
    ),
)
