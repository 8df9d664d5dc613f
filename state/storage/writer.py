"""When bytes are durable: one thread that appends what has gathered and syncs once for all of it.

A full disk loses nothing: what could not be written stays queued, in order, and is tried again; `stalled`
says so
meanwhile.
"""

import threading
import time
from collections.abc import Callable, Sequence

from state.storage.log import Location, Log

GATHER = 0.002
"""Seconds to wait for company when the last sync was less than this ago; one fdatasync costs more than the
wait.
"""
RETRY = 0.5
"""Seconds between tries while the disk refuses."""

Done = Callable[[list[Location]], None]


class LogWriter:
    """`submit` from any thread; `done(locations)` is called on the writer's thread once the records are
    durable.
    """

    def __init__(self, log: Log, on_stall: Callable[[OSError | None], None] = lambda _: None) -> None:
        self._log = log
        self._on_stall = on_stall
        self._queue: list[_Appends | _Call] = []
        self._wake = threading.Condition()
        self._closing = False
        self.stalled: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, payloads: Sequence[bytes], done: Done) -> None:
        with self._wake:
            if not self._queue or isinstance(self._queue[-1], _Call):
                self._queue.append(_Appends())
            last = self._queue[-1]
            assert isinstance(last, _Appends)
            last.work.append((payloads, done))
            self._wake.notify()

    def call(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Do `work` on the writer's thread, after all that was submitted before is durable and before anything that
        comes later; then call `done` there. An OSError is a full disk: it is tried again.
        """
        with self._wake:
            self._queue.append(_Call(work, done))
            self._wake.notify()

    def close(self) -> None:
        """Write what is queued (unless the disk refuses), then close the log."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._log.close()

    def _run(self) -> None:
        last = 0.0
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
            wait = GATHER - (time.monotonic() - last)
            if wait > 0 and not self._closing:
                time.sleep(wait)
            with self._wake:
                work, self._queue = self._queue, []
            if not all(self._write(part) for part in work):
                return
            last = time.monotonic()

    def _write(self, part: "_Appends | _Call") -> bool:
        """False: closing while the disk refuses."""
        while True:
            try:
                part.carry_out(self._log)
                break
            except OSError as error:
                if self.stalled is None:
                    self.stalled = error
                    self._on_stall(error)
                with self._wake:
                    if self._closing:
                        return False
                    self._wake.wait(RETRY)
        if self.stalled is not None:
            self.stalled = None
            self._on_stall(None)
        part.tell()
        return True


class _Appends:
    """Payloads that were submitted one after the other: one write and one sync."""

    def __init__(self) -> None:
        self.work: list[tuple[Sequence[bytes], Done]] = []
        self._locations: list[Location] = []

    def carry_out(self, log: Log) -> None:
        self._locations = log.append([payload for payloads, _ in self.work for payload in payloads])
        log.sync()

    def tell(self) -> None:
        at = 0
        for payloads, done in self.work:
            done(self._locations[at : at + len(payloads)])
            at += len(payloads)


class _Call:
    def __init__(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        self._work, self.tell = work, done

    def carry_out(self, _log: Log) -> None:
        self._work()
