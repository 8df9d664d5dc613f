"""Hosts and jobs for the tests of execution."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.execution.assembly import Assembly, Cadence, Host
from node.execution.control import Turn
from node.execution.duty import Duty
from node.execution.jobs import Job, JobKey, Report
from node.execution.metrics import Tally
from node.execution.roots import FolderRoots
from node.execution.secrets import Secrets
from node.schema import TaskSpec
from tests.node.execution.samples import STORES, CountSource, Store, registry

_names = itertools.count()


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def job(
    source: dict[str, Any] | None = None,
    *sinks: dict[str, Any],
    kind: str = "shard",
    spec: dict[str, Any] | None = None,
    **fields: Any,
) -> Job:
    """A job of the counting source into the given sinks; `spec`: more of the task's spec."""
    made = msgspec.convert(
        {"source": {"plugin": "count", **(source or {})}, "sink": list(sinks), **(spec or {})}, TaskSpec
    )
    key = JobKey("task", "run", kind, {"shard": "part-0", "solo": "0"}.get(kind, ""))
    defaults: dict[str, Any] = {"key": key, "tenant": "default", "token": (1, "node", 1)}
    return Job(spec=msgspec.json.encode(made), **{**defaults, **fields})


class Bench:
    """Runs jobs in this process and keeps what they say."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.reports: list[Report] = []
        self.logs: list[tuple[str, dict[str, Any]]] = []
        self.environment: dict[str, str] = {}
        self.folder = folder
        self.cadence = Cadence()

    def host(self) -> Host:
        return Host(
            registry=registry(),
            roots=FolderRoots({"default": self.folder}),
            secrets=Secrets(None, self.environment),
            metrics=Tally().for_plugin,
            clock=self.clock,
            monotonic=self.clock,
            log=lambda event, **fields: self.logs.append((event, fields)),
            turn=Turn(self.clock),
            cadence=self.cadence,
        )

    def duty(self, job: Job) -> Duty:
        host = self.host()
        return Duty(Assembly(job, host), host, self.reports.append)

    async def run(self, job: Job) -> Report:
        await self.duty(job).run()
        return self.reports[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    CountSource.acknowledged.clear()
    CountSource.opened.clear()
    return Bench(tmp_path)


@pytest.fixture
def store() -> Callable[[], tuple[dict[str, Any], Store]]:
    """A sink in memory of its own: its part of the spec, and what it holds."""

    def make() -> tuple[dict[str, Any], Store]:
        name = f"store-{next(_names)}"
        STORES[name] = Store()
        return {"plugin": "memory", "store": name}, STORES[name]

    return make
