"""What holds for every request: an id, the answering node's name, access, a problem for what goes wrong."""

import logging
import re
import uuid

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from node.api.access import Access, check_access
from node.api.answers import ENCODER
from node.api.context import CONTEXT, REQUEST_ID
from node.api.crowd import CROWD
from node.api.problems import problem
from node.api.route import PROBLEM
from node.schema import Problem
from node.service import Refused

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_KINDS = {404: "no-such-path", 405: "method", 413: "too-large", 415: "media-type"}


async def name_answer(request: web.Request, response: web.StreamResponse) -> None:
    """Put request id and node on every answer, streams too."""
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or _request_id(request)
    response.headers["X-Collect-Node"] = request.app[CONTEXT].node_id
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def problem_middleware(access: Access) -> Middleware:
    """The one middleware: checks access, and turns refusals, aiohttp's errors and bugs into problems."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = _request_id(request)
        with request.app[CROWD].busy(request.protocol):
            return await _answered(request, handler, access)

    return answer


async def _answered(request: web.Request, handler: Handler, access: Access) -> web.StreamResponse:
    try:
        check_access(request, access)
        return await handler(request)
    except Refused as refused:
        return problem_answer(request, refused.problem, retry_after=refused.retry_after)
    except web.HTTPException as error:
        return _http_answer(request, error)
    except (ConnectionError, web.RequestPayloadError):
        return problem_answer(
            request, problem(400, "broken-body", "the body broke off, or is not as encoded")
        )
    except Exception:
        log.exception("request %s failed: %s %s", request[REQUEST_ID], request.method, request.path)
        return problem_answer(
            request, problem(500, "internal", "the node failed; its log has the request id")
        )


def problem_answer(request: web.Request, told: Problem, *, retry_after: float | None = None) -> web.Response:
    """The problem as an answer, with the request's id. `retry_after`: seconds, rounded up."""
    headers = {} if retry_after is None else {"Retry-After": str(max(1, -int(-retry_after // 1)))}
    if told.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = ENCODER.encode(msgspec.structs.replace(told, request_id=request[REQUEST_ID]))
    return web.Response(body=body, status=told.status, content_type=PROBLEM, headers=headers)


def _http_answer(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """Aiohttp's own refusals. OPTIONS on a known path is answered, without any cross-origin permission."""
    allow = error.headers.get("Allow")
    if isinstance(error, web.HTTPMethodNotAllowed) and request.method == "OPTIONS":
        return web.Response(status=204, headers={"Allow": ", ".join(sorted(error.allowed_methods))})
    told = problem(error.status, _KINDS.get(error.status, "http"), _detail(request, error))
    answer = problem_answer(request, told)
    if allow:
        answer.headers["Allow"] = allow
    return answer


def _detail(request: web.Request, error: web.HTTPException) -> str:
    match error:
        case web.HTTPNotFound():
            return f"there is nothing at {request.path[:200]}; /openapi.json lists what there is"
        case web.HTTPMethodNotAllowed():
            return (
                f"{request.method[:20]} is not allowed here, but {', '.join(sorted(error.allowed_methods))}"
            )
        case web.HTTPRequestEntityTooLarge():
            return error.text or error.reason
        case _:
            return error.reason
