"""A real server on a free port over the in-memory mesh."""

import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from node.api.access import Access
from node.api.app import create_app
from node.api.listening import Listening, listen
from node.client import Client
from tests.node.api.admission import MemoryAdmission
from tests.node.api.memory import MemoryService
from tests.node.plugs import registry


class Server:
    """One node's API, listening."""

    def __init__(self, service: MemoryService, access: Access) -> None:
        self.service = service
        self.admission = MemoryAdmission()
        self.app = create_app(
            service,
            service.registry,
            access=access,
            node_id=service.name,
            version="1.2.3",
            admission=self.admission,
        )
        self.listening: Listening | None = None
        self.port = 0
        self.scheme = "http"

    async def start(self, tls: ssl.SSLContext | None = None, most: int | None = None) -> "Server":
        self.scheme = "https" if tls else "http"
        self.listening = await listen(self.app, "127.0.0.1", 0, tls=tls, most=most)
        self.port = self.listening.address[1]
        return self

    async def stop(self) -> None:
        if self.listening is not None:
            await self.listening.stop()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


async def serve(
    *,
    access: Access | None = None,
    name: str = "a1",
    tls: ssl.SSLContext | None = None,
    most: int | None = None,
) -> Server:
    return await Server(MemoryService(registry(), name), access or Access()).start(tls, most)


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
