"""/v1/locks: named locks with a fencing token."""

import re
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from node.api.answers import json_answer
from node.api.context import service_of
from node.api.problems import bad_parameter, invalid
from node.api.requests import check_parameters, idempotency_key, parameter_int, read_table
from node.api.route import KEY, Parameter, Route
from node.durations import duration
from node.schema import Lock, ProblemItem
from node.spec.raw import Duration, Name, Section

SHORTEST, LONGEST = 1.0, 3600.0
"""Seconds; a shorter lock would be lost to one slow disk, a longer one outlives its holder for too long."""


_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


class LockBody(Section):
    """`ttl`: how long to hold it. `holder`: what others are told. `token`: of the lock held already, to renew it."""

    ttl: Duration = 30.0
    holder: Annotated[str, Meta(max_length=128)] = ""
    token: Annotated[int, Meta(ge=1)] | None = None


async def put(request: web.Request) -> web.Response:
    """Without `token` the lock is taken: 200 with its token, or 409 with the holder. With `token` it is renewed; 409
    when it is not held under that token any more. A lock needs a majority of the replicas of its slot (503 without
    one), and is only as good as what it protects: that has to refuse smaller tokens than the largest it has seen,
    for a holder that was frozen may write after its lock went to another."""
    check_parameters(request, "tenant")
    body, _ = await read_table(request, LockBody)
    key = idempotency_key(request)
    action = "acquire" if body.token is None else "renew"
    lock = await service_of(request).lock(
        action,
        _name(request),
        tenant=_tenant(request),
        key=key,
        holder=body.holder,
        token=body.token,
        ttl=_ttl(body),
    )
    return json_answer(lock, headers={"Idempotency-Key": key})


async def get(request: web.Request) -> web.Response:
    check_parameters(request, "tenant")
    return json_answer(
        await service_of(request).lock("read", _name(request), tenant=_tenant(request), key="")
    )


async def delete(request: web.Request) -> web.Response:
    """Free the lock before its time; its `token` says whose it is."""
    check_parameters(request, "tenant", "token")
    token = parameter_int(request, "token", low=1, high=(1 << 63) - 1)
    if token is None:
        raise bad_parameter("token", "is needed: the token under which the lock is held")
    return json_answer(
        await service_of(request).lock(
            "release", _name(request), tenant=_tenant(request), key="", token=token
        )
    )


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not _NAME.fullmatch(name):
        raise bad_parameter(
            "name", "of a lock is 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-'", value=name[:64]
        )
    return name


def _tenant(request: web.Request) -> str:
    tenant = request.query.get("tenant", "default")
    try:
        return msgspec.convert(tenant, Name)
    except msgspec.ValidationError:
        raise bad_parameter("tenant", "is 1 to 63 of a-z, 0-9 and -", value=tenant[:64]) from None


def _ttl(body: LockBody) -> float:
    try:
        ttl = duration(body.ttl)
    except ValueError as error:
        raise invalid([ProblemItem(pointer="/ttl", message=str(error), value=body.ttl)], "the lock") from None
    if not SHORTEST <= ttl <= LONGEST:
        item = ProblemItem(
            pointer="/ttl",
            message="is not within 1s and 1h",
            value=body.ttl,
            allowed=["1s", "1h"],
            remedy="renew it meanwhile",
        )
        raise invalid([item], "the lock")
    return ttl


_PATH = "/v1/locks/{name}"
_TENANT = Parameter("tenant", "Whose lock it is; tenants do not see each other's.")

ROUTES = (
    Route(
        method="PUT", path=_PATH, handler=put, name="hold_lock", about="Take a named lock, or renew it.", tag="locks",
        parameters=(_TENANT, KEY), body=LockBody, body_required=False, answers={200: Lock},
        problems=(409, 422, 503),
    ),
    Route(
        method="GET", path=_PATH, handler=get, name="read_lock", about="Who has a named lock.", tag="locks",
        parameters=(_TENANT,), answers={200: Lock}, problems=(503,),
    ),
    Route(
        method="DELETE", path=_PATH, handler=delete, name="free_lock", about="Free a named lock.", tag="locks",
        parameters=(_TENANT, Parameter("token", "Under which it is held.", int)), answers={200: Lock},
        problems=(409, 503),
    ),
)  # fmt: skip
