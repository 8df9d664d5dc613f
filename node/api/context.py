"""What every handler holds: the service, the plugins, who answers."""

import dataclasses
import secrets

from aiohttp import web

from node.service import Admission, Service
from plugins.registry import Registry


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`epoch` names this start of the server in event ids, so that those of another start stand out."""

    service: Service
    registry: Registry
    node_id: str
    version: str
    admission: Admission | None = None
    epoch: str = dataclasses.field(default_factory=lambda: secrets.token_hex(4))


CONTEXT = web.AppKey("context", Context)
REQUEST_ID = web.RequestKey("request_id", str)


def service_of(request: web.Request) -> Service:
    return request.app[CONTEXT].service
