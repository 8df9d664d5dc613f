"""The HTTP collector against a real server: every way of pagination, resume at each page, bounds."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from plugins.api import Range, Since
from tests.plugins.http_server import BY_CURSOR, ITEMS, Api, Handler, always, by_cursor, serving


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as made:
        yield made


async def by_page(request: web.Request) -> web.Response:
    page, size = int(request.query.get("page", 1)), int(request.query.get("per_page", 4))
    return web.json_response({"data": {"items": ITEMS[(page - 1) * size : page * size]}})


async def by_page_or_404(request: web.Request) -> web.Response:
    return await by_page(request) if int(request.query["page"]) <= 3 else web.Response(status=404)


async def by_offset(request: web.Request) -> web.Response:
    at = int(request.query["skip"])
    return web.json_response(ITEMS[at : at + 4])


async def by_next_url(request: web.Request) -> web.Response:
    at = int(request.query.get("at", "0"))
    following = request.url.update_query(at=at + 4) if at + 4 < 10 else ""
    return web.json_response({"items": ITEMS[at : at + 4], "next": str(following)})


async def by_link(request: web.Request) -> web.Response:
    page = int(request.query.get("page", "1"))
    following = str(request.rel_url.update_query(page=page + 1))
    links = {"Link": f'<{following}>; rel="next", </items?page=1>; rel="first"'} if page < 3 else {}
    return web.json_response(ITEMS[(page - 1) * 4 : page * 4], headers=links)


WAYS: dict[str, tuple[Handler, dict[str, Any]]] = {
    "page": (by_page, {"records": "data.items", "pagination": {"type": "page"}}),
    "page, sized": (
        by_page,
        {
            "records": "data.items",
            "pagination": {"type": "page", "size_param": "per_page", "size": 3, "stop": "short"},
        },
    ),
    "page, until one is missing": (
        by_page_or_404,
        {"records": "data.items", "pagination": {"type": "page", "stop": "missing"}},
    ),
    "offset": (by_offset, {"pagination": {"type": "offset", "param": "skip"}}),
    "cursor": (by_cursor, BY_CURSOR),
    "next url": (by_next_url, {"records": "items", "pagination": {"type": "cursor", "next": "next"}}),
    "link": (by_link, {"pagination": {"type": "link"}}),
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_page_once_and_resume_at_each_position(api: Api, way: str) -> None:
    api.handler, options = WAYS[way]
    secret: dict[str, Any] = {"params": {"key": {"secret": "KEY"}}, "secrets": {"KEY": "canary-5"}}
    batches = await api.batches(**options, **secret)
    assert [record for batch in batches for record in batch.records] == ITEMS
    assert all(request.query["key"] == "canary-5" for request in api.asked)
    assert api.taken == len(api.asked) == len(batches)
    assert batches[0].start is None
    for index, batch in enumerate(batches):
        position = json.loads(json.dumps(batch.end))
        assert "canary-5" not in json.dumps(position)
        rest = await api.batches(resume=position, **options, **secret)
        assert [(b.start, b.end, b.records) for b in rest] == [
            (b.start, b.end, b.records) for b in batches[index + 1 :]
        ]


async def test_a_single_answer_without_pages(api: Api) -> None:
    api.handler = always(lambda: web.json_response([*ITEMS, "odd", 5]))
    (batch,) = await api.batches()
    assert (len(batch.records), batch.end) == (10, {"done": True})
    assert [rejected.raw for rejected in batch.rejected] == ["odd", 5]


@pytest.mark.parametrize(("status", "body"), [(204, ""), (200, '{"items": null}'), (200, '{"items": []}')])
async def test_nothing_is_an_empty_page(api: Api, status: int, body: str) -> None:
    api.handler = always(lambda: web.Response(status=status, text=body))
    assert await api.ids(records="items") == []


async def test_incremental_asks_and_filters(api: Api) -> None:
    api.handler = always(lambda: web.json_response(ITEMS))
    since: dict[str, Any] = {"mode": "incremental", "since": Since("at", "2024-01-08")}
    assert await api.ids(request=since, since_param="updated_after") == [9, 10]
    assert api.asked[0].query["updated_after"] == "2024-01-08"
    inclusive = {"mode": "incremental", "since": Since("at", "2024-01-08", inclusive=True)}
    assert await api.ids(request=inclusive) == [8, 9, 10]
    first = {"mode": "incremental", "since": Since("at")}
    assert len(await api.ids(request=first, since_param="updated_after")) == 10
    assert "updated_after" not in api.asked[-1].query


async def test_a_range_has_a_shard_for_each_gap_which_says_what_it_covers(api: Api) -> None:
    api.handler, options = WAYS["cursor"]
    gaps = (("2024-01-02", "2024-01-04"), ("2024-01-09", "2024-02-01"))
    wanted = {
        "mode": "range",
        "range": Range(field="at", from_="2024-01-01", to="2024-02-01"),
        "ranges": gaps,
    }
    options = {**options, "from_param": "from", "to_param": "to"}
    plans = await api.plan(wanted, **options)
    assert tuple(plan.covers for plan in plans) == gaps
    for plan, ids in zip(plans, ([2, 3], [9, 10]), strict=True):
        batches = await api.batches(request=wanted, shard=plan, **options)
        assert [record["id"] for batch in batches for record in batch.records] == ids
        assert (api.asked[-1].query["from"], api.asked[-1].query["to"]) == plan.covers
        for index, batch in enumerate(batches):
            rest = await api.batches(request=wanted, shard=plan, resume=batch.end, **options)
            assert [b.records for b in rest] == [b.records for b in batches[index + 1 :]]


async def test_a_range_without_gaps_is_cut_by_its_step(api: Api) -> None:
    whole = Range(field="at", from_="2024-01-01", to="2024-01-03")
    assert [plan.covers for plan in await api.plan({"mode": "range", "range": whole})] == [
        ("2024-01-01", "2024-01-03")
    ]
    days = msgspec.structs.replace(whole, step="day")
    assert len(await api.plan({"mode": "range", "range": days})) == 2
    assert [plan.covers for plan in await api.plan({})] == [None]
