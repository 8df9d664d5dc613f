"""Control of tasks: one, all that match a filter, all of a tenant; change, replace, delete."""

from typing import Any

from aiohttp import web

from node.api.answers import json_answer, task_answer
from node.api.bodies import Nothing, PatchBody, RetryBody
from node.api.context import service_of
from node.api.problems import bad_parameter, invalid
from node.api.requests import (
    check_parameters,
    given,
    idempotency_key,
    if_match,
    parameter_flag,
    query_of,
    read_table,
    ref_of,
    tenant_of,
)
from node.api.route import IF_MATCH, KEY, TENANT, Parameter, Route
from node.api.shapes import Told
from node.api.tasks import FILTERS, read_spec
from node.schema import Task
from node.service import Query
from node.spec.problems import Problems
from node.spec.raw import RawSpec
from node.spec.rules import check_amounts

ACTIONS = ("pause", "resume", "retry", "cancel")


async def act(request: web.Request) -> web.Response:
    """pause, resume, retry or cancel one task."""
    action = request.match_info["action"]
    return await _control(request, action, await _arguments(request, action))


async def patch(request: web.Request) -> web.Response:
    """priority, limits, retry; what the body does not name stays."""
    body, table = await read_table(request, PatchBody)
    problems = Problems()
    check_amounts(body.limits, body.retry, problems)
    if problems.items:
        raise invalid(problems.items, "the change")
    return await _control(request, "patch", given(body, table))


async def replace(request: web.Request) -> web.Response:
    spec = await read_spec(request)
    return await _control(request, "replace", {"spec": spec.data})


async def delete(request: web.Request) -> web.Response:
    """Answers the task as it was."""
    return await _control(request, "delete", {})


async def _control(request: web.Request, action: str, arguments: dict[str, Any]) -> web.Response:
    check_parameters(request, "tenant")
    key = idempotency_key(request)
    task = await service_of(request).control(
        ref_of(request), action, arguments, tenant=tenant_of(request), if_match=if_match(request), key=key
    )
    return task_answer(task, headers={"Idempotency-Key": key})


async def act_many(request: web.Request) -> web.Response:
    """A forgotten filter must not stop everything: without one, `all=true` says that all are meant."""
    check_parameters(request, "state", "tenant", "name", "all")
    query = query_of(request)
    if not (query.state or query.tenant or query.name or parameter_flag(request, "all")):
        raise bad_parameter(
            "all", "no filter is given; all=true means all tasks", allowed=["state", "tenant", "name"]
        )
    return await _many(request, query)


async def act_tenant(request: web.Request) -> web.Response:
    check_parameters(request)
    return await _many(request, Query(tenant=request.match_info["tenant"]))


async def _many(request: web.Request, query: Query) -> web.Response:
    action, key = request.match_info["action"], idempotency_key(request)
    told = await service_of(request).control_many(action, query, await _arguments(request, action), key=key)
    return json_answer(Told(told=told), headers={"Idempotency-Key": key})


async def _arguments(request: web.Request, action: str) -> dict[str, Any]:
    if action != "retry":
        await read_table(request, Nothing)
        return {}
    body, table = await read_table(request, RetryBody)
    problems = Problems()
    check_amounts(None, body, problems, pointer="")
    if problems.items:
        raise invalid(problems.items, "the request")
    return given(body, table)


def _act_route(
    path: str, handler: Any, name: str, about: str, answer: Any, *parameters: Parameter
) -> list[Route]:
    """One operation an action: only retry has arguments."""
    return [
        Route(
            method="POST",
            path=path.replace("{action}", "{action:" + action + "}"),
            handler=handler,
            name=f"{action}_{name}",
            about=about.replace("{action}", action.capitalize()),
            tag="control",
            parameters=(*parameters, KEY),
            body=RetryBody if action == "retry" else Nothing,
            body_required=False,
            answers={200: answer},
            problems=(404, 409, 412, 422, 503, 507),
        )
        for action in ACTIONS
    ]


def _change_route(method: str, handler: Any, about: str, body: Any) -> Route:
    return Route(
        method=method,
        path="/v1/tasks/{id}",
        handler=handler,
        name={"PUT": "replace", "PATCH": "change", "DELETE": "delete"}[method] + "_task",
        about=about,
        tag="control",
        parameters=(TENANT, IF_MATCH, KEY),
        body=body,
        answers={200: Task},
        problems=(404, 409, 412, *((422,) if body is not None else ()), 503, 507),
    )


ROUTES = (
    *_act_route("/v1/tasks/{id}/{action}", act, "task", "{action} one task.", Task, TENANT, IF_MATCH),
    *_act_route(
        "/v1/tasks:{action}",
        act_many,
        "tasks",
        "{action} all tasks that match the filter.",
        Told,
        *FILTERS,
        Parameter("all", "All tasks are meant; needed where no filter is given.", bool),
    ),
    *_act_route(
        "/v1/tenants/{tenant}/{action}", act_tenant, "tenant", "{action} all tasks of a tenant.", Told
    ),
    _change_route("PUT", replace, "Replace the task's spec.", RawSpec),
    _change_route("PATCH", patch, "Change priority, limits or retry.", PatchBody),
    _change_route("DELETE", delete, "Delete the task; answers it as it was.", None),
)
