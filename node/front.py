"""Where the API of a node listens, and what others dial."""

from aiohttp import web

from node.api.listening import Listening, listen
from node.api.tls import load_tls
from node.config import HttpConfig
from node.data_directory import CannotStart
from node.transport.addresses import advertised, join


async def open_front(app: web.Application, http: HttpConfig) -> tuple[Listening, str]:
    """The server and its URL. Raises CannotStart, TlsError."""
    context = load_tls(http.tls_cert, http.tls_key) if http.tls_cert and http.tls_key else None
    try:
        listening = await listen(app, http.bind.host, http.bind.port, tls=context)
    except OSError as error:
        raise CannotStart(
            f"http.bind {http.bind}: {error.strerror or error}; choose another with --http"
        ) from None
    shown = advertised(join(*listening.address), str(http.advertise) if http.advertise else None)
    return listening, f"{'https' if context else 'http'}://{shown}"
