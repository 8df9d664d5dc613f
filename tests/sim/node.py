"""A whole node in the simulator: the production machines of membership and of the node, on simulated time, network
and disk. `SimNode` does what `node.app` does in production: it hands events in and carries effects out."""

import functools
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import structs

from gossip.config import SwimConfig
from gossip.effects import Changed, Conflict, Contact, Leave, Received, SetMeta, Tick
from gossip.effects import Send as Gossip
from gossip.identity import Boot, NodeId
from gossip.member import Member, Meta, State
from gossip.swim import Swim
from node import messages
from node.core import Core, CoreConfig
from node.effects import Append, Effect, Keep, Resend, Run, Send, SendBase, Settled, Stop
from node.execution.jobs import JobKey, Report
from node.messages import Facts
from node.operations import FactOf
from node.security.keys import boot_floor
from state.entries import Batch
from state.ledger import Ledger
from tests.sim import secrecy
from tests.sim.clock import Clock
from tests.sim.disk import Content, Name, SimDisk
from tests.sim.keeping import SimKeeping
from tests.sim.model import ModelRunner, ModelSink
from tests.sim.network import Network

WALL = 1_800_000_000_000
TICK = 0.2
PLUGINS = {"collector:model": "1", "collector:solo": "1", "sink:model": "1", "sink:plain": "1"}


class Watcher(Protocol):
    """Who is told what a node does, to hold the invariants against it."""

    def born(self, node: "SimNode") -> None: ...
    def settled(self, node: "SimNode", ticket: int, level: int) -> None: ...
    def member_changed(self, node: "SimNode", member: Member) -> None: ...
    def reported(self, node: "SimNode", key: JobKey) -> None: ...


class SimNode:
    """One node over all its lives. `rate`: its seconds per true second; `skew`: milliseconds of its wall clock."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        network: Network,
        sink: ModelSink,
        seed: int,
        *,
        config: CoreConfig,
        gossip: SwimConfig,
        watcher: Watcher,
        hits: Counter[str],
    ) -> None:
        self.name = NodeId(name)
        self.address = f"{name}:1"
        self.clock, self.network, self.sink = clock, network, sink
        self.rng = random.Random(f"{seed}:{name}")
        self.config, self.gossip_config = config, gossip
        self.disk = SimDisk(self.rng)
        self.backup: Content | None = None
        self.boot = 0
        self.life = 0
        self.up = False
        self.frozen = False
        self.stalled = False
        self.compared = False
        self.weight = 1.0
        self.rate, self.offset, self.skew = 1.0, 0.0, 0
        self.held: list[Callable[[], None]] = []
        self.seeds: list[tuple[NodeId, str]] = []
        self.hits = hits
        self._watcher = watcher
        self.swim: Swim
        self.core: Core
        self.runner: ModelRunner
        self.keeping: SimKeeping
        self._appends: deque[Callable[[], None]] = deque()
        self._writing = False

    # ---- time

    @property
    def now(self) -> float:
        """Its own clock of durations, which runs a little fast or slow."""
        return self.clock.now * self.rate + self.offset

    @property
    def wall(self) -> int:
        return WALL + int(self.clock.now * self.rate * 1000) + self.skew

    @property
    def able(self) -> bool:
        """Whether a client gets an answer from it."""
        return self.up and not self.frozen and not self.stalled

    @property
    def left(self) -> bool:
        """Whether it has taken its leave and waits for its end."""
        return self.swim.members[self.name].state is State.LEFT

    # ---- life

    def start(self) -> None:
        """Begin a new life from what the disk holds."""
        assert not self.up
        found = self.disk.read()
        self.boot = self.disk.content.boot = max(self.disk.content.boot, boot_floor(self.wall / 1000)) + 1
        self.life += 1
        self.up, self.frozen, self.held = True, False, []
        self.stalled = self.compared = self._writing = False
        self._appends.clear()
        contacts = [(NodeId(a), b) for a, b in self.disk.content.contacts] or self.seeds
        self.swim = Swim(
            me=self.name, boot=Boot(self.boot), address=self.address, meta=self._meta(), config=self.gossip_config,
            rng=self.rng, contacts=contacts,
        )  # fmt: skip
        self.core = Core(
            self.name, Boot(self.boot), self.config, rng=self.rng, client_id=lambda: self.rng.getrandbits(52),
            sharded=lambda plugin: plugin != "solo",
        )  # fmt: skip
        self.runner = ModelRunner(self.clock, self.sink, self.rng, self._reported, self._later)
        for promise in self.disk.content.promises:
            self.core.leases.load(promise)
        self.keeping = SimKeeping(self)
        self.keeping.load()
        for data in found:
            self.core.load(data)
        self._watcher.born(self)
        self.keeping.begin()
        self.core.start(self.now, self.wall)
        self._keep()
        self.network.register(self.name, self._deliver)
        for contact in contacts:
            self._gossip(Contact(*contact))
        self._ready_at = self.now + 5.0
        self._say_facts()
        self._tick(self.life)
        self._gossip_tick(self.life)

    def crash(self) -> None:
        self.up = False
        self.hits["message withheld from an older node"] += self.core.withheld
        self.life += 1
        self.disk.content.contacts = [(str(a), b) for a, b in self.swim.contacts()]
        self.network.unregister(self.name)
        self.disk.crash()

    def _outlived(self, boot: int) -> None:
        """The mesh knows a later life, as the clock was set back: it stops, and is started again above that."""
        self.hits["stopped for a later life"] += 1
        self.crash()
        self.disk.content.boot = max(self.disk.content.boot, boot)
        self.start()

    def leave(self) -> None:
        self.core.executor.pause(paused=True)
        self.core.steward.give_away()
        self.flush()
        self._gossip(Leave())

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        held, self.held = self.held, []
        for callback in held:
            callback()

    def speak(self, protocol: int) -> None:
        """From its next start on it is of the version that has this protocol."""
        self.config = structs.replace(self.config, protocol=protocol)

    def weigh(self, weight: float) -> None:
        """The operator changed its weight."""
        self.weight = weight
        if self.up and not self.frozen:
            self._gossip(SetMeta(self._meta()))

    def _meta(self) -> Meta:
        ready = self.compared and not self.stalled
        return Meta(
            name=self.name, region=self.config.region, ready=ready, weight=self.weight,
            protocol=self.config.protocol,
        )  # fmt: skip

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        """After a while, in this life; held back while frozen."""
        life = self.life

        def run() -> None:
            if self.life != life or not self.up:
                return
            if self.frozen:
                self.held.append(lambda: callback() if self.life == life and self.up else None)
            else:
                callback()

        self.clock.after(delay / self.rate, run)

    # ---- events

    def write(self, slot: int, facts: Sequence[FactOf]) -> tuple[int, list[Name]]:
        """Write a user's facts; the ticket, and the names of the envelopes that hold them."""
        writer = self.core.writer
        heads = self.core.replicator.ledger(slot).heads
        before = heads.get(writer, 0)
        ticket = self.core.write(slot, facts, self.now, self.wall)
        return ticket, [(slot, str(writer), seq) for seq in range(before + 1, heads[writer] + 1)]

    def _deliver(self, source: str, payload: bytes) -> None:
        if self.frozen:
            life = self.life
            self.held.append(
                lambda: self._deliver(source, payload) if self.up and self.life == life else None
            )
        elif payload[:1] == b"g":
            self._gossip(Received(NodeId(source), payload[1:]))
        else:
            message = messages.decode(payload[1:])
            since = message.since
            assert since <= self.config.protocol, (
                f"{self.name} got a {type(message).__name__}, which is newer"
            )
            if isinstance(message, messages.Archived | messages.BasePiece):
                self.keeping.received(NodeId(source), message)
            else:
                self.core.receive(NodeId(source), message, self.now, self.wall)
            self.flush()

    def _tick(self, life: int) -> None:
        self.core.tick(self.now, self.wall)
        self._consider_ready()
        self.flush()
        self._later(TICK, lambda: self._tick(life))

    def _keep(self) -> None:
        self.keeping.look_once()
        self.flush()
        self._later(1.0, self._keep)

    def ledger_of(self, slot: int, batch: str) -> Ledger | None:
        """Where the facts of the batch are, in memory or in the archive."""
        return self.keeping.read(slot, batch) or self.core.replicator.ledgers.get(slot)

    def entry_of(self, slot: int, batch: str) -> Batch | None:
        ledger = self.ledger_of(slot, batch)
        return ledger.batches.get(batch) if ledger is not None else None

    def _gossip_tick(self, life: int) -> None:
        self._gossip(Tick())
        due = self.swim.due()
        wait = 0.5 if due is None else max(0.001, due - self.now)
        self._later(wait, lambda: self._gossip_tick(life))

    def _gossip(self, event: object) -> None:
        changed = False
        for effect in self.swim.handle(event, self.now):  # type: ignore[arg-type]
            match effect:
                case Gossip():
                    self.network.send(self.name, effect.to, b"g" + effect.payload)
                case Changed():
                    changed = True
                    self._watcher.member_changed(self, effect.member)
                case Conflict():
                    self.hits["key seen twice"] += 1
                    if effect.id == self.name and effect.boot > self.boot:
                        self._later(0.0, functools.partial(self._outlived, effect.boot))
                case _:
                    pass
        if changed:
            self.core.members(dict(self.swim.members), self.now, self.wall)
            self._say_facts()
            self.flush()

    def _consider_ready(self) -> None:
        """Ready once it has compared itself with every live peer, or after a while (as `node.app` does), unless it
        cannot write."""
        others = self.core.ownership.live() - {self.name}
        if self.now >= self._ready_at or (others and others <= self.core.replicator.synced):
            self.compared = True
        if self.swim.members[self.name].meta != self._meta():
            self._gossip(SetMeta(self._meta()))

    def _say_facts(self) -> None:
        facts = Facts(
            name=self.name, roots={}, plugins=PLUGINS, secrets=[secrecy.NAME], labels={}, http="", version="1",
            paused=self.core.executor.paused, region=self.config.region,
        )  # fmt: skip
        self.core.receive(self.name, facts, self.now, self.wall)
        for peer in sorted(self.core.ownership.live() - {self.name}):
            self.send(peer, facts)

    def _reported(self, report: Report) -> None:
        self._watcher.reported(self, report.key)
        self.core.reported([report], self.now, self.wall)
        self.flush()

    def members(self) -> dict[NodeId, Member]:
        return dict(self.swim.members)

    # ---- effects

    def send(self, to: NodeId, message: messages.Message) -> None:
        self.network.send(self.name, to, b"m" + messages.encode(message))

    def flush(self) -> None:
        for effect in self.core.flush():
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(to, message):
                self.send(to, message)
            case Append(batch, items):
                self.disk.write(items)
                count = len(items)
                self.in_order(
                    lambda: self.disk.sync(count), lambda: self.core.appended(batch, self.now, self.wall)
                )
            case Resend(to, ranges):
                self._resend(to, ranges)
            case SendBase(to, slot):
                self.keeping.offer(to, slot)
            case Run(jobs):
                for job in jobs:
                    self.runner.run(job)
            case Stop(key, drain):
                self.runner.stop(key, drain=drain)
            case Keep(batch, items):
                if self.config.protocol >= messages.LeaseAsk.since:  # before, there was no such file
                    self.disk.content.promises += items
                self._later(0.01, lambda: self._kept(batch))
            case Settled(ticket, level):
                self._watcher.settled(self, ticket, level)
            case _:
                pass

    def _kept(self, batch: int) -> None:
        self.core.kept(batch, self.now, self.wall)
        self.flush()

    def in_order(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Work of the log's thread, after all that was given to it before; then `done`."""

        def both() -> None:
            work()
            done()

        self._appends.append(both)
        self._write()

    def _write(self) -> None:
        """As the writer of `state.storage`: one write at a time, of all that has gathered."""
        if not self._writing and self._appends:
            self._writing = True
            count = len(self._appends)
            self._later(self.rng.uniform(*self.disk.delay), lambda: self._written(count))

    def _written(self, batches: int) -> None:
        if self.disk.full:
            self.stalled = self.core.replicator.stalled = True
            self.hits["write refused by a full disk"] += 1
            self._later(0.5, lambda: self._written(batches))
            return
        self.stalled = self.core.replicator.stalled = False
        for _ in range(batches):
            self._appends.popleft()()
        self._writing = False
        self.flush()
        self._write()

    def _resend(self, to: NodeId, ranges: list[tuple[int, str, int, int]]) -> None:
        """What lies on the disk, as far as it has no hole."""
        items = []
        for slot, author, first, last in ranges:
            for seq in range(first, last + 1):
                data = self.disk.by_name.get((slot, author, seq))
                if data is None:
                    break
                items.append(data)
        if items:
            self.send(to, messages.Envelopes(items))
