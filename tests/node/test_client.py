"""The client and nodes that come and go."""

import asyncio
import socket
from typing import Any

import pytest
from aiohttp import web

from node import connection
from node.api.problems import refuse
from node.client import Client, ProblemError, Unreachable
from tests.node.api.conftest import Server, serve

GOOD: dict[str, Any] = {"source": {"plugin": "files", "path": "in.csv"}, "sink": {"plugin": "log"}}


def dead_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PAUSE", 0.01)


async def test_goes_on_with_another_node() -> None:
    server = await serve()
    async with Client([dead_url(), f"127.0.0.1:{server.port}"]) as client:
        assert (await client.cluster()).node == "a1"
        assert client.url == server.url
        assert client.answered_by == "a1"
    await server.stop()


async def answering(reply: bytes) -> asyncio.Server:
    async def reply_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(reply_at_once, "127.0.0.1", 0)


async def test_a_mesh_port_is_told_from_a_node_that_is_off() -> None:
    """ZMTP's greeting is no HTTP: it was a traceback."""
    async with await answering(b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE") as mesh:
        url = f"http://127.0.0.1:{mesh.sockets[0].getsockname()[1]}"
        async with Client([url]) as client:
            with pytest.raises(Unreachable, match="does not speak HTTP; the mesh ports"):
                await client.cluster()


async def test_another_service_is_named_with_its_port() -> None:
    async with await answering(b"HTTP/1.0 404 Nothing\r\n\r\n") as other:
        url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        async with Client([url]) as client:
            with pytest.raises(ProblemError, match=f"{url} answered 404 Nothing, not as a collect-node does"):
                await client.cluster()


async def test_says_whom_it_asked_when_nobody_answers() -> None:
    url = dead_url()
    async with Client([url]) as client:
        with pytest.raises(Unreachable, match=url) as caught:
            await client.cluster()
        assert caught.value.urls == [url]


async def test_goes_on_with_a_node_that_it_learnt_of() -> None:
    first, second = await serve(), await serve(name="b2")
    first.service.addresses = {"b2": second.url, "c3": f"127.0.0.1:{second.port}", "d4": "0.0.0.0:1"}
    async with Client([first.url]) as client:
        await client.learn()
        assert client.urls == [first.url, second.url]
        await first.stop()
        assert (await client.cluster()).node == "b2"
    await second.stop()


async def test_another_node_may_do_what_one_cannot_now() -> None:
    first, second = await serve(), await serve(name="b2")
    first.service.refusal = refuse(503, "not-ready", "starting")
    async with Client([first.url, second.url]) as client:
        assert (await client.submit(GOOD)).id in second.service.tasks
    second.service.refusal = refuse(422, "invalid", "no")
    async with Client([second.url, first.url]) as client:
        with pytest.raises(ProblemError, match="no"):
            await client.submit(GOOD)
    await first.stop()
    await second.stop()


async def test_one_key_over_all_attempts() -> None:
    seen: list[str] = []

    async def drop(request: web.Request) -> web.Response:
        await request.read()
        seen.append(request.headers["Idempotency-Key"])
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/tasks", drop)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Client([f"http://127.0.0.1:{runner.addresses[0][1]}"]) as client:
        with pytest.raises(Unreachable):
            await client.submit(GOOD)
    assert len(seen) >= connection.ROUNDS
    assert len(set(seen)) == 1
    await runner.cleanup()


async def test_a_hung_node_is_given_up() -> None:
    server = await serve()
    with socket.create_server(("127.0.0.1", 0)) as hung:  # connects, and never answers
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        async with Client([url, server.url], timeout=0.2) as client:
            assert (await client.cluster()).node == "a1"
    await server.stop()


async def test_something_else_than_a_node() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_get("/v1/cluster", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Client([f"http://127.0.0.1:{runner.addresses[0][1]}"]) as client:
        with pytest.raises(ProblemError, match="not what a node sends"):
            await client.cluster()
        with pytest.raises(ProblemError, match="404"):
            await client.plugins()
    await runner.cleanup()


async def test_events_go_on_through_another_node() -> None:
    first, second = await serve(), await serve(name="b2")
    kinds: list[str] = []
    async with Client([first.url, second.url]) as client:

        async def follow() -> None:
            async for event in client.events():
                kinds.append(event.kind)
                if event.kind == "after":
                    return

        following = asyncio.create_task(follow())
        async with asyncio.timeout(10):
            while "before" not in kinds:
                first.service.tell("before", task="a")
                await asyncio.sleep(0.01)
            await first.stop()
            while not following.done():
                second.service.tell("after", task="a")
                await asyncio.sleep(0.01)
        await following
    assert kinds[kinds.count("before") :] == ["reset", "after"]
    await second.stop()


async def test_events_end_when_nobody_is_left() -> None:
    server: Server = await serve()
    async with Client([server.url]) as client:
        await server.stop()
        with pytest.raises(Unreachable):
            await anext(aiter(client.events()))


def test_a_client_needs_a_node() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Client([])
