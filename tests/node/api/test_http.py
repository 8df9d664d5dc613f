"""What holds for every request: access, problems for every failure, probes, events, the description."""

import asyncio
import io
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, ClientTimeout
from openapi_spec_validator import validate

from node.api.access import Access, ExposureError, check_exposure
from node.api.app import all_routes
from node.api.openapi import describe
from node.api.problems import refuse
from node.client import Client, ProblemError
from node.schema import Problem
from tests.node.api.conftest import Server, serve
from tests.node.api.memory import MemoryService

GOOD: dict[str, Any] = {"source": {"plugin": "files", "path": "in.csv"}, "sink": {"plugin": "log"}}


async def problem(response: Any) -> Problem:
    assert response.content_type == "application/problem+json"
    told = msgspec.json.decode(await response.read(), type=Problem)
    assert told.status == response.status
    assert told.request_id == response.headers["X-Request-Id"]
    assert response.headers["X-Collect-Node"] == "a1"
    return told


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/tasks", 404),
        ("GET", "/v1/tasks/x/nothing", 404),
        ("PUT", "/v1/tasks", 405),
        ("POST", "/v1/cluster", 405),
        ("DELETE", "/healthz", 405),
        ("GET", "/v1/cluster?x=1", 400),
    ],
)
async def test_what_is_not_there_is_a_problem(
    http: ClientSession, method: str, path: str, status: int
) -> None:
    async with http.request(method, path, headers={"Content-Type": "application/json"}) as response:
        assert response.status == status
        await problem(response)
        assert ("Allow" in response.headers) == (status == 405)


async def test_bodies_that_are_no_json(http: ClientSession) -> None:
    json = {"Content-Type": "application/json"}
    for body in (b"{", b'"\xff"', b"[" * 100_000):
        async with http.post("/v1/tasks", data=body, headers=json) as response:
            assert response.status == 400
            await problem(response)
    async with http.post("/v1/tasks", data=io.BytesIO(b" " * 2_000_000), headers=json) as response:
        assert response.status == 413
        assert "1048576" in (await problem(response)).detail


async def test_a_bug_shows_no_inside(server: Server, http: ClientSession, caplog: Any) -> None:
    class Broken(MemoryService):
        async def cluster(self) -> Any:
            raise RuntimeError("canary")

    server.service.__class__ = Broken
    async with http.get("/v1/cluster") as response:
        assert response.status == 500
        told = await problem(response)
        assert "canary" not in msgspec.json.encode(told).decode()
    assert told.request_id in caplog.text


async def test_a_body_that_breaks_off_is_no_fault_of_the_node(server: Server, caplog: Any) -> None:
    for path, media in (("/v1/tasks", "application/json"), ("/v1/tasks/batch", "application/x-ndjson")):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n"
        writer.write(head.encode() + b"Content-Length: 900\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    async with Client([server.url]) as client:
        await client.cluster()
    assert "failed" not in caplog.text


async def test_head_and_options(client: Client, http: ClientSession) -> None:
    task = (await client.submit(GOOD)).id
    for path in (
        "/v1/cluster",
        "/v1/events",
        f"/v1/tasks/{task}",
        f"/v1/tasks/{task}/export",
        f"/v1/tasks/{task}/dead-letters",
    ):
        async with http.head(path, headers={"Accept": "application/x-ndjson"}) as response:
            assert response.status == 200
            assert not await response.read()
    async with http.options("/v1/tasks") as response:
        assert response.status == 204
        assert response.headers["Allow"] == "GET, HEAD, POST"
        assert not any(name.startswith("Access-Control") for name in response.headers)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"Host": "localhost:1"}, 200),
        ("GET", {"Host": "[::1]:1"}, 200),
        ("GET", {"Host": "evil.example"}, 421),
        ("GET", {"Host": "127.0.0.1.evil.example"}, 421),
        ("GET", {"Host": "my-node"}, 200),
        ("GET", {"Origin": "http://evil.example"}, 403),
        ("GET", {"Origin": "null"}, 403),
        ("GET", {"Origin": "http://localhost:9"}, 200),
        ("POST", {"Content-Type": "text/plain"}, 415),
        ("POST", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {"Content-Type": "application/json; charset=utf-8"}, 201),
        ("DELETE", {}, 405),
        ("DELETE", {"Origin": "http://evil.example"}, 403),
    ],
)
async def test_open_on_loopback_only(method: str, headers: dict[str, str], status: int) -> None:
    server = await serve(access=Access(allowed_hosts=frozenset({"my-node"})))
    async with ClientSession(server.url) as http:
        body = msgspec.json.encode(GOOD) if method == "POST" else None
        async with http.request(method, "/v1/tasks", data=body, headers=headers) as response:
            assert response.status == status
    await server.stop()


async def test_with_a_token_every_operation_but_the_probes_needs_it() -> None:
    server = await serve(access=Access(token="canary"))
    async with ClientSession(server.url) as http:
        for route in all_routes():
            path = route.path.split(":{")[0].replace("{action:", "").replace("}", "").replace("{", "")
            async with http.request(
                route.method, path, headers={"Authorization": "Bearer wrong"}
            ) as response:
                assert (response.status == 401) != route.open
                assert "canary" not in await response.text()
        for wrong in ("canary", "Basic canary", "Bearer", "Bearer canary2", "Bearer \xff"):
            async with http.get("/v1/cluster", headers={"Authorization": wrong}) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
        async with http.get(
            "/v1/cluster", headers={"Authorization": "bearer canary", "Host": "elsewhere"}
        ) as response:
            assert response.status == 200
    async with Client([server.url], "canary") as client:
        assert (await client.submit(GOOD)).id
    await server.stop()
    assert "canary" not in repr(Access(token="canary"))


@pytest.mark.parametrize("bind", ["127.0.0.1:8700", "localhost:1", "[::1]:8700", "127.9.9.9:1"])
def test_loopback_needs_nothing(bind: str) -> None:
    check_exposure(bind, token=None, tls=False, insecure=False)


@pytest.mark.parametrize("bind", ["0.0.0.0:8700", "[::]:8700", "192.168.1.2:8700", "example.org:80", ""])
def test_elsewhere_needs_a_token_and_encryption(bind: str) -> None:
    with pytest.raises(ExposureError, match=r"http\.token_file"):
        check_exposure(bind, token=None, tls=True, insecure=True)
    with pytest.raises(ExposureError, match=r"http\.tls_cert"):
        check_exposure(bind, token="t", tls=False, insecure=False)
    check_exposure(bind, token="t", tls=True, insecure=False)
    check_exposure(bind, token="t", tls=False, insecure=True)


async def test_probes(server: Server, http: ClientSession) -> None:
    async with http.get("/healthz", headers={"Host": "10.1.2.3"}) as response:
        assert response.status == 200
    async with http.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})
    server.service.unready = ["the disk is full"]
    async with http.get("/readyz") as response:
        assert (response.status, (await response.json())["reasons"]) == (503, ["the disk is full"])


async def test_mesh(server: Server, client: Client) -> None:
    assert (await client.cluster()).node == "a1"
    assert (await client.control_node("b2", "pause")).id == "b2"
    assert server.service.calls[-1][:2] == ("pause", "b2")
    await client.drain_node("b2")
    await client.drain_node("b2", cancel=True)
    assert (await client.forget_node("b2")).id == "b2"
    assert [call[:2] for call in server.service.calls[-3:]] == [
        ("drain", "b2"),
        ("undrain", "b2"),
        ("forget", "b2"),
    ]
    kinds = {(plugin["kind"], plugin["name"]) for plugin in await client.plugins()}
    assert ("collector", "files") in kinds
    assert (await client.health()).status == "ok"


async def heard(client: Client, count: int, **arguments: Any) -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    async with asyncio.timeout(10):
        stream = client.events(**arguments)
        async for event in stream:
            found.append((event.id, event.kind, event.data))
            if len(found) == count:
                break
        await stream.aclose()  # type: ignore[attr-defined]
    return found


async def test_events_go_on_after_the_last_one_seen(server: Server, client: Client) -> None:
    task = asyncio.create_task(heard(client, 2))
    while not task.done():
        server.service.tell("task", task="a")
        await asyncio.sleep(0.01)
    first, second = await task
    assert (first[1], first[2]) == ("task", {"task": "a"})
    missed = await heard(client, 1, after=first[0])
    assert missed == [second]
    server.service.tell("task", task="b")
    assert [event[2] for event in await heard(client, 1, after=first[0], task="b")] == [{"task": "b"}]


@pytest.mark.parametrize(
    ("query", "mesh"), [("", False), ("?scope=node", False), ("?scope=cluster", True), ("?task=a", True)]
)
async def test_whose_events_are_meant(server: Server, http: ClientSession, query: str, mesh: bool) -> None:
    async with http.get(f"/v1/events{query}") as response:
        await response.content.readuntil(b"\n\n")
        assert server.service.asked_of_mesh == [mesh]
        server.service.tell("task", task="a")
        at = (await response.content.readuntil(b"\n\n")).split()[1].decode()
    other = "" if mesh else "?scope=cluster"
    async with http.get(f"/v1/events{other}", headers={"Last-Event-ID": at}) as response:
        assert b"event: reset" in await response.content.readuntil(b"\n\n"), "they are numbered apart"
    async with http.get("/v1/events?scope=all") as response:
        told = await problem(response)
        assert (told.status, told.errors[0].allowed) == (400, ["node", "cluster"])


@pytest.mark.parametrize("after", ["other.7", "7", "x.y", ".", "other.-1"])
async def test_an_event_id_of_another_start_resets(client: Client, after: str) -> None:
    [(_, kind, _)] = await heard(client, 1, after=after)
    assert kind == "reset"


async def test_an_idle_stream_beats(http: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.api.events.HEARTBEAT_INTERVAL", 0.01)
    async with http.get("/v1/events", timeout=ClientTimeout(total=10)) as response:
        assert response.content_type == "text/event-stream"
        assert await response.content.readuntil(b"\n\n") == b": heartbeat\n\n"
        assert await response.content.readuntil(b"\n\n") == b": heartbeat\n\n"


async def test_open_streams_do_not_hold_up_the_end() -> None:
    server = await serve()
    async with ClientSession(server.url) as http, http.get("/v1/events") as response:
        await response.content.readuntil(b"\n\n")
        async with asyncio.timeout(1.5):
            await server.stop()
        assert not await response.content.read()


async def test_the_description_is_valid_and_complete(client: Client) -> None:
    document = await client.openapi()
    validate(document)
    assert document["info"]["version"] == "1.2.3"
    described = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    assert described >= {
        ("POST", "/v1/tasks"),
        ("POST", "/v1/tasks/batch"),
        ("POST", "/v1/tasks:pause"),
        ("POST", "/v1/tasks/{id}/retry"),
        ("GET", "/v1/tasks/{id}/dead-letters"),
        ("GET", "/v1/events"),
        ("GET", "/openapi.json"),
    }
    assert len(described) == len(all_routes())
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_the_description_shows_what_a_task_is() -> None:
    document = describe(all_routes(), "1")
    task = document["components"]["schemas"]["RawSpec"]
    assert task["additionalProperties"] is False
    assert task["required"] == ["source", "sink"]


async def test_a_refusal_says_when_to_come_back(server: Server, client: Client) -> None:
    refusal = refuse(507, "disk", "the disk is full")
    refusal.retry_after = 30
    server.service.refusal = refusal
    with pytest.raises(ProblemError, match="disk is full") as caught:
        await client.submit(GOOD)
    assert caught.value.retry_after == 30
