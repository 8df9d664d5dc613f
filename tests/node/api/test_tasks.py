"""Tasks over real HTTP: create, batch, list, look closer, control."""

import asyncio
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from node.api.batch import TOGETHER
from node.api.problems import refuse
from node.client import Client, ProblemError
from node.schema import Problem
from tests.node.api.conftest import Server
from tests.node.api.memory import MemoryService
from tests.node.plugs import facts

GOOD: dict[str, Any] = {"source": {"plugin": "files", "path": "in.csv"}, "sink": {"plugin": "log"}}
NAMED = {**GOOD, "name": "mine", "tenant": "acme"}
LINES = {"Content-Type": "application/x-ndjson"}


def lines(*values: Any) -> bytes:
    return b"\n".join(value if isinstance(value, bytes) else msgspec.json.encode(value) for value in values)


async def test_created_then_found(client: Client, http: ClientSession) -> None:
    async with http.post("/v1/tasks", json=GOOD, headers={"Idempotency-Key": "k"}) as response:
        assert response.status == 201
        body = await response.json()
        assert response.headers["ETag"] == '"1"'
        assert response.headers["Location"] == f"/v1/tasks/{body['id']}"
        assert response.headers["X-Collect-Durability"] == "2"
        assert response.headers["X-Collect-Node"] == "a1"
    assert (await client.task(body["id"])).spec == {**GOOD, "sink": [{"plugin": "log"}]}


async def test_the_same_key_is_the_same_task(client: Client, http: ClientSession) -> None:
    first = await client.submit(GOOD, key="k")
    async with http.post("/v1/tasks", json=GOOD, headers={"Idempotency-Key": "k"}) as response:
        assert response.status == 200
        assert (await response.json())["id"] == first.id
    assert (await client.submit(GOOD)).id != first.id


async def test_a_named_task_is_found_by_name_and_keeps_its_spec(client: Client) -> None:
    made = await client.submit(NAMED)
    assert (await client.submit(NAMED)).id == made.id
    assert (await client.task("mine", tenant="acme")).id == made.id
    with pytest.raises(ProblemError) as caught:
        await client.submit({**NAMED, "priority": 9})
    assert caught.value.problem.status == 409


async def test_every_error_comes_with_the_request_id(http: ClientSession) -> None:
    bad = {**GOOD, "sink": {"plugin": "stroe"}, "priority": 12}
    async with http.post("/v1/tasks", json=bad, headers={"X-Request-Id": "abc"}) as response:
        assert response.status == 422
        assert response.content_type == "application/problem+json"
        problem = msgspec.json.decode(await response.read(), type=Problem)
    assert [item.pointer for item in problem.errors] == ["/priority", "/sink/plugin"]
    assert problem.request_id == response.headers["X-Request-Id"] == "abc"
    assert not problem.state_changed


async def test_durability_that_cannot_be_had(server: Server, http: ClientSession) -> None:
    server.service.known = facts(replicas=1)
    async with http.post("/v1/tasks?durability=2", json=GOOD) as response:
        assert response.status == 503


async def test_what_was_accepted_but_not_read_back_says_so(server: Server, client: Client) -> None:
    class Forgetful(MemoryService):
        async def get(self, ref: str, *, tenant: str | None) -> Any:
            self.tasks.clear()
            return await super().get(ref, tenant=tenant)

    server.service.__class__ = Forgetful
    with pytest.raises(ProblemError, match="was accepted") as caught:
        await client.submit(GOOD)
    assert caught.value.problem.state_changed


async def test_a_batch_answers_each_line(client: Client) -> None:
    answer = await client.submit_batch(
        lines(GOOD, {**GOOD, "priority": 10}, b"", NAMED, b"nonsense", GOOD, {**GOOD, "tenant": "acme"}),
        key="k",
    )
    assert answer.accepted == 4
    assert [task is not None for task in answer.ids] == [True, False, False, True, False, True, True]
    assert len(set(answer.ids) - {None}) == 4
    assert [(line.line, line.problem.errors[0].pointer) for line in answer.rejected] == [
        (2, "/priority"),
        (5, ""),
    ]
    assert answer.durability == 2
    assert (await client.task("mine", tenant="acme")).id == answer.ids[3]


async def test_a_batch_sent_again_is_the_same_tasks(server: Server, client: Client) -> None:
    body = lines(*({**GOOD, "priority": number % 10} for number in range(1234)))
    first = await client.submit_batch(body, key="k")
    again = await client.submit_batch(body + b"\n", key="k")
    assert first.accepted == len(set(first.ids)) == len(server.service.tasks) == 1234
    assert again == first


async def test_a_refused_name_keeps_back_no_other_line(client: Client) -> None:
    await client.submit(NAMED)
    answer = await client.submit_batch(lines({**NAMED, "priority": 1}, GOOD))
    assert [task is not None for task in answer.ids] == [False, True]
    assert answer.rejected[0].problem.status == 409


async def test_many_names_in_one_batch_do_not_all_wait_for_the_disk_together(
    server: Server, client: Client
) -> None:
    class Counting(MemoryService):
        now = most = 0

        async def submit(self, *arguments: Any, **named: Any) -> Any:
            self.now += 1
            self.most = max(self.most, self.now)
            for _ in range(5):
                await asyncio.sleep(0)
            self.now -= 1
            return await super().submit(*arguments, **named)

    server.service.__class__ = Counting
    answer = await client.submit_batch(lines(*({**GOOD, "name": f"n{number}"} for number in range(700))))
    assert answer.accepted == 700
    assert isinstance(server.service, Counting)
    assert server.service.most == TOGETHER


async def test_a_full_disk_answers_the_whole_batch(server: Server, http: ClientSession) -> None:
    server.service.refusal = refusal = refuse(507, "disk", "full")
    refusal.retry_after = 1.2
    async with http.post("/v1/tasks/batch", data=lines(GOOD, GOOD), headers=LINES) as response:
        assert response.status == 507
        assert response.headers["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * (300 * 1024), LINES, 413),
        ((b"x" * 1000 + b"\n") * 17000, LINES, 413),
        (b"\n" * 100_001, LINES, 413),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"no gzip", {**LINES, "Content-Encoding": "gzip"}, 400),
        (b"{}", {**LINES, "Idempotency-Key": "a b"}, 400),
    ],
)
async def test_batches_that_are_refused(
    http: ClientSession, body: bytes, headers: dict[str, str], status: int
) -> None:
    async with http.post("/v1/tasks/batch", data=io.BytesIO(body), headers=headers) as response:
        assert response.status == status


async def test_pages(client: Client, http: ClientSession) -> None:
    await client.submit_batch(lines(*({**GOOD, "tenant": f"t{number % 2}"} for number in range(25))))
    page = await client.tasks(tenant="t0", limit=10)
    assert len(page.items) == 10
    rest = await client.tasks(tenant="t0", limit=10, cursor=page.next)
    assert len(rest.items) == 3
    assert rest.next is None
    assert len([task async for task in client.all_tasks()]) == 25
    assert not (await client.tasks(state=["failed", "paused"])).items
    async with http.get("/v1/tasks?limit=10", headers={"Accept": "application/x-ndjson"}) as response:
        assert len((await response.read()).splitlines()) == 10
        assert response.headers["X-Collect-Next"] == "10"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("state=runing", "unknown state"),
        ("sttate=failed", "did you mean 'state'"),
        ("limit=0", "from 1 to 1000"),
        ("limit=x", "whole number"),
    ],
)
async def test_a_wrong_filter_matches_nothing_but_says_so(
    http: ClientSession, query: str, words: str
) -> None:
    async with http.get(f"/v1/tasks?{query}") as response:
        assert response.status == 400
        assert words in (await response.json(content_type=None))["detail"]


async def test_a_closer_look(client: Client, http: ClientSession) -> None:
    task = (await client.submit(GOOD)).id
    assert [run.id for run in await client.runs(task)] == ["r2", "r1"]
    assert (await client.shards(task, run="r1"))[0].run == "r1"
    assert (await client.coverage(task)).gaps == [[4, 9]]
    assert (await client.errors(task))[0].code == "x"
    assert (await client.why(task)).reasons == ["it waits"]
    page = await client.dead_letters(task, limit=2)
    assert [letter.record for letter in page.items] == [{"n": 0}, {"n": 1}]
    async with http.get(
        f"/v1/tasks/{task}/dead-letters", headers={"Accept": "application/x-ndjson"}
    ) as response:
        assert [
            msgspec.json.decode(line)["position"] for line in (await response.read()).splitlines()
        ] == list(range(2500))
    for part in ("", "/runs", "/shards", "/coverage", "/errors", "/dead-letters", "/why", "/export"):
        async with http.get(f"/v1/tasks/none{part}") as response:
            assert response.status == 404
            assert response.content_type == "application/problem+json"


async def test_export(client: Client, tmp_path: Path) -> None:
    task = (await client.submit(GOOD)).id
    await client.export(task, tmp_path / "rows")
    assert (tmp_path / "rows").read_bytes() == b'{"n":0}\n{"n":1}\n{"n":2}\n'
    with pytest.raises(ProblemError):
        await client.export("none", tmp_path / "none")


async def test_control_of_one(server: Server, client: Client) -> None:
    task = await client.submit(GOOD)
    assert (await client.control(task.id, "pause")).state == "paused"
    assert (await client.control(task.id, "resume", if_match=2)).revision == 3
    with pytest.raises(ProblemError) as caught:
        await client.control(task.id, "cancel", if_match=1)
    assert caught.value.problem.status == 412
    await client.control(
        task.id, "retry", {"strategy": "fixed", "attempts": 5, "delay": "2m", "dead_letters": True}
    )
    assert server.service.calls[-1][2] == {
        "strategy": "fixed",
        "attempts": 5,
        "delay": 120.0,
        "dead_letters": True,
    }
    assert (await client.control(task.id, "delete")).id == task.id
    assert not server.service.tasks


async def test_changes(server: Server, client: Client) -> None:
    task = await client.submit(GOOD)
    assert (
        await client.patch(task.id, {"priority": 9, "limits": {"rate": "600/m", "shards": None}})
    ).priority == 9
    assert server.service.calls[-1][2] == {"priority": 9, "limits": {"rate": 10.0, "shards": None}}
    await client.patch(task.id, {"retry": {"attempts": 5}})
    assert server.service.calls[-1][2] == {"retry": {"attempts": 5}}
    replaced = await client.replace(task.id, {**GOOD, "priority": 1})
    assert replaced.spec["priority"] == 1
    wrong: list[Any] = [
        {"priority": 10},
        {"limits": {"rate": "x"}},
        {"name": "x"},
        [],
        {"retry": {"delay": "x"}},
    ]
    for changes in wrong:
        with pytest.raises(ProblemError) as caught:
            await client.patch(task.id, changes)
        assert caught.value.problem.status == 422
    with pytest.raises(ProblemError):
        await client.replace(task.id, {"sink": []})


async def test_control_of_many(server: Server, client: Client, http: ClientSession) -> None:
    await client.submit_batch(lines(*({**GOOD, "tenant": f"t{number % 2}"} for number in range(10))))
    assert await client.control_many("pause", tenant="t0") == 5
    assert await client.control_many("cancel", state=["paused"]) == 5
    assert await client.control_tenant("t1", "pause") == 5
    assert await client.control_many("resume", all=True) == 5
    async with http.post("/v1/tasks:cancel", json={}) as response:
        assert response.status == 400
        assert "all=true" in (await response.json(content_type=None))["detail"]
    async with http.post("/v1/tasks:explode?all=true", json={}) as response:
        assert response.status == 404


async def test_verify_streams_findings_and_ends_with_the_summary(client: Client) -> None:
    for repair in (False, True):
        lines = [line async for line in client.verify(repair=repair, deep=True)]
        assert [line.stage for line in lines] == ["logs", "logs", "end"]
        assert lines[1].finding is not None
        assert (lines[1].finding.what, lines[1].finding.repaired) == ("deep True", repair)
        assert lines[-1].summary is not None
        assert lines[-1].summary.differences == (not repair)


async def test_a_verification_that_is_refused_is_a_problem(client: Client, server: Server) -> None:
    server.service.refusal = refuse(403, "forbidden", "not for you")
    with pytest.raises(ProblemError, match="not for you"):
        _ = [line async for line in client.verify()]
