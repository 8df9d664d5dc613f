"""A worker process: `python -m node.execution.worker FD PARENT`. Runs jobs until the pipe closes or the
node dies.

It has the node's plugins and paths, and nothing of the mesh: no keys, no ledger, no HTTP.
"""

import asyncio
import ctypes
import importlib
import operator
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, cast

import uvloop

from node.execution.assembly import Assembly, Host
from node.execution.control import Turn, Wish
from node.execution.duty import Duty, refusal
from node.execution.jobs import Job, JobKey, Report
from node.execution.metrics import Tally
from node.execution.questions import Questions
from node.execution.roots import FolderRoots
from node.execution.secrets import Secrets, clean
from node.execution.wire import (
    Answered,
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
from plugins.http import NetworkRules, Web

TICK = 0.25
"""seconds between two looks at deadlines and slow sources"""

_PR_SET_PDEATHSIG = 1


class Link(asyncio.Protocol):
    """The worker's end of the pipe, and the jobs that came through it."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._host: Host | None = None
        self._tally = Tally()
        self._duties: dict[JobKey, Duty] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._questions = Questions(self._send)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._tick()

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            match message:
                case Setup():
                    self._host = self._make_host(message)
                case Start(job):
                    self._start(job)
                case Stop(key, drain):
                    if key in self._duties:
                        self._duties[key].control.ask(Wish.DRAIN if drain else Wish.STOP)
                case Rate(key, rate):
                    if key in self._duties:
                        self._duties[key].assembly.pace(rate)
                case Answered():
                    self._questions.answered(message)
                case _:
                    pass

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- there is nobody left to tell
        os._exit(0)

    def _start(self, job: Job) -> None:
        host = self._host
        if host is None:
            raise RuntimeError("a job came before the setup")
        try:
            duty = Duty(Assembly(job, host), host, self._say)
        except Exception as error:  # noqa: BLE001 -- the job fails, the worker goes on
            self._say(refusal(job, error))
            return
        self._duties[job.key] = duty
        task = asyncio.get_running_loop().create_task(duty.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _say(self, report: Report) -> None:
        if report.state != "progress":
            self._duties.pop(report.key, None)
        self._send(Said(report))

    def _log(self, event: str, **fields: Any) -> None:
        self._send(Logged(event, {key: _loggable(value) for key, value in fields.items()}))

    def _send(self, message: Message) -> None:
        if self._transport is not None:
            self._transport.write(frame(message))

    def _tick(self) -> None:
        now = time.monotonic()
        for duty in list(self._duties.values()):
            duty.tick(now)
        if counts := self._tally.drain():
            self._send(Counted(counts))
        asyncio.get_running_loop().call_later(TICK, self._tick)

    def _make_host(self, setup: Setup) -> Host:
        module, _, factory = setup.registry.partition(":")
        return Host(
            registry=operator.attrgetter(factory)(importlib.import_module(module))(),
            roots=FolderRoots({name: Path(folder) for name, folder in setup.roots.items()}),
            secrets=Secrets(Path(setup.secrets) if setup.secrets else None),
            metrics=self._tally.for_plugin,
            clock=time.time,
            monotonic=time.monotonic,
            log=self._log,
            turn=Turn(time.monotonic),
            http=Web(NetworkRules(setup.allow, setup.deny)).session,
            cadence=setup.cadence,
            locks=self._questions.ask,
        )


def _loggable(value: Any) -> Any:
    return value if isinstance(value, float | bool | None) else clean(str(value))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; ends at once if that has happened already.

    Linux means the thread that started us: a node runs its loop in its main thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


async def serve(end: socket.socket) -> None:
    await asyncio.get_running_loop().create_unix_connection(Link, sock=end)
    await asyncio.Event().wait()


def main() -> None:
    descriptor, parent = (int(argument) for argument in sys.argv[1:3])
    die_with(parent)
    # A terminal's Ctrl-C and a service's stop reach the whole group; the node decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = socket.socket(fileno=descriptor)
    end.setblocking(False)
    uvloop.run(serve(end))


if __name__ == "__main__":
    main()
