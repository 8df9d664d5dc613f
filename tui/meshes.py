"""The meshes that are watched, each through a client of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

import msgspec

from node.client import Client
from tui.watcher import Watcher


class Mesh(msgspec.Struct, frozen=True):
    """`urls`: nodes to try, in this order. `token`: the bearer token, if any."""

    name: str
    urls: tuple[str, ...]
    token: str | None = None


@asynccontextmanager
async def watchers(meshes: Sequence[Mesh]) -> AsyncIterator[list[Watcher]]:
    """One for each mesh, in their order."""
    async with AsyncExitStack() as stack:
        yield [
            Watcher(await stack.enter_async_context(Client(mesh.urls, mesh.token)), monotonic, mesh.name)
            for mesh in meshes
        ]
