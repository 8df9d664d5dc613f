"""The HTTP server of a node: where it listens, and how long and how many connections it keeps."""

import asyncio
import contextlib
import logging
import resource
import ssl

from aiohttp import http_exceptions, web

from node.api.crowd import CROWD

IDLE = 60.0
"""Seconds that a connection may stay open without a whole request head. aiohttp's own default is an hour."""
HANDSHAKE = 5.0
"""Seconds for TLS."""
SHUTDOWN = 1.0
"""Seconds in which requests may end when the server stops."""
MOST = 4096
"""Connections, where the limit of open files allows four times as many."""

log = logging.getLogger(__name__)


class NoTraces(logging.Filter):
    """What a client gets wrong is answered 400, and is no failure of the node: it must not be able to fill the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        cause = record.exc_info[1] if record.exc_info else None
        return not isinstance(cause, http_exceptions.HttpProcessingError | web.RequestPayloadError)


log.addFilter(NoTraces())


class Listening:
    """A server that has been started; `address` is where."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server) -> None:
        self._runner = runner
        self._server = server
        host, port = server.sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)

    async def stop(self) -> None:
        self._server.close()
        await self._runner.cleanup()


async def listen(
    app: web.Application, host: str, port: int, *, tls: ssl.SSLContext | None = None, most: int | None = None
) -> Listening:
    """Serve `app`. `most`: connections at a time. Raises OSError where the address cannot be had."""
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=SHUTDOWN, keepalive_timeout=IDLE, logger=log
    )
    await runner.setup()
    server = runner.server
    assert server is not None, "the runner has been set up"
    crowd, room = app[CROWD], most or min(MOST, open_files() // 4)
    try:
        listening = await asyncio.get_running_loop().create_server(
            lambda: crowd.admit(server, room),
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE if tls else None,
            backlog=1024,
        )
    except OSError:
        await runner.cleanup()
        raise
    return Listening(runner, listening)


def open_files() -> int:
    """How many files this process may have open, after it has asked for as many as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else 4 * MOST
