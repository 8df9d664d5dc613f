"""A whole node in the simulator: the production machines of membership and of the node, on simulated time, network
and disk. `SimNode` does what `node.app` does in production: it hands events in and carries effects out."""

import random
from collections.abc import Callable

from gossip.config import SwimConfig
from gossip.effects import Changed, Contact, Leave, Received, Tick
from gossip.effects import Send as Gossip
from gossip.identity import Boot, NodeId
from gossip.member import Member, Meta
from gossip.swim import Swim
from node import messages
from node.core import Core, CoreConfig
from node.effects import Append, Effect, Keep, Resend, Run, Send, Settled, Stop
from node.execution.jobs import Report
from node.messages import Facts
from tests.sim.clock import Clock
from tests.sim.disk import SimDisk
from tests.sim.model import ModelRunner, ModelSink
from tests.sim.network import Network

WALL = 1_700_000_000_000
TICK = 0.1


class SimNode:
    """One node over all its lives. `on_settled(node, ticket, level)` is the client's answer."""

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
        on_settled: Callable[["SimNode", int, int], None],
        on_core: Callable[["SimNode"], None],
    ) -> None:
        self.name = NodeId(name)
        self.clock, self.network, self.sink = clock, network, sink
        self.rng = random.Random(f"{seed}:{name}")
        self.config, self.gossip_config = config, gossip
        self.disk = SimDisk(self.rng)
        self.promises: list[bytes] = []
        """What it promised as a voter; written ahead of the answer, so a crash takes none of it."""
        self.boot = 0
        self.life = 0
        self.up = False
        self.frozen = False
        self.held: list[Callable[[], None]] = []
        self.contacts: list[tuple[NodeId, str]] = []
        self._on_settled = on_settled
        self._on_core = on_core
        self.swim: Swim
        self.core: Core
        self.runner: ModelRunner
        self._synced_by = 0.0

    # ---- life

    def start(self, contacts: list[tuple[NodeId, str]] | None = None) -> None:
        """Begin a new life from what the disk holds."""
        assert not self.up
        self.boot += 1
        self.life += 1
        self.up, self.frozen, self.held = True, False, []
        now = self.clock.now
        meta = Meta(name=self.name, ready=False)
        self.swim = Swim(
            me=self.name, boot=Boot(self.boot), address=self.name, meta=meta, config=self.gossip_config, rng=self.rng,
            contacts=contacts if contacts is not None else self.contacts,
        )  # fmt: skip
        self.core = Core(
            self.name, Boot(self.boot), self.config, rng=self.rng, client_id=lambda: self.rng.getrandbits(52),
            sharded=lambda plugin: plugin != "solo",
        )  # fmt: skip
        self.runner = ModelRunner(self.clock, self.sink, self.rng, self._reported, self._later)
        for promise in self.promises:
            self.core.leases.load(promise)
        for _, _, _, data in self.disk.records:
            self.core.load(data)
        self._on_core(self)
        self.core.start(now, self.wall)
        self.network.register(self.name, self._deliver)
        for contact in self.contacts:
            self._gossip(Contact(*contact))
        self._ready_at = now + 5.0
        self._say_facts()
        self._tick(self.life)
        self._gossip_tick(self.life)

    def crash(self) -> None:
        self.up = False
        self.life += 1
        self.contacts = self.swim.contacts()
        self.network.unregister(self.name)
        self.disk.crash()

    def leave(self) -> None:
        self.core.steward.give_away()
        self._flush()
        self._gossip(Leave())

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        held, self.held = self.held, []
        for callback in held:
            callback()

    @property
    def wall(self) -> int:
        return WALL + int(self.clock.now * 1000)

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

        self.clock.after(delay, run)

    # ---- events

    def _deliver(self, source: str, payload: bytes) -> None:
        if self.frozen:
            self.held.append(lambda: self._deliver(source, payload) if self.up else None)
            return
        if payload[:1] == b"g":
            self._gossip(Received(NodeId(source), payload[1:]))
        else:
            self.core.receive(NodeId(source), messages.decode(payload[1:]), self.clock.now, self.wall)
            self._flush()

    def _tick(self, life: int) -> None:
        self.core.tick(self.clock.now, self.wall)
        self._consider_ready()
        self._flush()
        self._later(TICK, lambda: self._tick(life))

    def _gossip_tick(self, life: int) -> None:
        self._gossip(Tick())
        due = self.swim.due()
        wait = 0.5 if due is None else max(0.001, due - self.clock.now)
        self._later(wait, lambda: self._gossip_tick(life))

    def _gossip(self, event: object) -> None:
        changed = False
        for effect in self.swim.handle(event, self.clock.now):  # type: ignore[arg-type]
            if isinstance(effect, Gossip):
                self.network.send(self.name, effect.to, b"g" + effect.payload)
            elif isinstance(effect, Changed):
                changed = True
        if changed:
            self.core.members(dict(self.swim.members), self.clock.now, self.wall)
            self._say_facts()
            self._flush()

    def _consider_ready(self) -> None:
        """Ready once it has compared itself with every live peer, or after a while (as `node.app` does)."""
        me = self.swim.members[self.name]
        others = self.core.ownership.live() - {self.name}
        if not me.meta.ready and (
            self.clock.now >= self._ready_at or (others and others <= self.core.replicator.synced)
        ):
            from gossip.effects import SetMeta

            self._gossip(SetMeta(Meta(name=self.name, ready=True)))

    def _say_facts(self) -> None:
        facts = Facts(
            name=self.name, roots={}, plugins={"collector:model": "1", "collector:solo": "1", "sink:model": "1"},
            secrets=[], labels={}, http="", version="1",
        )  # fmt: skip
        self.core.receive(self.name, facts, self.clock.now, self.wall)
        for peer in sorted(self.core.ownership.live() - {self.name}):
            self._send(peer, facts)

    def _reported(self, report: Report) -> None:
        self.core.reported([report], self.clock.now, self.wall)
        self._flush()

    def members(self) -> dict[NodeId, Member]:
        return dict(self.swim.members)

    # ---- effects

    def _send(self, to: NodeId, message: messages.Message) -> None:
        self.network.send(self.name, to, b"m" + messages.encode(message))

    def flush(self) -> None:
        self._flush()

    def _flush(self) -> None:
        for effect in self.core.flush():
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(to, message):
                self._send(to, message)
            case Append(batch, items):
                self.disk.write(items)
                count = len(items)
                self._synced_by = max(self._synced_by, self.clock.now + self.rng.uniform(0.001, 0.02))
                self._later(self._synced_by - self.clock.now, lambda: self._synced(batch, count))
            case Resend(to, ranges):
                self._resend(to, ranges)
            case Run(jobs):
                for job in jobs:
                    self.runner.run(job)
            case Stop(key, drain):
                self.runner.stop(key, drain=drain)
            case Keep(batch, items):
                self.promises += items
                self._later(0.01, lambda: self._kept(batch))
            case Settled(ticket, level):
                self._on_settled(self, ticket, level)
            case _:
                pass

    def _kept(self, batch: int) -> None:
        self.core.kept(batch, self.clock.now, self.wall)
        self._flush()

    def _synced(self, batch: int, count: int) -> None:
        self.disk.sync(count)
        self.core.appended(batch, self.clock.now, self.wall)
        self._flush()

    def _resend(self, to: NodeId, ranges: list[tuple[int, str, int, int]]) -> None:
        items = []
        for slot, author, first, last in ranges:
            for seq in range(first, last + 1):
                data = self.disk.by_name.get((slot, author, seq))
                if data is None:
                    break
                items.append(data)
        if items:
            self._send(to, messages.Envelopes(items))
