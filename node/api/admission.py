"""/v1/join-tokens, /v1/join-key, /v1/nodes/{id}/revoke: who may be of the mesh."""

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from node.api.answers import json_answer
from node.api.bodies import Nothing
from node.api.context import CONTEXT
from node.api.problems import invalid, refuse
from node.api.requests import check_parameters, read_table
from node.api.route import Route
from node.durations import duration
from node.schema import IssuedToken, JoinKey, JoinToken, Verdict
from node.security.tickets import MAX_LIFE, MAX_USES
from node.service import Admission
from node.spec.problems import Problems
from node.spec.raw import Duration, Section

LEAST_LIFE = 1.0


class TokenBody(Section):
    """What a token shall be good for."""

    expires: Duration = "1h"
    uses: Annotated[int, Meta(ge=1, le=MAX_USES)] = 1


class RevokeBody(Section):
    """`keep_key`: do not rotate the key of the mesh, which the node knows, and could let others in with."""

    keep_key: bool = False


def admission_of(request: web.Request) -> Admission:
    admission = request.app[CONTEXT].admission
    if admission is None:
        raise refuse(501, "not-known-here", "this node does not keep who may be of the mesh")
    return admission


async def issue(request: web.Request) -> web.Response:
    """The answer is the only place where the token is ever shown."""
    check_parameters(request)
    body, _ = await read_table(request, TokenBody)
    issued = await admission_of(request).issue(uses=body.uses, life=_life(body.expires))
    return json_answer(issued, status=201, headers={"Cache-Control": "no-store"})


def _life(expires: str | float) -> float:
    problems = Problems()
    try:
        life = duration(expires)
        if not LEAST_LIFE <= life <= MAX_LIFE:
            raise ValueError(f"{expires!r} is not within 1s and {MAX_LIFE // 86_400}d")
    except ValueError as error:
        problems.add("/expires", str(error), value=expires, remedy='give a duration, "1h" say')
        raise invalid(problems.items, "the request") from None
    return life


async def tokens(request: web.Request) -> web.Response:
    """Those that expired less than a week ago too."""
    check_parameters(request)
    return json_answer(await admission_of(request).tokens())


async def withdraw(request: web.Request) -> web.Response:
    """Nobody gets in by it any more; who did stays."""
    check_parameters(request)
    return json_answer(await admission_of(request).withdraw(request.match_info["id"]))


async def rotate(request: web.Request) -> web.Response:
    """Members go on undisturbed, and get it when they come back; key files and tokens of before open nothing."""
    check_parameters(request)
    await read_table(request, Nothing)
    return json_answer(await admission_of(request).rotate())


async def revoke(request: web.Request) -> web.Response:
    """Its connections end, on every live node within a second, and it cannot join again. Unless `keep_key`, the
    key of the mesh is rotated as well.
    """
    check_parameters(request)
    body, _ = await read_table(request, RevokeBody)
    node = request.match_info["id"]
    return json_answer(await admission_of(request).revoke(node, keep_key=body.keep_key))


async def readmit(request: web.Request) -> web.Response:
    check_parameters(request)
    await read_table(request, Nothing)
    return json_answer(await admission_of(request).readmit(request.match_info["id"]))


async def revoked(request: web.Request) -> web.Response:
    check_parameters(request)
    return json_answer(await admission_of(request).revoked())


ROUTES = (
    Route(
        method="POST",
        path="/v1/join-tokens",
        handler=issue,
        name="issue_join_token",
        about="Make a one-time token with which a new node joins.",
        tag="admission",
        body=TokenBody,
        body_required=False,
        answers={201: IssuedToken},
        problems=(409, 422, 501, 503),
    ),
    Route(
        method="GET",
        path="/v1/join-tokens",
        handler=tokens,
        name="list_join_tokens",
        about="The one-time tokens, without their secrets.",
        tag="admission",
        answers={200: list[JoinToken]},
        problems=(501, 503),
    ),
    Route(
        method="DELETE",
        path="/v1/join-tokens/{id}",
        handler=withdraw,
        name="withdraw_join_token",
        about="Withdraw a one-time token.",
        tag="admission",
        answers={200: JoinToken},
        problems=(404, 501, 503),
    ),
    Route(
        method="POST",
        path="/v1/join-key/rotate",
        handler=rotate,
        name="rotate_join_key",
        about="Replace the key of the mesh.",
        tag="admission",
        body=Nothing,
        body_required=False,
        answers={200: JoinKey},
        problems=(422, 501, 503),
    ),
    Route(
        method="POST",
        path="/v1/nodes/{id}/revoke",
        handler=revoke,
        name="revoke_node",
        about="Shut a node out of the mesh.",
        tag="admission",
        body=RevokeBody,
        body_required=False,
        answers={200: Verdict},
        problems=(404, 409, 422, 501, 503),
    ),
    Route(
        method="POST",
        path="/v1/nodes/{id}/readmit",
        handler=readmit,
        name="readmit_node",
        about="Take a revocation back.",
        tag="admission",
        body=Nothing,
        body_required=False,
        answers={200: Verdict},
        problems=(404, 409, 422, 501, 503),
    ),
    Route(
        method="GET",
        path="/v1/revocations",
        handler=revoked,
        name="list_revocations",
        about="The nodes that are shut out.",
        tag="admission",
        answers={200: list[Verdict]},
        problems=(501,),
    ),
)
