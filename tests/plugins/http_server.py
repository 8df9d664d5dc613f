"""A JSON API on loopback, and the HTTP collector asking it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from plugins.api import Batch, CollectContext, CollectRequest, PluginContext, ShardPlan
from plugins.collectors.http import HttpCollector, HttpOptions
from plugins.http import NetworkRules, Web
from plugins.options import resolve

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOW = 1_700_000_000.0
ITEMS = [{"id": n, "at": f"2024-01-{n:02}"} for n in range(1, 11)]


class Api:
    """A server on loopback whose one resource is what the test says; `asked` keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.handler: Handler | None = None
        self.taken = 0
        self.pool = Web(NetworkRules(allow=["127.0.0.1/32"]))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        assert self.handler is not None
        return await self.handler(request)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.server = TestServer(app, host="127.0.0.1")
        await self.server.start_server()

    async def take(self, amount: float = 1) -> None:
        self.taken += int(amount)

    def count(self, name: str, amount: int = 1) -> None:
        pass

    def url(self, path: str = "/items", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.port}{path}"

    async def collector(self, secrets: dict[str, str] | None = None, **options: Any) -> HttpCollector:
        made = resolve(HttpOptions, {"url": self.url(), **options}, (secrets or {}).get)
        collector = HttpCollector()
        await collector.initialize(
            PluginContext(
                options=made,
                roots=None,  # type: ignore[arg-type]
                budget=self,
                metrics=self,
                clock=lambda: NOW,
                log=lambda event, **fields: None,
                http=self.pool.session,
            )
        )
        return collector

    async def plan(self, request: dict[str, Any], **options: Any) -> list[ShardPlan]:
        collector = await self.collector(**options)
        return list(await collector.plan(CollectRequest(task="t", run="r", **request)))

    async def batches(
        self,
        *,
        resume: Any = None,
        request: dict[str, Any] | None = None,
        shard: ShardPlan | None = None,
        **options: Any,
    ) -> list[Batch]:
        collector = await self.collector(**options)
        asked = CollectRequest(task="t", run="r", **(request or {}))
        context = CollectContext(request=asked, shard=shard or ShardPlan(key="0"), resume=resume)
        return [batch async for batch in collector.collect(context)]

    async def ids(self, **options: Any) -> list[Any]:
        return [record["id"] for batch in await self.batches(**options) for record in batch.records]


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Api]:
    made = Api()
    await made.start()
    yield made
    await made.pool.close()
    await made.server.close()


def always(response: Callable[[], web.Response]) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        return response()

    return handle


async def by_cursor(request: web.Request) -> web.Response:
    at = int(request.query.get("after", "0"))
    return web.json_response(
        {"items": ITEMS[at : at + 4], "meta": {"next": str(at + 4) if at + 4 < 10 else None}}
    )


BY_CURSOR: dict[str, Any] = {
    "records": "items",
    "pagination": {"type": "cursor", "param": "after", "next": "meta.next"},
}
