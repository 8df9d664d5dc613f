"""A real server on a free port over the in-memory mesh."""

import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from node.api.access import Access
from node.api.app import create_app
from node.client import Client
from tests.node.api.admission import MemoryAdmission
from tests.node.api.memory import MemoryService
from tests.node.plugs import registry


class Server:
    """One node's API, listening."""

    def __init__(self, service: MemoryService, access: Access) -> None:
        self.service = service
        self.admission = MemoryAdmission()
        app = create_app(
            service,
            service.registry,
            access=access,
            node_id=service.name,
            version="1.2.3",
            admission=self.admission,
        )
        self.runner = web.AppRunner(app, shutdown_timeout=2)
        self.port = 0
        self.scheme = "http"

    async def start(self, tls: ssl.SSLContext | None = None) -> "Server":
        await self.runner.setup()
        self.scheme = "https" if tls else "http"
        site = web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        address: tuple[str, int] = self.runner.addresses[0]
        self.port = address[1]
        return self

    async def stop(self) -> None:
        await self.runner.cleanup()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


async def serve(
    *, access: Access | None = None, name: str = "a1", tls: ssl.SSLContext | None = None
) -> Server:
    return await Server(MemoryService(registry(), name), access or Access()).start(tls)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = await serve()
    yield made
    await made.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client([server.url]) as made:
        yield made


@pytest.fixture
async def http(server: Server) -> AsyncIterator[ClientSession]:
    """Bare requests, for what the typed client never sends."""
    async with ClientSession(server.url) as session:
        yield session
