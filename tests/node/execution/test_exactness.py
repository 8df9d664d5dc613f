"""Real CSV files into real JSON Lines folders: crashes at every step, racing executors, killed processes.

The published rows must be the source's rows, each once (a multiset), whatever happened on the way.
"""

import asyncio
import csv
import json
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from node.execution.assembly import Assembly, Cadence, Host
from node.execution.control import Turn
from node.execution.duty import Duty
from node.execution.jobs import Job, JobKey, Report
from node.execution.metrics import Tally
from node.execution.roots import FolderRoots
from node.execution.runner import Runner
from node.execution.secrets import Secrets
from node.schema import TaskSpec
from plugins.api import Batch, ShardPlan
from plugins.collectors.csv import CsvCollector
from plugins.http import NetworkRules
from plugins.registry import Registry
from plugins.sinks.jsonl import JsonlSink

ROWS = 3000


class Crash(BaseException):
    """The process is gone: nothing after this runs, above all no shutdown."""


class FragileSink(JsonlSink):
    """The sink, in a process that dies when the countdown is over, before or after a step."""

    step: ClassVar[str] = ""
    left: ClassVar[int] = 0
    _dead = False

    async def write(self, batch: Batch) -> None:
        self._die("before write")
        await super().write(batch)
        self._die("after write")

    async def commit(self, expected: Any, to: Any) -> None:
        self._die("before commit")
        await super().commit(expected, to)
        self._die("after commit")

    async def shutdown(self) -> None:
        if not self._dead:
            await super().shutdown()
        elif self._part is not None:
            self._part._file.close()

    def _die(self, step: str) -> None:
        if step == FragileSink.step:
            FragileSink.left -= 1
            if FragileSink.left == 0:
                self._dead = True
                raise Crash


class Place:
    """A folder with a source; runs jobs on it and reads what was published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = [
            {"n": str(n), "text": f'line {n}, "quoted"\nand broken' if n % 7 == 0 else f"t{n}"}
            for n in range(ROWS)
        ]
        with (folder / "rows.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["n", "text"])
            writer.writeheader()
            writer.writerows(self.rows)
        self.reports: list[Report] = []

    def job(self, kind: str, plan: ShardPlan | None = None, *, batch: int = 100, **fields: Any) -> Job:
        spec = TaskSpec(
            source={"plugin": "csv", "path": "rows.csv"},
            sink=[{"plugin": "jsonl", "path": "out"}],
        )
        spec.limits.batch_records = batch
        key = JobKey("task", "run", kind, plan.key if plan else "")
        return Job(
            key=key, tenant="default", token=(1, "n", 1), plan=plan, spec=msgspec.json.encode(spec), **fields
        )

    async def run(self, job: Job) -> Report:
        registry = Registry()
        registry.add("collector", "csv", CsvCollector)
        registry.add("sink", "jsonl", FragileSink)
        loop = asyncio.get_running_loop()
        host = Host(
            registry=registry,
            roots=FolderRoots({"default": self.folder}),
            secrets=Secrets(None, {}),
            metrics=Tally().for_plugin,
            clock=loop.time,
            monotonic=loop.time,
            log=lambda event, **fields: None,
            turn=Turn(loop.time),
            cadence=Cadence(commit_bytes=1),
        )
        said: list[Report] = []
        await Duty(Assembly(job, host), host, said.append).run()
        self.reports += said
        return said[-1]

    async def plans(self, shards: int) -> tuple[ShardPlan, ...]:
        return (await self.run(self.job("plan", hints={"shards": shards}))).plans

    async def publish(self, plans: tuple[ShardPlan, ...]) -> None:
        shards = tuple(plan.key for plan in plans)
        report = await self.run(self.job("publish", shards=shards, records=ROWS))
        assert report.state == "done", report.error

    def published(self) -> Counter[str]:
        manifest = json.loads((self.folder / "out" / "_manifest.json").read_bytes())
        visible = {path.name for path in (self.folder / "out").glob("[!._]*")}
        assert visible == {part["file"] for part in manifest["parts"]}
        lines = [line for name in visible for line in (self.folder / "out" / name).read_text().splitlines()]
        return Counter(json.dumps(json.loads(line)) for line in lines)

    def wanted(self) -> Counter[str]:
        return Counter(json.dumps(row) for row in self.rows)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    FragileSink.step = ""
    return Place(tmp_path)


@pytest.mark.parametrize("step", ["before write", "after write", "before commit", "after commit"])
async def test_a_death_at_any_step_changes_nothing(place: Place, step: str) -> None:
    plans = await place.plans(2)
    rng = random.Random(step)
    for plan in plans:
        FragileSink.step = step
        for _ in range(4):
            FragileSink.left = rng.randint(1, 4)
            report = await place.run(place.job("shard", plan, batch=rng.randint(20, 80)))
            assert report.state == "failed"
        FragileSink.step = ""
        report = await place.run(place.job("shard", plan))
        assert report.state == "done", report.error
    await place.publish(plans)
    assert place.published() == place.wanted()


@pytest.mark.parametrize("seed", range(5))
async def test_racing_executors_change_nothing(place: Place, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    plans = await place.plans(2)
    jobs = [place.job("shard", plan, batch=rng.randint(20, 200)) for plan in plans for _ in range(3)]
    rng.shuffle(jobs)
    reports = await asyncio.gather(*(place.run(job) for job in jobs))
    assert {report.state for report in reports} == {"done"}, reports
    totals = {report.key.shard: (report.held or 0) + report.counts.written for report in reports}
    assert sum(totals.values()) == ROWS
    await place.publish(plans)
    assert place.published() == place.wanted()


@pytest.mark.processes
async def test_two_nodes_whose_workers_are_killed_change_nothing(place: Place) -> None:
    """Both run the same shards in worker processes; workers die again and again."""
    rng = random.Random(1)
    (plan,) = await place.plans(1)
    job = place.job("shard", plan, batch=10, rate=20_000.0)
    said: list[Report] = []
    nodes = [
        Runner(
            registry=Registry.installed(),
            roots=FolderRoots({"default": place.folder}),
            secrets=Secrets(None, {}),
            network=NetworkRules(),
            on_report=said.append,
            log=lambda event, **fields: None,
            workers=1,
            cadence=Cadence(commit_bytes=1, report_seconds=0.01),
        )
        for _ in range(2)
    ]
    for node in nodes:
        node.submit(job)
    kills = 0
    async with asyncio.timeout(40):
        while not any(report.state == "done" for report in said):
            await asyncio.sleep(rng.uniform(0.2, 0.5))
            for pid in rng.choice(nodes).processes() if kills < 4 else ():
                os.kill(pid, signal.SIGKILL)
                kills += 1
            for node in nodes:
                if not len(node):
                    node.submit(job)
    for node in nodes:
        await node.close()
    assert kills
    assert any(report.code == "worker-died" for report in said)
    await place.publish((plan,))
    assert place.published() == place.wanted()
