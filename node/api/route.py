"""One operation of the API: how it is reached and, from the same entry, how it is documented."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
BYTES = "application/octet-stream"
PROBLEM = "application/problem+json"


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header. `shape`: its type, for the schema."""

    name: str
    about: str
    shape: Any = str
    where: str = "query"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`path`: aiohttp's form. `body`: type of the request's body, None for none; `media`: how it is sent.
    `answers`: status -> type of the answer. `answer_media`: the media that answers may have.
    `problems`: statuses of its own refusals; those that any operation can give are added by the document.
    """

    method: str
    path: str
    handler: Handler
    name: str
    about: str
    tag: str
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    body_required: bool = True
    media: tuple[str, ...] = (JSON,)
    answers: dict[int, Any]
    answer_media: tuple[str, ...] = (JSON,)
    problems: tuple[int, ...] = ()
    open: bool = False


TENANT = Parameter("tenant", "The tenant of a task that is given by its name.")
IF_MATCH = Parameter(
    "If-Match", "The revision (ETag) that the change is meant for; another one is refused.", str, "header"
)
KEY = Parameter(
    "Idempotency-Key",
    "Names this request: sent again, through any node, it has no second effect. For another request it is refused "
    "(409); where two nodes take one each in the same moment, one counts, and the task's `warnings` tell of the other.",
    str,
    "header",
)
