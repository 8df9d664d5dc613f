"""Carries out the core's effects on the real log, plane and runner, and hands what happens back in.

Events are gathered within one turn of the loop; their effects leave together, so that a thousand reports cost one log
write and one message a peer.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, Protocol

from structlog import get_logger

from gossip.identity import NodeId
from node import messages
from node.clock import boottime, wall_ms
from node.core import Core
from node.effects import Append, Effect, Keep, Notice, Rate, Resend, Run, Send, SendBase, Settled, Stop
from node.execution.jobs import Job, JobKey, Report
from node.leases.file import LeaseFile
from node.loading import Behind, Loader, Name
from node.messages import PACKED_SINCE, BadMessage, Message, UnknownKind
from node.serving.keeping import Keeping, Pace
from node.serving.passing import Passing
from node.serving.places import Places
from node.transport.base import TooLarge
from state.base import BadBase
from state.envelope import BadEnvelope, Writer
from state.storage.archive import REMEDY, Archive, Rotten
from state.storage.log import Damaged, Location, Log, Unreadable
from state.storage.mark import check_mark, folded
from state.storage.rescue import rescue
from state.storage.writer import LogWriter

log = get_logger(__name__)

TICK = 0.05
"""Seconds between two ticks of the core; shorter costs an idle node, longer delays time-outs and retries."""
RESEND_BYTES = 4 << 20
RESEND_MESSAGE = 1 << 20


class StopJob(Protocol):
    def __call__(self, key: JobKey, *, drain: bool) -> None: ...


class PauseNode(Protocol):
    def __call__(self, *, paused: bool) -> None: ...


class Driver:
    """`send(to, payload)`: queue bytes for a node; False when that was not possible."""

    def __init__(
        self, core: Core, *, send: Callable[[NodeId, bytes], bool], on_notice: Callable[[Notice], None]
    ) -> None:
        self.core = core
        self._send = send
        self._on_notice = on_notice
        self._log: Log
        self._writer: LogWriter
        self._leases: LeaseFile
        self._run_jobs: Callable[[list[Job]], None]
        self._stop_job: StopJob
        self._pace_job: Callable[[JobKey, float], None]
        self._calls: Callable[[NodeId, Any], None]
        self.places = Places()
        self.loader: Loader[Location] = Loader(core.load, self._keep)
        self.keeping: Keeping
        self._waiters: dict[int, asyncio.Future[int]] = {}
        self._reports: list[Report] = []
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.lag = 0.0
        self.on_damage: Callable[[int], None] = lambda _: None
        """Told the number of a log file in which something cannot be read."""
        self.on_rot: Callable[[int, str], None] = lambda *_: None
        """Told slot and batch of a damaged row of the archive."""
        self.on_stall: Callable[[OSError | None], None] = lambda _: None
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = self.unknown = 0
        self.heard = float("-inf")
        """When another node last said anything here."""

    # ---- life

    def open_log(self, folder: Path, *, salvage: bool, pace: Pace) -> Log:
        """Read the archive's bases and the log into the core.

        Raises Damaged, Unreadable (of the log, of the archive), OSError.
        """
        folder.mkdir(parents=True, exist_ok=True)
        check_mark(folder)
        path = folder.parent / "archive.sqlite"
        if folded(folder) and not (salvage or path.exists()):
            raise Unreadable(f"{path} is gone, with all that is over; {REMEDY}")
        if salvage and (dropped := rescue(path)) != []:
            log.error(
                "a damaged part of the archive was put aside; replicas fill it in",
                path=path,
                slots=dropped or "all",
            )
        archive = Archive(path)
        self.keeping = Keeping(self, archive, pace)
        self.passing = Passing(self, self.keeping)
        try:
            self.keeping.load()
        except (BadBase, Rotten) as error:
            raise self._rotten(error) from None
        self._log = Log.open(folder, self._load, salvage=salvage)
        self._writer = LogWriter(self._log, lambda error: self._post(self._stalled, error))
        return self._log

    def open_leases(self, path: Path) -> None:
        """Read what this node promised as a voter into the core. Raises CannotStart, OSError."""
        self._leases = LeaseFile(path, self.core.leases.load)

    def _promise(self, batch: int, items: list[bytes]) -> None:
        whole = self._leases.grown
        self._leases.submit(
            self.core.leases.snapshot() if whole else items,
            lambda: self._post(self._kept, batch),
            whole=whole,
        )

    def _kept(self, batch: int) -> None:
        self.core.kept(batch, boottime(), wall_ms())
        self.flush()

    def _load(self, data: bytes, location: Location) -> None:
        try:
            self.loader.record(data, location)
        except BadEnvelope as error:
            log.warning("an envelope in the log cannot be read", error=str(error), file=location.file)

    def _keep(self, name: Name, location: Location) -> None:
        self.places.note(*name, location)

    def start(
        self,
        *,
        run: Callable[[list[Job]], None],
        stop: StopJob,
        pace: Callable[[JobKey, float], None],
        calls: Callable[[NodeId, Any], None],
    ) -> None:
        """Raises Unreadable (of the archive)."""
        self._loop = asyncio.get_running_loop()
        self._run_jobs, self._stop_job, self._pace_job, self._calls = run, stop, pace, calls
        self._writer.start()
        try:
            self.keeping.begin()
        except ValueError as error:
            raise self._rotten(error) from None
        self.core.start(boottime(), wall_ms())
        self.spawn(self.keeping.run())
        self.spawn(self.passing.run())
        self._tick()

    def _rotten(self, error: ValueError) -> Unreadable:
        return Unreadable(f"{self.keeping.archive.path} is damaged ({error}); {REMEDY}")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside everything else, until the driver closes."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def in_order(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Do `work` on the log's thread, in order with what is appended; then `done` on the loop."""
        self._writer.call(work, lambda: self._post(done))

    def behind(self) -> list[Behind]:
        """What is durable here and cannot be applied, for want of what comes before it."""
        ledgers = self.core.replicator.ledgers
        return self.loader.behind(
            lambda slot, author: ledgers[slot].heads.get(Writer(author), 0) if slot in ledgers else 0
        )

    def oldest_needed(self) -> int:
        """The oldest file of the log in which something is that no base has."""
        return min([*self.places.oldest(), *(at.file for at in self.loader.held())], default=1 << 62)

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._writer.close)
        self.keeping.close()
        await asyncio.to_thread(self._leases.close)
        for future in self._waiters.values():
            if not future.done():
                future.set_result(0)

    @staticmethod
    def now() -> float:
        return boottime()

    @property
    def log(self) -> Log:
        return self._log

    @property
    def stalled(self) -> OSError | None:
        """Why the log cannot be written now."""
        return self._writer.stalled

    def _stalled(self, error: OSError | None) -> None:
        if error is None:
            log.info("the log can be written again")
        else:
            log.error("the log cannot be written; intake is stopped", error=str(error))
        self.core.replicator.stalled = error is not None
        self.on_stall(error)

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        """From another thread; dropped once the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            if not self._closed:
                raise

    # ---- events

    def _tick(self) -> None:
        started = boottime()
        self.core.tick(started, wall_ms())
        self.flush()
        now = boottime()
        due = max(now, started + TICK)
        self._timer = self._loop.call_later(due - now, self._late_tick, due)

    def _late_tick(self, due: float) -> None:
        self.lag = max(0.0, boottime() - due)
        self._tick()

    def kick(self) -> None:
        """Effects are carried out at the end of this turn of the loop."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._reports:
            reports, self._reports = self._reports, []
            self.core.reported(reports, boottime(), wall_ms())
        self.flush()

    def members(self, members: Any) -> None:
        self.core.members(members, boottime(), wall_ms())
        self.kick()

    def reported(self, report: Report) -> None:
        self._reports.append(report)
        self.kick()

    def received(self, sender: NodeId, payload: bytes) -> None:
        self.heard = boottime()
        try:
            message = messages.decode(payload)
        except UnknownKind as error:
            self.unknown += 1
            log.debug("a message was skipped", sender=sender, reason=str(error))
            return
        except BadMessage as error:
            self.dropped += 1
            log.warning("a message was dropped", sender=sender, error=str(error))
            return
        if isinstance(message, messages.Call | messages.Answer):
            self._calls(sender, message)
            return
        if isinstance(message, messages.Archived | messages.BasePiece):
            self.passing.received(sender, message)
            return
        self.core.receive(sender, message, boottime(), wall_ms())
        self.kick()

    def write(self, slot: int, facts: Iterable[Any]) -> "asyncio.Future[int]":
        """Write a user's facts; the future's result is the number of disks they are on (0: none in time)."""
        ticket = self.core.write(slot, list(facts), boottime(), wall_ms())
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiters[ticket] = future
        self.flush()  # at once, for the same reason as in `_appended`
        return future

    # ---- effects

    def flush(self) -> None:
        for effect in self.core.flush():
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(to, message):
                self.send(to, message)
            case Append(batch, items):
                self._append(batch, items)
            case Run(jobs):
                self._run_jobs(jobs)
            case Stop(key, drain):
                self._stop_job(key, drain=drain)
            case Rate(key, rate):
                self._pace_job(key, rate)
            case Settled(ticket, level):
                future = self._waiters.pop(ticket, None)
                if future is not None and not future.done():
                    future.set_result(level)
            case Resend(to, ranges):
                self.spawn(self._resend(to, ranges))
            case SendBase(to, slot):
                self.passing.offer(to, slot)
            case Keep(batch, items):
                self._promise(batch, items)
            case Notice():
                self._on_notice(effect)

    def send(self, to: NodeId, message: Message, encoded: bytes | None = None) -> bool:
        """`encoded`: the message, where that was done already."""
        try:
            return self._send(to, encoded or messages.encode(message, packed=self._deflates(to)))
        except TooLarge as error:
            log.error("a message is too large to send", to=to, kind=type(message).__name__, error=str(error))
            return False

    def _deflates(self, to: NodeId) -> bool:
        """Whether messages to this node are deflated."""
        return to in self.core.replicator.comparing.far and self.core.protocol_of(to) >= PACKED_SINCE

    def _append(self, batch: int, items: list[tuple[int, str, int, bytes]]) -> None:
        names = [item[:3] for item in items]

        def done(locations: list[Location]) -> None:
            self._post(self._appended, batch, names, locations)

        self._writer.submit([item[3] for item in items], done)

    def _appended(self, batch: int, names: list[tuple[int, str, int]], locations: list[Location]) -> None:
        for (slot, author, seq), location in zip(names, locations, strict=True):
            self.places.note(slot, author, seq, location)
        self.core.appended(batch, boottime(), wall_ms())
        if released := self.loader.released(names):
            self.core.receive(self.core.me, messages.Envelopes(released), boottime(), wall_ms())
        self.flush()  # at once: an answer waits for this, and a turn of a busy loop takes milliseconds

    async def _resend(self, to: NodeId, ranges: list[tuple[int, str, int, int]]) -> None:
        """Send what the other lacks, from the log, up to a bound; `more` makes it ask again."""
        places: list[Location] = []
        for slot, author, first, last in ranges:
            places.extend(self.places.between(slot, author, first, last))
        far = self._deflates(to)
        for message in await asyncio.to_thread(self._read, places):
            packed = await asyncio.to_thread(messages.encode, message, packed=True) if far else None
            self.send(to, message, packed)

    def _read(self, places: list[Location]) -> list[messages.Envelopes]:
        """The envelopes at these places, in messages of about RESEND_MESSAGE, RESEND_BYTES in all."""
        found: list[messages.Envelopes] = []
        chunk: list[bytes] = []
        size = total = 0
        for place in places:
            try:
                data = self._log.read(place)
            except FileNotFoundError:
                continue  # folded meanwhile: the file was let go
            except (Damaged, OSError) as error:
                log.error("an envelope cannot be read from the log", error=str(error))
                self._post(self.on_damage, place.file)
                continue  # the rest of its author waits for it there, what others wrote does not
            chunk.append(data)
            size += len(data)
            total += len(data)
            if size >= RESEND_MESSAGE:
                found.append(messages.Envelopes(chunk, more=total >= RESEND_BYTES))
                chunk, size = [], 0
            if total >= RESEND_BYTES:
                break
        if chunk:
            found.append(messages.Envelopes(chunk, more=total >= RESEND_BYTES))
        return found
