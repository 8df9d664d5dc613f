"""One real node: a JSON API as the source, secrets that must not leak, and control by HTTP while it works."""

import contextlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from node.client import ProblemError
from node.schema import Task
from tests.scenarios.mesh import Mesh, finished, submit, until

pytestmark = pytest.mark.processes

CANARY = "canary-5f2d91c07e"


@pytest.fixture
async def api() -> AsyncIterator[tuple[str, list[str]]]:
    """A paged JSON API that wants a token, is rate limited once, and repeats the token in its refusals."""
    heard: list[str] = []

    async def items(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization", ""))
        if heard[-1] != f"Bearer {CANARY}":
            return web.json_response({"error": f"bad token; not {CANARY}"}, status=401)
        if len(heard) == 2:
            return web.json_response(
                {"error": f"slow down, {CANARY}"}, status=429, headers={"Retry-After": "1"}
            )
        page = int(request.query["page"])
        rows = [{"id": page * 10 + n, "seen_by": CANARY if page == 1 and n == 3 else "x"} for n in range(10)]
        return web.json_response({"items": rows if page <= 4 else []})

    app = web.Application()
    app.router.add_get("/items", items)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/items", heard
    await runner.cleanup()


def spec(url: str) -> dict[str, Any]:
    source = {
        "plugin": "http",
        "url": url,
        "records": "items",
        "auth": {"type": "bearer", "token": {"secret": "API"}},
        "pagination": {"type": "page", "param": "page", "start": 1},
    }
    sink = {"plugin": "jsonl", "path": "out/items"}
    return {"name": "items", "source": source, "sink": sink, "retry": {"strategy": "fixed", "delay": "200ms"}}


def leaks(folder: Path, value: str = CANARY) -> list[str]:
    """Files below the folder, the published rows apart, that hold the value."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = [path for path in files if "out" not in path.relative_to(folder).parts]
    return [str(path) for path in kept if value.encode() in path.read_bytes()]


async def test_a_json_api_is_collected_and_its_secret_leaks_nowhere(
    tmp_path: Path, api: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """I21: the value of a secret is in no log, update, answer, problem or dead letter."""
    url, heard = api
    monkeypatch.setenv("COLLECT_SECRET_API", CANARY)
    mesh = Mesh(tmp_path, ["a"])
    mesh.config.write_text(mesh.config.read_text() + '[network]\nallow = ["127.0.0.0/8"]\n')
    async with mesh:
        node = mesh.nodes[0]
        plain = spec(url)
        plain["source"]["auth"]["token"] = CANARY
        with pytest.raises(ProblemError) as refused:
            await submit(node, plain)
        assert CANARY not in str(refused.value) + json.dumps(str(refused.value.problem))
        task = await submit(node, spec(url))
        done = await finished(node, task.id)
        assert done.state == "succeeded", done
        assert done.run is not None
        assert done.run.records.written == 40
        assert heard.count(f"Bearer {CANARY}") == len(heard) >= 6
        async with node.client() as client:
            asked = [client.task, client.runs, client.shards, client.errors, client.why]
            answers = [await ask("items") for ask in asked]
            assert CANARY not in repr([*answers, await client.plugins(), await client.cluster()])
    assert leaks(tmp_path) == []


async def test_a_failing_source_shows_and_its_secret_does_not(
    tmp_path: Path, api: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = api
    monkeypatch.setenv("COLLECT_SECRET_API", f"{CANARY}-wrong")
    mesh = Mesh(tmp_path, ["a"])
    mesh.config.write_text(mesh.config.read_text() + '[network]\nallow = ["127.0.0.0/8"]\n')
    async with mesh:
        node = mesh.nodes[0]
        task = await submit(node, spec(url))
        done = await finished(node, task.id)
        assert done.state == "failed"
        async with node.client() as client:
            errors = await client.errors("items")
        assert errors
        assert "401" in errors[0].reason
        assert f"{CANARY}-wrong" not in repr(errors)
    assert leaks(tmp_path, f"{CANARY}-wrong") == []


async def test_without_the_allowance_a_private_address_is_refused(
    tmp_path: Path, api: tuple[str, list[str]]
) -> None:
    url, heard = api
    async with Mesh(tmp_path, ["a"]) as mesh:
        node = mesh.nodes[0]
        plain = spec(url)
        del plain["source"]["auth"]
        task = await submit(node, plain)
        done = await finished(node, task.id)
        assert done.state == "failed"
        assert "[network] allow" in (done.reason or "")
        assert heard == []


async def test_pause_stops_writing_and_resume_goes_on(tmp_path: Path) -> None:
    """I9: after the pause is acknowledged nothing more reaches the sink but what was under way."""
    async with Mesh(tmp_path, ["a"]) as mesh:
        lines = "".join(f"{n},{os.urandom(4).hex()}\n" for n in range(6000))
        (mesh.root / "rows.csv").write_text("id,value\n" + lines)
        node = mesh.nodes[0]
        sink = {"plugin": "sqlite", "path": "rows.db", "table": "rows", "key": ["id"], "mode": "upsert"}
        source = {"plugin": "csv", "path": "rows.csv"}
        task = await submit(node, {"name": "p", "source": source, "sink": sink, "limits": {"rate": "1500/s"}})
        async with node.client() as client:

            async def begun() -> bool:
                seen = await client.task(task.id)
                return seen.run is not None and seen.run.records.read > 0

            await until(begun, "first records")
            await client.control(task.id, "pause")

            async def still() -> bool:
                seen = await client.shards(task.id)
                return all(shard.state in ("pending", "succeeded") for shard in seen)

            await until(still, "no shard runs any more", within=10)
            before = (await client.task(task.id)).run
            assert before is not None
            assert 0 < before.records.written < 6000
            await client.control(task.id, "resume")
        done = await finished(node, task.id)
        assert done.state == "succeeded"
        assert done.run is not None
        assert done.run.records.written == 6000


async def test_a_delete_whose_answer_was_lost_can_be_sent_again(tmp_path: Path) -> None:
    """Through any node, under its Idempotency-Key; to anybody else the task is gone."""
    later = {"source": {"plugin": "bench"}, "sink": {"plugin": "discard"}, "schedule": "0 0 1 1 *"}
    async with Mesh(tmp_path, ["a"]) as mesh, mesh.nodes[0].client() as client:
        path = f"/v1/tasks/{(await client.submit(later)).id}"
        first = await client.request("DELETE", path, Task, key="mine")
        again = await client.request("DELETE", path, Task, key="mine")
        assert again.id == first.id
        with pytest.raises(ProblemError) as caught:
            await client.request("DELETE", path, Task, key="another")
        assert caught.value.problem.status == 404


async def test_dead_letters_are_edited_and_replayed_into_the_sink(tmp_path: Path) -> None:
    async with Mesh(tmp_path, ["a"]) as mesh:
        (mesh.root / "rows.csv").write_text("id,value\n1,one\n2\n3,three\n")
        node = mesh.nodes[0]
        sink = {"plugin": "sqlite", "path": "rows.db", "table": "rows", "key": ["id"], "mode": "upsert"}
        task = await submit(
            node, {"name": "l", "source": {"plugin": "csv", "path": "rows.csv"}, "sink": sink}
        )
        assert (await finished(node, task.id)).state == "partial"
        async with node.client() as client:
            (letter,) = (await client.dead_letters(task.id)).items
            edited = dict(msgspec.to_builtins(letter))
            edited["record"] = {"id": "2", "value": "two"}
            await client.control(task.id, "retry", {"letters": [edited]})

            async def empty() -> bool:
                return not (await client.dead_letters(task.id)).items

            await until(empty, "what succeeds leaves the list")
        with contextlib.closing(sqlite3.connect(mesh.root / "rows.db")) as db:
            rows = sorted(db.execute("SELECT id, value FROM rows"))
        assert rows == [("1", "one"), ("2", "two"), ("3", "three")]
