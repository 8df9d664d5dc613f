"""The HTTP collector and numbered pages of a source that grows between two requests."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.plugins.http_server import Api, serving

SIZE = 4


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as made:
        yield made


class Growing:
    """Pages of `sizes`; at the request of number `at` the source has `more` records."""

    def __init__(self, records: int, at: int, more: int) -> None:
        self.records, self.at, self.more = records, at, more
        self.asked: list[int] = []

    async def __call__(self, request: web.Request) -> web.Response:
        page = int(request.query.get("page", 1))
        self.asked.append(page)
        if len(self.asked) == self.at:
            self.records += self.more
        rows = [{"id": n} for n in range(self.records)]
        return web.json_response(rows[(page - 1) * SIZE : page * SIZE])


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.parametrize("at", range(1, 8))
@pytest.mark.parametrize("more", [1, 2, 3, 6, 9])
async def test_no_record_is_passed_over_and_none_read_twice(
    api: Api, size: int | None, at: int, more: int
) -> None:
    paging: dict[str, Any] = {"type": "page"} | ({"size": size} if size else {})
    api.handler = Growing(10, at, more)
    batches = await api.batches(pagination=paging)
    ids = [record["id"] for batch in batches for record in batch.records]
    assert ids == list(range(len(ids)))
    assert len(ids) >= 10
    for index, batch in enumerate(batches):
        position = json.loads(json.dumps(batch.end))
        rest = await api.batches(resume=position, pagination=paging)
        found = [record["id"] for b in [*batches[: index + 1], *rest] for record in b.records]
        assert found == list(range(max(10, len(found))))


async def test_pages_that_are_uneven_by_nature_cost_two_requests_more(api: Api) -> None:
    sizes = [4, 3, 1, 3, 2, 0]
    asked: list[int] = []

    async def uneven(request: web.Request) -> web.Response:
        page = int(request.query.get("page", 1))
        asked.append(page)
        return web.json_response([{"id": f"{page}.{n}"} for n in range(sizes[page - 1])])

    api.handler = uneven
    ids = await api.ids(pagination={"type": "page"})
    assert ids == [f"{page}.{n}" for page, size in enumerate(sizes, 1) for n in range(size)]
    assert asked == [1, 2, 3, 2, 3, 4, 5, 6]
