"""/v1/tasks: create, list and read tasks."""

import msgspec
from aiohttp import web

from node.api.answers import json_answer, list_answer, task_answer, wants_lines
from node.api.context import CONTEXT, service_of
from node.api.problems import invalid
from node.api.requests import (
    check_parameters,
    decode_json,
    idempotency_key,
    parameter_flag,
    parameter_int,
    query_of,
    read_body,
    ref_of,
    tenant_of,
)
from node.api.route import JSON, KEY, NDJSON, TENANT, Parameter, Route
from node.api.shapes import TaskPage
from node.schema import Task
from node.service import Refused
from node.spec import Checked, InvalidSpec, SpecChecker
from node.spec.raw import RawSpec


async def create(request: web.Request) -> web.Response:
    """201 with the task; 200 where it was there before (same key, or the same named task again)."""
    check_parameters(request, "durability", "force")
    key, service = idempotency_key(request), service_of(request)
    spec = await read_spec(request)
    submitted = await service.submit(
        [spec.data],
        tenant=spec.tenant,
        key=key,
        durability=parameter_int(request, "durability", low=1, high=2),
        force=parameter_flag(request, "force"),
    )
    task = await _read_back(request, submitted.ids[0], spec.tenant)
    headers = {
        "Location": f"/v1/tasks/{task.id}",
        "Idempotency-Key": key,
        "X-Collect-Durability": str(submitted.durability),
    }
    return task_answer(task, status=201 if submitted.created else 200, headers=headers)


async def read_spec(request: web.Request) -> Checked:
    """The task of the body, checked; every error of it is in the refusal."""
    value = decode_json(await read_body(request))
    context = request.app[CONTEXT]
    try:
        return SpecChecker(context.registry, context.service.facts()).check_object(value)
    except InvalidSpec as error:
        raise invalid(error.items) from None


async def _read_back(request: web.Request, task: str, tenant: str) -> Task:
    try:
        return await service_of(request).get(task, tenant=tenant)
    except Refused as refused:
        told = refused.problem
        told = msgspec.structs.replace(
            told, state_changed=True, detail=f"task {task} was accepted, but not read back: {told.detail}"
        )
        raise Refused(told, retry_after=refused.retry_after) from None


async def listing(request: web.Request) -> web.Response:
    check_parameters(request, "state", "tenant", "name", "limit", "cursor")
    page = await service_of(request).query(query_of(request))
    if wants_lines(request):
        answer = list_answer(request, page.items)
        if page.next:
            answer.headers["X-Collect-Next"] = page.next
        return answer
    return json_answer(page)


async def read(request: web.Request) -> web.Response:
    check_parameters(request, "tenant")
    return task_answer(await service_of(request).get(ref_of(request), tenant=tenant_of(request)))


DURABILITY = Parameter(
    "durability", "On how many disks it must lie before the answer (1 or 2); not to be had: 503.", int
)
FILTERS = (
    Parameter("state", "Task states, with commas between."),
    Parameter("tenant", "The tenant."),
    Parameter("name", "The name of the task."),
)
PAGING = (
    Parameter("limit", "Items of a page, 1 to 1000.", int),
    Parameter("cursor", "`next` of the page before."),
)

ROUTES = (
    Route(
        method="POST",
        path="/v1/tasks",
        handler=create,
        name="create_task",
        about="Create a task. The same named task again: 200 and a new run, unless it is incremental and not over.",
        tag="tasks",
        parameters=(DURABILITY, Parameter("force", "Collect a range again where it is covered.", bool), KEY),
        body=RawSpec,
        answers={201: Task, 200: Task},
        problems=(404, 409, 422, 503, 507),
    ),
    Route(
        method="GET",
        path="/v1/tasks",
        handler=listing,
        name="list_tasks",
        about="A page of the tasks that match.",
        tag="tasks",
        parameters=(*FILTERS, *PAGING),
        answers={200: TaskPage},
        answer_media=(JSON, NDJSON),
        problems=(503,),
    ),
    Route(
        method="GET",
        path="/v1/tasks/{id}",
        handler=read,
        name="read_task",
        about="One task, by id, unique prefix of an id, or name. Its revision is the ETag.",
        tag="tasks",
        parameters=(TENANT,),
        answers={200: Task},
        problems=(404, 409, 503),
    ),
)
