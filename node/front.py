"""Where the API of a node listens, and what others dial."""

from typing import NamedTuple

from aiohttp import web

from node.api.listening import Listening, listen
from node.api.tls import Certificate
from node.config import HttpConfig
from node.data_directory import CannotStart
from node.transport.addresses import advertised, join


class Front(NamedTuple):
    """certificate: None without TLS; somebody has to `follow` it."""

    listening: Listening
    url: str
    certificate: Certificate | None


async def open_front(app: web.Application, http: HttpConfig) -> Front:
    """Listen. Raises CannotStart, TlsError."""
    certificate = Certificate(http.tls_cert, http.tls_key) if http.tls_cert and http.tls_key else None
    context = certificate.context if certificate else None
    try:
        listening = await listen(app, http.bind.host, http.bind.port, tls=context)
    except OSError as error:
        raise CannotStart(
            f"http.bind {http.bind}: {error.strerror or error}; choose another with --http"
        ) from None
    shown = advertised(join(*listening.address), str(http.advertise) if http.advertise else None)
    return Front(listening, f"{'https' if certificate else 'http'}://{shown}", certificate)
