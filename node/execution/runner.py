"""Takes jobs and sees each to its last report: on the event loop where its plugins are cheap, else in a
worker.

The caller limits how many jobs run at once; what is submitted starts as soon as the loop comes to it.

A solo job of `bench` into `discard` costs 30 us of CPU in all, 33,000 a second, and thousands of them
block the loop for at most 8 ms at a time (Python 3.11, uvloop: `python -m
tests.node.execution.measure_solo`).
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from node.execution.assembly import Assembly, Cadence, Host, Registry
from node.execution.control import Turn, Wish
from node.execution.duty import GRACE, Duty, refusal
from node.execution.holding import AskLock
from node.execution.jobs import Job, JobKey, Report
from node.execution.lanes import Lanes
from node.execution.metrics import Tally
from node.execution.roots import FolderRoots
from node.execution.secrets import Secrets
from node.execution.wire import Setup
from node.execution.workers import Pool
from plugins.http import NetworkRules, Web

TICK = 0.25
"""seconds between two looks at deadlines and slow sources"""

CLOSING = 10.0
"""seconds that jobs have to commit what they wrote when the node closes; then they are cut off, and lose
that
"""


class _Entry:
    """A job that has no last report yet. `duty`: None until it runs here; `successor`: runs when this one
    has ended.
    """

    __slots__ = ("duty", "job", "pooled", "successor", "wish")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.duty: Duty | None = None
        self.pooled = False
        self.successor: Job | None = None
        self.wish: Wish | None = None


class Runner:
    """`on_report` is called on the loop, for each job any number of times with "progress", then once with
    its end.

    `workers`: processes at most (None: one a CPU). `worker_registry`: "module:callable" that gives a
    worker its plugin registry. `clock`: seconds since the epoch, for plugins. `log(event, **fields)`.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        roots: FolderRoots,
        secrets: Secrets,
        network: NetworkRules,
        on_report: Callable[[Report], None],
        log: Callable[..., None],
        workers: int | None = None,
        clock: Callable[[], float] = time.time,
        worker_registry: str = "plugins.registry:Registry.installed",
        cadence: Cadence | None = None,
        locks: AskLock | None = None,
    ) -> None:
        cadence = cadence or Cadence()
        self._on_report = on_report
        self._registry = registry
        self._web = Web(network)
        self._tally = Tally()
        self._entries: dict[JobKey, _Entry] = {}
        self._ended: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._host = Host(
            registry=registry,
            roots=roots,
            secrets=secrets,
            metrics=self._tally.for_plugin,
            clock=clock,
            monotonic=time.monotonic,
            log=log,
            turn=Turn(time.monotonic),
            http=self._web.session,
            locks=locks,
            cadence=cadence,
        )
        self._lanes: Lanes[_Entry] = Lanes(self._run, self._host.turn)
        setup = Setup(
            registry=worker_registry,
            roots={name: str(folder) for name, folder in roots.folders().items()},
            secrets=None if secrets.folder is None else str(secrets.folder),
            allow=[str(network_) for network_ in network.allow],
            deny=[str(network_) for network_ in network.deny],
            cadence=cadence,
        )
        size = workers or os.cpu_count() or 1
        self._pool = Pool(setup, size, emit=self._hear, log=log, tally=self._tally, locks=locks)

    def submit(self, job: Job) -> None:
        """Run the job. The same key again: with a newer token it replaces the one that runs (which drains
        first and reports "stopped"), else it is the same lease heard twice and ignored.
        """
        if self._closed:
            return
        entry = self._entries.get(job.key)
        if entry is None:
            self._accept(job)
        elif job.token > (entry.successor or entry.job).token:
            entry.successor = job
            self._ask(entry, Wish.DRAIN)

    def submit_many(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.submit(job)

    def stop_job(self, key: JobKey, *, drain: bool) -> None:
        """Its last report will be "stopped", unless it ends by itself first. Unknown keys are ignored.

        `drain`: commit what is written first. Both take effect while a source or a budget is waited for.
        """
        entry = self._entries.get(key)
        if entry is not None:
            entry.successor = None
            self._ask(entry, Wish.DRAIN if drain else Wish.STOP)

    def pace_job(self, key: JobKey, rate: float) -> None:
        """Let it go on at `rate`, units per second, if it has one. Unknown keys are ignored."""
        entry = self._entries.get(key)
        if entry is None:
            return
        entry.job = msgspec.structs.replace(entry.job, rate=rate)
        if entry.duty is not None:
            entry.duty.assembly.pace(rate)
        elif entry.pooled:
            self._pool.pace(key, rate)

    def running(self) -> tuple[JobKey, ...]:
        """The jobs that have no last report yet."""
        return tuple(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def metrics(self) -> dict[str, dict[str, int]]:
        """What plugins counted: plugin -> name -> sum since the start."""
        return self._tally.snapshot()

    def processes(self) -> list[int]:
        """The process ids of the workers."""
        return self._pool.processes()

    async def start(self) -> None:
        """Nothing is started before it is used; this checks that the caller is on a loop, and arms the
        timer.
        """
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    async def close(self) -> None:
        """Drain all jobs (at most `CLOSING` seconds), end the workers. No job is taken any more."""
        self._closed = True
        for key in list(self._entries):
            self.stop_job(key, drain=True)
        if self._entries:
            self._ended = asyncio.Event()
            try:
                await asyncio.wait_for(self._ended.wait(), CLOSING)
            except TimeoutError:
                self._host.log("jobs did not end in time", jobs=len(self._entries), seconds=CLOSING)
        if self._timer is not None:
            self._timer.cancel()
        self._lanes.cancel()
        await self._lanes.join()
        await self._pool.close()
        await self._web.close()

    def _accept(self, job: Job) -> None:
        entry = self._entries[job.key] = _Entry(job)
        self._lanes.add(entry)

    async def _run(self, entry: _Entry, task: "asyncio.Task[None]") -> None:
        job = entry.job
        if entry.wish is not None:
            stopped = Report(key=job.key, state="stopped", token=job.token, position=job.resume)
            self._hear(msgspec.structs.replace(stopped, attempt=job.attempt))
            return
        try:
            assembly = Assembly(job, self._host)
            if self._is_inline(assembly):
                entry.duty = Duty(assembly, self._host, self._hear)
            else:
                timeout = assembly.spec.limits.timeout
                self._pool.submit(job, timeout=None if timeout is None else timeout + 2 * GRACE)
                entry.pooled = True
        except Exception as error:  # noqa: BLE001 -- the job fails, the runner goes on
            self._hear(refusal(job, error))
            return
        if entry.duty is not None:
            await entry.duty.run(task)

    def _is_inline(self, assembly: Assembly) -> bool:
        """Whether every plugin of the job may run on this loop."""
        spec, registry, kind = assembly.spec, self._registry, assembly.job.key.kind
        if (
            kind != "publish"
            and not assembly.job.letters
            and not _inline(registry.collector(assembly.source))
        ):
            return False
        if kind == "plan":
            return True
        for sink in spec.sink:
            if not _inline(registry.sink(str(sink["plugin"]))):
                return False
        return all(_inline(registry.transform(str(step["plugin"]))) for step in spec.transform)

    def _ask(self, entry: _Entry, wish: Wish) -> None:
        entry.wish = wish
        if entry.duty is not None:
            entry.duty.control.ask(wish)
        elif entry.pooled:
            self._pool.stop(entry.job.key, drain=wish is Wish.DRAIN)

    def _hear(self, report: Report) -> None:
        successor = self._end(report) if report.state != "progress" else None
        self._on_report(report)
        if successor is not None:
            self.submit(successor)

    def _end(self, report: Report) -> Job | None:
        entry = self._entries.pop(report.key, None)
        if self._ended is not None and not self._entries:
            self._ended.set()
        return None if entry is None else entry.successor

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        for entry in list(self._entries.values()):
            if entry.duty is not None:
                entry.duty.tick(now)
        self._pool.tick(loop.time())
        self._timer = loop.call_later(TICK, self._tick)


def _inline(plugin: type[Any]) -> bool:
    return bool(getattr(plugin, "inline", False))
