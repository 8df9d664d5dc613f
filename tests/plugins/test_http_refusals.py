"""The HTTP collector and servers that refuse, fail, redirect, lie, or never come to an end."""

import asyncio
import email.utils
import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from plugins.api import Batch, CollectContext, CollectRequest, Permanent, Retryable, ShardPlan
from plugins.collectors.http import HttpOptions
from plugins.http import NetworkRules, Web
from plugins.http_fetch import retry_after
from plugins.options import OptionErrors, resolve
from tests.plugins.http_server import BY_CURSOR, ITEMS, NOW, Api, Handler, always, by_cursor, serving


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as made:
        yield made


async def test_credentials_and_bodies_are_sent(api: Api) -> None:
    bodies = []

    async def note(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.json_response([])

    api.handler = note
    basic = {"type": "basic", "user": "ann", "password": {"secret": "P"}}
    await api.batches(auth=basic, secrets={"P": "pw"}, method="POST", body={"q": 1})
    assert api.asked[-1].headers["Authorization"] == "Basic YW5uOnB3"
    assert (api.asked[-1].method, bodies) == ("POST", [{"q": 1}])
    bearer = {"type": "bearer", "token": {"secret": "P"}}
    await api.batches(
        auth=bearer, secrets={"P": "pw"}, headers={"X-Key": {"secret": "P"}}, method="POST", body={}
    )
    assert api.asked[-1].headers["Authorization"] == "Bearer pw"
    assert api.asked[-1].headers["X-Key"] == "pw"


@pytest.mark.parametrize(
    ("status", "header", "kind", "after"),
    [
        (429, "7", Retryable, 7.0),
        (429, email.utils.formatdate(NOW + 90, usegmt=True), Retryable, 90.0),
        (429, None, Retryable, None),
        (503, "nonsense", Retryable, None),
        (500, None, Retryable, None),
        (403, "3", Retryable, 3.0),
        (401, None, Permanent, None),
        (404, None, Permanent, None),
        (304, None, Permanent, None),
    ],
)
async def test_refusals(
    api: Api, status: int, header: str | None, kind: type[Exception], after: float | None
) -> None:
    headers = {"Retry-After": header} if header else {}
    text = "" if status == 304 else "no\n  such thing " + "x" * 1000
    api.handler = always(lambda: web.Response(status=status, text=text, headers=headers))
    with pytest.raises(kind) as caught:
        await api.batches(params={"key": "hidden"})
    assert caught.value.code == f"http-{status}"  # type: ignore[attr-defined]
    assert getattr(caught.value, "after", None) == after
    assert str(status) in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert len(str(caught.value)) < 400
    if text:
        assert "no such thing" in str(caught.value)


def test_retry_after_is_bounded() -> None:
    assert retry_after("999999999", NOW) == 86_400
    assert retry_after(email.utils.formatdate(NOW - 50, usegmt=True), NOW) == 0
    assert retry_after("Wed, 99 Nov 2024 99:99:99 GMT", NOW) is None
    assert retry_after("-5", NOW) is None


@pytest.mark.parametrize(
    ("response", "options", "code", "says"),
    [
        (lambda: web.Response(text="<html>Hello", content_type="text/html"), {}, "not-json", "text/html"),
        (lambda: web.json_response({"data": 1, "meta": 2}), {"records": "items"}, "records", "data, meta"),
        (lambda: web.json_response({"items": []}), {}, "records", "it has items"),
        (lambda: web.Response(text="[" * 100_000), {}, "not-json", "recursion"),
        (lambda: web.json_response([{"a": "x" * 5000}]), {"max_bytes": 1000}, "page-size", "1000 bytes"),
    ],
)
async def test_answers_that_are_not_what_was_meant(
    api: Api, response: Callable[[], web.Response], options: dict[str, Any], code: str, says: str
) -> None:
    api.handler = always(response)
    with pytest.raises(Permanent) as caught:
        await api.batches(**options)
    assert caught.value.code == code
    assert says in str(caught.value)


async def test_an_empty_answer_is_no_empty_page(api: Api) -> None:
    """A proxy whose server died says 200 and nothing; the run must not end there as if it were the last page."""
    api.handler = always(lambda: web.Response(text=" \n"))
    with pytest.raises(Retryable, match="200 with nothing in it") as caught:
        await api.batches(pagination={"type": "page"})
    assert caught.value.code == "empty-answer"


async def test_a_bomb_is_counted_unpacked(api: Api) -> None:
    packed = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    api.handler = always(lambda: web.Response(body=packed, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(Permanent) as caught:
        await api.batches(max_bytes=100_000)
    assert caught.value.code == "page-size"


async def test_servers_that_do_not_answer_can_be_asked_again(api: Api) -> None:
    with pytest.raises(Retryable) as caught:
        await api.batches(url="http://127.0.0.1:9/items")
    assert caught.value.code == "connection"

    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    api.handler = drop
    with pytest.raises(Retryable):
        await api.batches()


async def test_a_slow_server_times_out(api: Api) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    api.handler = slow
    with pytest.raises(Retryable) as caught:
        await api.batches(timeout=0.05)
    assert caught.value.code == "timeout"


async def test_a_failure_in_the_middle_resumes_with_the_same_page(api: Api) -> None:
    inner, options = by_cursor, BY_CURSOR
    fail = True

    async def flaky(request: web.Request) -> web.StreamResponse:
        if fail and request.query.get("after") == "4":
            return web.Response(status=502)
        return await inner(request)

    api.handler = flaky
    collector = await api.collector(**options)
    request = CollectRequest(task="t", run="r")
    got: list[Batch] = []
    with pytest.raises(Retryable):
        await gather(collector.collect(CollectContext(request=request, shard=ShardPlan(key="0"))), got)
    fail = False
    got += await api.batches(resume=got[-1].end, **options)
    assert [record for batch in got for record in batch.records] == ITEMS


async def gather(batches: AsyncIterator[Batch], into: list[Batch]) -> None:
    async for batch in batches:
        into.append(batch)


def redirect(*targets: str, status: int = 302) -> Handler:
    left = list(targets)

    async def handle(_request: web.Request) -> web.Response:
        if left:
            return web.Response(status=status, headers={"Location": left.pop(0)})
        return web.json_response(ITEMS)

    return handle


async def test_redirects_are_followed_five_times(api: Api) -> None:
    api.handler = redirect(*(f"/hop/{n}" for n in range(5)))
    assert len(await api.ids()) == 10
    api.handler = redirect(*(f"/hop/{n}" for n in range(6)))
    with pytest.raises(Permanent, match="more than 5 redirects"):
        await api.batches()


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.2:9/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]:9/",
     "http://localhost.:9/x", "http://2130706434/"],
)  # fmt: skip
async def test_a_redirect_to_an_inner_address_is_refused(api: Api, target: str) -> None:
    api.pool = Web(
        NetworkRules(allow=["127.0.0.1/32"], deny=["127.0.0.1/32"] if "localhost" in target else [])
    )
    api.handler = redirect(target)
    with pytest.raises(Permanent) as caught:
        await api.batches()
    assert caught.value.code in ("network", "url")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
async def test_a_redirect_to_another_scheme_is_refused(api: Api, target: str) -> None:
    api.handler = redirect(target)
    with pytest.raises(Permanent) as caught:
        await api.batches()
    assert caught.value.code == "redirects"


async def test_credentials_do_not_follow_to_another_origin(api: Api) -> None:
    secret = {"headers": {"X-Key": {"secret": "K"}}, "auth": {"type": "bearer", "token": {"secret": "K"}}}
    async with serving() as other:
        other.handler = always(lambda: web.json_response(ITEMS))
        api.handler = redirect(other.url("/elsewhere"))
        assert len(await api.ids(secrets={"K": "canary"}, **secret)) == 10
        assert "canary" not in str(other.asked[0].headers)
    assert "canary" in str(api.asked[0].headers)


async def test_the_next_page_of_another_host_is_refused(api: Api) -> None:
    api.handler = always(lambda: web.json_response({"items": ITEMS, "next": "https://evil.example/items"}))
    with pytest.raises(Permanent, match=r"evil\.example"):
        await api.batches(records="items", pagination={"type": "cursor", "next": "next"})


@pytest.mark.parametrize(
    ("cursors", "pages"), [({"": "a", "a": "a"}, 1), ({"": "a", "a": "b", "b": "c", "c": "a"}, 3)]
)
async def test_a_cursor_that_goes_in_a_circle_ends_with_an_error(
    api: Api, cursors: dict[str, str], pages: int
) -> None:
    async def circle(request: web.Request) -> web.Response:
        at = request.query.get("cursor", "")
        return web.json_response({"items": [{"id": at}], "next": cursors[at]})

    api.handler = circle
    with pytest.raises(Permanent, match="circle"):
        await api.batches(records="items", pagination={"type": "cursor", "param": "cursor", "next": "next"})
    assert len(api.asked) == pages + 1


async def test_a_missing_page_says_how_to_take_it_as_the_end(api: Api) -> None:
    async def pages(request: web.Request) -> web.Response:
        return web.json_response(ITEMS) if request.query["page"] == "1" else web.Response(status=404)

    api.handler = pages
    with pytest.raises(Permanent, match='stop = "missing"') as caught:
        await api.batches(pagination={"type": "page"})
    assert caught.value.code == "http-404"
    api.handler = always(lambda: web.Response(status=404))
    with pytest.raises(Permanent, match="404"):
        await api.batches(pagination={"type": "page", "stop": "missing"})


async def test_a_server_that_ignores_the_page_ends_with_an_error(api: Api) -> None:
    api.handler = always(lambda: web.json_response(ITEMS))
    with pytest.raises(Permanent, match="same as the one before"):
        await api.batches(pagination={"type": "page"})
    assert len(api.asked) == 2
    api.asked.clear()
    api.handler = always(lambda: web.json_response([{"state": "up"}]))
    with pytest.raises(Permanent, match="same as the one before"):
        await api.batches(pagination={"type": "page"})
    assert len(api.asked) == 11


async def test_a_cursor_that_repeats_at_once_yields_no_batch_that_ends_where_it_starts(api: Api) -> None:
    api.handler = always(lambda: web.json_response({"items": [{"id": len(api.asked)}], "next": "x"}))
    collector = await api.collector(
        records="items", pagination={"type": "cursor", "param": "c", "next": "next"}
    )
    at = {"cursor": "x"}
    context = CollectContext(request=CollectRequest(task="t", run="r"), shard=ShardPlan(key="0"), resume=at)
    batches = collector.collect(context)
    with pytest.raises(Permanent, match="circle"):
        await anext(batches)


async def test_a_byte_order_mark_is_skipped(api: Api) -> None:
    api.handler = always(lambda: web.Response(body=b"\xef\xbb\xbf" + json.dumps(ITEMS).encode()))
    assert len(await api.ids()) == 10


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"url": "ftp://x/"}, "/url"),
        ({"url": "http://ann:pw@x/"}, "/url"),
        ({"url": "http://x/", "timeout": 0}, "/timeout"),
        ({"url": "http://x/", "pagination": {"type": "cursor"}}, "/pagination/next"),
        ({"url": "http://x/", "pagination": {"type": "page", "stop": "short"}}, "/pagination/stop"),
        ({"url": "http://x/", "auth": {"type": "bearer"}}, "/auth/token"),
        ({"url": "http://x/", "auth": {"type": "basic"}}, "/auth/password"),
        ({"url": "http://x/", "headers": {"X-A": "1\r\nX-B: 2"}}, "/headers"),
        ({"url": "http://x/", "headers": {"X A": "1"}}, "/headers"),
        ({"url": "http://x/", "pages": {}}, "/pages"),
    ],
)
def test_options_are_checked_with_a_pointer(options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(OptionErrors) as caught:
        resolve(HttpOptions, options, lambda _name: None)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
    assert msgspec.to_builtins(caught.value.problems)[0]["remedy"] or caught.value.problems[0].allowed
