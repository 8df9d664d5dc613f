"""The worker processes of a node: started on first use, replaced when they die, ended when idle.

A worker is a fresh interpreter (spawned, not forked: the node has threads) at the other end of a socket
pair. It ends when that closes, and the kernel kills it when its node dies. Jobs go to the worker with the
fewest; a new one is started while all have work and there are fewer than `size`.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import cast

import msgspec

from node.execution.holding import AskLock
from node.execution.jobs import Job, JobKey, Report
from node.execution.metrics import Tally
from node.execution.questions import answer
from node.execution.wire import (
    Answered,
    Asked,
    Counted,
    Frames,
    Logged,
    Message,
    Rate,
    Said,
    Setup,
    Start,
    Stop,
    frame,
)

IDLE = 60.0
"""seconds without a job after which a worker ends; longer keeps its memory, shorter starts it (0.3 s) more
often
"""

PATIENCE = 5.0
"""seconds that a closed worker has to end by itself"""


class Pool:
    """`emit` takes the reports of all workers; a job whose worker dies fails, retryably, with code
    "worker-died".
    """

    def __init__(
        self,
        setup: Setup,
        size: int,
        *,
        emit: Callable[[Report], None],
        log: Callable[..., None],
        tally: Tally,
        locks: AskLock | None = None,
    ) -> None:
        self._setup = setup
        self._size = size
        self.emit = emit
        self.log = log
        self.tally = tally
        self.locks = locks
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        """told to end, or dead, and not reaped yet"""

    def submit(self, job: Job, *, timeout: float | None = None) -> None:
        """Raises OSError if a worker is needed and cannot be started. `timeout`: seconds after which the
        job should have ended by itself; a worker in which one has not (a plugin that never awaits, say) is
        killed.
        """
        self._choose().start(job, timeout)

    def stop(self, key: JobKey, *, drain: bool) -> None:
        for worker in self._workers:
            if key in worker.jobs:
                worker.send(Stop(key, drain))

    def pace(self, key: JobKey, rate: float) -> None:
        for worker in self._workers:
            if key in worker.jobs:
                worker.send(Rate(key, rate))

    def tick(self, now: float) -> None:
        """End workers that have had nothing to do for long, kill those that are stuck. `now`: the loop's
        time.
        """
        for worker in self._workers:
            worker.kill_if_stuck(now)
        for worker in [w for w in self._workers if not w.jobs and now - w.idle_since > IDLE]:
            self.dismiss(worker)
            worker.hang_up()

    def processes(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.pid for worker in self._workers]

    async def close(self) -> None:
        """End all workers, at once; what they have not committed is discarded. Their jobs get no more
        reports.
        """
        for worker in list(self._workers):
            worker.jobs.clear()
            self.dismiss(worker)
            worker.hang_up()
        await asyncio.gather(*(worker.gone for worker in self._leaving))

    def dismiss(self, worker: "Worker") -> None:
        """It gets no more jobs."""
        if worker in self._workers:
            self._workers.remove(worker)
            self._leaving.append(worker)

    def reaped(self, worker: "Worker") -> None:
        self._leaving.remove(worker)

    def _choose(self) -> "Worker":
        best = min(self._workers, key=lambda worker: len(worker.jobs), default=None)
        if best is None or (best.jobs and len(self._workers) < self._size):
            best = Worker(self, self._setup)
            self._workers.append(best)
        return best


class Worker(asyncio.Protocol):
    """One process. `jobs`: what it has been given, with the last that it said of each."""

    def __init__(self, pool: Pool, setup: Setup) -> None:
        loop = asyncio.get_running_loop()
        self._pool = pool
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._unsent = [frame(setup)]
        self._hung_up = False
        self.jobs: dict[JobKey, Report] = {}
        self._questions: set[asyncio.Task[Answered]] = set()
        self._deadlines: dict[JobKey, float] = {}
        self.idle_since = loop.time()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                self._process = _spawn(theirs)
            except OSError:
                ours.close()
                raise
        self._connecting = loop.create_task(self._connect(ours))
        self.gone: asyncio.Future[None] = loop.create_future()
        """done when the process has ended and been reaped"""

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, job: Job, timeout: float | None) -> None:
        if timeout is not None:
            self._deadlines[job.key] = asyncio.get_running_loop().time() + timeout
        self.jobs[job.key] = Report(
            key=job.key, state="progress", token=job.token, attempt=job.attempt, position=job.resume
        )
        self.send(Start(job))

    def send(self, message: Message) -> None:
        data = frame(message)
        if self._transport is None:
            self._unsent.append(data)
        else:
            self._transport.write(data)

    def kill_if_stuck(self, now: float) -> None:
        if any(now > deadline for deadline in self._deadlines.values()):
            self._process.kill()

    def hang_up(self) -> None:
        """The worker ends when it sees this; what it still says is not heard."""
        self._hung_up = True
        if self._transport is not None:
            self._transport.abort()

    async def _connect(self, ours: socket.socket) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.writelines(self._unsent)
        self._unsent.clear()
        if self._hung_up:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._hung_up:
            return
        for message in self._frames.feed(data):
            match message:
                case Said(report):
                    self._hear(report)
                case Logged(event, fields):
                    self._pool.log(event, **fields)
                case Asked():
                    self._answering(message)
                case Counted(counts):
                    self._pool.tally.merge(counts)
                case _:
                    pass

    def _answering(self, asked: Asked) -> None:
        task = asyncio.get_running_loop().create_task(answer(asked, self._pool.locks))
        self._questions.add(task)

        def done(task: "asyncio.Task[Answered]") -> None:
            self._questions.discard(task)
            if not task.cancelled() and not self._hung_up:
                self.send(task.result())

        task.add_done_callback(done)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the process tells more than the pipe
        self._ending = asyncio.get_running_loop().create_task(self._end())

    def _hear(self, report: Report) -> None:
        if report.key not in self.jobs:
            return
        if report.state == "progress":
            self.jobs[report.key] = report
        else:
            del self.jobs[report.key]
            self._deadlines.pop(report.key, None)
            self.idle_since = asyncio.get_running_loop().time()
        self._pool.emit(report)

    async def _end(self) -> None:
        self._pool.dismiss(self)
        status = await asyncio.to_thread(_reap, self._process, kill_at_once=not self._hung_up)
        self._pool.reaped(self)
        jobs, self.jobs = self.jobs, {}
        for last in jobs.values():
            self._pool.emit(_died(last, status))
        if not self.gone.done():
            self.gone.set_result(None)


def _spawn(end: socket.socket) -> subprocess.Popen[bytes]:
    """Its errors go where ours go; what plugins print is dropped, it has no place in a node's output."""
    command = [sys.executable, "-P", "-m", "node.execution.worker", str(end.fileno()), str(os.getpid())]
    return subprocess.Popen(  # noqa: S603 -- our own interpreter and module
        command, pass_fds=(end.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def _reap(process: subprocess.Popen[bytes], *, kill_at_once: bool) -> int:
    try:
        return process.wait(timeout=0.2 if kill_at_once else PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _died(last: Report, status: int) -> Report:
    try:
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    except ValueError:
        how = f"signal {-status}"
    counts = last.counts
    # What was read and not committed will be read, and counted, again.
    committed = min(counts.read, counts.written + counts.skipped + counts.dead)
    return msgspec.structs.replace(
        last,
        state="failed",
        counts=msgspec.structs.replace(counts, read=committed),
        letters=(),
        error=f"the worker process died ({how}); the next attempt goes on from the last commit",
        code="worker-died",
        retryable=True,
    )
