"""Many clients at once: who holds only a place gives way, and bodies that arrive slowly hold little."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Iterator

import pytest
from aiohttp import ClientSession

from node.api import batch, crowd
from node.api.crowd import FREE, Crowd
from node.service import Refused
from tests.node.api.conftest import Server, serve

TASK = {"source": {"plugin": "files", "path": "in.csv"}, "sink": {"plugin": "log"}}
JSON = "Content-Type: application/json\r\n"


async def connect(server: Server, text: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(text.encode())
    await writer.drain()
    return reader, writer


async def test_a_client_that_asks_takes_the_place_of_one_that_only_holds_it() -> None:
    server = await serve(most=3)
    idle = [await connect(server) for _ in range(3)]
    async with ClientSession(server.url) as session, session.post("/v1/tasks", json=TASK) as answer:
        assert answer.status == 201
    reader, _ = idle[0]
    assert await reader.read() == b"", "the oldest gave way"
    for _, writer in idle:
        writer.close()
    await server.stop()


async def test_many_that_come_at_once_take_as_many_places() -> None:
    server = await serve(most=3)
    many = await asyncio.gather(*[connect(server) for _ in range(50)])
    async with ClientSession(server.url) as session, session.get("/v1/cluster") as answer:
        assert answer.status == 200
    ended = 0
    async with asyncio.timeout(5):
        for reader, _ in many[:-3]:
            ended += await reader.read() == b""
    assert ended == 47
    for _, writer in many:
        writer.close()
    await server.stop()


async def test_a_body_that_was_refused_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "ROOM", 0)
    gone: list[weakref.ref[Refused]] = []

    def refuse() -> None:
        with Crowd().body() as body:
            try:
                body.grow(FREE + 1)
            except Refused as refused:
                gone.append(weakref.ref(refused))

    gc.disable()
    try:
        refuse()
        assert gone[0]() is None, (
            "what its traceback reaches, a body say, would wait for the garbage collector"
        )
    finally:
        gc.enable()


async def test_a_request_under_way_is_not_turned_out_for_one_that_is_new() -> None:
    server = await serve(most=2)
    following, asking = await connect(server, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200" in await following.readline()
    _, idle = await connect(server)
    async with ClientSession(server.url) as session, session.get("/v1/cluster") as answer:
        assert answer.status == 200
    assert await following.readuntil(b"heartbeat")
    for writer in (asking, idle):
        writer.close()
    await server.stop()


async def test_where_each_has_a_request_the_oldest_goes() -> None:
    server = await serve(most=2)
    slow = f"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    held = [await connect(server, slow) for _ in range(2)]
    for reader, _ in held:
        assert b" 100 " in await reader.readline(), "it is under way"
    async with ClientSession(server.url) as session, session.get("/v1/cluster") as answer:
        assert answer.status == 200
    async with asyncio.timeout(5):
        assert await held[0][0].read() == b"\r\n"
    for _, writer in held:
        writer.close()
    await server.stop()


def test_long_bodies_share_what_there_is_and_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "ROOM", 1000)
    many = Crowd()
    with many.body() as first, many.body() as second, many.body() as small:
        first.grow(FREE + 400)
        first.grow(FREE + 900)
        with pytest.raises(Refused) as refused:
            second.grow(FREE + 200)
        assert (refused.value.problem.status, refused.value.retry_after) == (503, 1.0)
        second.grow(FREE + 100)
        small.grow(FREE)
    with many.body() as again:
        again.grow(FREE + 1000)


async def test_a_small_task_is_taken_while_long_bodies_have_all_the_room(
    server: Server, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "ROOM", 1000)
    padding = " " * (FREE + 2000)
    async with http.post(
        "/v1/tasks", data=padding + "{}", headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 503
        assert (await answer.json())["type"].endswith(":busy")
    lines = (padding + "\n") * 2
    head = {"Content-Type": "application/x-ndjson"}
    async with http.post("/v1/tasks/batch", data=lines, headers=head) as answer:
        assert answer.status == 503
    async with http.post("/v1/tasks", json=TASK) as answer:
        assert answer.status == 201


async def test_a_batch_that_takes_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "BATCH_TIMEOUT", 1e-9)
    server = await serve()
    head = "POST /v1/tasks/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    reader, writer = await connect(server, f"{head}Content-Length: 9\r\n\r\n\n")
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"}")
    assert b" 408 " in answer
    assert b"not all of it within 1e-09 s" in answer
    writer.close()
    await server.stop()


@pytest.fixture
def told() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    keep = Keep()
    logging.getLogger().addHandler(keep)
    yield records
    logging.getLogger().removeHandler(keep)


@pytest.mark.parametrize(
    "sent",
    [
        "GET /v1/tasks HTTP/1.1\r\n\r\n",
        "GET /a b c HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        f"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{{}}",
        f"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{{}}",
    ],
)
async def test_what_a_client_gets_wrong_is_not_told_as_a_failure(
    server: Server, told: list[logging.LogRecord], sent: str
) -> None:
    reader, writer = await connect(server, sent)
    assert b" 400 " in await reader.readline()
    await reader.read()
    writer.close()
    assert [record.getMessage() for record in told if record.exc_info] == []
