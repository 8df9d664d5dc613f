"""Who believes what of whom when things go wrong: many membership machines on the simulated network.

`python -m tests.sim.membership --n 3 10 100 --loss 0 5 25 --seeds 5` prints the figures of membership.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from gossip.config import SwimConfig
from gossip.effects import Changed, Conflict, Effect, Event, Forget, Lagged, Leave, Left, Received, Send, Tick
from gossip.identity import Boot, NodeId
from gossip.member import LIVE, RANK, Member, Meta, State
from gossip.swim import Swim
from tests.sim.clock import Clock, Timer
from tests.sim.network import Link, Network


@dataclass(slots=True)
class Station:
    """One running machine. address is its endpoint on the network. held: what arrived while it was frozen."""

    swim: Swim
    id: NodeId
    address: str
    frozen: bool = False
    held: list[Received] = field(default_factory=list)
    timer: Timer | None = None
    due: float | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A change that an observer reported."""

    at: float
    observer: NodeId
    changed: Changed


class Mesh:
    """live: the running machines by node. Each handled event is checked against I14.

    buried: deaths reported of running, unfrozen, reachable members (at, observer, subject).
    """

    def __init__(
        self, seed: int, *, config: SwimConfig | None = None, link: Link | None = None, logged: bool = False
    ) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.network = Network(self.clock, random.Random(self.rng.random()), link, logged=logged)
        self.config = config or SwimConfig.lan()
        self.live: dict[NodeId, Station] = {}
        self.changes: list[Seen] = []
        self.conflicts: list[tuple[NodeId, Conflict]] = []
        self.buried: list[tuple[float, NodeId, NodeId]] = []
        self.boots: dict[NodeId, int] = {}
        self.addresses: dict[NodeId, str] = {}
        self._names: dict[str, NodeId] = {}
        self._raised: dict[NodeId, int] = {}
        self._order = Order()

    def grow(self, n: int, *, settle: float = 0.0) -> list[NodeId]:
        """n new nodes that know the first one."""
        nodes = [NodeId(f"n{number}") for number in range(len(self.boots), len(self.boots) + n)]
        for node in nodes:
            self.start(node, contacts=[(nodes[0], f"{nodes[0]}:1")])
        self.clock.run_for(settle)
        return nodes

    def start(
        self,
        node: NodeId,
        *,
        address: str | None = None,
        contacts: list[tuple[NodeId, str]] | None = None,
        boot: int | None = None,
        config: SwimConfig | None = None,
    ) -> Station:
        """A first or next life, at the same address unless another is given."""
        boot = self.boots.get(node, 0) + 1 if boot is None else boot
        address = address or self.addresses.get(node, f"{node}:1")
        station = Station(
            Swim(
                me=node,
                boot=Boot(boot),
                address=address,
                meta=Meta(name=str(node), machine=str(node), http=f"{node}:8700", ready=True),
                config=config or self.config,
                rng=random.Random(self.rng.random()),
                contacts=contacts or (),
            ),
            node,
            address,
        )
        self.boots[node], self.addresses[node], self.live[node] = boot, address, station
        self._names[address] = node
        self._order.begin(node)
        self.network.register(address, lambda source, payload: self._arrived(station, source, payload))
        self._handle(station, Tick())
        return station

    def crash(self, node: NodeId) -> list[tuple[NodeId, str]]:
        """Stops it without a word; its stored contacts."""
        station = self.live.pop(node)
        self._stop(station)
        return station.swim.contacts()

    def restart(self, node: NodeId, *, address: str | None = None) -> Station:
        """Crash and next life, with the contacts of the one before."""
        return self.start(node, contacts=self.crash(node), address=address)

    def leave(self, node: NodeId) -> None:
        self.tell(node, Leave())

    def forget(self, node: NodeId, *, by: list[NodeId]) -> None:
        for observer in by:
            self.tell(observer, Forget(node))

    def tell(self, node: NodeId, event: Event) -> None:
        self._handle(self.live[node], event)

    def freeze(self, node: NodeId) -> None:
        self.live[node].frozen = True

    def thaw(self, node: NodeId) -> None:
        """As the driver does: notes that it is late, drains what came in, only then looks at its timers."""
        station = self.live[node]
        station.frozen = False
        late = 0.0 if station.due is None else self.clock.now - station.due
        if late > 0.05:
            self._handle(station, Lagged(late))
        held, station.held = station.held, []
        for received in held:
            self._handle(station, received)
        self._handle(station, Tick())

    def states(self, observer: NodeId) -> dict[NodeId, State]:
        """What the observer believes of all it holds for live members."""
        members = self.live[observer].swim.members
        return {node: members[node].state for node in sorted(members) if members[node].state in LIVE}

    def member(self, observer: NodeId, subject: NodeId) -> Member | None:
        return self.live[observer].swim.members.get(subject)

    def agreed(self) -> bool:
        """I13: all live nodes have equal member lists; dead ones are absent, and no live node is missing."""
        expected = dict.fromkeys(sorted(self.live), State.ALIVE)
        return all(self.states(node) == expected for node in self.live)

    def until_agreed(self, limit: float) -> float:
        """Seconds until I13 holds."""
        taken = self.clock.run_while(lambda: not self.agreed(), limit=limit, step=0.05)
        assert self.agreed(), {node: self.states(node) for node in self.live}
        return taken

    def _stop(self, station: Station) -> None:
        self.network.unregister(station.address)
        if station.timer is not None:
            station.timer.cancel()

    def _arrived(self, station: Station, source: str, payload: bytes) -> None:
        received = Received(self._names[source], payload)
        if station.frozen:
            station.held.append(received)
        else:
            self._handle(station, received)

    def _ticked(self, station: Station) -> None:
        station.timer = None
        if not station.frozen:
            self._handle(station, Tick())

    def _handle(self, station: Station, event: Event) -> None:
        for effect in station.swim.handle(event, self.clock.now):
            self._apply(station, effect)
        own = station.swim.members[station.id]
        self._raised[own.id] = max(self._raised.get(own.id, 0), own.incarnation)
        due = station.swim.due()
        if due != station.due or station.timer is None:
            if station.timer is not None:
                station.timer.cancel()
            station.due = due
            station.timer = None if due is None else self.clock.schedule(due, self._tick_of(station))

    def _tick_of(self, station: Station) -> Callable[[], None]:
        return lambda: self._ticked(station)

    def _apply(self, station: Station, effect: Effect) -> None:
        match effect:
            case Send(to, address, payload):
                if self._names.get(address) == to:
                    self.network.send(station.address, address, payload)
            case Changed(member, _):
                self._changed(station, member, effect)
            case Conflict():
                self.conflicts.append((station.id, effect))
            case Left():
                self.live.pop(station.id)
                self.clock.after(0.0, lambda: self._stop(station))

    def _changed(self, station: Station, member: Member, changed: Changed) -> None:
        self.changes.append(Seen(self.clock.now, station.id, changed))
        self._order.check(station.id, member)
        if member.id != station.id:
            assert member.incarnation <= self._raised[member.id], "I14: raised by another than the subject"
        subject = self.live.get(member.id)
        if member.state is not State.DEAD or subject is None or subject.frozen:
            return
        if self.network.passes(subject.address, station.address):
            self.buried.append((self.clock.now, station.id, member.id))


class Order:
    """I14: what one life of a node believes of another never moves backwards in (incarnation, state)."""

    def __init__(self) -> None:
        self._believed: dict[tuple[NodeId, NodeId], tuple[int, int]] = {}

    def begin(self, observer: NodeId) -> None:
        for pair in [pair for pair in self._believed if pair[0] == observer]:
            del self._believed[pair]

    def check(self, observer: NodeId, member: Member) -> None:
        belief = (member.incarnation, RANK[member.state])
        before = self._believed.get((observer, member.id), (-1, -1))
        assert belief >= before, f"I14: {observer} of {member.id}: {before} -> {belief}"
        self._believed[observer, member.id] = belief


if __name__ == "__main__":
    from tests.sim.membership_figures import main

    main()
