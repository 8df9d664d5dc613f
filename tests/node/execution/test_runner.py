"""The runner: many jobs on one loop, heavy ones in real worker processes that may be killed and replaced."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from node.execution.assembly import Cadence
from node.execution.duty import GRACE
from node.execution.jobs import Job, JobKey, Report
from node.execution.roots import FolderRoots
from node.execution.runner import Runner
from node.execution.secrets import Secrets
from node.execution.workers import IDLE
from plugins.http import NetworkRules
from tests.node.execution.conftest import job
from tests.node.execution.samples import Store, registry

Stores = Callable[[], tuple[dict[str, Any], Store]]
SLOW = {"plugin": "heavy", "total": 10_000, "size": 10, "pause": 0.01}
FILE = {"plugin": "file", "path": "out.json"}


class Desk:
    """A runner and what it reported; `ended` waits for the last report of a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[Report] = []
        self.logs: list[tuple[str, dict[str, Any]]] = []
        self.news = asyncio.Event()
        self.runner = Runner(
            registry=registry(),
            roots=FolderRoots({"default": folder}),
            secrets=Secrets(folder),
            network=NetworkRules(allow=["127.0.0.0/8"]),
            on_report=self.hear,
            log=lambda event, **fields: self.logs.append((event, fields)),
            workers=2,
            worker_registry="tests.node.execution.samples:registry",
            cadence=Cadence(commit_seconds=0.1, report_seconds=0.05),
        )

    def hear(self, report: Report) -> None:
        self.reports.append(report)
        self.news.set()

    async def until(self, met: Callable[[], Any]) -> Any:
        async with asyncio.timeout(20):
            while not (found := met()):
                self.news.clear()
                await self.news.wait()
        return found

    async def ended(self, key: JobKey) -> Report:
        found: Report = await self.until(
            lambda: next((r for r in self.reports if r.key == key and r.state != "progress"), None)
        )
        return found

    def written(self) -> list[int]:
        records: list[int] = json.loads((self.folder / "out.json").read_text())[1]
        return records


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    await made.runner.start()
    yield made
    await made.runner.close()
    assert made.runner.processes() == []


def named(job_: Job, task: str, **fields: Any) -> Job:
    from msgspec.structs import replace

    return replace(job_, key=replace(job_.key, task=task), **fields)


async def test_thousands_of_small_jobs_share_the_loop(desk: Desk, store: Stores) -> None:
    sink, held = store()
    jobs = [named(job({"total": 3}, sink, kind="solo"), f"task-{n}", token=(1, "n", n)) for n in range(3000)]
    for job_ in jobs:
        held.positions.clear()
        desk.runner.submit(job_)
    rounds = 0
    while len(desk.runner):
        rounds += 1
        held.positions.clear()
        await asyncio.sleep(0)
    ended = [
        report for report in desk.reports if report.state != "progress"
    ]  # some are told of on a slow machine
    assert {report.state for report in ended} == {"done"}
    assert len(ended) == len({report.key for report in ended}) == 3000
    assert rounds > 5, "the loop went round in between"


@pytest.mark.parametrize("source", [{"total": 3000, "size": 10}, {**SLOW, "total": 3000, "pause": 0.0}])
async def test_a_job_goes_on_at_another_rate(desk: Desk, store: Stores, source: dict[str, Any]) -> None:
    """Three thousand records at twenty a second would take longer than anybody here waits."""
    sink = FILE if "plugin" in source else store()[0]
    job_ = job(source, sink, rate=20.0)
    desk.runner.submit(job_)
    await desk.until(lambda: desk.reports)
    assert desk.reports[-1].state == "progress"
    desk.runner.pace_job(JobKey("nobody", "run", "shard", "0"), 1.0)
    desk.runner.pace_job(job_.key, 1e6)
    assert (await desk.ended(job_.key)).state == "done"


async def test_jobs_that_wait_do_not_hold_up_others(desk: Desk, store: Stores) -> None:
    sink, _ = store()
    waiting = [named(job({"hang_at": 0}, sink), f"wait-{n}") for n in range(50)]
    desk.runner.submit_many(waiting)
    desk.runner.submit(named(job({"total": 5}, sink), "quick"))
    assert (await desk.ended(JobKey("quick", "run", "shard", "part-0"))).state == "done"
    assert len(desk.runner.running()) == 50
    for job_ in waiting:
        desk.runner.stop_job(job_.key, drain=False)
    assert {(await desk.ended(job_.key)).state for job_ in waiting} == {"stopped"}


async def test_a_job_is_stopped_before_it_starts(desk: Desk, store: Stores) -> None:
    sink, held = store()
    job_ = job({}, sink, resume=4)
    desk.runner.submit(job_)
    desk.runner.stop_job(job_.key, drain=True)
    report = await desk.ended(job_.key)
    assert (report.state, report.position, held.all()) == ("stopped", 4, [])


async def test_the_same_lease_twice_is_one_job_a_newer_one_takes_over(desk: Desk, store: Stores) -> None:
    sink, held = store()
    first = job({"total": 9, "size": 3, "hang_at": 6}, sink)
    desk.runner.submit(first)
    await asyncio.sleep(0.01)
    desk.runner.submit(first)
    desk.runner.submit(job({"total": 9, "size": 3}, sink, token=(2, "other", 1)))
    await desk.until(lambda: any(report.state == "done" for report in desk.reports))
    ends = [(report.state, report.token) for report in desk.reports if report.state != "progress"]
    assert ends == [("stopped", (1, "node", 1)), ("done", (2, "other", 1))]
    assert held.all() == list(range(1, 10))


async def test_unknown_plugins_and_damaged_specs_fail_for_good(desk: Desk, store: Stores) -> None:
    sink, _ = store()
    for number, job_ in enumerate([job({"plugin": "cuont"}, sink), named(job({}, sink), "x", spec=b"{}")]):
        desk.runner.submit(named(job_, str(number)))
        report = await desk.ended(named(job_, str(number)).key)
        assert (report.state, report.retryable) == ("failed", False)
        assert report.code == ("plugin", "spec")[number]


@pytest.mark.processes
async def test_a_heavy_job_runs_in_a_worker_from_plan_to_publish(desk: Desk) -> None:
    (desk.folder / "PASS").write_text("canary-9\n")
    (desk.folder / "PASS").chmod(0o600)
    source = {"plugin": "heavy", "total": 5000, "size": 100, "bad": [1], "password": {"secret": "PASS"}}
    for kind in ("plan", "shard", "publish"):
        desk.runner.submit(job(source, FILE, kind=kind, records=4999))
    planned = await desk.ended(JobKey("task", "run", "plan"))
    assert [plan.key for plan in planned.plans] == ["part-0", "part-1"]
    done = await desk.ended(JobKey("task", "run", "shard", "part-0"))
    assert (done.state, done.position, done.counts.written, done.counts.dead) == ("done", 5000, 4999, 1)
    assert desk.written() == list(range(2, 5001))
    assert (await desk.ended(JobKey("task", "run", "publish"))).state == "done"
    assert (desk.folder / "out.published").read_text() == "4999"
    assert [letter.record for report in desk.reports for letter in report.letters] == ["bad 1 ***"]
    async with asyncio.timeout(5):
        while not desk.runner.metrics():
            await asyncio.sleep(0.05)
    assert desk.runner.metrics() == {"file": {"records": 4999}}
    assert os.getpid() not in desk.runner.processes()


@pytest.mark.processes
async def test_a_killed_worker_fails_its_jobs_retryably_and_is_replaced(desk: Desk) -> None:
    job_ = job(SLOW, FILE)
    desk.runner.submit(job_)
    await desk.until(lambda: any(report.position for report in desk.reports))
    (pid,) = desk.runner.processes()
    os.kill(pid, signal.SIGKILL)
    report = await desk.ended(job_.key)
    assert (report.state, report.code, report.retryable) == ("failed", "worker-died", True)
    assert "SIGKILL" in report.error
    assert desk.written()[-1] >= report.position > 0
    assert report.counts.read == report.counts.written == report.position

    desk.reports.clear()
    desk.runner.submit(job({**SLOW, "total": 1000, "pause": 0}, FILE))
    assert (await desk.ended(job_.key)).state == "done"
    assert desk.written() == list(range(1, 1001))
    assert pid not in desk.runner.processes()


async def test_a_worker_that_cannot_start_fails_the_job_retryably(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(desk.folder / "absent"))
    job_ = job(SLOW, FILE)
    desk.runner.submit(job_)
    report = await desk.ended(job_.key)
    assert (report.state, report.code, report.retryable) == ("failed", "io", True)
    assert desk.runner.running() == ()


@pytest.mark.processes
async def test_a_plugin_that_never_awaits_loses_its_worker(desk: Desk) -> None:
    source = {"plugin": "heavy", "total": 100, "size": 10, "spin_at": 50}
    job_ = job(source, FILE, spec={"limits": {"timeout": 1}})
    desk.runner.submit(job_)
    while not desk.runner.processes():
        await asyncio.sleep(0)
    desk.runner._pool.tick(asyncio.get_running_loop().time() + 2 * GRACE)
    assert len(desk.runner) == 1
    desk.runner._pool.tick(asyncio.get_running_loop().time() + 2 * GRACE + 2)
    assert (await desk.ended(job_.key)).code == "worker-died"


@pytest.mark.processes
async def test_an_idle_worker_ends_and_another_is_started(desk: Desk) -> None:
    job_ = job({"plugin": "heavy", "total": 10}, FILE)
    pids = []
    for _ in range(2):
        desk.reports.clear()
        desk.runner.submit(job_)
        assert (await desk.ended(job_.key)).state == "done"
        pids += desk.runner.processes()
        desk.runner._pool.tick(asyncio.get_running_loop().time() + IDLE + 1)
        assert desk.runner.processes() == []
    assert len(set(pids)) == 2


@pytest.mark.processes
async def test_a_web_source_is_read_in_a_worker(desk: Desk) -> None:
    async def numbers(_request: web.Request) -> web.Response:
        return web.json_response([{"n": 1}, {"n": 2}])

    app = web.Application()
    app.router.add_get("/", numbers)
    async with TestServer(app, host="127.0.0.1") as server:
        job_ = job({"plugin": "http", "url": f"http://127.0.0.1:{server.port}/"}, FILE)
        desk.runner.submit(job_)
        assert (await desk.ended(job_.key)).state == "done"
    assert desk.written() == [1, 2]

    refused = named(
        job({"plugin": "http", "url": "http://169.254.169.254/"}, {**FILE, "path": "x"}), "refused"
    )
    desk.runner.submit(refused)
    report = await desk.ended(refused.key)
    assert (report.state, report.code, report.retryable) == ("failed", "network", False)


async def test_a_web_request_is_interrupted_and_the_loop_goes_on(desk: Desk, store: Stores) -> None:
    asked = asyncio.Event()

    async def never(_request: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", never)
    sink, held = store()
    async with TestServer(app, host="127.0.0.1") as server:
        for drain in (True, False):
            asked.clear()
            job_ = job({"plugin": "http", "url": f"http://127.0.0.1:{server.port}/"}, sink)
            desk.runner.submit(job_)
            await asyncio.wait_for(asked.wait(), 10)
            desk.runner.stop_job(job_.key, drain=drain)
            assert (await desk.ended(job_.key)).state == "stopped"
            desk.runner.submit(named(job({"total": 3}, sink), f"after-{drain}"))
            assert (await desk.ended(JobKey(f"after-{drain}", "run", "shard", "part-0"))).state == "done"
            held.positions.clear()
            desk.reports.clear()


@pytest.mark.processes
async def test_a_worker_job_drains_and_stops(desk: Desk) -> None:
    job_ = job(SLOW, FILE)
    desk.runner.submit(job_)
    await desk.until(lambda: any(report.position for report in desk.reports))
    desk.runner.stop_job(job_.key, drain=True)
    report = await desk.ended(job_.key)
    assert (report.state, report.position) == ("stopped", len(desk.written()))
    assert desk.written() == list(range(1, report.position + 1))


@pytest.mark.processes
async def test_two_workers_racing_on_one_shard_write_every_record_once(desk: Desk) -> None:
    source = {"plugin": "heavy", "total": 3000, "size": 7, "pause": 0.0001}
    jobs = [named(job(source, FILE), task) for task in ("one", "two")]
    desk.runner.submit_many(jobs)
    ends = [await desk.ended(job_.key) for job_ in jobs]
    assert [report.state for report in ends] == ["done", "done"]
    assert Counter(desk.written()) == Counter(range(1, 3001))
    assert {(report.held or 0) + report.counts.written for report in ends} == {3000}
    assert len(desk.runner.processes()) == 2


@pytest.mark.processes
async def test_closing_drains_and_ends_the_workers(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.runner.start()
    desk.runner.submit(job(SLOW, FILE))
    await desk.until(lambda: any(report.position for report in desk.reports))
    (pid,) = desk.runner.processes()
    await desk.runner.close()
    assert desk.reports[-1].state == "stopped"
    assert desk.reports[-1].position == len(desk.written())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.processes
def test_workers_die_with_their_node(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(
        textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from tests.node.execution.conftest import job
        from tests.node.execution.test_runner import FILE, SLOW, Desk

        async def main():
            desk = Desk(Path({str(tmp_path)!r}))
            await desk.runner.start()
            desk.runner.submit(job(SLOW, FILE))
            await desk.until(lambda: any(report.position for report in desk.reports))
            print(desk.runner.processes()[0], flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
        """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        worker = int(node.stdout.readline())
        node.kill()
        node.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and _state(worker) != "Z":
        assert time.monotonic() < deadline, "the worker outlived its node"
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
