"""What handlers read from a request: body, parameters, headers; each error names the part that is wrong."""

import asyncio
import re
import uuid
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from node.api.crowd import CROWD
from node.api.problems import bad_parameter, invalid, refuse
from node.schema import TASK_STATES
from node.service import Query
from node.spec.fields import convert_fields
from node.spec.problems import Problems, nearest
from node.spec.text import parse_json

S = TypeVar("S", bound=msgspec.Struct)

BODY_TIMEOUT = 30.0
"""Seconds in which a body must have arrived, so that a slow sender holds nothing for long."""
MAX_LIMIT = 1000
"""Items of one page."""

_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_TRUE = {"true": True, "1": True, "false": False, "0": False}


async def read_body(request: web.Request) -> bytes:
    """The whole body, within the application's size limit."""
    body = bytearray()
    try:
        with request.app[CROWD].body() as held:
            async with asyncio.timeout(BODY_TIMEOUT):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > request.client_max_size:
                        raise web.HTTPRequestEntityTooLarge(
                            max_size=request.client_max_size, actual_size=len(body)
                        )
                    held.grow(len(body))
            return bytes(body)
    except TimeoutError:
        raise refuse(408, "slow-body", f"the body did not arrive within {BODY_TIMEOUT:g} s") from None


def decode_json(body: bytes) -> Any:
    """The JSON value of a body."""
    try:
        return parse_json(body)
    except ValueError as error:
        raise refuse(400, "malformed", f"the body is {error}") from None


async def read_table(request: web.Request, shape: type[S]) -> tuple[S, dict[str, Any]]:
    """The body as `shape`, and as it was sent; absent, it is an empty table. Every error is reported."""
    body = await read_body(request)
    table = decode_json(body) if body else {}
    problems = Problems()
    converted = convert_fields(shape, table, "", problems)
    if converted is None or problems.items:
        raise invalid(problems.items, "the request")
    return converted, table


def given(section: msgspec.Struct, table: dict[str, Any]) -> dict[str, Any]:
    """What the sender gave, defaults and nulls too, with the values that `section` has for it."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        if field.encode_name in table:
            value = getattr(section, field.name)
            inner = table[field.encode_name]
            values[field.name] = given(value, inner) if isinstance(value, msgspec.Struct) else value
    return values


def check_parameters(request: web.Request, *known: str) -> None:
    """Refuse parameters that the operation does not have: a misspelt filter must not match everything."""
    for name in request.query:
        if name not in known:
            guess = nearest(name, known)
            hint = f"; did you mean {guess!r}?" if guess else ""
            raise bad_parameter(name, f"unknown parameter{hint}", allowed=sorted(known))


def parameter_int(request: web.Request, name: str, *, low: int, high: int) -> int | None:
    """A whole number within [low, high]; None where the parameter is absent."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise bad_parameter(name, f"must be a whole number from {low} to {high}", value=text[:64])
    return int(text)


def parameter_flag(request: web.Request, name: str) -> bool:
    """A boolean; absent is false."""
    text = request.query.get(name, "false").lower()
    if text not in _TRUE:
        raise bad_parameter(name, "must be true or false", value=text[:64], allowed=sorted(_TRUE))
    return _TRUE[text]


def query_of(request: web.Request) -> Query:
    """The filter of a listing or of a bulk control."""
    states = tuple(word for text in request.query.getall("state", []) for word in text.split(",") if word)
    for state in states:
        if state not in TASK_STATES:
            raise bad_parameter(
                "state", f"unknown state {state[:64]!r}", value=state[:64], allowed=list(TASK_STATES)
            )
    return Query(
        state=states,
        tenant=request.query.get("tenant"),
        name=request.query.get("name"),
        limit=parameter_int(request, "limit", low=1, high=MAX_LIMIT) or 100,
        cursor=request.query.get("cursor"),
    )


def if_match(request: web.Request) -> int | None:
    """The revision of If-Match; None where it is absent or "*"."""
    text = request.headers.get("If-Match", "*").strip().removeprefix("W/").strip('"')
    if text == "*":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise bad_parameter("If-Match", "must be the ETag of a task", value=text[:64])
    return int(text)


def idempotency_key(request: web.Request) -> str:
    """The request's key; one is made where the client sent none."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return uuid.uuid4().hex
    if not _KEY.fullmatch(key):
        raise bad_parameter("Idempotency-Key", "must be 1 to 128 visible ASCII characters")
    return key


def ref_of(request: web.Request) -> str:
    """The task of the path: an id, a unique prefix of one, or a name."""
    return request.match_info["id"]


def tenant_of(request: web.Request) -> str | None:
    return request.query.get("tenant")
